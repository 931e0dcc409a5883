//! A full sync onto a dataset that exists.

use std::path::Path;

use super::super::{Action, SyncReport, TargetError};
use super::world::{POOL_BYTES, World, all_well, modes};
use crate::error::Family;
use crate::sync::config::{Service, ServiceName};
use crate::sync::state::Mode;
use crate::zfs::ZfsErrorKind;
use crate::zfs::model::Fault;

/// Crashes, and what a dataset in use answers.
const FAULTS: [Fault; 4] = [
    Fault::CrashBefore,
    Fault::CrashMidway,
    Fault::CrashAfter,
    Fault::Error(ZfsErrorKind::Busy),
];

/// Datasets of a node right below its pool that are copies of `tank/data`.
fn copies(world: &World, node: &str) -> Vec<String> {
    let list = world.models[node].by_hand().list();
    list.into_iter()
        .filter(|name| name.contains(".zferry-") && !name.contains(['@', '#']))
        .filter(|name| name.matches('/').count() == 1)
        .collect()
}

fn error(report: &SyncReport) -> &TargetError {
    report.resources[0].targets[0].outcome.as_ref().unwrap_err()
}

/// `b` has something else at `tank/data`, without a base, with a snapshot.
fn with_a_stranger(more: &str) -> World {
    let world = World::with(&["a", "b"], more);
    world.write("a", 1);
    let hands = world.models["b"].by_hand();
    for dataset in ["tank/data", "tank/data/x"] {
        hands.create(dataset).unwrap();
    }
    hands.write("tank/data", 7, b"of somebody").unwrap();
    hands.snapshot("tank/data@mine").unwrap();
    world
}

#[test]
fn a_full_onto_what_exists_takes_its_place_and_keeps_it_aside() {
    let world = with_a_stranger("");
    let digest = world.models["b"].by_hand().digest("tank/data@mine");
    let report = world.sync("a", Action::Update).unwrap();
    assert_eq!(error(&report).family(), Family::BrokenChain);
    let report = world.sync("a", Action::Full).unwrap();
    assert_eq!(modes(&report), [Mode::Full], "{report:#?}");
    let synced = report.resources[0].targets[0].outcome.as_ref().unwrap();
    assert_eq!(synced.dst.as_str(), "tank/data");
    assert_eq!(synced.datasets[1].dataset.as_str(), "tank/data/x");
    world.ensure_in_step("a", "b", "after the full");
    let [old] = &copies(&world, "b")[..] else {
        panic!("{:?}", copies(&world, "b"))
    };
    let hands = world.models["b"].by_hand();
    assert_eq!(hands.digest(&format!("{old}@mine")), digest);
    // The next run is incremental, and the copy stays for whoever wants it.
    world.write("a", 2);
    assert_eq!(
        modes(&world.sync("a", Action::Update).unwrap()),
        [Mode::Incremental]
    );
    assert_eq!(copies(&world, "b"), std::slice::from_ref(old));
}

#[test]
fn a_full_over_a_good_copy_sends_everything_again() {
    let world = World::new(&["a", "b"]);
    for version in 1..4 {
        world.write("a", version);
        let report = world.sync("a", Action::Full).unwrap();
        assert_eq!(modes(&report), [Mode::Full], "{report:#?}");
        world.ensure_in_step("a", "b", "after a full");
        assert_eq!(copies(&world, "b").len(), usize::from(version) - 1);
    }
}

#[test]
fn old_copies_go_as_the_policy_says() {
    let world = with_a_stranger("keep_old = no\n");
    assert!(all_well(&world.sync("a", Action::Full).unwrap()));
    assert!(copies(&world, "b").is_empty());

    let world = with_a_stranger("keep_old = next\n");
    assert!(all_well(&world.sync("a", Action::Full).unwrap()));
    assert_eq!(copies(&world, "b").len(), 1);
    world.write("a", 2);
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    assert!(copies(&world, "b").is_empty());
}

#[test]
fn an_old_copy_that_is_held_or_cloned_stays_and_the_run_goes_on() {
    for cloned in [false, true] {
        let world = with_a_stranger("keep_old = next\n");
        assert!(all_well(&world.sync("a", Action::Full).unwrap()));
        let old = copies(&world, "b")[0].clone();
        let hands = world.models["b"].by_hand();
        let snapshot = format!("{old}@mine");
        match cloned {
            true => hands.clone_snapshot(&snapshot, "tank/clone").unwrap(),
            false => hands.hold(&snapshot, "me").unwrap(),
        }
        world.write("a", 2);
        let report = world.sync("a", Action::Update).unwrap();
        assert!(all_well(&report), "{report:#?}");
        assert_eq!(copies(&world, "b"), [old]);
    }
}

#[test]
fn what_only_looks_like_an_old_copy_is_never_destroyed() {
    let world = with_a_stranger("keep_old = no\n");
    let name = "tank/data.zferry-old-0123456789abcdef";
    world.models["b"].by_hand().create(name).unwrap();
    assert!(all_well(&world.sync("a", Action::Full).unwrap()));
    assert_eq!(copies(&world, "b"), [name]);
}

#[test]
fn a_full_that_cannot_fit_is_refused_before_anything_is_sent() {
    let world = with_a_stranger("");
    let big = vec![1; 10 << 20];
    let hands = world.models["b"].by_hand();
    hands.create("tank/big").unwrap();
    hands.write("tank/big", 0, &big).unwrap();
    world.models["a"]
        .by_hand()
        .write("tank/data", 9, &big)
        .unwrap();
    let before = hands.list();
    let report = world.sync("a", Action::Full).unwrap();
    assert!(
        matches!(error(&report), TargetError::NoRoom { .. }),
        "{report:#?}"
    );
    assert_eq!(hands.list(), before);
}

#[test]
fn foreign_snapshots_in_a_new_copy_keep_it_from_being_discarded() {
    let world = with_a_stranger("");
    let hands = world.models["b"].by_hand();
    hands.create("tank/data.zferry-new").unwrap();
    hands.snapshot("tank/data.zferry-new@mine").unwrap();
    let report = world.sync("a", Action::Full).unwrap();
    let text = error(&report).to_string();
    assert!(text.contains("tank/data.zferry-new@mine"), "{text}");
    // What holds nothing of anybody's goes, and the full goes on.
    hands.destroy_snapshot("tank/data.zferry-new@mine").unwrap();
    assert!(all_well(&world.sync("a", Action::Full).unwrap()));
    world.ensure_in_step("a", "b", "after the full");
}

#[test]
fn a_copy_beside_of_which_the_source_knows_nothing_is_never_moved_into_place() {
    let world = World::new(&["a", "b"]);
    world.write("a", 1);
    let hands = world.models["b"].by_hand();
    hands.create("tank/data.zferry-new").unwrap();
    hands.snapshot("tank/data.zferry-new@mine").unwrap();
    let guid = hands.look("tank/data.zferry-new").unwrap().guid;
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    let report = world.sync("a", Action::Full).unwrap();
    assert!(error(&report).to_string().contains("@mine"), "{report:#?}");
    assert_eq!(hands.look("tank/data.zferry-new").unwrap().guid, guid);
    world.ensure_a_base("a", "b", "after both");
}

#[test]
fn the_root_of_a_pool_is_not_replaced_by_a_full() {
    let mut world = World::new(&["a", "b"]);
    let text = "[DEFAULT]\nnodes = a b\n[sync#1]\ntype = zfs\nsrc = tank/data\n\
        dst = safe\ntarget = nodes\n";
    let name = ServiceName::parse("svc").unwrap();
    world.service = Service::parse(&name, Path::new("svc.conf"), text.as_bytes()).unwrap();
    let hands = world.models["b"].by_hand();
    hands.add_pool("safe", POOL_BYTES).unwrap();
    let before = hands.list();
    world.write("a", 1);
    let report = world.sync("a", Action::Full).unwrap();
    assert!(
        matches!(error(&report), TargetError::RootOfPool { .. }),
        "{report:#?}"
    );
    assert_eq!(hands.list(), before);
}

/// Cuts a full onto `b` at every operation. After each cut `b` has the old
/// data or the new under `tank/data`, or the next run puts it there; and the
/// old copy's snapshot is there under one name or the other.
fn sweep(fault: Fault, then: Action) -> u64 {
    for operation in 1.. {
        let world = World::new(&["a", "b"]);
        world.write("a", 1);
        assert!(all_well(&world.sync("a", Action::Update).unwrap()));
        let hands = world.models["b"].by_hand();
        hands.snapshot("tank/data/x@mine").unwrap();
        world.write("a", 2);
        let begin = world.faults.operations();
        world.faults.fail_at(begin + operation, fault);
        let when = format!("after {fault:?} at operation {operation}, then {then:?}");
        let outcome = world.sync("a", Action::Full);
        if world.faults.struck().is_empty() {
            assert!(all_well(&outcome.unwrap()), "{when}");
            return operation - 1;
        }
        world.revive();
        let mine = |list: Vec<String>| list.iter().filter(|name| name.ends_with("@mine")).count();
        assert_eq!(mine(world.models["b"].by_hand().list()), 1, "{when}");
        world.write("a", 3);
        let report = world.sync("a", then).unwrap();
        assert!(all_well(&report), "{when}: {report:#?}");
        if then == Action::Full {
            world.ensure_in_step("a", "b", &when);
        }
        assert_eq!(mine(world.models["b"].by_hand().list()), 1, "{when}");
        let kept = copies(&world, "b");
        let new = kept.iter().filter(|name| name.ends_with("-new")).count();
        assert!(
            kept.len() - new <= 1 || then == Action::Full,
            "{when}: {kept:?}"
        );
        assert!(new == 0 || then != Action::Full, "{when}: {kept:?}");
    }
    unreachable!("a run has a bounded number of operations")
}

#[test]
fn a_full_onto_what_exists_may_be_cut_at_any_operation_and_another_full_converges() {
    for fault in FAULTS {
        let points = sweep(fault, Action::Full);
        assert!(points > 20, "only {points} operations were tried");
    }
}

#[test]
fn a_full_that_was_cut_leaves_updates_as_they_were() {
    for fault in FAULTS {
        let points = sweep(fault, Action::Update);
        assert!(points > 20, "only {points} operations were tried");
    }
}
