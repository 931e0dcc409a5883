//! Random histories of two nodes, with a model beside them that says what each
//! volume holds, which snapshots there are, and how each run has to end.
//!
//! The engine is driven in this process, over pools that stay open: hundreds of
//! steps take seconds. `ZFERRY_TEST_STEPS` sets how many, `ZFERRY_TEST_SEED`
//! repeats a history.

mod model;
mod nodes;

use std::io::Write;

use model::{Ending, World};
use nodes::Nodes;

use super::lab::bare;

/// Steps of a history unless somebody wants more.
const STEPS: u64 = 300;

/// SplitMix64: the same numbers on every machine.
pub struct Random(u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `below` - 1.
    pub fn below(&mut self, below: usize) -> usize {
        usize::try_from(self.next() % below as u64).unwrap()
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        (!from.is_empty()).then(|| &from[self.below(from.len())])
    }
}

fn number(variable: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(variable) else {
        return default;
    };
    text.parse()
        .unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}"))
}

#[test]
fn whatever_happens_on_two_nodes_a_run_ends_as_foretold_and_the_copies_are_equal() {
    let Some(lab) = bare() else { return };
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = number("ZFERRY_TEST_SEED", u64::from(nanos.unwrap().subsec_nanos()));
    let steps = number("ZFERRY_TEST_STEPS", STEPS);
    // Shown whatever becomes of it.
    let said = format!("history of {steps} steps: ZFERRY_TEST_SEED={seed}\n");
    std::io::stderr().write_all(said.as_bytes()).unwrap();
    let nodes = Nodes::new(&lab);
    let mut world = World::new(&nodes, Random(seed));
    for step in 0..steps {
        world.step(step);
    }
    world.check_everything();
    let seen = [Ending::Synced, Ending::Broken, Ending::Cut].map(|ending| world.seen(ending));
    let said = format!("runs that went through, met a broken chain, were cut: {seen:?}\n");
    std::io::stderr().write_all(said.as_bytes()).unwrap();
    // A history in which one of these never happened proves little.
    assert!(seen[0].min(seen[1]) as u64 >= steps / 60, "{seen:?}");
}
