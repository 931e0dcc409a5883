//! The receiving side.

use super::*;
use crate::zfs::{Property, PropertyValue};

/// Receives all but the last record (END) while `during` runs; by then the
/// receive has begun, for the pipe cannot hold the rest of `bytes`.
fn receive_around<T>(
    target: &Model,
    request: &ReceiveRequest,
    bytes: &[u8],
    during: impl FnOnce() -> T,
) -> (T, Result<Vec<PropertyRefusal>, ZfsErrorKind>) {
    let (begin, rest) = begin_of(bytes);
    assert!(rest.len() > LARGE_BYTES / 2);
    let (most, end) = rest.split_at(rest.len() - record::HEADER_BYTES);
    let (reader, mut writer) = io::pipe().unwrap();
    thread::scope(|scope| {
        let receiver = scope.spawn(move || target.receive(request, &begin, reader.into()));
        writer.write_all(most).unwrap();
        let seen = during();
        // A crash in between has closed the pipe.
        writer.write_all(end).ok();
        drop(writer);
        let received = receiver.join().unwrap();
        (seen, received.map_err(|error| error.kind))
    })
}

fn large(source: &Model) {
    let bytes = vec![7; LARGE_BYTES];
    source.by_hand().write("tank/a", 9, &bytes).unwrap();
    source.by_hand().snapshot("tank/a@large").unwrap();
}

#[test]
fn a_received_snapshot_has_the_content_guid_and_creation_of_its_source() {
    let (source, target) = pair();
    let hands = target.by_hand();
    hands.set_clock(5);
    transfer(&source, &full("tank/a@s1"), &target, &new("safe/a@s1")).unwrap();
    let from = source.by_hand().look("tank/a").unwrap();
    let to = hands.look("safe/a").unwrap();
    assert_eq!(to.snapshots[0].guid, from.snapshots[0].guid);
    assert_eq!(
        to.snapshots[0].creation_seconds,
        from.snapshots[0].creation_seconds
    );
    assert_ne!(to.snapshots[0].createtxg, from.snapshots[0].createtxg);
    assert_ne!(to.guid, from.guid);
    assert_eq!(to.written_bytes, 0);
    assert_eq!(hands.content("safe/a@s1").unwrap()[&0], b"first");
    assert_eq!(
        hands.digest("safe/a@s1"),
        source.by_hand().digest("tank/a@s1")
    );
}

#[test]
fn an_incremental_stream_writes_and_frees() {
    let (source, target) = pair_with_update();
    source.by_hand().discard("tank/a", 0).unwrap();
    source.by_hand().snapshot("tank/a@s3").unwrap();
    // The name of the base on the target does not matter.
    target
        .by_hand()
        .rename_snapshot("safe/a@s1", "other")
        .unwrap();
    let request = since("tank/a@s1", "tank/a@s3");
    transfer(&source, &request, &target, &next("safe/a@s3")).unwrap();
    let content = target.by_hand().content("safe/a@s3").unwrap();
    assert_eq!(content, [(7, b"more".to_vec())].into());
    let base = target.by_hand().content("safe/a@other").unwrap();
    assert_eq!(base, [(0, b"first".to_vec())].into());
}

#[test]
fn after_the_roles_are_swapped_the_way_back_is_incremental() {
    let (source, target) = pair();
    large(&source);
    let first = full("tank/a@large");
    transfer(&source, &first, &target, &new("safe/a@large")).unwrap();
    target.by_hand().write("safe/a", 0, b"back").unwrap();
    target.by_hand().snapshot("safe/a@back").unwrap();
    let back = since("safe/a@large", "safe/a@back");
    // The large block came with the base and does not travel again.
    assert!(target.send_size(&back).unwrap() < 1000);
    transfer(&target, &back, &source, &next("tank/a@back")).unwrap();
    assert_eq!(
        source.by_hand().digest("tank/a"),
        target.by_hand().digest("safe/a@back")
    );
}

#[test]
fn a_volume_arrives_as_a_volume() {
    let (source, target) = pair();
    source.by_hand().create_volume("tank/v").unwrap();
    source.by_hand().snapshot("tank/v@s").unwrap();
    let request = ReceiveRequest {
        kind: DatasetKind::Volume,
        ..new("safe/v@s")
    };
    transfer(&source, &full("tank/v@s"), &target, &request).unwrap();
    let volume = target.by_hand().look("safe/v").unwrap();
    assert_eq!(volume.kind, DatasetKind::Volume);
    assert!(volume.properties.is_empty());
}

#[test]
fn what_cannot_be_received_is_refused_with_its_reason_and_leaves_nothing() {
    let (source, target) = pair_with_update();
    let hands = target.by_hand();
    hands.create("safe/foreign").unwrap();
    hands.snapshot("safe/foreign@s1").unwrap();
    hands.create_volume("safe/v").unwrap();
    let full = stream(&source, &full("tank/a@s2")).unwrap();
    let update = stream(&source, &since("tank/a@s1", "tank/a@s2")).unwrap();
    let before = hands.list();
    for (bytes, request, reason) in [
        (&full, next("safe/a@s2"), ZfsErrorKind::Exists),
        (&full, new("safe/none/a@s2"), ZfsErrorKind::NotFound),
        (&full, new("none/a@s2"), ZfsErrorKind::NotFound),
        (&full, new("safe/v/a@s2"), machine::WRONG_PARENT),
        (&update, next("safe/a@s1"), ZfsErrorKind::Exists),
        (&update, new("safe/b@s2"), ZfsErrorKind::NotFound),
        (&update, next("safe/foreign@s2"), ZfsErrorKind::NoSuchBase),
        (&update, next("safe/v@s2"), ZfsErrorKind::NoSuchBase),
    ] {
        let name = request.snapshot.clone();
        assert_eq!(feed(&target, &request, bytes), Err(reason), "{name}");
        assert_eq!(hands.list(), before, "{name}");
    }
}

#[test]
fn changes_since_the_base_are_refused_and_snapshots_without_changes_are_not() {
    let (source, target) = pair_with_update();
    let hands = target.by_hand();
    let update = stream(&source, &since("tank/a@s1", "tank/a@s2")).unwrap();
    let receive = || feed(&target, &next("safe/a@s2"), &update);

    hands.write("safe/a", 1, b"mine").unwrap();
    assert_eq!(receive(), Err(ZfsErrorKind::Modified));
    hands.snapshot("safe/a@mine").unwrap();
    assert_eq!(receive(), Err(ZfsErrorKind::Modified));
    hands.rollback("safe/a@s1").unwrap();
    hands.discard("safe/a", 0).unwrap();
    assert_eq!(receive(), Err(ZfsErrorKind::Modified));
    hands.rollback("safe/a@s1").unwrap();

    hands.snapshot("safe/a@daily").unwrap();
    assert_eq!(receive(), Ok(vec![]));
    assert_eq!(
        hands.list(),
        ["safe", "safe/a", "safe/a@s1", "safe/a@daily", "safe/a@s2"]
    );
}

#[test]
fn a_cut_stream_is_a_truncated_stream_wherever_it_is_cut() {
    let (source, target) = pair_with_update();
    let full = stream(&source, &full("tank/a@s2")).unwrap();
    let update = stream(&source, &since("tank/a@s1", "tank/a@s2")).unwrap();
    let (before, used) = (target.by_hand().list(), target.by_hand().used_bytes("safe"));
    for (bytes, request) in [(full, new("safe/b@s2")), (update, next("safe/a@s2"))] {
        for length in RECORD_BYTES..bytes.len() {
            let received = feed(&target, &request, &bytes[..length]);
            assert_eq!(received, Err(ZfsErrorKind::StreamTruncated), "{length}");
            assert_eq!(target.by_hand().list(), before, "{length}");
        }
        feed(&target, &request, &bytes).unwrap();
        let name = request.snapshot.dataset.to_string();
        target.by_hand().discard(&name, 0).unwrap();
        target.by_hand().destroy(&name).unwrap();
        if name == "safe/b" {
            assert_eq!(target.by_hand().used_bytes("safe"), used);
        }
    }
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let (source, target) = pair_with_update();
    let update = stream(&source, &since("tank/a@s1", "tank/a@s2")).unwrap();
    let before = target.by_hand().list();
    // Magic, version and type of BEGIN are the concern of its parser.
    for at in 37..update.len() {
        let mut damaged = update.clone();
        damaged[at] ^= 1;
        let reason = match at {
            48..56 => ZfsErrorKind::NoSuchBase,
            _ => ZfsErrorKind::ChecksumMismatch,
        };
        let received = feed(&target, &next("safe/a@s2"), &damaged);
        assert_eq!(received, Err(reason), "byte {at}");
        assert_eq!(target.by_hand().list(), before, "byte {at}");
    }
}

#[test]
fn a_stream_that_does_not_fit_leaves_the_room_it_found() {
    let (source, _) = pair();
    large(&source);
    let target = Model::new(2);
    let hands = target.by_hand();
    hands.add_pool("safe", LARGE_BYTES as u64).unwrap();
    transfer(&source, &full("tank/a@s1"), &target, &new("safe/a@s1")).unwrap();
    let used = hands.used_bytes("safe");
    for (send, receive) in [
        (since("tank/a@s1", "tank/a@large"), next("safe/a@large")),
        (full("tank/a@large"), new("safe/b@large")),
    ] {
        let result = transfer(&source, &send, &target, &receive);
        assert_eq!(result, Err(ZfsErrorKind::NoSpace));
        assert_eq!(hands.used_bytes("safe"), used);
        assert_eq!(hands.list(), ["safe", "safe/a", "safe/a@s1"]);
    }
}

#[test]
fn a_second_receive_into_the_same_dataset_is_refused() {
    let (source, target) = pair();
    large(&source);
    let hands = target.by_hand();
    let bytes = stream(&source, &full("tank/a@large")).unwrap();
    let (_, received) = receive_around(&target, &new("safe/a@large"), &bytes, || {
        // It is visible and empty meanwhile.
        assert_eq!(hands.list(), ["safe", "safe/a"]);
        let second = feed(&target, &new("safe/a@x"), &bytes);
        assert_eq!(second, Err(ZfsErrorKind::Exists));
        let below = feed(&target, &new("safe/a/b@x"), &bytes);
        assert_eq!(below, Err(ZfsErrorKind::Busy));
        let taken = target.snapshot(&snapshots(&["safe/a@own"]));
        assert_eq!(kind(taken), ZfsErrorKind::Busy);
        assert_eq!(kind(hands.write("safe/a", 0, b"x")), ZfsErrorKind::Busy);
        assert_eq!(kind(hands.destroy("safe/a")), ZfsErrorKind::Busy);
    });
    assert_eq!(received, Ok(vec![]));

    source
        .by_hand()
        .write("tank/a", 9, &vec![8; LARGE_BYTES])
        .unwrap();
    source.by_hand().snapshot("tank/a@next").unwrap();
    let bytes = stream(&source, &since("tank/a@large", "tank/a@next")).unwrap();
    let (_, received) = receive_around(&target, &next("safe/a@next"), &bytes, || {
        let second = feed(&target, &next("safe/a@x"), &bytes);
        assert_eq!(second, Err(ZfsErrorKind::Busy));
        // The hidden clone of the receive depends on it.
        let base = snapshots(&["safe/a@large"]);
        assert_eq!(kind(target.destroy_snapshots(&base)), ZfsErrorKind::Exists);
        target
            .rename_snapshot(&base[0], &short("base"), Scope::One)
            .unwrap();
    });
    assert_eq!(received, Ok(vec![]));
    assert_eq!(
        hands.list(),
        ["safe", "safe/a", "safe/a@base", "safe/a@next"]
    );
}

#[test]
fn what_happens_to_the_target_during_a_receive_decides_at_its_end() {
    let (source, target) = pair();
    transfer(&source, &full("tank/a@s1"), &target, &new("safe/a@s1")).unwrap();
    large(&source);
    let hands = target.by_hand();
    let bytes = stream(&source, &since("tank/a@s1", "tank/a@large")).unwrap();
    let request = next("safe/a@large");

    let (taken, received) = receive_around(&target, &request, &bytes, || {
        hands.snapshot("safe/a@meanwhile")
    });
    assert!(taken.is_ok());
    assert_eq!(received, Err(ZfsErrorKind::Invalid));
    assert_eq!(
        hands.list(),
        ["safe", "safe/a", "safe/a@s1", "safe/a@meanwhile"]
    );

    let (written, received) = receive_around(&target, &request, &bytes, || {
        hands.write("safe/a", 1, b"mine")
    });
    assert!(written.is_ok());
    assert_eq!(received, Err(ZfsErrorKind::Modified));
    assert_eq!(hands.content("safe/a").unwrap()[&1], b"mine");

    let new = stream(&source, &full("tank/a@large")).unwrap();
    let (renamed, received) = receive_around(&target, &super::new("safe/b@large"), &new, || {
        hands.rename("safe/b", "safe/c")
    });
    assert!(renamed.is_ok());
    assert_eq!(received, Ok(vec![]));
    assert!(hands.content("safe/c@large").is_some());
}

#[test]
fn refused_properties_are_reported_and_the_data_is_there() {
    let (source, target) = pair_with_update();
    let property = |name: &str, value| Property {
        name: name.to_owned(),
        value,
    };
    let text = |value: &str| PropertyValue::Text(value.to_owned());
    target
        .by_hand()
        .set_property("safe/a", property("atime", PropertyValue::Number(0)))
        .unwrap();
    let request = ReceiveRequest {
        properties: vec![
            property("atime", PropertyValue::Number(1)),
            property("compression", PropertyValue::Number(15)),
            property("org.example:owner", text("me")),
            property("readonly", text("on")),
            property("volsize", PropertyValue::Number(1)),
            property("nonsense", text("x")),
        ],
        ..next("safe/a@s2")
    };
    let update = stream(&source, &since("tank/a@s1", "tank/a@s2")).unwrap();
    let refused = feed(&target, &request, &update).unwrap();
    let refused: Vec<_> = refused.iter().map(|r| (r.name.as_str(), r.kind)).collect();
    assert_eq!(
        refused,
        [
            ("readonly", ZfsErrorKind::Invalid),
            ("volsize", ZfsErrorKind::Busy),
            ("nonsense", ZfsErrorKind::Invalid),
        ]
    );
    let dataset = target.by_hand().look("safe/a").unwrap();
    assert_eq!(dataset.snapshots.len(), 2);
    assert_eq!(
        dataset.properties,
        [
            // Local values stay.
            property("atime", PropertyValue::Number(0)),
            property("canmount", PropertyValue::Number(2)),
            property("compression", PropertyValue::Number(15)),
            property("org.example:owner", text("me")),
        ]
    );
}

/// An encrypted dataset that was received raw, and a further snapshot.
fn encrypted_pair() -> (Model, Model) {
    let (source, target) = pair();
    let hands = source.by_hand();
    hands.create_encrypted("tank/e").unwrap();
    hands.write("tank/e", 0, b"secret").unwrap();
    hands.snapshot("tank/e@s1").unwrap();
    let first = raw(full("tank/e@s1"));
    transfer(&source, &first, &target, &new("safe/e@s1")).unwrap();
    hands.write("tank/e", 1, b"more").unwrap();
    hands.snapshot("tank/e@s2").unwrap();
    (source, target)
}

#[test]
fn what_was_received_raw_is_locked_and_takes_raw_updates() {
    let (source, target) = encrypted_pair();
    let encryption = target.by_hand().look("safe/e").unwrap().encryption.unwrap();
    assert_eq!(encryption.root, dataset("safe/e"));
    assert!(!encryption.key_loaded);
    let update = since("tank/e@s1", "tank/e@s2");
    let plain = transfer(&source, &update, &target, &next("safe/e@s2"));
    assert_eq!(plain, Err(ZfsErrorKind::KeyUnavailable));
    transfer(&source, &raw(update), &target, &next("safe/e@s2")).unwrap();
    assert_eq!(
        target.by_hand().digest("safe/e@s2"),
        source.by_hand().digest("tank/e@s2")
    );
}

#[test]
fn a_plain_update_of_a_raw_chain_breaks_it_for_the_next_raw_one() {
    let (source, target) = encrypted_pair();
    target.by_hand().load_key("safe/e").unwrap();
    let update = since("tank/e@s1", "tank/e@s2");
    transfer(&source, &update, &target, &next("safe/e@s2")).unwrap();
    source.by_hand().snapshot("tank/e@s3").unwrap();
    let update = since("tank/e@s2", "tank/e@s3");
    let before = target.by_hand().list();
    let mixed = transfer(&source, &raw(update.clone()), &target, &next("safe/e@s3"));
    assert_eq!(mixed, Err(ZfsErrorKind::IvsetMismatch));
    assert_eq!(target.by_hand().list(), before);
    transfer(&source, &update, &target, &next("safe/e@s3")).unwrap();
}

#[test]
fn a_raw_update_of_a_plain_dataset_is_invalid() {
    let (source, target) = encrypted_pair();
    let first = full("tank/e@s1");
    transfer(&source, &first, &target, &new("safe/p@s1")).unwrap();
    let update = raw(since("tank/e@s1", "tank/e@s2"));
    let result = transfer(&source, &update, &target, &next("safe/p@s2"));
    assert_eq!(result, Err(ZfsErrorKind::Invalid));
}

#[test]
fn a_plain_stream_below_an_encrypted_dataset_needs_its_key() {
    let (source, target) = encrypted_pair();
    let first = full("tank/a@s1");
    let below = new("safe/e/a@s1");
    let locked = transfer(&source, &first, &target, &below);
    assert_eq!(locked, Err(ZfsErrorKind::KeyUnavailable));
    target.by_hand().load_key("safe/e").unwrap();
    transfer(&source, &first, &target, &below).unwrap();
    let encryption = target.by_hand().look("safe/e/a").unwrap().encryption;
    assert_eq!(encryption.unwrap().root, dataset("safe/e"));
}

#[test]
fn a_crash_during_a_receive_leaves_nothing_of_it_and_closes_the_pipe() {
    let (source, target) = pair();
    large(&source);
    let bytes = stream(&source, &full("tank/a@large")).unwrap();
    let hands = target.by_hand();
    let (_, received) = receive_around(&target, &new("safe/a@large"), &bytes, || {
        target.crash();
        assert_eq!(hands.list(), ["safe"]);
    });
    assert_eq!(received, Err(ZfsErrorKind::Unavailable));
    target.revive();
    assert_eq!(hands.used_bytes("safe"), 0);
    feed(&target, &new("safe/a@large"), &bytes).unwrap();
}
