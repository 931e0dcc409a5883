//! Receives that are cut and go on.

use super::*;
use crate::zfs::{PartialContent, ResumePoint};

/// `tank/a` with three snapshots' worth of blocks, so that a stream can be cut
/// between two of them.
fn source() -> Model {
    let (source, _) = pair();
    for block in 1..6 {
        source.by_hand().write("tank/a", block, &[7; 9000]).unwrap();
    }
    source.by_hand().snapshot("tank/a@s2").unwrap();
    source
}

fn keep(request: ReceiveRequest) -> ReceiveRequest {
    ReceiveRequest {
        on_cut: OnCut::Keep,
        ..request
    }
}

fn left(target: &Model, name: &str) -> Option<PartialContent> {
    let dataset = target.by_hand().look(name)?;
    dataset.partial.map(|partial| partial.content.unwrap())
}

fn rest(request: SendRequest, left: &PartialContent) -> SendRequest {
    SendRequest {
        resume: Some(left.resume),
        ..request
    }
}

#[test]
fn a_cut_stream_goes_on_where_it_was_cut() {
    let source = source();
    let target = machine(2, "safe");
    transfer(&source, &full("tank/a@s1"), &target, &new("safe/a@s1")).unwrap();
    for (send, receive, name) in [
        (since("tank/a@s1", "tank/a@s2"), next("safe/a@s2"), "safe/a"),
        (full("tank/a@s2"), new("safe/b@s2"), "safe/b"),
    ] {
        let bytes = stream(&source, &send).unwrap();
        let cut = feed(&target, &keep(receive.clone()), &bytes[..bytes.len() / 2]);
        assert_eq!(cut, Err(ZfsErrorKind::StreamTruncated));
        let left = left(&target, name).unwrap();
        assert!(left.received_bytes > 0 && left.resume.object > 0);
        let rest = rest(send, &left);
        assert!(stream(&source, &rest).unwrap().len() < bytes.len());
        transfer(&source, &rest, &target, &keep(receive)).unwrap();
        let digest = |model: &Model, name: &str| model.by_hand().digest(name);
        assert_eq!(
            digest(&target, &format!("{name}@s2")),
            digest(&source, "tank/a@s2")
        );
        assert!(target.by_hand().look(name).unwrap().partial.is_none());
    }
}

#[test]
fn while_a_part_is_left_nothing_else_is_received_and_its_base_stays() {
    let source = source();
    let target = machine(2, "safe");
    transfer(&source, &full("tank/a@s1"), &target, &new("safe/a@s1")).unwrap();
    let update = since("tank/a@s1", "tank/a@s2");
    let bytes = stream(&source, &update).unwrap();
    let half = &bytes[..bytes.len() / 2];
    feed(&target, &keep(next("safe/a@s2")), half).unwrap_err();
    for request in [next("safe/a@s2"), keep(next("safe/a@s2"))] {
        assert_eq!(feed(&target, &request, &bytes), Err(ZfsErrorKind::Busy));
    }
    let base = target.destroy_snapshots(&snapshots(&["safe/a@s1"]));
    assert_eq!(kind(base), ZfsErrorKind::Exists);

    let left = left(&target, "safe/a").unwrap();
    let elsewhere = ResumePoint {
        object: left.resume.object + 1,
        ..left.resume
    };
    let wrong = SendRequest {
        resume: Some(elsewhere),
        ..update.clone()
    };
    let request = keep(next("safe/a@s2"));
    let refused = transfer(&source, &wrong, &target, &request);
    assert_eq!(refused, Err(ZfsErrorKind::Invalid));
    let other = transfer(&source, &rest(full("tank/a@s2"), &left), &target, &request);
    assert_eq!(other, Err(ZfsErrorKind::Busy));
    transfer(&source, &rest(update, &left), &target, &request).unwrap();
}

#[test]
fn a_new_dataset_with_a_part_is_visible_and_goes_when_it_is_given_up() {
    let source = source();
    let target = machine(2, "safe");
    let bytes = stream(&source, &full("tank/a@s2")).unwrap();
    let half = &bytes[..bytes.len() / 2];
    feed(&target, &keep(new("safe/a@s2")), half).unwrap_err();
    let hands = target.by_hand();
    assert_eq!(hands.list(), ["safe", "safe/a"]);
    let taken = target.snapshot(&snapshots(&["safe/a@own"]));
    assert_eq!(kind(taken), ZfsErrorKind::Busy);
    hands.abort_receive("safe/a").unwrap();
    assert_eq!(
        (hands.list(), hands.used_bytes("safe")),
        (vec!["safe".to_owned()], 0)
    );
}

#[test]
fn a_crash_keeps_what_has_arrived_of_a_receive_that_keeps() {
    let source = source();
    let target = machine(2, "safe");
    let (send, receive) = (full("tank/a@s2"), keep(new("safe/a@s2")));
    target.faults().fail_at(1, Fault::CrashMidway);
    transfer(&source, &send, &target, &receive).unwrap_err();
    target.revive();
    let left = left(&target, "safe/a").unwrap();
    assert_eq!(left.from_guid, None);
    transfer(&source, &rest(send, &left), &target, &receive).unwrap();
    assert_eq!(
        target.by_hand().digest("safe/a@s2"),
        source.by_hand().digest("tank/a@s2")
    );
}

#[test]
fn an_increment_becomes_a_clone_of_the_origin_that_is_named() {
    let source = source();
    let target = machine(2, "safe");
    transfer(&source, &full("tank/a@s1"), &target, &new("safe/a@s1")).unwrap();
    source
        .by_hand()
        .clone_snapshot("tank/a@s1", "tank/c")
        .unwrap();
    source.by_hand().write("tank/c", 3, b"clone").unwrap();
    source.by_hand().snapshot("tank/c@s").unwrap();
    let send = since("tank/a@s1", "tank/c@s");
    let request = |origin: Option<&str>| ReceiveRequest {
        origin: origin.map(snapshot),
        ..new("safe/c@s")
    };
    let nowhere = transfer(&source, &send, &target, &request(None));
    assert_eq!(nowhere, Err(ZfsErrorKind::NotFound));
    let missing = transfer(&source, &send, &target, &request(Some("safe/a@none")));
    assert_eq!(missing, Err(ZfsErrorKind::NotFound));
    transfer(&source, &send, &target, &request(Some("safe/a@s1"))).unwrap();
    let clone = target.by_hand().look("safe/c").unwrap();
    assert_eq!(clone.origin, Some(snapshot("safe/a@s1")));
    assert_eq!(
        target.by_hand().digest("safe/c@s"),
        source.by_hand().digest("tank/c@s")
    );
}
