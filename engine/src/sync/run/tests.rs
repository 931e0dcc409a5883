//! Whole runs of a service over machines in memory, with faults at every
//! operation of every machine.

mod admission;
mod alongside;
mod beside;
mod between;
mod commanded;
mod faults;
mod former;
mod heirs;
mod holds;
mod informed;
mod leftovers;
mod limits;
mod loss;
mod mounted;
mod order;
mod partial;
mod peers;
mod persist;
mod rehearsal;
mod schedule;
mod sweeps;
mod world;

use super::Action;
use crate::error::Family;
use crate::sync::state::Mode;
use world::{World, all_well, modes};

#[test]
fn the_first_run_is_full_and_the_next_ones_are_incremental() {
    let world = World::new(&["a", "b"]);
    for (version, mode) in [
        (1, Mode::Full),
        (2, Mode::Incremental),
        (3, Mode::Incremental),
    ] {
        world.write("a", version);
        let report = world.sync("a", Action::Nodes).unwrap();
        assert!(all_well(&report), "{report:?}");
        assert_eq!(modes(&report), [mode]);
        world.ensure_in_step("a", "b", "after a run");
    }
}

#[test]
fn the_way_back_after_a_swap_of_roles_is_incremental() {
    let world = World::new(&["a", "b"]);
    world.write("a", 1);
    world.sync("a", Action::Nodes).unwrap();
    world.write("b", 2);
    let report = world.sync("b", Action::Update).unwrap();
    assert_eq!(modes(&report), [Mode::Incremental], "{report:?}");
    world.ensure_in_step("b", "a", "after the swap");
    world.write("a", 3);
    let report = world.sync("a", Action::Update).unwrap();
    assert_eq!(modes(&report), [Mode::Incremental], "{report:?}");
    world.ensure_in_step("a", "b", "after the second swap");
}

#[test]
fn a_target_that_is_away_holds_nobody_back_and_catches_up_incrementally() {
    let world = World::new(&["a", "b", "c"]);
    world.write("a", 1);
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    world.away.lock().unwrap().push("c".into());
    for version in 2..5 {
        world.write("a", version);
        let report = world.sync("a", Action::Update).unwrap();
        assert_eq!(modes(&report), [Mode::Incremental], "only b: {report:?}");
        world.ensure_in_step("a", "b", "while c is away");
        world.ensure_a_base("a", "c", "while c is away");
    }
    world.away.lock().unwrap().clear();
    world.write("a", 6);
    let report = world.sync("a", Action::Update).unwrap();
    assert_eq!(modes(&report), [Mode::Incremental; 2], "{report:?}");
    world.ensure_in_step("a", "b", "when c is back");
    world.ensure_in_step("a", "c", "when c is back");
}

#[test]
fn a_node_that_is_added_gets_a_full_and_the_others_stay_incremental() {
    let world = World::new(&["a", "b", "c"]);
    world.away.lock().unwrap().push("c".into());
    world.write("a", 1);
    world.sync("a", Action::Update).unwrap();
    world.away.lock().unwrap().clear();
    world.write("a", 2);
    let report = world.sync("a", Action::Update).unwrap();
    assert_eq!(modes(&report), [Mode::Incremental, Mode::Full]);
    world.ensure_in_step("a", "c", "after the full");
}

#[test]
fn a_copy_without_a_common_base_is_left_alone() {
    let world = World::new(&["a", "b"]);
    let hands = world.models["b"].by_hand();
    hands.create("tank/data").unwrap();
    hands.write("tank/data", 1, b"precious").unwrap();
    hands.snapshot("tank/data@sent").unwrap();
    let before = hands.list();
    for action in [Action::Update, Action::Nodes] {
        world.write("a", 1);
        let report = world.sync("a", action).unwrap();
        let error = report.resources[0].targets[0].outcome.as_ref().unwrap_err();
        assert_eq!(error.family(), Family::BrokenChain, "{error}");
        assert_eq!(world.models["b"].by_hand().list(), before);
    }
}
