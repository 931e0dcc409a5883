//! Targets that send one day: what they keep for the others.

use super::super::Action;
use super::world::{World, all_well, modes};
use crate::sync::state::Mode;
use crate::zfs::model::Fault;

/// `a` has sent to `b` and `c`; then `c` was away for two runs.
fn with_c_left_behind() -> World {
    let world = World::new(&["a", "b", "c"]);
    world.write("a", 1);
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    world.away.lock().unwrap().push("c".into());
    for version in 2..4 {
        world.write("a", version);
        let report = world.sync("a", Action::Update).unwrap();
        assert_eq!(modes(&report), [Mode::Incremental], "only b: {report:?}");
    }
    world.away.lock().unwrap().clear();
    world
}

#[test]
fn a_target_that_missed_runs_is_caught_up_by_a_sender_that_was_a_target() {
    let world = with_c_left_behind();
    world.ensure_a_base("b", "c", "before b ever sent");
    world.write("b", 5);
    let report = world.sync("b", Action::Update).unwrap();
    assert_eq!(modes(&report), [Mode::Incremental; 2], "{report:?}");
    for target in ["a", "c"] {
        world.ensure_in_step("b", target, "after the swap");
    }
}

#[test]
fn a_sender_that_died_is_caught_up_by_the_second_one_after_it() {
    let world = World::new(&["a", "b", "c"]);
    world.write("a", 1);
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    // `b` goes on alone with `c`, and then `c` takes over from `b`.
    world.away.lock().unwrap().push("a".into());
    for version in 2..4 {
        world.write("b", version);
        let report = world.sync("b", Action::Update).unwrap();
        assert_eq!(modes(&report), [Mode::Incremental], "only c: {report:?}");
    }
    world.away.lock().unwrap().clear();
    world.write("c", 5);
    let report = world.sync("c", Action::Update).unwrap();
    assert_eq!(modes(&report), [Mode::Incremental; 2], "{report:?}");
    for target in ["a", "b"] {
        world.ensure_in_step("c", target, "after the second swap");
    }
}

#[test]
fn marks_for_others_do_not_pile_up() {
    let world = World::new(&["a", "b", "c"]);
    let mut most = 0;
    for version in 1..9 {
        world.write("a", version);
        assert!(all_well(&world.sync("a", Action::Update).unwrap()));
        for dataset in world.tree("b") {
            most = most.max(dataset.bookmarks.len());
        }
    }
    assert!((1..=2).contains(&most), "{most} bookmarks in one dataset");
}

#[test]
fn a_run_that_leaves_one_behind_may_be_cut_at_any_operation() {
    for fault in [Fault::CrashBefore, Fault::CrashMidway, Fault::CrashAfter] {
        for operation in 1.. {
            let world = with_c_left_behind();
            world.away.lock().unwrap().push("c".into());
            world.write("a", 10);
            let begin = world.faults.operations();
            world.faults.fail_at(begin + operation, fault);
            let outcome = world.sync("a", Action::Update);
            let when = format!("after {fault:?} at operation {operation}");
            world.away.lock().unwrap().clear();
            if world.faults.struck().is_empty() {
                assert!(operation > 15, "only {operation} operations were tried");
                assert_eq!(modes(&outcome.unwrap()), [Mode::Incremental]);
                break;
            }
            world.revive();
            world.ensure_a_base("b", "c", &when);
        }
    }
}
