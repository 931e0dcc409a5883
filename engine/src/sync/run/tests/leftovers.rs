//! A `tosend` that stands on a target and that the source does not know.

use super::super::Action;
use super::world::{World, all_well, modes};
use crate::error::Family;
use crate::sync::state::Mode;

/// What a node keeps that took `tosend` and could not send it.
fn leave_tosend(world: &World, node: &str) {
    for dataset in ["tank/data", "tank/data/x"] {
        let name = format!("{dataset}@tosend");
        world.models[node].by_hand().snapshot(&name).unwrap();
    }
}

#[test]
fn a_tosend_of_a_former_sender_is_destroyed_where_a_base_is_shared() {
    let world = World::new(&["a", "b"]);
    world.write("a", 1);
    world.sync("a", Action::Update).unwrap();
    leave_tosend(&world, "b");
    world.write("a", 2);
    let report = world.sync("a", Action::Update).unwrap();
    assert_eq!(modes(&report), [Mode::Incremental], "{report:#?}");
    world.ensure_in_step("a", "b", "after the run");
}

#[test]
fn a_tosend_of_a_former_sender_stays_in_a_broken_chain() {
    let world = World::new(&["a", "b"]);
    world.write("a", 1);
    let hands = world.models["b"].by_hand();
    for dataset in ["tank/data", "tank/data/x"] {
        hands.create(dataset).unwrap();
    }
    leave_tosend(&world, "b");
    let before = hands.list();
    let report = world.sync("a", Action::Update).unwrap();
    let error = report.resources[0].targets[0].outcome.as_ref().unwrap_err();
    assert_eq!(error.family(), Family::BrokenChain, "{error}");
    assert_eq!(hands.list(), before);
}

#[test]
fn a_tosend_that_holds_changes_of_its_own_is_no_leftover() {
    let world = World::new(&["a", "b"]);
    world.write("a", 1);
    world.sync("a", Action::Update).unwrap();
    let hands = world.models["b"].by_hand();
    hands.write("tank/data/x", 3, &[7; 20_000]).unwrap();
    leave_tosend(&world, "b");
    let before = hands.list();
    world.write("a", 2);
    let report = world.sync("a", Action::Update).unwrap();
    let error = report.resources[0].targets[0].outcome.as_ref().unwrap_err();
    assert_eq!(error.family(), Family::BrokenChain, "{error}");
    assert!(error.to_string().contains("bytes written"), "{error}");
    assert_eq!(hands.list(), before);
    assert!(!all_well(&report));
}

#[test]
fn a_held_leftover_is_refused_and_nothing_is_sent() {
    let world = World::new(&["a", "b"]);
    world.write("a", 1);
    world.sync("a", Action::Update).unwrap();
    leave_tosend(&world, "b");
    let hands = world.models["b"].by_hand();
    hands.hold("tank/data/x@tosend", "mine").unwrap();
    let before = hands.list();
    world.write("a", 2);
    let report = world.sync("a", Action::Update).unwrap();
    let error = report.resources[0].targets[0].outcome.as_ref().unwrap_err();
    assert!(error.to_string().contains("tank/data/x@tosend"), "{error}");
    assert_eq!(hands.list(), before);
    hands.release("tank/data/x@tosend", "mine").unwrap();
    world.write("a", 3);
    let report = world.sync("a", Action::Update).unwrap();
    assert_eq!(modes(&report), [Mode::Incremental], "{report:#?}");
    world.ensure_in_step("a", "b", "after the release");
}

#[test]
fn a_tosend_where_the_source_has_no_dataset_does_not_become_a_base() {
    let world = World::new(&["a", "b"]);
    world.write("a", 1);
    world.sync("a", Action::Update).unwrap();
    world.models["b"].by_hand().create("tank/data/y").unwrap();
    leave_tosend(&world, "b");
    let hands = world.models["b"].by_hand();
    hands.snapshot("tank/data/y@tosend").unwrap();
    hands.snapshot("tank/data/y@mine").unwrap();
    world.write("a", 2);
    let report = world.sync("a", Action::Update).unwrap();
    assert!(all_well(&report), "{report:#?}");
    let y = world.models["b"].by_hand().look("tank/data/y").unwrap();
    let names: Vec<_> = y.snapshots.iter().map(|s| s.short.as_str()).collect();
    assert_eq!(names, ["mine"]);
}
