//! Snapshots that have the names of the other naming, or of other agents.

use std::path::Path;

use super::super::Action;
use super::world::{World, all_well, config, modes};
use crate::error::Family;
use crate::name::BookmarkName;
use crate::sync::config::{Service, ServiceName};
use crate::sync::state::Mode;
use crate::zfs::model::Fault;
use crate::zfs::{Zfs, ZfsErrorKind};

const PLAIN: &str = "naming = plain\n";
const RID: &str = "naming = rid\n";
const BOTH: [(&str, &str, &str); 2] = [(PLAIN, RID, "sync.1.sent"), (RID, PLAIN, "sent")];

fn configure(world: &mut World, nodes: &[&str], more: &str) {
    let name = ServiceName::parse("svc").unwrap();
    let text = config(nodes) + more;
    world.service = Service::parse(&name, Path::new("svc.conf"), text.as_bytes()).unwrap();
}

fn names(world: &World, node: &str) -> Vec<String> {
    let list = world.models[node].by_hand().list();
    list.into_iter().filter(|name| name.contains('@')).collect()
}

/// All have the source's present data, one snapshot, the same one.
fn ensure_only(world: &World, nodes: &[&str], short: &str, when: &str) {
    for node in nodes {
        let wanted = ["tank/data", "tank/data/x"].map(|dataset| format!("{dataset}@{short}"));
        assert_eq!(names(world, node), wanted, "on {node} {when}");
        for (here, there) in world.tree("a").iter().zip(world.tree(node)) {
            assert_eq!(here.snapshots[0].guid, there.snapshots[0].guid, "{when}");
            let digest = |node: &str| world.models[node].by_hand().digest(here.name.as_str());
            assert_eq!(digest("a"), digest(node), "{} on {node} {when}", here.name);
        }
    }
}

fn run(world: &World, node: &str, version: u8, when: &str) {
    world.write(node, version);
    let report = world.sync(node, Action::Update).unwrap();
    assert!(all_well(&report), "{when}: {report:#?}");
    let modes = modes(&report);
    assert!(
        modes.iter().all(|mode| *mode == Mode::Incremental),
        "{when}"
    );
}

/// What the cluster agents would have left: their names, and no marks.
fn as_the_agents_left_it(world: &World, node: &str) {
    let model = &world.models[node];
    for dataset in world.tree(node) {
        let marks = dataset.bookmarks.iter().map(|mark| BookmarkName {
            dataset: dataset.name.clone(),
            short: mark.short.clone(),
        });
        model.destroy_bookmarks(&marks.collect::<Vec<_>>()).unwrap();
        let rename = |from: &str, to: &str| {
            let name = format!("{}@{from}", dataset.name);
            model.by_hand().rename_snapshot(&name, to).unwrap();
        };
        rename("sent", "sync.1.sent");
    }
}

#[test]
fn a_change_of_naming_needs_no_full_and_leaves_no_former_name() {
    for (before, after, short) in BOTH {
        let mut world = World::with(&["a", "b"], before);
        world.write("a", 1);
        assert!(all_well(&world.sync("a", Action::Update).unwrap()));
        configure(&mut world, &["a", "b"], after);
        run(&world, "a", 2, after);
        ensure_only(&world, &["a", "b"], short, after);
    }
}

#[test]
fn pairs_of_the_cluster_agents_are_taken_over_by_either_naming() {
    for (naming, short) in [(PLAIN, "sent"), (RID, "sync.1.sent")] {
        let mut world = World::new(&["a", "b"]);
        world.write("a", 1);
        world.sync("a", Action::Update).unwrap();
        as_the_agents_left_it(&world, "a");
        as_the_agents_left_it(&world, "b");
        configure(&mut world, &["a", "b"], naming);
        run(&world, "a", 2, naming);
        ensure_only(&world, &["a", "b"], short, naming);
    }
}

#[test]
fn an_agents_run_that_was_cut_is_completed() {
    // They destroy the target's base before they rename.
    let world = World::new(&["a", "b"]);
    world.write("a", 1);
    world.sync("a", Action::Update).unwrap();
    as_the_agents_left_it(&world, "a");
    as_the_agents_left_it(&world, "b");
    for node in ["a", "b"] {
        for dataset in ["tank/data", "tank/data/x"] {
            let name = format!("{dataset}@sync.1.sent");
            let hands = world.models[node].by_hand();
            hands.rename_snapshot(&name, "sync.1.tosend").unwrap();
        }
    }
    run(&world, "a", 2, "after the cut");
    ensure_only(&world, &["a", "b"], "sent", "after the cut");
}

#[test]
fn a_target_that_is_away_is_renamed_when_it_is_back() {
    for (before, after, short) in BOTH {
        for marked in [true, false] {
            let mut world = World::with(&["a", "b", "c"], before);
            world.write("a", 1);
            world.sync("a", Action::Update).unwrap();
            if !marked && before == RID {
                continue;
            }
            if !marked {
                for node in ["a", "b", "c"] {
                    as_the_agents_left_it(&world, node);
                }
            }
            let (after, short) = match marked {
                true => (after, short),
                false => (PLAIN, "sent"),
            };
            configure(&mut world, &["a", "b", "c"], after);
            world.away.lock().unwrap().push("c".into());
            for version in 2..4 {
                world.write("a", version);
                let report = world.sync("a", Action::Update).unwrap();
                assert_eq!(modes(&report), [Mode::Incremental], "{report:#?}");
                ensure_only(&world, &["a", "b"], short, "while c is away");
                world.ensure_a_base("a", "c", "while c is away");
            }
            world.away.lock().unwrap().clear();
            run(&world, "a", 5, "when c is back");
            ensure_only(&world, &["a", "b", "c"], short, "when c is back");
        }
    }
}

#[test]
fn a_node_that_becomes_the_sender_renames_what_it_received() {
    for (before, after, short) in BOTH {
        let mut world = World::with(&["a", "b"], before);
        world.write("a", 1);
        world.sync("a", Action::Update).unwrap();
        configure(&mut world, &["a", "b"], after);
        run(&world, "b", 2, after);
        ensure_only(&world, &["a", "b"], short, after);
    }
}

#[test]
fn a_run_after_a_change_of_naming_may_be_cut_at_any_operation() {
    let faults = [
        Fault::CrashBefore,
        Fault::CrashMidway,
        Fault::CrashAfter,
        Fault::Error(ZfsErrorKind::Busy),
    ];
    for (before, after, short) in BOTH {
        for fault in faults {
            for operation in 1.. {
                let mut world = World::with(&["a", "b"], before);
                world.write("a", 1);
                world.sync("a", Action::Update).unwrap();
                configure(&mut world, &["a", "b"], after);
                world.write("a", 2);
                let begin = world.faults.operations();
                world.faults.fail_at(begin + operation, fault);
                let when = format!("after {fault:?} at operation {operation}, {after}");
                let outcome = world.sync("a", Action::Update);
                if world.faults.struck().is_empty() {
                    assert!(all_well(&outcome.unwrap()), "{when}");
                    assert!(operation > 15, "only {operation} operations were tried");
                    break;
                }
                world.revive();
                world.ensure_a_base("a", "b", &when);
                run(&world, "a", 3, &when);
                ensure_only(&world, &["a", "b"], short, &when);
            }
        }
    }
}

#[test]
fn the_naming_may_change_after_a_run_that_was_cut_at_any_operation() {
    for (before, after, short) in BOTH {
        for fault in [Fault::CrashBefore, Fault::CrashMidway] {
            for operation in 1.. {
                let mut world = World::with(&["a", "b", "c"], before);
                world.write("a", 1);
                world.sync("a", Action::Update).unwrap();
                world.write("a", 2);
                let begin = world.faults.operations();
                world.faults.fail_at(begin + operation, fault);
                let when = format!("after {fault:?} at operation {operation}, {after}");
                let outcome = world.sync("a", Action::Update);
                if world.faults.struck().is_empty() {
                    assert!(all_well(&outcome.unwrap()), "{when}");
                    break;
                }
                world.revive();
                configure(&mut world, &["a", "b", "c"], after);
                run(&world, "a", 3, &when);
                ensure_only(&world, &["a", "b", "c"], short, &when);
            }
        }
    }
}

#[test]
fn a_name_that_another_resource_owns_is_left_alone() {
    let mut world = World::new(&["a", "b"]);
    world.models["a"].by_hand().create("tank/data/x/y").unwrap();
    world.write("a", 1);
    world.sync("a", Action::Update).unwrap();
    let before = world.tree("a")[1].snapshots[0].guid;
    // What is below x goes elsewhere from now on too, under the plain names.
    let other = "naming = rid\n[sync#2]\ntype = zfs\nsrc = tank/data/x\ndst = tank/other\n\
                 target = nodes\n";
    configure(&mut world, &["a", "b"], other);
    let report = world.sync("a", Action::Update).unwrap();
    assert!(all_well(&report), "{report:#?}");
    let names = names(&world, "a");
    assert!(names.contains(&"tank/data/x@sent".to_owned()), "{names:?}");
    assert!(!names.contains(&"tank/data@sent".to_owned()), "{names:?}");
    for model in ["a", "b"] {
        let x = world.models[model].by_hand().look("tank/data/x").unwrap();
        assert!(
            x.snapshots
                .iter()
                .any(|one| one.short.as_str() == "sync.1.sent")
        );
        assert!(model == "a" || x.snapshot_by_guid(before).is_some());
    }
}

#[test]
fn a_base_of_two_resources_that_were_one_stays_for_both() {
    let mut world = World::new(&["a", "b", "c"]);
    world.write("a", 1);
    world.sync("a", Action::Update).unwrap();
    for node in ["a", "b", "c"] {
        as_the_agents_left_it(&world, node);
        for dataset in ["tank/data", "tank/data/x"] {
            let hands = world.models[node].by_hand();
            hands
                .rename_snapshot(&format!("{dataset}@sync.1.sent"), "sent")
                .unwrap();
        }
    }
    let name = ServiceName::parse("svc").unwrap();
    let text = "[DEFAULT]\nnodes = a b\ndrpnodes = c\n\
                [sync#1]\ntype = zfs\nnaming = rid\nsrc = tank/data\ntarget = nodes\n\
                [sync#2]\ntype = zfs\nnaming = rid\nsrc@a = tank/data\ndst = tank/data\n\
                target = drpnodes\n";
    world.service = Service::parse(&name, Path::new("svc.conf"), text.as_bytes()).unwrap();
    world.write("a", 2);
    // Both run at the same time: one may find that the other has just renamed
    // what it was about to start from. Its mark stays.
    world.sync("a", Action::Update).unwrap();
    run(&world, "a", 3, "after the split");
}

#[test]
fn a_snapshot_that_only_has_such_a_name_is_left_alone() {
    let world = World::with(&["a", "b"], RID);
    world.write("a", 1);
    for dataset in ["tank/data", "tank/data/x"] {
        for short in ["sent", "tosend", "sent.old"] {
            let hands = world.models["a"].by_hand();
            hands.snapshot(&format!("{dataset}@{short}")).unwrap();
        }
    }
    for version in 2..4 {
        world.write("a", version);
        assert!(all_well(&world.sync("a", Action::Update).unwrap()));
        for dataset in world.tree("a") {
            let names: Vec<_> = dataset
                .snapshots
                .iter()
                .map(|one| one.short.as_str())
                .collect();
            assert_eq!(names, ["sent", "tosend", "sent.old", "sync.1.sent"]);
        }
    }
}

#[test]
fn a_broken_chain_keeps_its_former_names() {
    let mut world = World::new(&["a", "b"]);
    world.write("a", 1);
    world.sync("a", Action::Update).unwrap();
    for dataset in ["tank/data", "tank/data/x"] {
        let hands = world.models["b"].by_hand();
        hands.destroy_snapshot(&format!("{dataset}@sent")).unwrap();
        hands.snapshot(&format!("{dataset}@sent")).unwrap();
    }
    let before = world.models["b"].by_hand().list();
    configure(&mut world, &["a", "b"], RID);
    world.write("a", 2);
    let report = world.sync("a", Action::Update).unwrap();
    let error = report.resources[0].targets[0].outcome.as_ref().unwrap_err();
    assert_eq!(error.family(), Family::BrokenChain, "{error}");
    assert_eq!(world.models["b"].by_hand().list(), before);
}

#[test]
fn a_rehearsal_shows_what_would_be_renamed_and_renames_nothing() {
    for (before, after, _) in BOTH {
        let mut world = World::with(&["a", "b"], before);
        world.write("a", 1);
        world.sync("a", Action::Update).unwrap();
        configure(&mut world, &["a", "b"], after);
        let pools = (names(&world, "a"), names(&world, "b"));
        let rehearsal = world.rehearse("a", Action::Update);
        assert_eq!((names(&world, "a"), names(&world, "b")), pools);
        let steps = rehearsal.resources[0].targets[0].outcome.as_ref().unwrap();
        let (from, to) = match after {
            RID => ("sent", "sync.1.sent"),
            _ => ("sync.1.sent", "sent"),
        };
        for node in ["a", "b"] {
            let line = format!("{node}: zfs rename -r tank/data@{from} tank/data@{to}");
            assert!(steps.lines.contains(&line), "{line}: {:#?}", steps.lines);
        }
        assert!(
            !steps
                .lines
                .iter()
                .any(|line| line.contains("receive -s -u tank/data@sent"))
        );
    }
}
