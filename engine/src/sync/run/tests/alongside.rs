//! Claims about targets that are served at the same time.

use super::super::{Action, TURNS_DEFAULT};
use super::world::{World, all_well};
use crate::error::Family;
use crate::event::Event;
use std::time::Duration;

/// Tells how much time had passed when a step was told, since the first event.
fn time_of(world: &World, peer: &str, part: &str) -> Duration {
    let events = world.seen.0.lock().unwrap();
    let at = events.iter().position(|event| {
        matches!(event, Event::Step { peer: on, command }
            if on == peer && command.contains(part))
    });
    let at = at.unwrap_or_else(|| panic!("{peer}: {part} is not in {events:#?}"));
    let times = world.seen.1.lock().unwrap();
    times[at] - times[0]
}

#[test]
fn a_target_that_says_nothing_more_holds_nobody_back_and_is_left_after_the_timeout() {
    // The silent one is asked first.
    let mut world = World::configured(&["a", "c", "b"], "", "timeout = 5m");
    world.turns = TURNS_DEFAULT;
    world.paused = true;
    world.mute.lock().unwrap().push("c".into());
    world.write("a", 1);
    let report = world.sync("a", Action::Update).unwrap();
    let [silent, well] = &report.resources[0].targets[..] else {
        panic!("{report:?}")
    };
    let error = silent.outcome.as_ref().unwrap_err();
    assert_eq!(error.family(), Family::Transient, "{error}");
    assert!(error.to_string().contains("5m"), "{error}");
    assert!(well.outcome.is_ok(), "{report:?}");
    let rotated = time_of(&world, "b", "zfs rename -r tank/data@tosend");
    assert!(rotated < Duration::from_secs(60), "after {rotated:?}");
    world.ensure_in_step("a", "b", "after the run");
    // It comes back and is not sent everything that the other has.
    world.mute.lock().unwrap().clear();
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    world.ensure_in_step("a", "c", "when it is back");
}

#[test]
fn many_targets_at_once_come_to_the_same_as_one_after_the_other() {
    for turns in [1, 2, TURNS_DEFAULT] {
        let mut world = World::new(&["a", "b", "c"]);
        world.turns = turns;
        for version in 1..5 {
            world.write("a", version);
            let report = world.sync("a", Action::Update).unwrap();
            assert!(all_well(&report), "{turns} at once: {report:?}");
            for target in ["b", "c"] {
                world.ensure_in_step("a", target, &format!("{turns} at once"));
            }
        }
    }
}
