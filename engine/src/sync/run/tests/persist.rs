//! Targets that are tried again within one run. The clock stands while anybody
//! is busy: waits are known, and take no time.

use std::time::Duration;

use super::super::{Action, TURNS_DEFAULT};
use super::world::{World, all_well, modes};
use crate::error::Family;
use crate::event::Event;
use crate::sync::state::Mode;
use crate::zfs::ZfsErrorKind;
use crate::zfs::model::Fault;

/// Nodes whose runs try again for this many seconds.
fn persistent(nodes: &[&str], seconds: u64, more: &str) -> World {
    let mut world = World::configured(nodes, "", more);
    world.paused = true;
    world.turns = TURNS_DEFAULT;
    world.patience.retry_for = Some(Duration::from_secs(seconds));
    world.patience.seed = Some(1);
    world
}

fn absent(world: &World, node: &str, times: u32) {
    let mut absences = world.absences.lock().unwrap();
    absences.insert(node.to_owned(), times);
}

/// When, seconds after the first event, such a one came; each time.
fn times(world: &World, which: impl Fn(&Event) -> bool) -> Vec<u64> {
    let events = world.seen.0.lock().unwrap();
    let times = world.seen.1.lock().unwrap();
    let found = events.iter().zip(times.iter());
    let found = found.filter(|(event, _)| which(event));
    found.map(|(_, at)| (*at - times[0]).as_secs()).collect()
}

fn is_step(event: &Event, peer: &str, part: &str) -> bool {
    matches!(event, Event::Step { peer: on, command } if on == peer && command.contains(part))
}

fn is_retry(event: &Event) -> bool {
    matches!(event, Event::Retrying { .. })
}

#[test]
fn a_target_that_comes_back_gets_the_same_snapshot_in_the_same_run_and_holds_nobody_back() {
    let world = persistent(&["a", "b", "c"], 300, "");
    world.write("a", 1);
    absent(&world, "c", 6);
    let report = world.sync("a", Action::Update).unwrap();
    assert!(all_well(&report), "{report:#?}");
    for target in ["b", "c"] {
        world.ensure_in_step("a", target, "after the run");
    }
    // The first of its absences is when all were to be reached.
    assert_eq!(times(&world, is_retry).len(), 6);
    let taken = times(&world, |event| is_step(event, "a", "zfs snapshot"));
    assert_eq!(
        taken.len(),
        1,
        "the snapshot was taken {} times",
        taken.len()
    );
    let committed = |node: &'static str| {
        let renamed = |event: &Event| is_step(event, node, "zfs rename -r tank/data@tosend");
        times(&world, renamed)[0]
    };
    assert_eq!(committed("b"), 0);
    assert!(committed("c") > 10, "{}", committed("c"));
    assert!(
        committed("a") >= committed("c"),
        "the source rotates at the end"
    );
}

#[test]
fn one_run_gets_over_a_passing_failure_of_any_operation_of_a_target() {
    for kind in [ZfsErrorKind::Busy, ZfsErrorKind::WorkerLost] {
        let mut n = 0;
        let (mut retried, mut gave_up) = (0, 0);
        loop {
            n += 1;
            let world = persistent(&["a", "b", "c"], 300, "");
            world.write("a", 1);
            assert!(all_well(&world.sync("a", Action::Update).unwrap()));
            world.write("a", 2);
            let before = world.faults.operations();
            world.faults.fail_at(before + n, Fault::Error(kind));
            world.seen.0.lock().unwrap().clear();
            world.seen.1.lock().unwrap().clear();
            let report = world.sync("a", Action::Update).unwrap();
            if world.faults.struck().is_empty() {
                break;
            }
            let when = format!("operation {n}, {kind:?}");
            retried += times(&world, is_retry).len();
            if !all_well(&report) {
                // The snapshot is not taken again, since databases wait for it.
                let failure = report.resources[0].failure.as_ref();
                let failure = failure.unwrap_or_else(|| panic!("{when}: {report:#?}"));
                assert_eq!(failure.family(), Family::Transient, "{when}");
                gave_up += 1;
                assert!(
                    all_well(&world.sync("a", Action::Update).unwrap()),
                    "{when}"
                );
            }
            for target in ["b", "c"] {
                world.ensure_in_step("a", target, &when);
            }
            assert_eq!(
                modes(&report).iter().find(|mode| **mode == Mode::Full),
                None,
                "{when}"
            );
        }
        assert!(n > 40 && retried > 20, "{n} operations, {retried} retries");
        assert_eq!(gave_up, 1, "of {n}");
    }
}

#[test]
fn a_target_that_stays_away_is_given_up_and_the_others_have_their_data() {
    let world = persistent(&["a", "b", "c"], 300, "");
    world.write("a", 1);
    world.away.lock().unwrap().push("c".into());
    let report = world.sync("a", Action::Update).unwrap();
    let [well, away] = &report.resources[0].targets[..] else {
        panic!("{report:#?}")
    };
    assert!(well.outcome.is_ok(), "{report:#?}");
    let error = away.outcome.as_ref().unwrap_err();
    assert_eq!(error.family(), Family::Transient, "{error}");
    world.ensure_in_step("a", "b", "without the other");
    let tried = times(&world, is_retry);
    assert!(tried.len() > 5, "{tried:?}");
    let rotated = |event: &Event| is_step(event, "a", "zfs rename -r tank/data@tosend");
    assert_eq!(times(&world, rotated), [300]);
    // It is sent what it misses when it is back, not everything.
    world.away.lock().unwrap().clear();
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    world.ensure_in_step("a", "c", "when it is back");
}

#[test]
fn what_is_no_passing_failure_is_not_tried_again() {
    let world = persistent(&["a", "b"], 300, "");
    world.write("a", 1);
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    let hands = world.models["b"].by_hand();
    hands.write("tank/data", 9, &[9; 20_000]).unwrap();
    world.seen.0.lock().unwrap().clear();
    let report = world.sync("a", Action::Update).unwrap();
    let error = report.resources[0].targets[0].outcome.as_ref().unwrap_err();
    assert_eq!(error.family(), Family::BrokenChain, "{error}");
    assert_eq!(times(&world, is_retry).len(), 0);
}

#[test]
fn nothing_is_tried_after_the_timeout_of_the_resource() {
    let world = persistent(&["a", "b", "c"], 3600, "timeout = 90s");
    world.write("a", 1);
    world.away.lock().unwrap().push("c".into());
    let report = world.sync("a", Action::Update).unwrap();
    assert!(report.resources[0].targets[0].outcome.is_ok());
    assert!(report.resources[0].targets[1].outcome.is_err());
    let tried = times(&world, is_retry);
    assert!(
        tried.iter().all(|at| *at <= 90) && tried.len() > 1,
        "{tried:?}"
    );
    let rotated = |event: &Event| is_step(event, "a", "zfs rename -r tank/data@tosend");
    assert!(times(&world, rotated)[0] <= 90);
}

#[test]
fn the_part_of_a_target_that_cannot_be_reached_at_first_is_kept_and_goes_on() {
    let mut world = persistent(&["a", "b"], 300, "");
    // More than fits into one frame, and into what is kept back of it.
    let hands = world.models["a"].by_hand();
    let mut random = fastrand::Rng::with_seed(1);
    for block in 0..80 {
        let mut data = vec![0; 60_000];
        random.fill(&mut data);
        hands.write("tank/data", block, &data).unwrap();
    }
    // The first run dies in the middle of its receive.
    world.patience.retry_for = Some(Duration::ZERO);
    let receive = {
        let probe = persistent(&["a", "b"], 0, "");
        probe.write("a", 1);
        probe.sync("a", Action::Update).unwrap();
        let log = probe.models["b"].log();
        let found = log
            .iter()
            .find(|logged| logged.command.starts_with("zfs receive"));
        found.unwrap().number.unwrap()
    };
    world.faults.fail_at(receive, Fault::CrashMidway);
    assert!(!all_well(&world.sync("a", Action::Update).unwrap()));
    world.revive();
    let part = world.models["b"]
        .by_hand()
        .look("tank/data")
        .unwrap()
        .partial;
    assert!(part.is_some(), "no part was kept");
    // In the next one it is away at first, and nobody may take its tosend away.
    world.patience.retry_for = Some(Duration::from_secs(300));
    world.seen.0.lock().unwrap().clear();
    absent(&world, "b", 4);
    let report = world.sync("a", Action::Update).unwrap();
    assert!(all_well(&report), "{report:#?}");
    let resumed = times(
        &world,
        |event| matches!(event, Event::TransferStarted { resumed_bytes: Some(bytes), .. } if *bytes > 0),
    );
    assert_eq!(resumed.len(), 1, "it did not go on with the part");
    world.ensure_in_step("a", "b", "after both");
}

#[test]
fn a_resource_whose_targets_are_all_away_takes_no_snapshot() {
    let world = persistent(&["a", "b"], 120, "");
    world.write("a", 1);
    world.away.lock().unwrap().push("b".into());
    let report = world.sync("a", Action::Update).unwrap();
    assert!(!all_well(&report));
    assert!(times(&world, is_retry).len() > 3);
    assert!(
        world
            .tree("a")
            .iter()
            .all(|dataset| dataset.snapshots.is_empty())
    );
}
