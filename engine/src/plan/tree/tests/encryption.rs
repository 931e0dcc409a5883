//! Encrypted datasets: what may go where, in which form.

use super::*;
use crate::name::Ivset;
use crate::zfs::{BlockForm, PartialContent, ResumePoint};

/// Encrypted, with the key of `root`; the guid of a snapshot is its ivset guid
/// too, as on every side that raw streams have reached.
fn encrypted(at: &str, root: &str, snapshots: &[(&str, u64)]) -> Dataset {
    let mut dataset = dataset(at, snapshots);
    dataset.encryption = Some(Encryption {
        root: name(root),
        key_loaded: true,
    });
    for snapshot in &mut dataset.snapshots {
        snapshot.ivset = Some(Ivset(snapshot.guid.0));
    }
    dataset
}

fn source() -> Dataset {
    encrypted("tank/a", "tank/a", &[("x", 1), ("y", 2), ("z", 3)])
}

/// From this snapshot on the target's blocks are its own.
fn plain_from(mut target: Dataset, first: usize) -> Dataset {
    for snapshot in &mut target.snapshots[first..] {
        snapshot.ivset = Some(Ivset(snapshot.guid.0 + 1000));
    }
    target
}

fn lock(dataset: &mut Dataset) {
    dataset.encryption.as_mut().unwrap().key_loaded = false;
}

fn goes(source: Dataset, target: Dataset, mode: SendMode) {
    let plan = plan_mode(&[source], &[target], "z", mode);
    assert!(matches!(only_step(&plan), Step::Incremental { .. }));
}

fn refusal(source: Dataset, target: Dataset, mode: SendMode) -> (Conflict, String) {
    let plan = plan_mode(&[source], &[target], "z", mode);
    let conflict = only_conflict(&plan).clone();
    let remedy = conflict.remedy(HOSTS);
    (conflict, remedy)
}

#[test]
fn an_increment_goes_on_in_the_form_that_its_base_came_in() {
    let raw = || encrypted("backup/b", "backup/b", &[("x", 1), ("y", 2)]);
    let plain = || dataset("backup/b", &[("x", 1), ("y", 2)]);
    let below_a_vault = || plain_from(encrypted("backup/b", "backup", &[("x", 1), ("y", 2)]), 0);
    let own_key = || plain_from(raw(), 0);
    goes(source(), raw(), SendMode::Raw);
    for target in [plain(), below_a_vault(), own_key()] {
        goes(source(), target.clone(), SendMode::Plain);
        let (conflict, remedy) = refusal(source(), target, SendMode::Raw);
        assert!(
            matches!(conflict, Conflict::MixedModes { there: "plain", .. }),
            "{conflict}"
        );
        assert_eq!(remedy, "leave --raw out, as before");
    }
    let (conflict, remedy) = refusal(source(), raw(), SendMode::Plain);
    assert!(
        matches!(conflict, Conflict::MixedModes { there: "raw", .. }),
        "{conflict}"
    );
    assert_eq!(remedy, "use --raw, as before");
}

#[test]
fn a_raw_copy_of_a_dataset_that_inherits_its_key_is_known_as_one() {
    let child = || encrypted("tank/a", "tank", &[("x", 1), ("y", 2), ("z", 3)]);
    let copy = || encrypted("backup/b", "backup/b", &[("x", 1), ("y", 2)]);
    goes(child(), copy(), SendMode::Raw);
    let (conflict, _) = refusal(child(), copy(), SendMode::Plain);
    assert!(
        matches!(conflict, Conflict::MixedModes { there: "raw", .. }),
        "{conflict}"
    );
}

#[test]
fn a_plain_increment_on_a_raw_copy_is_seen_before_a_raw_one_is_sent() {
    let target = plain_from(encrypted("backup/b", "backup/b", &[("x", 1), ("y", 2)]), 1);
    goes(source(), target.clone(), SendMode::Plain);
    let (conflict, remedy) = refusal(source(), target, SendMode::Raw);
    let Conflict::IvsetMismatch {
        here,
        there,
        raw_until,
        ..
    } = &conflict
    else {
        panic!("{conflict}")
    };
    assert_eq!((*here, *there), (Some(Ivset(2)), Some(Ivset(1002))));
    let last = SnapshotName::parse("backup/b@x").unwrap();
    assert_eq!(raw_until.as_deref(), Some(&last));
    let text = conflict.to_string();
    assert!(
        text.contains("after backup/b@x") && text.contains("1002"),
        "{text}"
    );
    assert!(
        remedy.contains("on beta: zfs rollback -r backup/b@x;"),
        "{remedy}"
    );
    assert_eq!(conflict.family(), crate::error::Family::BrokenChain);
}

#[test]
fn an_ivset_guid_that_one_side_lacks_is_seen_before_a_raw_stream_is_sent() {
    let target = || encrypted("backup/b", "backup/b", &[("x", 1)]);
    let with_mark = |ivset| {
        let mut source = encrypted("tank/a", "tank/a", &[("z", 3)]);
        source.bookmarks.push(Bookmark {
            short: short("mark"),
            guid: Guid(1),
            createtxg: CreateTxg(5),
            ivset,
        });
        source
    };
    goes(with_mark(Some(Ivset(1))), target(), SendMode::Raw);
    let (conflict, remedy) = refusal(with_mark(None), target(), SendMode::Raw);
    assert!(
        matches!(
            conflict,
            Conflict::IvsetMismatch {
                here: None,
                there: Some(Ivset(1)),
                raw_until: None,
                ..
            }
        ),
        "{conflict}"
    );
    assert!(remedy.contains("--archive-target"), "{remedy}");
    let mut unmarked = target();
    unmarked.snapshots[0].ivset = None;
    let (conflict, _) = refusal(with_mark(Some(Ivset(1))), unmarked.clone(), SendMode::Raw);
    assert!(matches!(
        conflict,
        Conflict::IvsetMismatch { there: None, .. }
    ));
    // Nobody tells: ZFS will, before anything arrives.
    goes(with_mark(None), unmarked, SendMode::Raw);
}

#[test]
fn a_raw_increment_never_goes_onto_a_copy_that_a_key_of_the_target_unlocks() {
    let target = encrypted("backup/b", "backup", &[("x", 1), ("y", 2)]);
    let (conflict, remedy) = refusal(source(), target, SendMode::Raw);
    assert!(
        matches!(conflict, Conflict::EncryptionRoot { .. }),
        "{conflict}"
    );
    assert!(
        remedy.contains("-o keylocation=prompt backup/b (the key that it has by now"),
        "{remedy}"
    );
}

#[test]
fn a_raw_child_may_inherit_from_the_copy_of_its_own_root_and_from_nothing_else() {
    let pair = |source_root: &str, target_root: &str| {
        let source = [
            encrypted("tank/a", "tank/a", &[("x", 1), ("z", 2)]),
            encrypted("tank/a/c", source_root, &[("x", 3), ("z", 4)]),
        ];
        let target = [
            encrypted("backup/b", "backup/b", &[("x", 1)]),
            encrypted("backup/b/c", target_root, &[("x", 3)]),
        ];
        plan_mode(&source, &target, "z", SendMode::Raw)
    };
    for (here, there) in [
        ("tank/a", "backup/b"),
        ("tank/a", "backup/b/c"),
        ("tank/a/c", "backup/b/c"),
    ] {
        assert_eq!(pair(here, there).conflicts, [], "{here} {there}");
    }
    // Its key has become another one on the source; the root's stayed.
    let plan = pair("tank/a/c", "backup/b");
    assert!(matches!(
        plan.conflicts[..],
        [Conflict::EncryptionRoot { .. }]
    ));
}

#[test]
fn the_rest_of_a_raw_increment_is_checked_like_a_whole_one() {
    let mut target = encrypted("backup/b", "backup", &[("x", 1), ("y", 2)]);
    target.partial = Some(PartialReceive {
        token: "1-abc".into(),
        content: Some(PartialContent {
            to_guid: Guid(3),
            to_name: None,
            from_guid: Some(Guid(2)),
            mode: SendMode::Raw,
            resume: ResumePoint {
                object: 1,
                offset_bytes: 0,
                form: BlockForm::USUAL,
            },
            received_bytes: 4096,
        }),
    });
    let (conflict, _) = refusal(source(), target.clone(), SendMode::Raw);
    assert!(
        matches!(conflict, Conflict::EncryptionRoot { .. }),
        "{conflict}"
    );
    target.encryption.as_mut().unwrap().root = name("backup/b");
    let plan = plan_mode(&[source()], &[target], "z", SendMode::Raw);
    assert!(matches!(only_step(&plan), Step::Resume { .. }));
}

#[test]
fn a_plain_increment_needs_the_keys_of_both_sides_and_a_raw_one_none() {
    let mut vault = plain_from(encrypted("backup/b", "backup", &[("x", 1), ("y", 2)]), 0);
    lock(&mut vault);
    let unencrypted = dataset("tank/a", &[("x", 1), ("y", 2), ("z", 3)]);
    for (source, mode) in [
        (source(), SendMode::Plain),
        (unencrypted.clone(), SendMode::Plain),
        // Without encryption there is no other form.
        (unencrypted, SendMode::Raw),
    ] {
        let (conflict, remedy) = refusal(source, vault.clone(), mode);
        assert!(
            matches!(conflict, Conflict::TargetKeyNotLoaded { .. }),
            "{conflict}"
        );
        assert_eq!(remedy, "load the key, on beta: zfs load-key backup");
    }
    let mut locked_source = source();
    let mut copy = encrypted("backup/b", "backup/b", &[("x", 1), ("y", 2)]);
    lock(&mut locked_source);
    lock(&mut copy);
    goes(locked_source, copy, SendMode::Raw);
}

#[test]
fn what_has_arrived_raw_is_a_base_for_the_next_raw_stream() {
    let source = [source()];
    let target = [encrypted("backup/b", "backup/b", &[("x", 1)])];
    let first = plan_mode(&source, &target, "y", SendMode::Raw);
    let arrived = with_arrived(&target, &first.datasets);
    assert_eq!(arrived[0].snapshots[1].ivset, Some(Ivset(2)));
    let next = plan_mode(&source, &arrived, "z", SendMode::Raw);
    assert_eq!(next.datasets[0].base_guid(), Some(Guid(2)));
}

#[test]
fn without_its_key_an_encrypted_dataset_goes_only_raw() {
    let mut source = dataset("tank/a", &[("x", 1)]);
    source.encryption = Some(Encryption {
        root: name("tank/a"),
        key_loaded: false,
    });
    let plain = plan(&[source.clone()], &[], "x");
    assert!(matches!(
        only_conflict(&plain),
        Conflict::KeyNotLoaded { .. }
    ));
    assert_eq!(
        only_step(&plan_mode(&[source], &[], "x", SendMode::Raw)),
        &Step::Full
    );
}
