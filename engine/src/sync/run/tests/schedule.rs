//! Claims about `sync all`: what is due, and what is tried again when.

use super::super::{Action, NotRun, SyncReport};
use super::world::{World, all_well};

/// 1970-01-02 00:00, a Friday.
const DAY: u64 = 86_400;
const HOUR: u64 = 3_600;
const MINUTE: u64 = 60;

fn at(world: &World, seconds: u64) -> SyncReport {
    *world.now.lock().unwrap() = seconds;
    world.sync("a", Action::All).unwrap()
}

/// True if the run did something.
fn ran(report: &SyncReport) -> bool {
    match &report.resources[0].not_run {
        None => true,
        Some(NotRun::Skipped(why)) => {
            assert!(
                why.contains("not due before") || why.contains("another run"),
                "{why}"
            );
            false
        }
        Some(NotRun::Refused(why)) => panic!("{why}"),
    }
}

fn world() -> World {
    World::configured(&["a", "b"], "", "schedule = 04:00-06:00")
}

#[test]
fn a_resource_is_sent_once_in_its_window() {
    let world = world();
    assert!(!ran(&at(&world, DAY + 3 * HOUR)));
    let report = at(&world, DAY + 4 * HOUR);
    assert!(ran(&report) && all_well(&report), "{report:?}");
    for minutes in [1, 30, 119, 240, 1_000] {
        assert!(
            !ran(&at(&world, DAY + 4 * HOUR + minutes * MINUTE)),
            "{minutes}"
        );
    }
    assert!(ran(&at(&world, 2 * DAY + 4 * HOUR + MINUTE)));
}

#[test]
fn a_run_that_failed_is_tried_again_with_back_off_and_not_only_in_the_window() {
    let world = world();
    world.away.lock().unwrap().push("b".into());
    let begin = DAY + 5 * HOUR + 59 * MINUTE;
    let report = at(&world, begin);
    assert!(ran(&report) && !all_well(&report), "{report:?}");
    // 1 minute after the first failure, 2 after the second, 4 after the third.
    assert!(!ran(&at(&world, begin + 30)));
    assert!(ran(&at(&world, begin + MINUTE)));
    assert!(!ran(&at(&world, begin + 2 * MINUTE)));
    assert!(ran(&at(&world, begin + 3 * MINUTE)));
    assert!(!ran(&at(&world, begin + 6 * MINUTE)));
    world.away.lock().unwrap().clear();
    let report = at(&world, begin + 7 * MINUTE);
    assert!(ran(&report) && all_well(&report), "{report:?}");
    assert!(!ran(&at(&world, begin + 8 * MINUTE)));
}

#[test]
fn a_window_that_was_missed_is_made_up_for() {
    let world = world();
    assert!(ran(&at(&world, DAY + 4 * HOUR)));
    // The machine was off for the window of the next day.
    assert!(ran(&at(&world, 2 * DAY + 9 * HOUR)));
}

#[test]
fn a_run_that_was_killed_counts_as_failed() {
    let world = world();
    let operations = world.faults.operations();
    world
        .faults
        .fail_at(operations + 3, crate::zfs::model::Fault::CrashAfter);
    assert!(!all_well(&at(&world, DAY + 4 * HOUR)));
    world.revive();
    assert!(!ran(&at(&world, DAY + 4 * HOUR + 10)));
    let report = at(&world, DAY + 4 * HOUR + MINUTE);
    assert!(ran(&report) && all_well(&report), "{report:?}");
}

#[test]
fn a_success_by_hand_serves_the_window_too() {
    let world = world();
    *world.now.lock().unwrap() = DAY + 4 * HOUR;
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    assert!(!ran(&at(&world, DAY + 5 * HOUR)));
}

#[test]
fn what_another_run_has_is_no_failure_of_a_scheduler() {
    let world = world();
    world.commands.locked.lock().unwrap().push("sync#1".into());
    let report = at(&world, DAY + 4 * HOUR);
    assert!(!ran(&report) && all_well(&report), "{report:?}");
}
