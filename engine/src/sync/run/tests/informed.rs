//! Nodes that get no data and learn of the state.

use std::path::Path;

use super::super::Action;
use super::world::{World, all_well};
use crate::sync::config::{NodeName, Rid, Service, ServiceName};
use crate::sync::state::StateStore;

const CONFIG: &str = "[DEFAULT]\nnodes = a b\ndrpnodes = c\n[sync#1]\ntype = zfs\n\
    src = tank/data\ntarget = drpnodes\n";

fn world() -> World {
    let mut world = World::new(&["a", "b", "c"]);
    let name = ServiceName::parse("svc").unwrap();
    world.service = Service::parse(&name, Path::new("svc.conf"), CONFIG.as_bytes()).unwrap();
    world.write("a", 1);
    world
}

/// Nodes that a node's state says have their data.
fn known_on(world: &World, node: &str) -> Vec<String> {
    let states = StateStore::new(world.states.path().join(node));
    let (service, rid) = (world.service.name(), Rid::parse("sync#1").unwrap());
    let state = states.read(service, &rid).unwrap();
    let state = state.map_or_else(Vec::new, |state| state.targets().to_vec());
    let synced = state.iter().filter(|target| target.synced.is_some());
    synced.map(|target| target.of.node.to_string()).collect()
}

#[test]
fn where_only_drpnodes_are_targets_the_other_nodes_learn_of_the_state() {
    let world = world();
    assert!(all_well(&world.sync("a", Action::Drp).unwrap()));
    for node in ["a", "b", "c"] {
        assert_eq!(known_on(&world, node), ["c"], "{node}");
    }
    // It got nothing else.
    assert!(world.tree("b").is_empty());
}

#[test]
fn a_node_that_cannot_be_told_fails_nothing() {
    let world = world();
    let b = NodeName::parse("b").unwrap();
    world.away.lock().unwrap().push(b.to_string());
    assert!(all_well(&world.sync("a", Action::Drp).unwrap()));
    assert_eq!(known_on(&world, "b"), Vec::<String>::new());
    assert_eq!(known_on(&world, "c"), ["c"]);
}
