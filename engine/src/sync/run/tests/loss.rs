//! Targets with changes and snapshots of their own.

use super::*;
use crate::event::Event;
use crate::plan::{Conflict, Loss, OnModified, OnNewer, OnPartial};
use crate::replicate::ReplicateError;
use crate::sync::run::TargetError;
use crate::sync::state::TroubleKind;

/// In step once; then both sides are written to, the target in the last dataset
/// of its tree, with a snapshot of it.
fn diverged(mut world: World, loss: Loss) -> World {
    world.write("a", 1);
    assert!(all_well(&world.sync("a", Action::Nodes).unwrap()));
    world.write("a", 2);
    let hands = world.models["b"].by_hand();
    hands.write("tank/data/x", 60, &[6; 10_000]).unwrap();
    hands.snapshot("tank/data/x@theirs").unwrap();
    world.loss = loss;
    world
}

#[test]
fn a_diverged_dataset_keeps_its_whole_tree_from_changing_and_is_told_as_diverged() {
    let world = diverged(World::new(&["a", "b"]), Loss::default());
    let before = world.models["b"].by_hand().list();
    for action in [Action::Nodes, Action::Update] {
        let report = world.sync("a", action).unwrap();
        let error = report.resources[0].targets[0].outcome.as_ref().unwrap_err();
        assert_eq!(error.family(), Family::BrokenChain, "{error}");
        assert_eq!(error.trouble(), TroubleKind::Diverged);
        // `update` has taken a fresh `tosend` on the source.
        let state = error.state_left().unwrap();
        assert_eq!(state, "nothing was changed on the target");
        let TargetError::Replicate(ReplicateError::Conflicts { conflicts, .. }) = error else {
            panic!("{error}")
        };
        assert!(
            matches!(conflicts[..], [Conflict::Diverged { .. }]),
            "{error}"
        );
        assert_eq!(world.models["b"].by_hand().list(), before);
        world.ensure_a_base("a", "b", "after a refusal");
    }
}

#[test]
fn the_option_gives_up_what_diverged_and_the_run_is_incremental() {
    let loss = Loss {
        on_modified: OnModified::RollBack,
        on_newer: OnNewer::Destroy,
        on_partial: OnPartial::Report,
    };
    let world = diverged(World::new(&["a", "b"]), loss);
    let report = world.sync("a", Action::Nodes).unwrap();
    assert_eq!(modes(&report), [Mode::Incremental], "{report:?}");
    world.ensure_in_step("a", "b", "after what diverged was given up");
    let told = world.seen.0.lock().unwrap();
    let lost = told.iter().find_map(|event| match event {
        Event::RolledBack {
            lost_bytes,
            snapshots,
            ..
        } => Some((*lost_bytes, snapshots.len())),
        _ => None,
    });
    assert!(matches!(lost, Some((10_000.., 1))), "{lost:?}");
}

#[test]
fn the_keyword_rolls_changes_back_and_never_a_snapshot() {
    let with_keyword = || World::with(&["a", "b"], "rollback = modified\n");
    let world = diverged(with_keyword(), Loss::default());
    let before = world.models["b"].by_hand().list();
    assert!(!all_well(&world.sync("a", Action::Update).unwrap()));
    assert_eq!(world.models["b"].by_hand().list(), before);

    let world = with_keyword();
    world.write("a", 1);
    world.sync("a", Action::Update).unwrap();
    let hands = world.models["b"].by_hand();
    hands.write("tank/data", 61, &[6; 10_000]).unwrap();
    world.write("a", 2);
    let report = world.sync("a", Action::Update).unwrap();
    assert_eq!(modes(&report), [Mode::Incremental], "{report:?}");
    world.ensure_in_step("a", "b", "after a rollback");
}

#[test]
fn a_former_source_is_rolled_back_with_the_marks_of_what_it_never_sent() {
    let mut world = World::new(&["a", "b", "c"]);
    world.write("a", 1);
    world.sync("a", Action::Update).unwrap();
    // The last run of `a` reaches nobody, and it writes on.
    world.write("a", 2);
    let begin = world.faults.operations();
    let mut cut = 0;
    while cut == 0 || !marked_tosend(&world) {
        cut += 1;
        assert!(cut < 60, "no run was cut after its marks");
        world
            .faults
            .fail_at(begin + cut, crate::zfs::model::Fault::CrashAfter);
        drop(world.sync("a", Action::Update));
        world.revive();
        if !marked_tosend(&world) {
            world = World::new(&["a", "b", "c"]);
            world.write("a", 1);
            world.sync("a", Action::Update).unwrap();
            world.write("a", 2);
        }
    }
    world.write("b", 3);
    let report = world.sync("b", Action::Update).unwrap();
    assert!(!all_well(&report), "the changes of a are lost");
    world.loss.on_modified = OnModified::RollBack;
    let report = world.sync("b", Action::Update).unwrap();
    assert!(all_well(&report), "{report:#?}");
    world.ensure_in_step("b", "a", "after a rollback of the former source");
}

/// `a` has taken and marked its `tosend`, and nobody has any of it.
fn marked_tosend(world: &World) -> bool {
    let tosend = crate::name::ShortName::parse("tosend").unwrap();
    let of = |node: &str| {
        let tree = world.tree(node);
        let found = tree[0].snapshot_by_name(&tosend).map(|s| s.guid);
        (found, tree[0].bookmarks.clone())
    };
    let (tosend, marks) = of("a");
    tosend.is_some_and(|guid| marks.iter().any(|mark| mark.guid == guid))
        && of("b").0.is_none()
        && of("c").0.is_none()
}
