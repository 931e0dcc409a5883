//! Claims about the bases that targets hold between two runs.

use super::super::Action;
use super::world::{BASE_TAG, World, all_well, config, modes};
use crate::sync::state::Mode;
use crate::zfs::ZfsErrorKind;
use crate::zfs::model::Fault;

const HOLD: &str = "hold_base = yes\n";
const FAULTS: [Fault; 4] = [
    Fault::CrashBefore,
    Fault::CrashMidway,
    Fault::CrashAfter,
    Fault::Error(ZfsErrorKind::Io),
];

fn update(world: &World, node: &str, version: u8) {
    world.write(node, version);
    let report = world.sync(node, Action::Update).unwrap();
    assert!(all_well(&report), "{report:#?}");
}

/// In every dataset of the target something is held that the source knows.
fn ensure_a_held_base(world: &World, source: &str, target: &str, when: &str) {
    for (here, there) in world.tree(source).iter().zip(world.tree(target)) {
        let hands = world.models[target].by_hand();
        let mut held = there.snapshots.iter().filter(|snapshot| {
            let name = format!("{}@{}", there.name, snapshot.short);
            hands.holds(&name).iter().any(|tag| tag == BASE_TAG)
        });
        let is_base = held.any(|held| {
            here.snapshot_by_guid(held.guid).is_some()
                || here.bookmarks.iter().any(|mark| mark.guid == held.guid)
        });
        assert!(
            is_base,
            "no held base of {} {when}: {:#?}",
            there.name,
            hands.list()
        );
    }
}

/// Who holds anything on a node, as `snapshot tag`.
fn holds(world: &World, node: &str) -> Vec<String> {
    let hands = world.models[node].by_hand();
    let snapshots = hands.list().into_iter().filter(|name| name.contains('@'));
    let held = snapshots.flat_map(|name| {
        let tags = hands.holds(&name).into_iter();
        tags.map(|tag| format!("{name} {tag}")).collect::<Vec<_>>()
    });
    held.collect()
}

#[test]
fn a_held_base_is_safe_from_retention_and_moves_with_the_rotation() {
    let world = World::with(&["a", "b"], HOLD);
    for version in 1..4 {
        update(&world, "a", version);
        world.ensure_in_step("a", "b", &format!("after run {version}"));
        let hands = world.models["b"].by_hand();
        let error = hands.destroy_snapshot("tank/data@sent").unwrap_err();
        assert_eq!(error.kind, ZfsErrorKind::Busy);
    }
}

#[test]
fn a_run_with_held_bases_may_be_cut_at_any_operation() {
    for fault in FAULTS {
        for operation in 1.. {
            let world = World::with(&["a", "b"], HOLD);
            update(&world, "a", 1);
            world.write("a", 2);
            let begin = world.faults.operations();
            world.faults.fail_at(begin + operation, fault);
            let when = format!("after {fault:?} at operation {operation}");
            let outcome = world.sync("a", Action::Update);
            if world.faults.struck().is_empty() {
                assert!(operation > 20, "only {operation} operations were tried");
                break;
            }
            drop(outcome);
            world.revive();
            ensure_a_held_base(&world, "a", "b", &when);
            world.write("a", 3);
            let report = world.sync("a", Action::Update).unwrap();
            assert!(all_well(&report), "{when}: {report:#?}");
            let incremental = |mode: &Mode| *mode == Mode::Incremental;
            assert!(modes(&report).iter().all(incremental), "a full {when}");
            world.ensure_in_step("a", "b", &when);
            assert_eq!(holds(&world, "b").len(), 2, "{when}");
        }
    }
}

#[test]
fn a_swap_of_roles_after_a_cut_leaks_no_hold() {
    for fault in FAULTS {
        for operation in 1.. {
            let world = World::with(&["a", "b"], HOLD);
            update(&world, "a", 1);
            world.write("a", 2);
            let begin = world.faults.operations();
            world.faults.fail_at(begin + operation, fault);
            let when = format!("after {fault:?} at operation {operation} and a swap");
            drop(world.sync("a", Action::Update));
            if world.faults.struck().is_empty() {
                break;
            }
            world.revive();
            // Whatever had arrived is taken to the end, and then sent back.
            assert!(
                all_well(&world.sync("a", Action::Update).unwrap()),
                "{when}"
            );
            for version in [3, 4] {
                world.write("b", version);
                let report = world.sync("b", Action::Update).unwrap();
                assert!(all_well(&report), "{when}: {report:#?}");
                let incremental = |mode: &Mode| *mode == Mode::Incremental;
                assert!(modes(&report).iter().all(incremental), "a full {when}");
            }
            world.ensure_in_step("b", "a", &when);
            assert_eq!(holds(&world, "b"), Vec::<String>::new(), "{when}");
        }
    }
}

#[test]
fn a_full_beside_may_be_cut_at_any_operation_and_leaks_no_hold() {
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        for operation in 1.. {
            let world = World::with(&["a", "b"], "hold_base = yes\nkeep_old = no\n");
            update(&world, "a", 1);
            world.write("a", 2);
            let begin = world.faults.operations();
            world.faults.fail_at(begin + operation, fault);
            let when = format!("after {fault:?} at operation {operation} of a full");
            drop(world.sync("a", Action::Full));
            if world.faults.struck().is_empty() {
                break;
            }
            world.revive();
            world.write("a", 3);
            let report = world.sync("a", Action::Full).unwrap();
            assert!(all_well(&report), "{when}: {report:#?}");
            world.ensure_in_step("a", "b", &when);
            let here = |held: &String| !held.contains(".zferry-old-");
            let held = holds(&world, "b");
            assert!(held.len() == 2 && held.iter().all(here), "{held:?} {when}");
        }
    }
}

#[test]
fn without_the_keyword_the_holds_of_earlier_runs_are_released() {
    let mut world = World::with(&["a", "b"], HOLD);
    update(&world, "a", 1);
    world.configure(&config(&["a", "b"]));
    world.holds_base = false;
    update(&world, "a", 2);
    world.ensure_in_step("a", "b", "after the keyword has gone");
}

#[test]
fn a_copy_that_was_not_held_is_held_from_the_next_run_on() {
    let mut world = World::new(&["a", "b"]);
    update(&world, "a", 1);
    world.configure(&(config(&["a", "b"]) + HOLD));
    world.holds_base = true;
    update(&world, "a", 2);
    world.ensure_in_step("a", "b", "with the keyword");
}

#[test]
fn a_hold_of_somebody_else_on_a_held_base_stays() {
    let world = World::with(&["a", "b"], HOLD);
    update(&world, "a", 1);
    let hands = world.models["b"].by_hand();
    hands.hold("tank/data@sent", "theirs").unwrap();
    update(&world, "a", 2);
    let held = holds(&world, "b");
    let theirs: Vec<_> = held.iter().filter(|one| one.ends_with(" theirs")).collect();
    assert!(
        theirs.len() == 1 && theirs[0].starts_with("tank/data@zferry-kept-"),
        "{held:?}"
    );
    assert_eq!(held.len(), 3, "{held:?}");
}

#[test]
fn a_base_that_hands_renamed_is_released_when_a_newer_one_is_there() {
    let world = World::with(&["a", "b"], HOLD);
    update(&world, "a", 1);
    let hands = world.models["b"].by_hand();
    hands.rename_snapshot("tank/data@sent", "mine").unwrap();
    update(&world, "a", 2);
    assert!(hands.holds("tank/data@mine").is_empty());
    assert_eq!(hands.holds("tank/data@sent"), [BASE_TAG]);
}

#[test]
fn a_leftover_of_a_former_sender_goes_though_its_run_had_held_it() {
    let world = World::with(&["a", "b", "c"], HOLD);
    update(&world, "a", 1);
    // What a run of `c` left on `b` that was cut as it committed.
    let hands = world.models["b"].by_hand();
    for dataset in ["tank/data", "tank/data/x"] {
        hands.snapshot(&format!("{dataset}@tosend")).unwrap();
        hands.hold(&format!("{dataset}@tosend"), BASE_TAG).unwrap();
    }
    update(&world, "a", 2);
    world.ensure_in_step("a", "b", "after a leftover");
}
