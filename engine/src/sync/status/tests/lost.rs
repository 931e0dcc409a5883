//! Without state files: what snapshots and marks tell.

use super::*;
use crate::name::{CreateTxg, ShortName};
use crate::zfs::{Bookmark, Dataset, DatasetKind, Snapshot};

/// `tank/a` on every node, sent by any of three.
const THREE: &str = "[DEFAULT]\nnodes = n1 n2 n3\nsync_max_delay = 1d\n\
    [sync#1]\nsrc = tank/a\ntarget = nodes\n";
const TWO: &str = "[DEFAULT]\nnodes = n1 n2\nsync_max_delay = 1d\n\
    [sync#1]\nsrc@n1 = tank/a\ndst = back/a\ntarget = nodes\n";

/// Snapshots by name, guid and age; marks by node and guid, oldest first.
fn dataset(name: &str, snapshots: &[(&str, u64, u64)], marks: &[(&str, u64)]) -> Dataset {
    let snapshots = snapshots.iter().map(|(short, guid, age)| Snapshot {
        short: ShortName::parse(short).unwrap(),
        guid: Guid(*guid),
        createtxg: CreateTxg(*guid),
        creation_seconds: NOW - age,
        written_bytes: 0,
        clones: 0,
        ivset: None,
        holds: 0,
    });
    let marks = marks.iter().map(|(node, guid)| Bookmark {
        short: ShortName::parse(&format!("zferry.sync.1.{node}.{guid}")).unwrap(),
        guid: Guid(*guid),
        createtxg: CreateTxg(*guid),
        ivset: None,
    });
    Dataset {
        name: DatasetName::parse(name).unwrap(),
        kind: DatasetKind::Filesystem,
        guid: Guid(1),
        written_bytes: 0,
        origin: None,
        encryption: None,
        partial: None,
        properties: Vec::new(),
        snapshots: snapshots.collect(),
        bookmarks: marks.collect(),
    }
}

/// The status on `on`, whose ZFS has this dataset.
fn lost(text: &str, on: &str, dataset: Dataset) -> ResourceStatus {
    let service = service(text);
    let wanted = to_look_at(&service, &node(on), &States::new());
    assert!(wanted.contains(&dataset.name), "{wanted:?}");
    let snapshots = Snapshots {
        found: [(dataset.name.clone(), Ok(Some(dataset)))].into(),
    };
    let mut status = status_of(&service, on, &States::new(), &snapshots);
    status.resources.remove(0)
}

#[test]
fn a_receiver_is_judged_by_its_sent_snapshot() {
    let young = lost(TWO, "n2", dataset("back/a", &[("sent", 7, HOUR)], &[]));
    assert_eq!((young.state, young.role), (State::Up, StatusRole::Receiver));
    let copy = &young.copies[0];
    assert_eq!(copy.data_age, Some(Duration::from_secs(HOUR)));
    assert_eq!((copy.run_age, copy.seen.unwrap().guid), (None, Guid(7)));
    let old = lost(TWO, "n2", dataset("back/a", &[("sent", 7, 25 * HOUR)], &[]));
    assert_eq!((old.state, codes(&old)), (State::Warn, vec!["too_old"]));
    // Between the two renames of a rotation.
    let cut = [("sent.old", 7, HOUR), ("tosend", 8, 0)];
    let cut = lost(TWO, "n2", dataset("back/a", &cut, &[]));
    assert_eq!(cut.copies[0].seen.unwrap().guid, Guid(7));
    let foreign = lost(TWO, "n2", dataset("back/a", &[("daily", 7, HOUR)], &[]));
    assert_eq!(codes(&foreign), ["never_synced"]);
}

#[test]
fn a_sender_is_judged_per_target_by_its_marks() {
    let snapshots = [("sent", 7, HOUR)];
    let both = dataset("tank/a", &snapshots, &[("n2", 7), ("n3", 7)]);
    let status = lost(THREE, "n1", both);
    assert_eq!((status.state, status.role), (State::Up, StatusRole::Sender));
    // n3 missed the last run, n2 was cut in it.
    let text = THREE.replace("src = ", "src@n1 = ");
    let behind = dataset("tank/a", &snapshots, &[("n3", 5), ("n2", 6), ("n2", 7)]);
    let status = lost(&text, "n1", behind);
    assert_eq!(codes(&status), ["behind", "behind"]);
    // What it missed is still there under another name: its age counts.
    let kept = [("daily", 5, 30 * HOUR), ("sent", 7, HOUR)];
    let status = lost(
        &text,
        "n1",
        dataset("tank/a", &kept, &[("n3", 5), ("n2", 7)]),
    );
    assert_eq!(codes(&status), ["too_old"]);
    assert_eq!(status.copies[0].state, State::Up);
}

#[test]
fn a_first_full_that_has_not_ended_is_no_copy() {
    let begun = dataset("tank/a", &[("tosend", 7, 0)], &[("n2", 7)]);
    assert_eq!(codes(&lost(TWO, "n1", begun)), ["never_synced"]);
}

#[test]
fn without_marks_the_only_target_shares_sent_unless_it_replaced_another() {
    let sent = [("sent", 7, HOUR)];
    assert_eq!(
        lost(TWO, "n1", dataset("tank/a", &sent, &[])).state,
        State::Up
    );
    let replaced = dataset("tank/a", &sent, &[("n9", 7)]);
    assert_eq!(codes(&lost(TWO, "n1", replaced)), ["never_synced"]);
    let text = THREE.replace("src = ", "src@n1 = ");
    let several = lost(&text, "n1", dataset("tank/a", &sent, &[]));
    assert_eq!(codes(&several), ["never_synced", "never_synced"]);
}

#[test]
fn who_sends_is_told_by_the_marks_or_said_to_be_open() {
    let sent = [("sent", 7, HOUR)];
    let role = |marks: &[(&str, u64)]| lost(THREE, "n2", dataset("tank/a", &sent, marks)).role;
    assert_eq!(role(&[("n1", 7), ("n3", 7)]), StatusRole::Sender);
    // From n1, which left a mark for n3; or n1 was a target of this node once.
    assert_eq!(role(&[]), StatusRole::Receiver);
    assert_eq!(role(&[("n3", 7)]), StatusRole::Receiver);
    assert_eq!(role(&[("n1", 3), ("n3", 3)]), StatusRole::Receiver);
    let open = lost(
        THREE,
        "n2",
        dataset("tank/a", &sent, &[("n1", 3), ("n3", 7)]),
    );
    assert_eq!((open.state, open.role), (State::Warn, StatusRole::Either));
    assert_eq!(codes(&open), ["role_unknown"]);
    assert!(open.copies[0].data_age.is_some());
}

#[test]
fn a_local_copy_is_looked_at_itself() {
    let text = "[DEFAULT]\nnodes = n1\n[sync#1]\nsrc = tank/a\ndst = back/a\ntarget = local\n";
    let status = lost(text, "n1", dataset("back/a", &[("sent", 7, HOUR)], &[]));
    assert_eq!(
        (status.state, status.copies[0].kind),
        (State::Up, TargetKind::Local)
    );
}

#[test]
fn a_damaged_state_file_warns_and_the_age_is_told_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let store = StateStore::new(dir.path());
    let service = service(TWO);
    let file = store.file(service.name(), &rid());
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "").unwrap();
    let states = store.read_all(&service);
    let copy = dataset("back/a", &[("sent", 7, HOUR)], &[]);
    assert!(to_look_at(&service, &node("n2"), &states).contains(&copy.name));
    let snapshots = Snapshots {
        found: [(copy.name.clone(), Ok(Some(copy)))].into(),
    };
    let status = status_of(&service, "n2", &states, &snapshots)
        .resources
        .remove(0);
    assert_eq!(
        (status.state, codes(&status)),
        (State::Warn, vec!["state_unreadable"])
    );
    assert_eq!(status.copies[0].data_age, Some(Duration::from_secs(HOUR)));
}

#[test]
fn a_state_that_tells_everything_needs_no_look_at_pools() {
    let service = service(TWO);
    let known = state(&[("n2", "n1", HOUR)]);
    let states: States = [(rid(), Ok(known))].into();
    for on in ["n1", "n2"] {
        assert!(to_look_at(&service, &node(on), &states).is_empty(), "{on}");
    }
}

#[test]
fn snapshots_that_cannot_be_read_are_not_taken_for_none() {
    let service = service(TWO);
    let wanted = to_look_at(&service, &node("n2"), &States::new());
    let snapshots = Snapshots::unreadable(wanted, "the image is in use");
    let status = status_of(&service, "n2", &States::new(), &snapshots)
        .resources
        .remove(0);
    assert_eq!(codes(&status), ["never_synced", "snapshots_unreadable"]);
}

#[test]
fn a_mount_point_as_src_leaves_open_what_its_targets_have() {
    let service = service(&TWO.replace("tank/a", "/srv/a"));
    let status = status_of(&service, "n1", &States::new(), &Snapshots::default());
    assert_eq!(
        codes(&status.resources[0]),
        ["never_synced", "snapshots_unreadable"]
    );
}
