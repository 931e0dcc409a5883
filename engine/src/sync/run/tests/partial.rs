//! Parts of cut streams whose snapshot the source has lost since.

use super::*;
use crate::event::Event;
use crate::name::{BookmarkName, DatasetName, Guid};
use crate::plan::{Conflict, DiscardReason, OnPartial};
use crate::replicate::ReplicateError;
use crate::sync::run::TargetError;
use crate::zfs::Zfs as _;
use crate::zfs::model::Fault;

/// Of which snapshot a part is to be left in `tank/data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// One of another tool that went along.
    Daily,
    /// The one that the run took.
    Tosend,
}

/// In step once, or with nothing on `b`; then a run is cut at this operation.
fn cut_at(operation: u64, in_step: bool) -> World {
    let world = World::new(&["a", "b"]);
    world.write("a", 1);
    if in_step {
        assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    }
    let hands = world.models["a"].by_hand();
    hands.write("tank/data", 2, &[2; 5000]).unwrap();
    hands.snapshot("tank/data@daily.1").unwrap();
    hands.write("tank/data", 3, &[3; 5000]).unwrap();
    let begin = world.faults.operations();
    world.faults.fail_at(begin + operation, Fault::CrashMidway);
    let _ = world.sync("a", Action::Update);
    world.revive();
    world
}

/// The guid of the part that is left on `b`.
fn arriving(world: &World) -> Option<Guid> {
    let there = world.models["b"].by_hand().look("tank/data")?;
    Some(there.partial?.content?.to_guid)
}

/// Takes the snapshot that the part is of from the source.
fn lose(world: &World) -> Option<()> {
    let guid = arriving(world)?;
    let hands = world.models["a"].by_hand();
    let snapshot = hands
        .look("tank/data")?
        .snapshot_by_guid(guid)?
        .short
        .clone();
    hands
        .destroy_snapshot(&format!("tank/data@{snapshot}"))
        .unwrap();
    Some(())
}

/// The operation at which a run has to be cut.
fn operation_of(of: Of, in_step: bool) -> u64 {
    let fits = |operation: &u64| {
        let world = cut_at(*operation, in_step);
        let found = arriving(&world).and_then(|guid| {
            let tree = world.models["a"].by_hand().look("tank/data")?;
            Some(tree.snapshot_by_guid(guid)?.short.as_str() == "tosend")
        });
        found == Some(of == Of::Tosend)
    };
    (1..200).find(fits).expect("no receive was cut")
}

fn ensure_whole(world: &World, when: &str) {
    let newest = |node: &str| {
        let found = world.models[node].by_hand().look("tank/data").unwrap();
        let newest = found.snapshots.last().unwrap();
        (newest.short.to_string(), newest.guid, found.partial)
    };
    let (here, there) = (newest("a"), newest("b"));
    assert_eq!(here.0, "sent", "{when}");
    assert_eq!(here, there, "{when}");
    for name in ["tank/data", "tank/data/x"] {
        let digest = |node: &str| world.models[node].by_hand().digest(name).unwrap();
        assert_eq!(digest("a"), digest("b"), "{name} {when}");
        for node in ["a", "b"] {
            let holds = world.models[node].by_hand().holds(&format!("{name}@sent"));
            assert!(holds.is_empty(), "{holds:?} {when}");
        }
    }
}

#[test]
fn a_part_of_what_the_source_has_lost_is_given_up_and_told() {
    for of in [Of::Daily, Of::Tosend] {
        for in_step in [true, false] {
            let when = format!("of {of:?}, in step: {in_step}");
            let world = cut_at(operation_of(of, in_step), in_step);
            lose(&world).unwrap();
            let report = world.sync("a", Action::Update).unwrap();
            assert!(all_well(&report), "{when}: {report:#?}");
            // A part of `tosend` has the daily one before it.
            let mode = match (of, in_step) {
                (Of::Daily, false) => Mode::Full,
                _ => Mode::Incremental,
            };
            assert_eq!(modes(&report), [mode], "{when}");
            ensure_whole(&world, &when);
            let told = world.seen.0.lock().unwrap();
            let told = told.iter().filter_map(|event| match event {
                Event::PartialDiscarded {
                    received_bytes,
                    reason,
                    ..
                } => Some((*received_bytes > 0, *reason)),
                _ => None,
            });
            let told: Vec<_> = told.collect();
            assert_eq!(told, [(true, DiscardReason::Useless)], "{when}");
        }
    }
}

#[test]
fn a_rehearsal_shows_what_is_given_up_with_its_bytes_and_changes_nothing() {
    let world = cut_at(operation_of(Of::Daily, true), true);
    lose(&world).unwrap();
    let lists = || ["a", "b"].map(|node| world.models[node].by_hand().list());
    let before = lists();
    let rehearsal = world.rehearse("a", Action::Update);
    assert_eq!(lists(), before);
    let target = &rehearsal.resources[0].targets[0];
    let lines = &target.outcome.as_ref().unwrap().lines;
    let shown: Vec<_> = lines.iter().filter(|l| l.contains("receive -A")).collect();
    assert_eq!(shown.len(), 1, "{lines:?}");
    assert!(shown[0].contains("bytes of tank/data@daily.1"), "{shown:?}");
    world.steps();
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    let ran = world.steps();
    assert!(ran.contains(shown[0]), "{ran:?}");
}

#[test]
fn a_part_of_another_program_stays_until_the_option_gives_it_up() {
    let mut world = cut_at(operation_of(Of::Daily, true), true);
    lose(&world).unwrap();
    // Without the mark nothing proves that zferry sent it.
    let source = &world.models["a"];
    let left = arriving(&world).unwrap();
    let marks = source.by_hand().look("tank/data").unwrap().bookmarks;
    let of_it = marks.into_iter().filter(|mark| mark.guid == left);
    let names: Vec<_> = of_it
        .map(|mark| BookmarkName {
            dataset: DatasetName::parse("tank/data").unwrap(),
            short: mark.short,
        })
        .collect();
    assert!(!names.is_empty());
    source.destroy_bookmarks(&names).unwrap();
    let before = world.models["b"].by_hand().list();
    let report = world.sync("a", Action::Update).unwrap();
    let error = report.resources[0].targets[0].outcome.as_ref().unwrap_err();
    let TargetError::Replicate(ReplicateError::Conflicts { conflicts }) = error else {
        panic!("{error}")
    };
    assert!(matches!(conflicts[..], [Conflict::PartialReceive { .. }]));
    assert_eq!(world.models["b"].by_hand().list(), before);
    assert!(arriving(&world).is_some());
    world.loss.on_partial = OnPartial::Discard;
    let report = world.sync("a", Action::Update).unwrap();
    assert_eq!(modes(&report), [Mode::Incremental], "{report:?}");
    ensure_whole(&world, "after it was asked for");
}

/// Fails operation 1, 2, 3 … of a run that gives a part up; the next one has to
/// go through by itself, with the marks of the first gone or not.
fn sweep(of: Of, in_step: bool, fault: Fault) -> u64 {
    let cut = operation_of(of, in_step);
    for operation in 1.. {
        let world = cut_at(cut, in_step);
        lose(&world).unwrap();
        let hands = world.models["b"].by_hand();
        hands.create("tank/foreign").unwrap();
        hands.snapshot("tank/foreign@theirs").unwrap();
        let struck = world.faults.struck().len();
        let begin = world.faults.operations();
        world.faults.fail_at(begin + operation, fault);
        let when = format!("after {fault:?} at operation {operation} with a part of {of:?}");
        let outcome = world.sync("a", Action::Update);
        if world.faults.struck().len() == struck {
            assert!(all_well(&outcome.unwrap()), "{when}");
            return operation - 1;
        }
        world.revive();
        if in_step {
            world.ensure_a_base("a", "b", &when);
        }
        let report = world.sync("a", Action::Update).unwrap();
        assert!(all_well(&report), "{when}: {report:#?}");
        if in_step {
            assert_eq!(modes(&report), [Mode::Incremental], "{when}");
        }
        ensure_whole(&world, &when);
        let foreign = hands.look("tank/foreign").unwrap();
        assert_eq!(foreign.snapshots.len(), 1, "{when}");
    }
    unreachable!("a run has a bounded number of operations")
}

#[test]
fn a_run_that_gives_a_part_up_may_be_cut_at_any_operation() {
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        for (of, in_step) in [(Of::Daily, true), (Of::Daily, false), (Of::Tosend, true)] {
            let points = sweep(of, in_step, fault);
            assert!(points > 20, "only {points} operations were tried");
        }
    }
}
