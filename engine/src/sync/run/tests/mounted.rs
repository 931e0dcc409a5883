//! Claims about runs whose source is a mount point.

use std::path::Path;

use super::super::{Action, ResourceError};
use super::world::{World, modes};
use crate::error::Family;
use crate::sync::config::{Service, ServiceName};
use crate::sync::state::Mode;

/// Node `a` sends what is mounted at `/srv/data`.
fn world() -> World {
    let text = "[DEFAULT]\nnodes = a b\n[sync#1]\nsrc@a = /srv/data\nsrc@b = tank/data\n\
                dst = tank/data\ntarget = nodes\n";
    let name = ServiceName::parse("svc").unwrap();
    let mut world = World::new(&["a", "b"]);
    world.service = Service::parse(&name, Path::new("svc.conf"), text.as_bytes()).unwrap();
    world
}

#[test]
fn what_is_mounted_at_the_mount_point_is_sent() {
    let world = world();
    world.models["a"].by_hand().mount("tank/data", "/srv/data");
    world.write("a", 1);
    let report = world.sync("a", Action::Update).unwrap();
    assert_eq!(modes(&report), [Mode::Full], "{report:#?}");
    world.ensure_in_step("a", "b", "after the first run");
    // The other node sends it back by the name of the dataset.
    world.write("b", 2);
    let report = world.sync("b", Action::Update).unwrap();
    assert_eq!(modes(&report), [Mode::Incremental], "{report:#?}");
}

#[test]
fn a_mount_point_where_nothing_is_mounted_fails_before_anything_is_done() {
    let world = world();
    world.write("a", 1);
    let report = world.sync("a", Action::Update).unwrap();
    let error = report.resources[0].failure.as_ref().unwrap();
    assert!(matches!(error, ResourceError::NotMounted { .. }), "{error}");
    assert_eq!(error.family(), Family::Failed);
    assert!(
        error
            .to_string()
            .contains("no dataset is mounted at /srv/data")
    );
    assert!(error.remedies()[0].contains("findmnt /srv/data"));
    let made = world.models["a"].commands();
    assert!(made.is_empty(), "{made:?}");
}

#[test]
fn a_dataset_that_is_mounted_elsewhere_by_mistake_is_told_by_the_target() {
    let world = world();
    let hands = world.models["a"].by_hand();
    hands.create("tank/other").unwrap();
    hands.mount("tank/data", "/srv/data");
    world.write("a", 1);
    world.sync("a", Action::Update).unwrap();
    // Same mount point, another dataset: nothing in common with the copy.
    hands.mount("tank/other", "/srv/data");
    let report = world.sync("a", Action::Update).unwrap();
    let error = report.resources[0].targets[0].outcome.as_ref().unwrap_err();
    assert_eq!(error.family(), Family::BrokenChain, "{error}");
}
