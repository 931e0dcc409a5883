//! Claims about what a run does when: triggers, the group of snapshots, alerts.

use super::super::{Action, ResourceError};
use super::world::{World, all_well};
use crate::error::Family;
use crate::sync::state::TroubleKind;

/// Two resources of one pool, with this in each and in all.
fn two(defaults: &str, first: &str, second: &str) -> World {
    let mut world = World::new(&["a", "b"]);
    world.configure(&format!(
        "[DEFAULT]\nnodes = a b\ntarget = nodes\n{defaults}\n\
         [sync#1]\nsrc = tank/data\nrecursive = false\n{first}\n\
         [sync#2]\nsrc = tank/more\n{second}\n"
    ));
    world.models["a"].by_hand().create("tank/more").unwrap();
    world
}

/// In which of the steps a text occurs first.
fn place(steps: &[String], part: &str) -> usize {
    let found = steps.iter().position(|step| step.contains(part));
    found.unwrap_or_else(|| panic!("{part} is not among {steps:#?}"))
}

/// Transaction in which `@sent` was taken.
fn txg(world: &World, dataset: &str) -> u64 {
    let dataset = world.models["a"].by_hand().look(dataset).unwrap();
    dataset.snapshots[0].createtxg.0
}

#[test]
fn all_resources_are_snapshot_in_one_transaction_before_anything_is_sent() {
    let world = two("", "", "");
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    assert_eq!(txg(&world, "tank/data"), txg(&world, "tank/more"));
    let steps = world.steps();
    let last_snapshot = place(&steps, "zfs snapshot -r tank/more@tosend");
    assert!(place(&steps, "zfs snapshot tank/data@tosend") < last_snapshot);
    assert!(last_snapshot < place(&steps, "zfs send"), "{steps:#?}");
}

#[test]
fn a_resource_with_delay_snap_is_snapshot_just_before_its_own_transfer() {
    let world = two("", "", "tags = delay_snap");
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    assert!(txg(&world, "tank/data") < txg(&world, "tank/more"));
}

#[test]
fn triggers_and_snapshots_follow_each_other_as_the_scheme_says() {
    let defaults = "presnap_trigger = /freeze\npostsnap_trigger = /thaw";
    let world = two(
        defaults,
        "pre_sync_update = /pre one\nblocking_pre_sync_update = /block\npost_sync_update = /post",
        "",
    );
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    let steps = world.steps();
    let order = [
        "a: /block",
        "a: /pre one",
        "a: /freeze",
        "a: /thaw",
        "a: zfs send",
        "b: zfs rename",
        "a: zfs rename",
        "a: /post",
    ];
    let places: Vec<usize> = order.iter().map(|part| place(&steps, part)).collect();
    assert!(places.is_sorted(), "{order:?} {places:?} {steps:#?}");
    // One freeze for both resources, and the facts are told.
    assert_eq!(
        world.commands.take(),
        ["/block", "/pre one", "/freeze", "/thaw", "/post"]
    );
}

#[test]
fn a_trigger_belongs_to_its_action_alone_and_is_told_what_it_is_about() {
    let world = two("", "pre_sync_update = /pre\npre_sync_nodes = /other", "");
    world.sync("a", Action::Update).unwrap();
    let started = world.commands.started.lock().unwrap();
    let [(words, facts)] = &started[..] else {
        panic!("{started:?}")
    };
    assert_eq!(words, "/pre");
    for (name, value) in [
        ("ZFERRY_SERVICE", "svc"),
        ("ZFERRY_RID", "sync#1"),
        ("ZFERRY_NODE", "a"),
        ("ZFERRY_ACTION", "update"),
        ("ZFERRY_SRC", "tank/data"),
        ("ZFERRY_DST", "tank/data"),
        ("ZFERRY_TRIGGER", "pre_sync_update"),
    ] {
        assert_eq!(facts.get(name).map(String::as_str), Some(value), "{name}");
    }
}

#[test]
fn a_blocking_trigger_that_fails_stops_its_resource_alone() {
    let world = two(
        "",
        "blocking_pre_sync_update = /block\npost_sync_update = /post",
        "",
    );
    world.commands.fail("/block");
    let report = world.sync("a", Action::Update).unwrap();
    let error = report.resources[0].failure.as_ref().unwrap();
    assert!(matches!(error, ResourceError::Command { .. }), "{error}");
    assert_eq!(error.family(), Family::Failed);
    assert!(report.resources[1].is_success(), "{report:#?}");
    assert!(world.models["b"].by_hand().look("tank/data").is_none());
    let snapshots = &world.models["a"]
        .by_hand()
        .look("tank/data")
        .unwrap()
        .snapshots;
    assert!(snapshots.is_empty(), "{snapshots:?}");
    assert_eq!(world.commands.take(), ["/block"]);
}

#[test]
fn another_trigger_that_fails_is_a_warning() {
    let world = two("", "pre_sync_update = /pre", "");
    world.commands.fail("/pre");
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
}

#[test]
fn a_trigger_after_the_action_waits_for_its_success() {
    let world = two("", "post_sync_update = /post", "post_sync_update = /also");
    let hands = world.models["b"].by_hand();
    hands.create("tank/data").unwrap();
    hands.write("tank/data", 0, b"not ours").unwrap();
    world.sync("a", Action::Update).unwrap();
    assert_eq!(world.commands.take(), ["/also"]);
}

#[test]
fn what_cannot_be_frozen_is_not_sent_and_thawed_all_the_same() {
    let world = two(
        "",
        "presnap_trigger = /freeze\npostsnap_trigger = /thaw",
        "",
    );
    world.commands.fail("/freeze");
    let report = world.sync("a", Action::Update).unwrap();
    assert!(report.resources[0].failure.is_some(), "{report:#?}");
    assert!(report.resources[1].is_success(), "{report:#?}");
    assert!(world.models["b"].by_hand().look("tank/data").is_none());
    assert_eq!(world.commands.take(), ["/freeze", "/thaw"]);
}

#[test]
fn a_broken_chain_is_told_by_the_alert_with_the_facts_in_its_environment() {
    let world = two("alert_command = /alert me", "", "");
    let hands = world.models["b"].by_hand();
    hands.create("tank/data").unwrap();
    hands.write("tank/data", 0, b"not ours").unwrap();
    hands.snapshot("tank/data@theirs").unwrap();
    // An alert that fails changes nothing about the run.
    world.commands.fail("/alert");
    let report = world.sync("a", Action::Update).unwrap();
    let error = report.resources[0].targets[0].outcome.as_ref().unwrap_err();
    assert_eq!(error.family(), Family::BrokenChain);
    assert_eq!(error.trouble(), TroubleKind::BrokenChain, "{error}");
    assert!(report.resources[1].is_success(), "{report:#?}");
    let started = world.commands.started.lock().unwrap();
    let [(words, facts)] = &started[..] else {
        panic!("{started:?}")
    };
    assert_eq!(words, "/alert me");
    let fact = |name| facts.get(name).map(String::as_str);
    assert_eq!(fact("ZFERRY_RID"), Some("sync#1"));
    assert_eq!(fact("ZFERRY_TARGET"), Some("b"));
    assert_eq!(fact("ZFERRY_KIND"), Some("broken_chain"));
    assert_eq!(fact("ZFERRY_MESSAGE"), Some(error.to_string().as_str()));
}

#[test]
fn a_target_that_is_only_away_raises_no_alert() {
    let world = two("alert_command = /alert", "", "");
    world.away.lock().unwrap().push("b".to_owned());
    let report = world.sync("a", Action::Update).unwrap();
    assert!(!all_well(&report));
    assert!(world.commands.take().is_empty());
    let dataset = world.models["a"].by_hand().look("tank/data").unwrap();
    assert!(dataset.snapshots.is_empty(), "a snapshot for nobody");
}
