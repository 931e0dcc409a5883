//! Datasets, snapshots, holds.

use super::*;
use crate::hold::HoldTag;

fn listed(model: &Model, name: &str) -> Vec<crate::zfs::Snapshot> {
    model.by_hand().look(name).unwrap().snapshots
}

/// `tank/a` and `tank/a/x`, both empty.
fn two() -> Model {
    let model = machine(1, "tank");
    model.by_hand().create("tank/a").unwrap();
    model.by_hand().create("tank/a/x").unwrap();
    model
}

#[test]
fn snapshots_of_one_call_share_a_transaction_group_and_nothing_else() {
    let model = two();
    model.by_hand().set_clock(1_800_000_000);
    model
        .snapshot(&snapshots(&["tank/a@s", "tank/a/x@s"]))
        .unwrap();
    model.snapshot(&snapshots(&["tank/a@t"])).unwrap();
    let (a, x) = (listed(&model, "tank/a"), listed(&model, "tank/a/x"));
    assert_eq!(a[0].createtxg, x[0].createtxg);
    assert_ne!(a[0].guid, x[0].guid);
    assert_eq!(a[0].creation_seconds, 1_800_000_000);
    assert!(a[1].createtxg > a[0].createtxg);
}

#[test]
fn guids_follow_from_the_seed_alone() {
    let guid = |seed| {
        let model = machine(seed, "tank");
        model.by_hand().snapshot("tank@s").unwrap()
    };
    assert_eq!(guid(5), guid(5));
    assert_ne!(guid(5), guid(6));
}

#[test]
fn snapshots_are_taken_all_or_none_with_a_reason_for_each_that_failed() {
    let model = two();
    model.by_hand().snapshot("tank/a@s").unwrap();
    let before = model.by_hand().list();
    let names = snapshots(&["tank/a/x@s", "tank/a@s", "tank/none@s"]);
    let error = model.snapshot(&names).unwrap_err();
    let items: Vec<_> = error
        .items
        .iter()
        .map(|i| (i.name.as_str(), i.kind))
        .collect();
    assert_eq!(
        items,
        [
            ("tank/a@s", ZfsErrorKind::Exists),
            ("tank/none@s", ZfsErrorKind::NotFound)
        ]
    );
    assert_eq!(error.kind, ZfsErrorKind::Exists);
    assert_eq!(model.by_hand().list(), before);
}

#[test]
fn one_call_takes_snapshots_of_different_datasets_in_one_pool() {
    let model = two();
    model.by_hand().add_pool("other", POOL_BYTES).unwrap();
    for names in [["tank/a@s", "tank/a@t"], ["tank/a@s", "other@s"]] {
        let error = model.snapshot(&snapshots(&names));
        assert_eq!(kind(error), ZfsErrorKind::CrossDevice);
    }
    assert!(listed(&model, "tank/a").is_empty());
    assert_eq!(model.snapshot(&[]), Ok(()));
}

#[test]
fn snapshots_are_destroyed_all_or_none_and_missing_ones_are_no_error() {
    let model = two();
    let hands = model.by_hand();
    let names = snapshots(&["tank/a@s", "tank/a/x@s"]);
    model.snapshot(&names).unwrap();
    hands.hold("tank/a/x@s", "keep").unwrap();
    let error = model.destroy_snapshots(&names).unwrap_err();
    assert_eq!(error.kind, ZfsErrorKind::Busy);
    assert_eq!(error.items[0].name, "tank/a/x@s");
    assert_eq!(listed(&model, "tank/a").len(), 1);

    hands.release("tank/a/x@s", "keep").unwrap();
    hands.clone_snapshot("tank/a@s", "tank/clone").unwrap();
    assert_eq!(kind(model.destroy_snapshots(&names)), ZfsErrorKind::Exists);
    assert_eq!(listed(&model, "tank/a/x").len(), 1);

    hands.destroy("tank/clone").unwrap();
    let more = snapshots(&["tank/a@s", "tank/a/x@s", "tank/a@none", "tank/none@s"]);
    model.destroy_snapshots(&more).unwrap();
    assert_eq!(hands.list(), ["tank", "tank/a", "tank/a/x"]);
    assert_eq!(model.destroy_snapshots(&snapshots(&["none/a@s"])), Ok(()));
}

#[test]
fn recursive_rename_skips_children_without_the_snapshot_and_keeps_identity_and_holds() {
    let model = two();
    let hands = model.by_hand();
    hands.create("tank/a/y").unwrap();
    let names = snapshots(&["tank/a@s", "tank/a/y@s"]);
    model.snapshot(&names).unwrap();
    let before = listed(&model, "tank/a/y").remove(0);
    hands.hold("tank/a/y@s", "keep").unwrap();
    hands.clone_snapshot("tank/a/y@s", "tank/clone").unwrap();
    model
        .rename_snapshot(&names[0], &short("t"), Scope::Recursive)
        .unwrap();
    let after = listed(&model, "tank/a/y").remove(0);
    assert_eq!(after.short, short("t"));
    assert_eq!(
        (after.guid, after.createtxg, after.creation_seconds),
        (before.guid, before.createtxg, before.creation_seconds)
    );
    assert_eq!(hands.holds("tank/a/y@t"), ["keep"]);
    let clone = hands.look("tank/clone").unwrap();
    assert_eq!(clone.origin, Some(snapshot("tank/a/y@t")));
    assert!(listed(&model, "tank/a/x").is_empty());
}

#[test]
fn recursive_rename_onto_a_name_taken_in_one_child_changes_nothing() {
    let model = two();
    let names = snapshots(&["tank/a@s", "tank/a/x@s"]);
    model.snapshot(&names).unwrap();
    model.by_hand().snapshot("tank/a/x@t").unwrap();
    let before = model.by_hand().list();
    let rename = |from: &str, scope| model.rename_snapshot(&snapshot(from), &short("t"), scope);
    assert_eq!(
        kind(rename("tank/a@s", Scope::Recursive)),
        ZfsErrorKind::Exists
    );
    assert_eq!(
        kind(rename("tank/a@none", Scope::Recursive)),
        ZfsErrorKind::NotFound
    );
    assert_eq!(model.by_hand().list(), before);
    rename("tank/a@s", Scope::One).unwrap();
    assert_eq!(
        model.by_hand().list(),
        [
            "tank",
            "tank/a",
            "tank/a@t",
            "tank/a/x",
            "tank/a/x@s",
            "tank/a/x@t"
        ]
    );
    assert_eq!(kind(rename("tank/a@t", Scope::One)), ZfsErrorKind::Exists);
    assert_eq!(rename("tank/a@t", Scope::Recursive), Ok(()));
}

#[test]
fn a_temporary_hold_keeps_its_snapshot_through_a_rename_and_ends_with_its_value() {
    let model = two();
    let names = snapshots(&["tank/a@s"]);
    model.snapshot(&names).unwrap();
    let hold = model.hold(&names, &HoldTag::for_run("test")).unwrap();
    model
        .rename_snapshot(&names[0], &short("t"), Scope::One)
        .unwrap();
    let renamed = snapshots(&["tank/a@t"]);
    assert_eq!(kind(model.destroy_snapshots(&renamed)), ZfsErrorKind::Busy);
    drop(hold);
    model.destroy_snapshots(&renamed).unwrap();
}

#[test]
fn holding_a_missing_snapshot_holds_none() {
    let model = two();
    model.by_hand().snapshot("tank/a@s").unwrap();
    let error = model
        .hold(
            &snapshots(&["tank/a@s", "tank/a/x@s"]),
            &HoldTag::for_run("test"),
        )
        .map(drop)
        .unwrap_err();
    assert_eq!(error.kind, ZfsErrorKind::NotFound);
    assert_eq!(error.items[0].name, "tank/a/x@s");
    assert!(model.by_hand().holds("tank/a@s").is_empty());
}

#[test]
fn bookmarks_are_made_all_or_none_and_outlive_their_snapshot() {
    let model = two();
    let names = snapshots(&["tank/a@s", "tank/a/x@s", "tank/a@none"]);
    model.snapshot(&names[..2]).unwrap();
    let mark = |of: &SnapshotName, name: &str| NewBookmark {
        of: of.clone(),
        short: short(name),
    };
    let marks = |name| [mark(&names[0], name), mark(&names[1], name)];
    model.bookmark(&marks("m")).unwrap();
    let error = model
        .bookmark(&[mark(&names[0], "n"), mark(&names[1], "m")])
        .unwrap_err();
    assert_eq!(error.kind, ZfsErrorKind::Exists);
    assert_eq!(error.items[0].name, "tank/a/x#m");
    let missing = model.bookmark(&[mark(&names[2], "n")]);
    assert_eq!(kind(missing), ZfsErrorKind::NotFound);
    model.destroy_snapshots(&names).unwrap();
    assert_eq!(
        model.by_hand().list(),
        ["tank", "tank/a", "tank/a#m", "tank/a/x", "tank/a/x#m"]
    );
    let destroyed = ["tank/a", "tank/a/x", "tank/none"].map(|name| BookmarkName {
        dataset: dataset(name),
        short: short("m"),
    });
    model.destroy_bookmarks(&destroyed).unwrap();
    assert_eq!(model.by_hand().list(), ["tank", "tank/a", "tank/a/x"]);
    assert_eq!(
        model.commands()[1..4],
        [
            "zfs bookmark tank/a@s #m tank/a/x@s #m",
            "zfs destroy tank/a@s tank/a/x@s tank/a@none",
            "zfs destroy tank/a#m tank/a/x#m tank/none#m",
        ]
    );
}

#[test]
fn missing_ancestors_are_created_topmost_first_and_do_not_mount() {
    let model = machine(1, "tank");
    let created = model.create_ancestors(&dataset("tank/a/b/c")).unwrap();
    assert_eq!(created, [dataset("tank/a"), dataset("tank/a/b")]);
    assert_eq!(model.by_hand().list(), ["tank", "tank/a", "tank/a/b"]);
    let properties = model.by_hand().look("tank/a/b").unwrap().properties;
    assert_eq!(properties[0].name, "canmount");
    assert_eq!(properties[0].value, crate::zfs::PropertyValue::Number(0));
    assert_eq!(model.create_ancestors(&dataset("tank/a/b/c")), Ok(vec![]));
    assert_eq!(
        kind(model.create_ancestors(&dataset("none/a"))),
        ZfsErrorKind::NotFound
    );
    model.by_hand().create_volume("tank/v").unwrap();
    assert_eq!(
        kind(model.create_ancestors(&dataset("tank/v/a/b"))),
        machine::WRONG_PARENT
    );
}

#[test]
fn the_tree_lists_parents_before_children_and_no_namesakes() {
    let model = two();
    let hands = model.by_hand();
    hands.create("tank/ab").unwrap();
    hands.create("tank/a/x-y").unwrap();
    hands.create("tank/a/x/z").unwrap();
    let names = |root: &str, scope| {
        let tree = model.tree(&dataset(root), scope).unwrap();
        tree.map(|tree| tree.iter().map(|d| d.name.to_string()).collect::<Vec<_>>())
    };
    let expected = ["tank/a", "tank/a/x", "tank/a/x/z", "tank/a/x-y"];
    let expected = expected.map(str::to_owned).to_vec();
    assert_eq!(names("tank/a", Scope::Recursive), Some(expected));
    assert_eq!(names("tank/a", Scope::One), Some(vec!["tank/a".to_owned()]));
    assert_eq!(names("tank/none", Scope::One), None);
    assert_eq!(names("none", Scope::One), None);
}

#[test]
fn written_counts_changes_since_the_newest_snapshot() {
    let model = two();
    let hands = model.by_hand();
    let written = || hands.look("tank/a").unwrap().written_bytes;
    assert_eq!(written(), METADATA_BYTES);
    hands.write("tank/a", 3, &[1; 1000]).unwrap();
    assert_eq!(written(), METADATA_BYTES + 1000);
    hands.snapshot("tank/a@s").unwrap();
    assert_eq!(written(), 0);
    // Writing the same again is a change: ZFS does not compare.
    hands.write("tank/a", 3, &[1; 1000]).unwrap();
    assert_eq!(written(), METADATA_BYTES + 1000);
    hands.rollback("tank/a@s").unwrap();
    assert_eq!(written(), 0);
    hands.discard("tank/a", 3).unwrap();
    assert_eq!(written(), METADATA_BYTES);
}

#[test]
fn a_pool_is_full_at_its_capacity_and_destroying_the_last_owner_frees_room() {
    let model = Model::new(1);
    let hands = model.by_hand();
    hands.add_pool("tank", 3000).unwrap();
    hands.write("tank", 0, &[1; 2000]).unwrap();
    hands.snapshot("tank@s").unwrap();
    hands.discard("tank", 0).unwrap();
    assert_eq!(hands.used_bytes("tank"), 2000);
    assert_eq!(
        kind(hands.write("tank", 1, &[2; 2000])),
        ZfsErrorKind::NoSpace
    );
    hands.destroy_snapshot("tank@s").unwrap();
    assert_eq!(hands.used_bytes("tank"), 0);
    hands.write("tank", 1, &[2; 3000]).unwrap();
}

#[test]
fn rollback_destroys_later_snapshots_unless_they_are_held() {
    let model = two();
    let hands = model.by_hand();
    hands.snapshot("tank/a@s").unwrap();
    hands.write("tank/a", 0, b"new").unwrap();
    hands.snapshot("tank/a@t").unwrap();
    hands.bookmark("tank/a@t", "t").unwrap();
    hands.hold("tank/a@t", "keep").unwrap();
    assert_eq!(kind(hands.rollback("tank/a@s")), ZfsErrorKind::Busy);
    hands.release("tank/a@t", "keep").unwrap();
    hands.rollback("tank/a@s").unwrap();
    assert_eq!(hands.list(), ["tank", "tank/a", "tank/a@s", "tank/a/x"]);
    assert_eq!(hands.digest("tank/a"), hands.digest("tank/a@s"));
}

#[test]
fn a_renamed_dataset_takes_everything_below_along() {
    let model = two();
    let hands = model.by_hand();
    let guid = hands.snapshot("tank/a/x@s").unwrap();
    hands.create("tank/ab").unwrap();
    assert_eq!(
        kind(hands.rename("tank/a", "tank/ab")),
        ZfsErrorKind::Exists
    );
    assert_eq!(
        kind(hands.rename("tank/a", "tank/a/x/y")),
        ZfsErrorKind::Invalid
    );
    hands.rename("tank/a", "tank/ab/old").unwrap();
    assert_eq!(
        hands.list(),
        [
            "tank",
            "tank/ab",
            "tank/ab/old",
            "tank/ab/old/x",
            "tank/ab/old/x@s"
        ]
    );
    assert_eq!(listed(&model, "tank/ab/old/x")[0].guid, guid);
}
