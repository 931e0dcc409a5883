//! The bandwidth limit of services: by resource and by command line, and shared.
//!
//! Threads of helpers keep a paused clock from going on: this one is real, and
//! only that nothing is faster than allowed is claimed.

use std::time::Duration;

use super::super::Action;
use super::world::{World, all_well};
use crate::event::Event;

/// Bytes of a dataset, which come in one frame.
const BLOCKS: u64 = 20;

fn world(nodes: &[&str], more: &str) -> World {
    let mut world = World::with(nodes, more);
    world.turns = nodes.len();
    let hands = world.models["a"].by_hand();
    for dataset in ["tank/data", "tank/data/x"] {
        for block in 0..BLOCKS {
            // Of what does not compress.
            let mut bytes = [0; 1000];
            let mut hasher = blake3::Hasher::new();
            hasher.update(format!("{dataset} {block}").as_bytes());
            hasher.finalize_xof().fill(&mut bytes);
            hands.write(dataset, block, &bytes).unwrap();
        }
    }
    world
}

/// The sizes of all frames on the wire, and the time that the run took.
fn moved(world: &World) -> (Vec<u64>, Duration) {
    let events = world.seen.0.lock().unwrap();
    let times = world.seen.1.lock().unwrap();
    let wire = events.iter().filter_map(|event| match event {
        Event::TransferDone { wire_bytes, .. } => Some(*wire_bytes),
        _ => None,
    });
    (wire.collect(), times[times.len() - 1] - times[0])
}

/// At 100 KiB/s, all frames but the last one are waited for.
fn ensure_limited(world: &World) {
    let (wire, time) = moved(world);
    let (all, last): (u64, u64) = (wire.iter().sum(), *wire.iter().max().unwrap());
    assert!(last > BLOCKS * 1000, "{wire:?}");
    let due = (all - last) as f64 / 102_400.0;
    let seconds = time.as_secs_f64();
    assert!(seconds > due - 0.1, "{seconds} s for {wire:?}, not {due} s");
}

#[test]
fn the_keyword_limits_all_targets_of_a_resource_together() {
    for nodes in [&["a", "b"][..], &["a", "b", "c"]] {
        let world = world(nodes, "bandwidth_limit = 100K\n");
        assert!(all_well(&world.sync("a", Action::Update).unwrap()));
        ensure_limited(&world);
        for target in &nodes[1..] {
            world.ensure_in_step("a", target, "with a limit");
        }
    }
}

#[test]
fn the_command_line_takes_the_place_of_the_keyword() {
    // The first frame does not wait, and the second one would for 20 s.
    let mut world = world(&["a", "b"], "bandwidth_limit = 1K\ntimeout = 10s\n");
    world.limit = Some("unlimited".parse().unwrap());
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    let mut world = self::world(&["a", "b"], "bandwidth_limit = 1G\n");
    world.limit = Some("100K".parse().unwrap());
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    ensure_limited(&world);
}
