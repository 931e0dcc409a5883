//! What hands do to snapshots and children between two runs: each has its
//! outcome.

use super::super::{Action, SyncReport};
use super::world::{World, all_well, modes};
use crate::error::Family;
use crate::sync::state::Mode;

const DATASETS: [&str; 2] = ["tank/data", "tank/data/x"];

/// One good run, and new data for the next.
fn in_step() -> World {
    let world = World::new(&["a", "b"]);
    world.write("a", 1);
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    world.write("a", 2);
    world
}

fn names(world: &World, node: &str, dataset: &str) -> Vec<String> {
    let dataset = world.models[node].by_hand().look(dataset).unwrap();
    let names = dataset.snapshots.iter();
    names.map(|one| one.short.as_str().to_owned()).collect()
}

fn incremental(world: &World, when: &str) -> SyncReport {
    let report = world.sync("a", Action::Update).unwrap();
    assert_eq!(modes(&report), [Mode::Incremental], "{when}: {report:#?}");
    report
}

fn ensure_equal(world: &World, dataset: &str, when: &str) {
    let digest = |node: &str| world.models[node].by_hand().digest(dataset).unwrap();
    assert_eq!(digest("a"), digest("b"), "{dataset} {when}");
    let guid = |node: &str| {
        let dataset = world.models[node].by_hand().look(dataset).unwrap();
        let mut sent = dataset.snapshots.into_iter();
        sent.find(|one| one.short.as_str() == "sent").unwrap().guid
    };
    assert_eq!(guid("a"), guid("b"), "{dataset} {when}");
}

/// The chain is broken, the message names `dataset`, and the target is as it was.
fn ensure_broken(world: &World, dataset: &str) {
    let before = world.models["b"].by_hand().list();
    let report = world.sync("a", Action::Update).unwrap();
    let error = report.resources[0].targets[0].outcome.as_ref().unwrap_err();
    assert_eq!(error.family(), Family::BrokenChain, "{error}");
    assert!(error.to_string().contains(dataset), "{error}");
    assert_eq!(world.models["b"].by_hand().list(), before);
}

/// Every way to touch one or both datasets.
const SOME: [&[&str]; 3] = [&["tank/data"], &["tank/data/x"], &DATASETS];

#[test]
fn a_tosend_of_last_year_on_the_source_is_replaced() {
    for some in SOME {
        let world = in_step();
        for dataset in some {
            let hands = world.models["a"].by_hand();
            hands.snapshot(&format!("{dataset}@tosend")).unwrap();
        }
        world.write("a", 3);
        incremental(&world, "after a year");
        world.ensure_in_step("a", "b", "after a year");
    }
}

#[test]
fn a_tosend_of_last_year_that_both_sides_have_is_committed_first() {
    let world = in_step();
    for node in ["a", "b"] {
        for dataset in DATASETS {
            let hands = world.models[node].by_hand();
            hands
                .rename_snapshot(&format!("{dataset}@sent"), "tosend")
                .unwrap();
        }
    }
    incremental(&world, "after a year");
    world.ensure_in_step("a", "b", "after a year");
}

#[test]
fn a_tosend_that_is_held_or_cloned_on_the_source_gives_way_and_stays() {
    for cloned in [false, true] {
        let world = in_step();
        let hands = world.models["a"].by_hand();
        hands.snapshot("tank/data/x@tosend").unwrap();
        match cloned {
            true => hands
                .clone_snapshot("tank/data/x@tosend", "tank/clone")
                .unwrap(),
            false => hands.hold("tank/data/x@tosend", "me").unwrap(),
        }
        incremental(&world, "with a held leftover");
        ensure_equal(&world, "tank/data/x", "with a held leftover");
        let kept = names(&world, "a", "tank/data/x").remove(0);
        assert!(kept.starts_with("zferry-kept-"), "{kept}");
        match cloned {
            true => hands.destroy("tank/clone").unwrap(),
            false => hands.release(&format!("tank/data/x@{kept}"), "me").unwrap(),
        }
        world.write("a", 3);
        incremental(&world, "after the release");
        world.ensure_in_step("a", "b", "after the release");
    }
}

#[test]
fn a_base_that_was_destroyed_on_the_source_lives_on_as_a_mark() {
    for some in SOME {
        let world = in_step();
        for dataset in some {
            let hands = world.models["a"].by_hand();
            hands.destroy_snapshot(&format!("{dataset}@sent")).unwrap();
        }
        incremental(&world, "without sent");
        world.ensure_in_step("a", "b", "without sent");
    }
}

#[test]
fn a_base_that_was_destroyed_on_the_target_breaks_the_chain_and_a_full_mends_it() {
    for some in SOME {
        let world = in_step();
        for dataset in some {
            let hands = world.models["b"].by_hand();
            hands.destroy_snapshot(&format!("{dataset}@sent")).unwrap();
        }
        ensure_broken(&world, some[0]);
        let report = world.sync("a", Action::Full).unwrap();
        assert_eq!(modes(&report), [Mode::Full], "{report:#?}");
        world.ensure_in_step("a", "b", "after the full");
    }
}

#[test]
fn a_base_that_was_renamed_is_found_by_its_guid_and_keeps_its_new_name() {
    for node in ["a", "b"] {
        for some in SOME {
            let world = in_step();
            for dataset in some {
                let hands = world.models[node].by_hand();
                hands
                    .rename_snapshot(&format!("{dataset}@sent"), "mine")
                    .unwrap();
            }
            let when = format!("after {some:?} was renamed on {node}");
            for version in 3..5 {
                incremental(&world, &when);
                for dataset in DATASETS {
                    ensure_equal(&world, dataset, &when);
                    let mut wanted = vec!["sent"];
                    if some.contains(&dataset) {
                        wanted.insert(0, "mine");
                    }
                    assert_eq!(names(&world, node, dataset), wanted, "{when}");
                }
                world.write("a", version);
            }
        }
    }
}

#[test]
fn a_base_that_is_held_or_cloned_stays_under_another_name_until_it_is_free() {
    for node in ["a", "b"] {
        for cloned in [false, true] {
            for dataset in DATASETS {
                let world = in_step();
                let hands = world.models[node].by_hand();
                let base = format!("{dataset}@sent");
                let guid = hands.look(dataset).unwrap().snapshots[0].guid;
                match cloned {
                    true => hands.clone_snapshot(&base, "tank/clone").unwrap(),
                    false => hands.hold(&base, "me").unwrap(),
                }
                let when = format!("{base} on {node}, cloned: {cloned}");
                let kept = format!("zferry-kept-{guid}");
                for version in 3..5 {
                    incremental(&world, &when);
                    ensure_equal(&world, dataset, &when);
                    let names = names(&world, node, dataset);
                    assert_eq!(names, [kept.as_str(), "sent"], "{when}");
                    world.write("a", version);
                }
                match cloned {
                    true => hands.destroy("tank/clone").unwrap(),
                    false => hands.release(&format!("{dataset}@{kept}"), "me").unwrap(),
                }
                incremental(&world, &when);
                world.ensure_in_step("a", "b", &when);
            }
        }
    }
}

#[test]
fn what_only_has_the_name_of_a_kept_snapshot_is_not_destroyed() {
    let world = in_step();
    let hands = world.models["a"].by_hand();
    hands.snapshot("tank/data@zferry-kept-1").unwrap();
    incremental(&world, "beside it");
    assert!(names(&world, "a", "tank/data").contains(&"zferry-kept-1".to_owned()));
}

#[test]
fn a_child_that_was_created_on_the_source_is_sent_whole_and_the_rest_is_not() {
    let world = in_step();
    let hands = world.models["a"].by_hand();
    hands.create("tank/data/new").unwrap();
    hands.write("tank/data/new", 1, b"new").unwrap();
    for version in 3..5 {
        incremental(&world, "with a new child");
        for dataset in ["tank/data", "tank/data/new", "tank/data/x"] {
            ensure_equal(&world, dataset, "with a new child");
        }
        world.write("a", version);
    }
}

#[test]
fn a_child_that_was_created_on_the_target_is_left_alone() {
    let world = in_step();
    let hands = world.models["b"].by_hand();
    hands.create("tank/data/own").unwrap();
    hands.write("tank/data/own", 1, b"of b").unwrap();
    for short in ["sent", "mine"] {
        hands.snapshot(&format!("tank/data/own@{short}")).unwrap();
    }
    let digest = hands.digest("tank/data/own");
    for version in 3..5 {
        incremental(&world, "beside a stranger");
        assert_eq!(hands.digest("tank/data/own"), digest);
        assert_eq!(names(&world, "b", "tank/data/own"), ["sent", "mine"]);
        world.write("a", version);
    }
}

#[test]
fn a_child_that_was_created_on_both_sides_breaks_the_chain() {
    let world = in_step();
    for node in ["a", "b"] {
        let hands = world.models[node].by_hand();
        hands.create("tank/data/new").unwrap();
        hands.write("tank/data/new", 1, node.as_bytes()).unwrap();
        hands.snapshot("tank/data/new@mine").unwrap();
    }
    ensure_broken(&world, "tank/data/new");
}

#[test]
fn a_child_that_was_destroyed_on_the_source_stays_on_the_target_with_its_base() {
    let world = in_step();
    world.models["a"].by_hand().destroy("tank/data/x").unwrap();
    let hands = world.models["b"].by_hand();
    let (digest, before) = (
        hands.digest("tank/data/x"),
        names(&world, "b", "tank/data/x"),
    );
    for version in 3..5 {
        incremental(&world, "without the child");
        ensure_equal(&world, "tank/data", "without the child");
        assert_eq!(hands.digest("tank/data/x"), digest);
        assert_eq!(names(&world, "b", "tank/data/x"), before);
        let hands = world.models["a"].by_hand();
        hands
            .write("tank/data", u64::from(version), &[version; 700])
            .unwrap();
    }
    // Another one of the same name is not taken for it.
    world.models["a"].by_hand().create("tank/data/x").unwrap();
    ensure_broken(&world, "tank/data/x");
}

#[test]
fn a_child_that_was_destroyed_on_the_target_is_sent_whole_again() {
    let world = in_step();
    world.models["b"].by_hand().destroy("tank/data/x").unwrap();
    incremental(&world, "after the loss");
    world.ensure_in_step("a", "b", "after the loss");
}

#[test]
fn a_child_that_was_renamed_on_the_source_arrives_anew_and_the_former_stays() {
    let world = in_step();
    let hands = world.models["a"].by_hand();
    hands.rename("tank/data/x", "tank/data/y").unwrap();
    let there = world.models["b"].by_hand();
    let digest = there.digest("tank/data/x");
    incremental(&world, "after the rename");
    for dataset in ["tank/data", "tank/data/y"] {
        ensure_equal(&world, dataset, "after the rename");
    }
    assert_eq!(there.digest("tank/data/x"), digest);
    assert_eq!(names(&world, "b", "tank/data/x"), ["sent"]);
}

#[test]
fn a_child_that_was_renamed_on_the_target_is_sent_again_and_the_renamed_stays() {
    let world = in_step();
    let hands = world.models["b"].by_hand();
    hands.rename("tank/data/x", "tank/data/y").unwrap();
    let digest = hands.digest("tank/data/y");
    for version in 3..5 {
        incremental(&world, "after the rename");
        for dataset in DATASETS {
            ensure_equal(&world, dataset, "after the rename");
        }
        assert_eq!(hands.digest("tank/data/y"), digest);
        assert_eq!(names(&world, "b", "tank/data/y"), ["sent"]);
        world.write("a", version);
    }
}

#[test]
fn a_copy_that_was_renamed_as_a_whole_is_found_and_not_sent_again() {
    let world = in_step();
    let hands = world.models["b"].by_hand();
    hands.rename("tank/data", "tank/moved").unwrap();
    world.write("a", 3);
    let before = hands.list();
    let report = world.sync("a", Action::Update).unwrap();
    let outcome = &report.resources[0].targets[0].outcome;
    let error = outcome.as_ref().unwrap_err();
    assert_eq!(error.family(), Family::BrokenChain, "{error}");
    let remedy = error.remedies().remove(0);
    assert!(
        remedy.ends_with("zfs rename tank/moved tank/data"),
        "{remedy}"
    );
    assert_eq!(hands.list(), before);
    hands.rename("tank/moved", "tank/data").unwrap();
    incremental(&world, "after the name was given back");
    world.ensure_in_step("a", "b", "after the name was given back");
}
