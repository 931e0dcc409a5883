//! Claims about who may start what.

use super::super::{Action, ActivityCheck, NotRun, Refusal, ResourceError, ResourceReport};
use super::world::{World, all_well, modes};
use crate::sync::config::{Rid, TargetKind};
use crate::sync::selection::Selection;
use crate::sync::state::Mode;

fn refusal(report: &ResourceReport) -> &Refusal {
    match &report.not_run {
        Some(NotRun::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

fn skipped(report: &ResourceReport) -> &str {
    match &report.not_run {
        Some(NotRun::Skipped(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// Nothing was done, asked or written down on any node.
fn ensure_untouched(world: &World) {
    assert!(world.models["a"].commands().is_empty());
    assert!(world.models["b"].by_hand().look("tank/data").is_none());
    let states: Vec<_> = std::fs::read_dir(world.states.path()).unwrap().collect();
    assert!(states.is_empty(), "{states:?}");
}

#[test]
fn a_node_that_is_not_listed_is_refused_before_anything_is_done() {
    let mut world = World::new(&["a", "b"]);
    world.configure("[DEFAULT]\nnodes = x y\n[sync#1]\nsrc = tank/data\ntarget = nodes\n");
    let report = world.sync("a", Action::Update).unwrap();
    assert!(
        matches!(report.refused, Some(Refusal::NotListed(_))),
        "{report:?}"
    );
    ensure_untouched(&world);
}

#[test]
fn in_a_flex_topology_another_node_than_the_primary_is_refused() {
    let mut world = World::new(&["a", "b"]);
    world.configure(
        "[DEFAULT]\nnodes = a b\ntopology = flex\nflex_primary = b\n\
         [sync#1]\nsrc = tank/data\ntarget = nodes\n",
    );
    let report = world.sync("a", Action::Update).unwrap();
    let refusal = refusal(&report.resources[0]);
    assert!(matches!(refusal, Refusal::NotSender(_)), "{refusal}");
    ensure_untouched(&world);
}

const PRD: &str = "env = PRD\nnode_env@a = PRD\nnode_env@b = TST\nnode_env@c = PRD\n";

#[test]
fn a_service_in_production_goes_to_no_node_that_is_not_and_to_the_others_all_the_same() {
    let world = World::configured(&["a", "b", "c"], PRD, "");
    let report = world.sync("a", Action::Update).unwrap();
    assert!(all_well(&report), "{report:?}");
    let [(node, Refusal::Environment { env, .. })] = &report.resources[0].refused[..] else {
        panic!("{report:?}")
    };
    assert_eq!((node.as_str(), env.as_str()), ("b", "TST"));
    assert!(world.models["b"].by_hand().look("tank/data").is_none());
    world.ensure_in_step("a", "c", "after the run");
}

#[test]
fn a_service_in_production_never_starts_on_a_node_that_is_not_even_when_forced() {
    let mut world = World::configured(&["b", "a"], PRD, "");
    world.activity = ActivityCheck::Overridden;
    let report = world.sync("b", Action::Update).unwrap();
    let refused = report.refused.as_ref();
    assert!(
        matches!(refused, Some(Refusal::Environment { .. })),
        "{report:?}"
    );
    // A service that is not in production goes anywhere.
    let world = World::configured(&["a", "b"], &PRD.replace("env = PRD\nnode", "node"), "");
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
}

#[test]
fn a_source_whose_service_is_not_up_is_refused_unless_forced() {
    let mut world = World::configured(&["a", "b"], "active_check = /is-up", "");
    world.commands.fail("/is-up");
    let report = world.sync("a", Action::Update).unwrap();
    let refusal = refusal(&report.resources[0]);
    assert!(matches!(refusal, Refusal::NotActive(_)), "{refusal}");
    assert!(refusal.to_string().contains("--force"), "{refusal}");
    ensure_untouched(&world);
    assert_eq!(world.commands.take(), ["/is-up"]);
    world.activity = ActivityCheck::Overridden;
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    assert!(world.commands.take().is_empty());
}

#[test]
fn one_check_answers_for_all_resources_that_have_it() {
    let mut world = World::new(&["a", "b"]);
    world.configure(
        "[DEFAULT]\nnodes = a b\ntarget = nodes\nactive_check = /is-up\n\
         [sync#1]\nsrc = tank/data\nrecursive = no\n[sync#2]\nsrc = tank/data/x\n",
    );
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    assert_eq!(world.commands.take(), ["/is-up"]);
}

#[test]
fn a_resource_whose_requirement_is_not_met_is_refused_until_it_is() {
    let mut world = World::new(&["a", "b"]);
    world.configure(
        "[DEFAULT]\nnodes = a b\ntarget = nodes\n\
         [sync#1]\nsrc = tank/data\nrecursive = no\n\
         [sync#2]\nsrc = tank/data/x\nsync_update_requires = sync#1(up)\n",
    );
    // Shortly after the snapshots, by the clock of the machines.
    *world.now.lock().unwrap() = 1_700_000_100;
    let report = world.sync("a", Action::Update).unwrap();
    let refusal = refusal(&report.resources[1]);
    assert_eq!(
        refusal.to_string(),
        "it requires sync#1(up), and sync#1 is warn"
    );
    let report = world.sync("a", Action::Update).unwrap();
    assert_eq!(
        modes(&report),
        [Mode::Incremental, Mode::Full],
        "{report:?}"
    );
}

#[test]
fn each_command_takes_the_resources_that_it_is_about() {
    let mut world = World::new(&["a", "b", "c"]);
    world.configure(
        "[DEFAULT]\nnodes = a b\ndrpnodes = c\n\
         [sync#1]\nsrc = tank/data\nrecursive = no\ntarget = nodes\n\
         [sync#2]\nsrc = tank/data/x\ntarget = nodes drpnodes\n\
         [sync#3]\nsrc = tank/drp\ntarget = drpnodes\n",
    );
    world.models["a"].by_hand().create("tank/drp").unwrap();
    let taken = |action| -> Vec<bool> {
        let report = world.sync("a", action).unwrap();
        assert!(all_well(&report), "{report:?}");
        let resources = report.resources.iter();
        resources.map(|one| one.not_run.is_none()).collect()
    };
    assert_eq!(taken(Action::Nodes), [true, false, false]);
    assert_eq!(taken(Action::Drp), [false, false, true]);
    assert_eq!(taken(Action::Update), [true, true, true]);
    let report = world.sync("a", Action::Nodes).unwrap();
    assert!(skipped(&report.resources[1]).contains("sync update"));
    assert!(skipped(&report.resources[2]).contains("sync drp"));
}

#[test]
fn only_the_selected_resources_and_groups_of_targets_are_served() {
    let mut world = World::new(&["a", "b", "c"]);
    world.configure(
        "[DEFAULT]\nnodes = a b\ndrpnodes = c\ntarget = nodes drpnodes\n\
         [sync#1]\nsrc = tank/data\nrecursive = no\n\
         [sync#2]\nsrc = tank/data/x\n",
    );
    world.selection = Selection {
        rids: vec![Rid::parse("sync#1").unwrap()],
        ..Selection::default()
    };
    world.groups = vec![TargetKind::DrpNodes];
    let report = world.sync("a", Action::Update).unwrap();
    assert_eq!(report.resources.len(), 1, "{report:?}");
    assert_eq!(report.resources[0].targets.len(), 1, "{report:?}");
    assert!(world.models["c"].by_hand().look("tank/data").is_some());
    assert!(world.models["b"].by_hand().look("tank/data").is_none());
    // Who was left out has lost nothing: its way on is incremental.
    world.groups.clear();
    world.sync("a", Action::Update).unwrap();
    world.groups = vec![TargetKind::DrpNodes];
    for version in 1..4 {
        world.write("a", version);
        assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    }
    world.groups.clear();
    let report = world.sync("a", Action::Update).unwrap();
    assert_eq!(modes(&report), [Mode::Incremental; 2], "{report:?}");
}

#[test]
fn a_resource_that_another_run_has_does_not_hold_back_the_others() {
    let mut world = World::new(&["a", "b"]);
    world.configure(
        "[DEFAULT]\nnodes = a b\ntarget = nodes\n\
         [sync#1]\nsrc = tank/data\nrecursive = no\n[sync#2]\nsrc = tank/data/x\n",
    );
    world.commands.locked.lock().unwrap().push("sync#1".into());
    let report = world.sync("a", Action::Update).unwrap();
    let error = report.resources[0].failure.as_ref().unwrap();
    assert!(matches!(error, ResourceError::Locked(_)), "{error}");
    assert!(report.resources[1].is_success(), "{report:?}");
    assert!(
        world.models["b"].by_hand().look("tank/data").is_none() || {
            // Only as the parent of the other resource's copy.
            let parent = world.models["b"].by_hand().look("tank/data").unwrap();
            parent.snapshots.is_empty()
        }
    );
}
