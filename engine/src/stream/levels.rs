//! The level of the next block: the one that was asked for, or the one that
//! pays.
//!
//! The tuner decides from blocks that have gone out. Where several workers code,
//! a few blocks are always between its decision and what it learns of it. So
//! that it sees what it would see of one block at a time:
//!
//! - A level that is new goes to a single block. The ones after it have the
//!   level before, until that block has gone out and the tuner still wants it.
//!   So what it sends to try a level (a probe) remains a single block.
//! - Of a block that goes out at a level that is wanted no more, nothing is
//!   learnt: neither its bytes nor its time are in a rate.
//!
//! With one block at a time neither ever happens.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::compress::Compression;
use super::tuner::{LEVELS, Sent, Spent, Tuner};

/// What a block is to be coded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Index in [`LEVELS`], if that was chosen here.
    index: usize,
    /// The zstd level; `None`: it is to be stored.
    pub zstd: Option<i32>,
}

/// What became of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The level that it was given.
    pub level: Level,
    /// Its bytes before coding.
    pub raw_bytes: usize,
    /// Its bytes as they go out.
    pub coded_bytes: usize,
}

/// Gives blocks their levels, and learns from them. Whoever hands blocks out and
/// whoever sees them leave may be different threads.
#[derive(Debug)]
pub struct Levels {
    compression: Compression,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tuner: Tuner,
    /// What blocks get by default.
    usual: usize,
    /// A single block was given this one, and has not gone out yet.
    single: Option<usize>,
}

impl State {
    fn of(tuner: Tuner) -> Self {
        Self {
            usual: tuner.level(),
            single: None,
            tuner,
        }
    }

    fn next(&mut self) -> usize {
        let wanted = self.tuner.level();
        if wanted == self.usual || self.single.is_some() {
            return self.usual;
        }
        self.single = Some(wanted);
        wanted
    }
}

impl Levels {
    /// Begins with stored blocks, unless a level was asked for.
    #[must_use]
    pub fn new(compression: Compression) -> Self {
        Self {
            compression,
            state: Mutex::new(State::of(Tuner::default())),
        }
    }

    /// Begins with what a transfer before has learnt instead.
    #[must_use]
    pub fn knowing(self, mut tuner: Tuner) -> Self {
        tuner.begin();
        Self {
            state: Mutex::new(State::of(tuner)),
            ..self
        }
    }

    /// What is known by now.
    #[must_use]
    pub fn known(&self) -> Tuner {
        self.state().tuner.clone()
    }

    /// What was chosen here, after all that has gone out.
    #[must_use]
    pub fn came_to(&self) -> Option<Compression> {
        let chosen = || LEVELS[self.state().tuner.level()];
        let is_chosen_here = self.compression == Compression::Adaptive;
        is_chosen_here.then(|| chosen().map_or(Compression::Off, Compression::Level))
    }

    /// The level for the next block.
    #[must_use]
    pub fn next(&self) -> Level {
        let (index, zstd) = match self.compression {
            Compression::Off => (0, None),
            Compression::Level(level) => (0, Some(level)),
            Compression::Adaptive => {
                let index = self.state().next();
                (index, LEVELS[index])
            }
        };
        Level { index, zstd }
    }

    /// A block has gone out. In the order of the stream.
    pub fn learn(&self, outcome: Outcome, spent: Spent) {
        if self.compression != Compression::Adaptive {
            return;
        }
        let mut state = self.state();
        let level = outcome.level.index;
        if state.tuner.level() == level {
            state.tuner.learn(&Sent {
                level,
                raw_bytes: outcome.raw_bytes,
                coded_bytes: outcome.coded_bytes,
                spent,
            });
        }
        if state.single == Some(level) {
            state.single = None;
            if state.tuner.level() == level {
                state.usual = level;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use super::*;

    /// What a link that carries a megabyte in a second makes of blocks that
    /// shrink to a twentieth, `at_once` of them under way: the levels, in order.
    fn slow_link(at_once: usize, blocks: usize) -> (Vec<usize>, Levels) {
        let levels = Levels::new(Compression::Adaptive);
        let mut under_way = VecDeque::new();
        let mut given = Vec::new();
        for _ in 0..blocks {
            let level = levels.next();
            given.push(level.index);
            under_way.push_back(level);
            if under_way.len() < at_once {
                continue;
            }
            let level = under_way.pop_front().unwrap();
            let coded_bytes = match level.zstd {
                None => 1 << 20,
                Some(_) => 50_000,
            };
            let outcome = Outcome {
                level,
                raw_bytes: 1 << 20,
                coded_bytes,
            };
            levels.learn(
                outcome,
                Spent {
                    made: Duration::from_millis(1),
                    coded: Duration::from_millis(3),
                    waited: Duration::from_micros(coded_bytes as u64),
                },
            );
        }
        (given, levels)
    }

    #[test]
    fn a_link_that_makes_us_wait_gets_compressed_blocks_however_many_are_under_way() {
        for at_once in [1, 2, 5, 9] {
            let (given, levels) = slow_link(at_once, 400);
            let stored = given.iter().filter(|level| **level == 0).count();
            assert!(stored < 40, "{stored} were stored of {at_once} at once");
            assert!(levels.next().zstd.is_some());
            assert!(matches!(levels.came_to(), Some(Compression::Level(_))));
        }
    }

    #[test]
    fn one_block_at_a_time_gets_what_the_tuner_wants() {
        let levels = Levels::new(Compression::Adaptive);
        for n in 0..500u64 {
            let wanted = levels.known().level();
            let level = levels.next();
            assert_eq!(level.index, wanted, "block {n}");
            let outcome = Outcome {
                level,
                raw_bytes: 1 << 20,
                coded_bytes: (1 << 20) >> level.index,
            };
            let spent = Spent {
                made: Duration::from_millis(1),
                coded: Duration::from_millis(1 + level.index as u64 * n % 7),
                waited: Duration::from_millis(n % 50),
            };
            levels.learn(outcome, spent);
        }
    }

    #[test]
    fn a_level_is_tried_with_a_single_block_however_many_are_under_way() {
        for at_once in [2, 5, 9] {
            let (given, _) = slow_link(at_once, 600);
            let thorough: Vec<usize> = (0..given.len()).filter(|n| given[*n] == 4).collect();
            assert!(!thorough.is_empty(), "never tried with {at_once} at once");
            for pair in thorough.windows(2) {
                assert!(pair[1] - pair[0] > at_once, "{at_once} at once: {pair:?}");
            }
        }
    }

    #[test]
    fn what_is_asked_for_is_used_from_the_first_block_on() {
        assert_eq!(Levels::new(Compression::Off).next().zstd, None);
        assert_eq!(Levels::new(Compression::Level(9)).next().zstd, Some(9));
    }
}
