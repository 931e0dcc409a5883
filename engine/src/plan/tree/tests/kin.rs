//! Copies that are elsewhere, and copies of something else.

use super::*;

fn at(text: &str) -> SnapshotName {
    SnapshotName::parse(text).unwrap()
}

#[test]
fn a_copy_of_which_the_source_knows_nothing_is_told_with_what_a_name_suggests_and_no_more() {
    let source = dataset("tank/a", &[("new", 50)]);
    let mut target = dataset("backup/b", &[("zferry-5d41402a-1", 1), ("theirs", 2)]);
    target.snapshots[0].written_bytes = 70_000;
    let plan = plan(std::slice::from_ref(&source), &[target], "new");
    let conflict = only_conflict(&plan);
    let Conflict::UnknownToSource {
        last,
        last_guid,
        origin_guid,
        held_bytes,
        ..
    } = conflict
    else {
        panic!("{conflict}")
    };
    assert_eq!(**last, at("backup/b@zferry-5d41402a-1"));
    assert_eq!(
        (*last_guid, *origin_guid, *held_bytes),
        (Guid(1), source.guid, 70_000)
    );
    let text = conflict.to_string();
    assert!(text.contains("by its name is of a run of zferry"), "{text}");
    assert!(
        !text.contains("brought") && !text.contains("made from"),
        "{text}"
    );
    let remedy = conflict.remedy(HOSTS);
    assert!(remedy.contains("--archive-target"), "{remedy}");
    assert!(
        remedy.ends_with("on beta: zfs rename backup/b backup/b.old"),
        "{remedy}"
    );
}

#[test]
fn a_dataset_that_zferry_never_brought_is_not_called_a_copy() {
    let source = dataset("tank/a", &[("new", 50)]);
    let target = dataset("backup/b", &[("daily", 1)]);
    let plan = plan(&[source], &[target], "new");
    assert!(matches!(
        only_conflict(&plan),
        Conflict::NoCommonBase { .. }
    ));
}

/// The source's child `x` has the snapshots of the target's child `old`.
fn renamed_child(old: &str) -> TreePlan {
    let source = [
        dataset("tank/a", &[("base", 1), ("new", 2)]),
        dataset("tank/a/x", &[("base", 3), ("new", 4)]),
    ];
    let target = [
        dataset("backup/b", &[("base", 1)]),
        dataset(&format!("backup/b/{old}"), &[("base", 3)]),
    ];
    plan(&source, &target, "new")
}

#[test]
fn a_child_whose_copy_has_another_name_is_not_sent_again() {
    let plan = renamed_child("w");
    assert_eq!(plan.conflicts.len(), 1);
    let conflict = &plan.conflicts[0];
    let Conflict::Renamed { target, at, .. } = conflict else {
        panic!("{conflict}")
    };
    assert_eq!((target, at), (&name("backup/b/x"), &name("backup/b/w")));
    let remedy = conflict.remedy(HOSTS);
    assert!(
        remedy.ends_with("on beta: zfs rename backup/b/w backup/b/x"),
        "{remedy}"
    );
}

#[test]
fn a_copy_with_another_name_stays_there_if_everything_may_be_sent() {
    let source = [
        dataset("tank/a", &[("base", 1), ("new", 2)]),
        dataset("tank/a/x", &[("base", 3), ("new", 4)]),
    ];
    let target = [
        dataset("backup/b", &[("base", 1)]),
        dataset("backup/b/w", &[("base", 3)]),
    ];
    let plan = plan_tree(&TreeRequest {
        on_renamed: OnRenamed::SendAll,
        ..request(&source, &target, &short("new"))
    })
    .unwrap();
    assert_eq!(plan.conflicts, []);
    assert_eq!(plan.datasets[1].step, Step::Full);
    assert_eq!(plan.skipped, [Skipped::OnlyOnTarget(name("backup/b/w"))]);
}

#[test]
fn what_was_put_aside_is_not_looked_upon_as_a_renamed_copy() {
    let plan = renamed_child("x.zferry-archive-0000000000000abc");
    assert_eq!(plan.conflicts, []);
    assert_eq!(plan.datasets[1].step, Step::Full);
}

#[test]
fn a_promoted_clone_does_not_make_its_former_origin_a_renamed_copy() {
    // The snapshots of x have moved to y; x is there still, on both sides.
    let source = [
        dataset("tank/a", &[("base", 1), ("new", 2)]),
        dataset("tank/a/x", &[("new", 6)]),
        dataset("tank/a/y", &[("base", 3), ("new", 4)]),
    ];
    let target = [
        dataset("backup/b", &[("base", 1)]),
        dataset("backup/b/x", &[("base", 3)]),
    ];
    let plan = plan(&source, &target, "new");
    let renamed = plan.conflicts.iter();
    let renamed = renamed.filter(|one| matches!(one, Conflict::Renamed { .. }));
    assert_eq!(renamed.count(), 0, "{:?}", plan.conflicts);
}

#[test]
fn a_command_quotes_what_a_shell_would_take_apart() {
    let mut source = dataset("tank/a b", &[("new", 50)]);
    source.name = name("tank/a b");
    let mut target = dataset("backup/b", &[("zferry-1", 1)]);
    target.name = name("backup/b b");
    let root = name("backup/b b");
    let plan = plan_tree(&TreeRequest {
        target_root: &root,
        ..request(&[source], &[target], &short("new"))
    })
    .unwrap();
    let remedy = only_conflict(&plan).remedy(HOSTS);
    assert!(
        remedy.ends_with("zfs rename 'backup/b b' 'backup/b b.old'"),
        "{remedy}"
    );
}
