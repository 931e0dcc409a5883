//! Where the time of a block went that was coded while others were.
//!
//! The tuner adds up what each block took, and takes the sum for the time that
//! has passed. Of blocks that overlap the sum is more. So a block counts with
//! the time since the one before it left; coding with the share that it has of
//! the crew, so that its cost is what a byte costs all of them together; and the
//! rest, as far as it was waited, as waiting.

use std::time::Duration;

use super::tuner::Spent;

/// What was measured of a block.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// A worker had it for so long.
    pub worked: Duration,
    /// Until the connection took it.
    pub waited: Duration,
    /// Since the block before left.
    pub passed: Duration,
}

/// Accounts for the blocks of one crew, in order.
#[derive(Debug, Clone)]
pub struct Overlap {
    workers: u32,
    /// Coding that was counted and has not passed yet: blocks that were ready
    /// together leave one right after the other.
    ahead: Duration,
}

impl Overlap {
    /// Of so many workers.
    #[must_use]
    pub fn of(workers: usize) -> Self {
        Self {
            workers: u32::try_from(workers.max(1)).unwrap_or(u32::MAX),
            ahead: Duration::ZERO,
        }
    }

    /// Of all blocks together, what comes out is the time that has passed, but
    /// for what coding is ahead.
    pub fn spent(&mut self, measured: Measured) -> Spent {
        let coded = measured.worked / self.workers;
        let passed = measured.passed.saturating_sub(self.ahead);
        self.ahead = self.ahead.saturating_sub(measured.passed);
        let rest = passed.saturating_sub(coded);
        self.ahead += coded.saturating_sub(passed);
        let waited = measured.waited.min(rest);
        Spent {
            made: rest - waited,
            coded,
            waited,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn sum(overlap: &mut Overlap, blocks: &[Measured]) -> Spent {
        let mut sum = Spent::default();
        for block in blocks {
            let spent = overlap.spent(*block);
            sum.made += spent.made;
            sum.coded += spent.coded;
            sum.waited += spent.waited;
        }
        sum
    }

    #[test]
    fn blocks_that_are_ready_together_count_as_long_as_they_took_together() {
        let block = |passed| Measured {
            worked: 8 * MS,
            waited: Duration::ZERO,
            passed,
        };
        let burst = [8 * MS, Duration::ZERO, Duration::ZERO, Duration::ZERO].map(block);
        let mut overlap = Overlap::of(4);
        sum(&mut overlap, &burst);
        for _ in 0..10 {
            let spent = sum(&mut overlap, &burst);
            assert_eq!(spent.made + spent.coded + spent.waited, 8 * MS);
            assert_eq!(spent.coded, 8 * MS);
        }
    }

    #[test]
    fn a_link_that_is_waited_for_shows_beside_the_coding() {
        let block = Measured {
            worked: 8 * MS,
            waited: 79 * MS,
            passed: 80 * MS,
        };
        let spent = Overlap::of(4).spent(block);
        assert_eq!((spent.coded, spent.waited), (2 * MS, 78 * MS));
        assert_eq!(spent.made, Duration::ZERO);
    }

    #[test]
    fn a_source_that_is_waited_for_is_neither_coding_nor_the_link() {
        let block = Measured {
            worked: 4 * MS,
            waited: MS,
            passed: 50 * MS,
        };
        let spent = Overlap::of(2).spent(block);
        assert_eq!(
            (spent.made, spent.coded, spent.waited),
            (47 * MS, 2 * MS, MS)
        );
    }
}
