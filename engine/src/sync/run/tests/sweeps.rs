//! Runs that are cut at every single operation, and the run that follows.

use super::super::Action;
use super::world::{World, all_well, modes};
use crate::sync::state::Mode;
use crate::zfs::ZfsErrorKind;
use crate::zfs::model::Fault;

/// Fails operation 1, 2, 3 … of a run in the given way. After each fault a
/// base is there, and the next runs bring everything over without a full.
fn sweep(nodes: &[&str], action: Action, first_runs: u8, fault: Fault) -> u64 {
    for operation in 1.. {
        let world = World::new(nodes);
        for version in 0..first_runs {
            world.write("a", version + 1);
            let report = world.sync("a", Action::Update).unwrap();
            assert!(all_well(&report), "{report:#?}");
        }
        world.write("a", 10);
        let begin = world.faults.operations();
        world.faults.fail_at(begin + operation, fault);
        let when = format!("after {fault:?} at operation {operation} of {action:?}");
        let outcome = world.sync("a", action);
        if world.faults.struck().is_empty() {
            assert!(all_well(&outcome.unwrap()), "{when}");
            return operation - 1;
        }
        world.revive();
        if first_runs > 0 {
            for target in &nodes[1..] {
                world.ensure_a_base("a", target, &when);
            }
        }
        world.write("a", 11);
        let report = world.sync("a", Action::Update).unwrap();
        assert!(all_well(&report), "{when}: {report:#?}");
        if first_runs > 0 {
            assert!(
                modes(&report).iter().all(|mode| *mode == Mode::Incremental),
                "a full {when}"
            );
        }
        for target in &nodes[1..] {
            world.ensure_in_step("a", target, &when);
        }
    }
    unreachable!("a run has a bounded number of operations")
}

#[test]
fn an_incremental_run_may_be_cut_at_any_operation() {
    for fault in [
        Fault::CrashBefore,
        Fault::CrashMidway,
        Fault::CrashAfter,
        Fault::Error(ZfsErrorKind::Io),
        Fault::Error(ZfsErrorKind::Busy),
    ] {
        let points = sweep(&["a", "b"], Action::Update, 1, fault);
        assert!(points > 15, "only {points} operations were tried");
    }
}

#[test]
fn a_first_run_may_be_cut_at_any_operation() {
    for fault in [Fault::CrashBefore, Fault::CrashMidway, Fault::CrashAfter] {
        let points = sweep(&["a", "b"], Action::Nodes, 0, fault);
        assert!(points > 10, "only {points} operations were tried");
    }
}

#[test]
fn a_run_to_two_targets_may_be_cut_at_any_operation() {
    for fault in [Fault::CrashBefore, Fault::CrashMidway, Fault::CrashAfter] {
        let points = sweep(&["a", "b", "c"], Action::Update, 2, fault);
        assert!(points > 20, "only {points} operations were tried");
    }
}
