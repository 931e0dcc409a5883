//! How many workers code the blocks of a transfer, and how many there are.
//!
//! All transfers of a process together have one worker for each processor but
//! one; the thread that works through a transfer alone is not counted. A
//! transfer takes what is free when it turns out to be large, and gives it back
//! at its end. One that finds nothing free goes on alone.
//!
//! A worker costs about 2 MiB (the block that it reads, and the one that it
//! writes), and a zstd context.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::available_parallelism;

/// Most workers of a transfer. One thread reads them their blocks, and can
/// verify the checksum of no more.
pub const WORKERS_MAX: usize = 8;
/// Most of them, unless more are asked for.
const WORKERS_AUTO_MAX: usize = 4;

/// Bytes of a stream after which it is taken for a large one. A small stream is
/// over sooner than its workers would pay, and of small ones there are many at
/// the same time.
const WORTH_BYTES: u64 = 8 << 20;

/// How many workers a transfer is to have, on each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Workers {
    /// What its processors call for: half of those that are left beside ZFS and
    /// the connection, four at most.
    #[default]
    Auto,
    /// So many, if they are free. One works in line.
    Exactly(usize),
}

impl Workers {
    /// The number, where a machine has so many processors.
    fn number(self, processors: usize) -> usize {
        match self {
            Self::Auto => (processors.saturating_sub(1) / 2).clamp(1, WORKERS_AUTO_MAX),
            Self::Exactly(number) => number.clamp(1, WORKERS_MAX),
        }
    }

    /// What a large transfer has on this machine unless a number is asked for.
    pub(crate) fn usual() -> u8 {
        u8::try_from(Self::Auto.number(processors())).unwrap_or(u8::MAX)
    }

    /// As a request says it.
    pub(crate) fn told(self) -> Option<usize> {
        match self {
            Self::Auto => None,
            Self::Exactly(number) => Some(number),
        }
    }

    /// From a request.
    pub(super) fn asked(number: Option<usize>) -> Self {
        number.map_or(Self::Auto, Self::Exactly)
    }
}

fn processors() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

/// The workers that transfers share. Clones are the same.
#[derive(Debug, Clone)]
pub struct Workforce {
    free: Arc<AtomicUsize>,
    worth_bytes: u64,
    #[cfg(test)]
    stumbles_at: usize,
}

impl Default for Workforce {
    /// That of this process.
    fn default() -> Self {
        static FREE: LazyLock<Arc<AtomicUsize>> =
            LazyLock::new(|| Arc::new(AtomicUsize::new(processors() - 1)));
        Self {
            free: Arc::clone(&FREE),
            worth_bytes: WORTH_BYTES,
            #[cfg(test)]
            stumbles_at: 0,
        }
    }
}

impl Workforce {
    /// One of its own, of so many besides those that work alone, for streams
    /// from this length on: for tests and measurements.
    #[must_use]
    pub fn apart(free: usize, worth_bytes: u64) -> Self {
        Self {
            free: Arc::new(AtomicUsize::new(free)),
            worth_bytes,
            #[cfg(test)]
            stumbles_at: 0,
        }
    }

    /// True if a stream of which so many bytes have passed is worth a crew.
    pub(super) fn is_worth(&self, passed_bytes: u64) -> bool {
        passed_bytes >= self.worth_bytes
    }

    /// Workers for one transfer: as many as are wanted, or as are free. `None`
    /// if that is one.
    pub(super) fn hire(&self, wanted: Workers) -> Option<Hired> {
        let more = wanted.number(processors()) - 1;
        let mut taken = 0;
        let took = |free| {
            taken = more.min(free);
            Some(free - taken)
        };
        self.free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, took)
            .expect("there is always an answer");
        (taken > 0).then(|| Hired {
            free: Arc::clone(&self.free),
            taken,
            #[cfg(test)]
            until_stumble: AtomicUsize::new(self.stumbles_at),
        })
    }
}

#[cfg(test)]
impl Workforce {
    /// Of each crew the worker that begins with the block of this number, from
    /// 1, panics.
    pub(super) fn that_stumbles(self, stumbles_at: usize) -> Self {
        Self {
            stumbles_at,
            ..self
        }
    }

    pub(super) fn free(&self) -> usize {
        self.free.load(Ordering::Relaxed)
    }
}

/// The workers of one transfer; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Hired {
    free: Arc<AtomicUsize>,
    taken: usize,
    #[cfg(test)]
    until_stumble: AtomicUsize,
}

impl Hired {
    /// How many work on the transfer, two at least.
    pub(super) fn count(&self) -> usize {
        self.taken + 1
    }

    /// A worker begins with a block. Here tests make it panic.
    pub(super) fn begins(&self) {
        #[cfg(test)]
        assert_ne!(
            self.until_stumble.fetch_sub(1, Ordering::Relaxed),
            1,
            "this is the panic that is tested"
        );
    }
}

impl Drop for Hired {
    fn drop(&mut self) {
        self.free.fetch_add(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_of_four_processors_or_less_works_in_line() {
        for (processors, workers) in [(1, 1), (2, 1), (4, 1), (5, 2), (8, 3), (9, 4), (128, 4)] {
            assert_eq!(Workers::Auto.number(processors), workers, "{processors}");
        }
    }

    #[test]
    fn what_another_machine_asks_for_is_bounded() {
        for (asked, workers) in [(0, 1), (1, 1), (8, 8), (9, 8), (usize::MAX, 8)] {
            assert_eq!(Workers::asked(Some(asked)).number(2), workers, "{asked}");
        }
    }

    #[test]
    fn transfers_share_what_is_free_and_give_it_back() {
        let force = Workforce::apart(4, 0);
        let first = force.hire(Workers::Exactly(4)).unwrap();
        assert_eq!(first.count(), 4);
        let second = force.clone().hire(Workers::Exactly(4)).unwrap();
        assert_eq!(second.count(), 2);
        assert!(force.hire(Workers::Exactly(4)).is_none());
        assert!(force.hire(Workers::Exactly(1)).is_none());
        drop(first);
        assert_eq!(force.hire(Workers::Exactly(8)).unwrap().count(), 4);
        drop(second);
        assert_eq!(force.hire(Workers::Exactly(8)).unwrap().count(), 5);
    }
}
