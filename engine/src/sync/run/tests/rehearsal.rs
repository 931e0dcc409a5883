//! Claims about rehearsals: they change nothing and tell what a run does.

use std::path::Path;

use super::super::{Action, NotRun, Rehearsal};
use super::world::{World, all_well};
use crate::error::Family;

/// Every step, in the order in which it is shown.
fn lines(rehearsal: &Rehearsal) -> Vec<String> {
    let resources = rehearsal.resources.iter();
    let lines = resources.flat_map(|resource| {
        let targets = resource.targets.iter();
        let planned = targets.flat_map(|target| target.outcome.as_ref().unwrap().lines.clone());
        let before = resource.before.clone().into_iter();
        before.chain(planned).chain(resource.after.clone())
    });
    lines.collect()
}

fn files_below(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.file_type().unwrap().is_dir() {
            true => files_below(&entry.path()),
            false => 1,
        })
        .sum()
}

/// A rehearsal, and the run: the first changes nothing and shows the steps of
/// the second.
fn ensure_shown(world: &World, action: Action, when: &str) {
    let pools = |world: &World| -> Vec<Vec<String>> {
        let models = world.models.values();
        models.map(|model| model.by_hand().list()).collect()
    };
    let commands = |world: &World| -> usize {
        let models = world.models.values();
        models.map(|model| model.commands().len()).sum()
    };
    let before = (pools(world), commands(world));
    let files = files_below(world.states.path());
    let rehearsal = world.rehearse("a", action);
    assert_eq!((pools(world), commands(world)), before, "changed {when}");
    assert_eq!(files_below(world.states.path()), files);
    assert!(world.commands.take().is_empty());
    assert!(world.steps().is_empty());

    assert!(all_well(&world.sync("a", action).unwrap()));
    world.commands.take();
    // The same, but for the order of what both targets and the source do.
    let (mut shown, mut ran) = (lines(&rehearsal), world.steps());
    ran.retain(|step| !step.contains("zfs create"));
    shown.sort();
    ran.sort();
    assert_eq!(shown, ran, "{when}");
}

#[test]
fn the_steps_that_are_shown_are_those_of_the_run_that_follows() {
    let world = World::configured(&["a", "b", "c"], "", "presnap_trigger = /freeze");
    for version in 1..4 {
        world.write("a", version);
        ensure_shown(&world, Action::Update, &format!("in run {version}"));
    }
    world.write("a", 4);
    ensure_shown(&world, Action::Full, "in a full beside what is there");
}

#[test]
fn what_becomes_of_holds_on_bases_is_shown() {
    let world = World::with(&["a", "b", "c"], "hold_base = yes\n");
    for version in 1..4 {
        world.write("a", version);
        ensure_shown(&world, Action::Update, &format!("in run {version}"));
    }
    world.write("a", 4);
    ensure_shown(&world, Action::Full, "in a full beside what is there");
}

#[test]
fn what_would_be_refused_or_fail_is_shown_as_such() {
    let world = World::configured(&["a", "b"], "", "active_check = /is-up");
    world.commands.fail("/is-up");
    let rehearsal = world.rehearse("a", Action::Update);
    let resource = &rehearsal.resources[0];
    assert!(
        matches!(resource.not_run, Some(NotRun::Refused(_))),
        "{rehearsal:?}"
    );
    let world = World::new(&["a", "b"]);
    let hands = world.models["b"].by_hand();
    hands.create("tank/data").unwrap();
    hands.write("tank/data", 0, b"not ours").unwrap();
    let rehearsal = world.rehearse("a", Action::Update);
    let error = rehearsal.resources[0].targets[0]
        .outcome
        .as_ref()
        .unwrap_err();
    assert_eq!(error.family(), Family::BrokenChain, "{error}");
}

#[test]
fn a_run_that_was_cut_is_shown_with_what_it_left() {
    let world = World::new(&["a", "b"]);
    world.write("a", 1);
    world.sync("a", Action::Update).unwrap();
    world.write("a", 2);
    for dataset in ["tank/data", "tank/data/x"] {
        let name = format!("{dataset}@tosend");
        world.models["a"].by_hand().snapshot(&name).unwrap();
    }
    let shown = lines(&world.rehearse("a", Action::Update));
    assert_eq!(shown[0], "a: zfs destroy -r tank/data@tosend", "{shown:#?}");
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
}
