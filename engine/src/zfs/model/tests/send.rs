//! The sending side.

use super::*;
use crate::hold::HoldTag;
use crate::zfs::Property;

#[test]
fn the_stream_begins_with_a_record_that_names_both_ends() {
    let (source, _) = pair_with_update();
    let listed = source.by_hand().look("tank/a").unwrap().snapshots;
    let bytes = stream(&source, &full("tank/a@s1")).unwrap();
    let (begin, _) = begin_of(&bytes);
    assert_eq!(begin.to_guid, listed[0].guid);
    assert_eq!(begin.from_guid, None);
    assert_eq!(begin.kind, DatasetKind::Filesystem);
    assert_eq!(begin.creation_seconds, listed[0].creation_seconds);
    assert!(!begin.is_raw());
    assert!(bytes[56..].starts_with(b"tank/a@s1\0"));

    let bytes = stream(&source, &since("tank/a@s1", "tank/a@s2")).unwrap();
    let (begin, _) = begin_of(&bytes);
    assert_eq!(begin.to_guid, listed[1].guid);
    assert_eq!(begin.from_guid, Some(listed[0].guid));
}

#[test]
fn the_size_is_that_of_the_stream() {
    let (source, _) = pair_with_update();
    for request in [full("tank/a@s2"), since("tank/a@s1", "tank/a@s2")] {
        let bytes = stream(&source, &request).unwrap();
        assert_eq!(source.send_size(&request), Ok(bytes.len() as u64));
    }
}

#[test]
fn an_incremental_stream_has_what_changed_and_is_the_same_from_a_bookmark() {
    let (source, _) = pair();
    let hands = source.by_hand();
    hands.write("tank/a", 1, &[1; 100_000]).unwrap();
    hands.snapshot("tank/a@s2").unwrap();
    hands.write("tank/a", 2, &[2; 10]).unwrap();
    hands.snapshot("tank/a@s3").unwrap();
    let from_snapshot = stream(&source, &since("tank/a@s2", "tank/a@s3")).unwrap();
    assert!(from_snapshot.len() < 1000, "{}", from_snapshot.len());
    hands.bookmark("tank/a@s2", "mark").unwrap();
    hands.destroy_snapshot("tank/a@s2").unwrap();
    let request = SendRequest {
        base: Some(Base::Bookmark(short("mark"))),
        ..full("tank/a@s3")
    };
    assert_eq!(stream(&source, &request), Ok(from_snapshot));
}

#[test]
fn a_base_that_is_no_earlier_snapshot_of_the_dataset_is_refused() {
    let (source, _) = pair_with_update();
    let hands = source.by_hand();
    hands.create("tank/b").unwrap();
    hands.snapshot("tank/b@s1").unwrap();
    hands.bookmark("tank/a@s2", "same").unwrap();
    for base in ["tank/a@s2", "tank/b@s1"] {
        let size = source.send_size(&since(base, "tank/a@s1"));
        assert_eq!(kind(size), ZfsErrorKind::CrossDevice, "{base}");
    }
    let marked = |mark: &str| SendRequest {
        base: Some(Base::Bookmark(short(mark))),
        ..full("tank/a@s2")
    };
    assert_eq!(
        kind(source.send_size(&marked("same"))),
        ZfsErrorKind::CrossDevice
    );
    assert_eq!(
        kind(source.send_size(&marked("none"))),
        ZfsErrorKind::NotFound
    );
    for missing in [since("tank/a@no", "tank/a@s2"), full("tank/a@no")] {
        assert_eq!(kind(source.send_size(&missing)), ZfsErrorKind::NotFound);
        assert_eq!(stream(&source, &missing), Err(ZfsErrorKind::NotFound));
    }
}

#[test]
fn a_clone_is_sent_from_its_origin() {
    let (source, _) = pair_with_update();
    let hands = source.by_hand();
    hands.clone_snapshot("tank/a@s1", "tank/clone").unwrap();
    hands.write("tank/clone", 1, b"own").unwrap();
    hands.snapshot("tank/clone@c").unwrap();
    let bytes = stream(&source, &since("tank/a@s1", "tank/clone@c")).unwrap();
    // DRR_FLAG_CLONE
    assert_eq!(bytes[36], 1);
    // The origin dataset went on; that snapshot is no ancestor of the clone.
    let later = source.send_size(&since("tank/a@s2", "tank/clone@c"));
    assert_eq!(kind(later), ZfsErrorKind::CrossDevice);
}

#[test]
fn a_reader_that_goes_away_interrupts_the_send() {
    let (source, _) = pair();
    let hands = source.by_hand();
    hands.write("tank/a", 1, &[1; LARGE_BYTES]).unwrap();
    hands.snapshot("tank/a@s2").unwrap();
    let (mut reader, writer) = io::pipe().unwrap();
    thread::scope(|scope| {
        let sender = scope.spawn(|| source.send(&full("tank/a@s2"), writer.into()));
        reader.read_exact(&mut [0; 1000]).unwrap();
        drop(reader);
        let sent = sender.join().unwrap();
        assert_eq!(kind(sent), ZfsErrorKind::Interrupted);
    });
}

#[test]
fn a_full_nonblocking_pipe_interrupts_the_send() {
    let (source, _) = pair();
    let hands = source.by_hand();
    hands.write("tank/a", 1, &[1; LARGE_BYTES]).unwrap();
    hands.snapshot("tank/a@s2").unwrap();
    let (_reader, writer) = io::pipe().unwrap();
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
    let sent = source.send(&full("tank/a@s2"), writer.into());
    assert_eq!(kind(sent), ZfsErrorKind::Interrupted);
}

#[test]
fn while_it_is_sent_a_snapshot_is_busy_and_its_base_may_go() {
    let (source, target) = pair();
    transfer(&source, &full("tank/a@s1"), &target, &new("safe/a@s1")).unwrap();
    let hands = source.by_hand();
    for block in 0..16 {
        let bytes = [block as u8; LARGE_BYTES / 16];
        hands.write("tank/a", block, &bytes).unwrap();
    }
    hands.snapshot("tank/a@s2").unwrap();
    let (mut reader, writer) = io::pipe().unwrap();
    thread::scope(|scope| {
        let request = since("tank/a@s1", "tank/a@s2");
        let model = &source;
        let sender = scope.spawn(move || model.send(&request, writer.into()));
        let mut begin = [0; RECORD_BYTES];
        reader.read_exact(&mut begin).unwrap();
        // It is running, and cannot end before the rest is read.
        let sent = snapshots(&["tank/a@s2"]);
        assert_eq!(kind(source.destroy_snapshots(&sent)), ZfsErrorKind::Busy);
        assert_eq!(kind(hands.destroy("tank/a")), ZfsErrorKind::Busy);
        source
            .destroy_snapshots(&snapshots(&["tank/a@s1"]))
            .unwrap();
        source
            .rename_snapshot(&sent[0], &short("renamed"), Scope::One)
            .unwrap();
        let begin = BeginRecord::parse(&begin).unwrap();
        target
            .receive(&next("safe/a@s2"), &begin, reader.into())
            .unwrap();
        sender.join().unwrap().unwrap();
    });
    assert_eq!(
        target.by_hand().digest("safe/a@s2"),
        hands.digest("tank/a@renamed")
    );
    source
        .destroy_snapshots(&snapshots(&["tank/a@renamed"]))
        .unwrap();
}

#[test]
fn a_locked_dataset_is_sent_raw_only() {
    let source = machine(1, "tank");
    let hands = source.by_hand();
    hands.create_encrypted("tank/secret").unwrap();
    hands.write("tank/secret", 0, b"text").unwrap();
    hands.snapshot("tank/secret@s").unwrap();
    hands.unload_key("tank/secret").unwrap();
    let plain = full("tank/secret@s");
    assert_eq!(stream(&source, &plain), Err(ZfsErrorKind::KeyUnavailable));
    let bytes = stream(&source, &raw(plain)).unwrap();
    assert!(begin_of(&bytes).0.is_raw());
    let written = hands.write("tank/secret", 1, b"more");
    assert_eq!(kind(written), ZfsErrorKind::KeyUnavailable);
}

#[test]
fn raw_blocks_of_a_plain_dataset_are_plain() {
    let (source, _) = pair();
    let bytes = stream(&source, &raw(full("tank/a@s1"))).unwrap();
    assert!(!begin_of(&bytes).0.is_raw());
}

#[test]
fn the_log_has_the_commands_that_did_something() {
    let (source, target) = pair_with_update();
    source.tree(&dataset("tank"), Scope::Recursive).unwrap();
    source.snapshot(&snapshots(&["tank/none@s"])).unwrap_err();
    transfer(
        &source,
        &since("tank/a@s1", "tank/a@s2"),
        &target,
        &next("safe/a@tmp"),
    )
    .unwrap();
    target
        .rename_snapshot(&snapshot("safe/a@tmp"), &short("s2"), Scope::Recursive)
        .unwrap();
    drop(
        target
            .hold(&snapshots(&["safe/a@s2"]), &HoldTag::for_run("test"))
            .unwrap(),
    );
    assert_eq!(
        source.commands(),
        [
            "zfs send -Lc tank/a@s1",
            "zfs send -Lc -i tank/a@s1 tank/a@s2",
        ]
    );
    assert_eq!(
        target.commands(),
        [
            "zfs receive -u -o canmount=noauto safe/a@s1",
            "zfs receive -u safe/a@tmp",
            "zfs rename -r safe/a@tmp @s2",
            "zfs hold TEMPORARY safe/a@s2",
            "zfs release TEMPORARY safe/a@s2",
        ]
    );
    let failed = source.log().into_iter().find(|l| l.outcome.is_err());
    assert_eq!(failed.unwrap().outcome, Err(ZfsErrorKind::NotFound));
}

#[test]
fn properties_set_by_hand_are_listed() {
    let (source, _) = pair();
    let property = Property {
        name: "org.example:owner".to_owned(),
        value: crate::zfs::PropertyValue::Text("me".to_owned()),
    };
    let hands = source.by_hand();
    hands.set_property("tank/a", property.clone()).unwrap();
    assert_eq!(hands.look("tank/a").unwrap().properties, [property]);
}
