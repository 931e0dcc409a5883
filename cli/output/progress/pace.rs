//! How fast something moves, and what it waits for: from samples, without a
//! clock. Times are those since any one moment.

use std::collections::VecDeque;
use std::time::Duration;

use engine::event::{Waited, WaitingFor};

/// The rate now is that of so much time: enough to pass over single blocks and
/// transaction groups, and little enough to show a change.
const NOW: Duration = Duration::from_secs(10);

/// What is left is divided by the rate of so much time, or its end would jump.
const OUTLOOK: Duration = Duration::from_secs(60);

/// Samples nearer to each other are one.
const GRAIN: Duration = Duration::from_millis(500);

/// Moves that a rate is made of at least, however far back they are: of a slow
/// transfer a block comes every few minutes.
const MOVES_MIN: usize = 2;

/// Bytes of a stream, and what they are on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bytes {
    /// Of the ZFS stream.
    pub raw: u64,
    /// On the wire.
    pub wire: u64,
}

/// Bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rate {
    /// Of the ZFS stream.
    pub raw: u64,
    /// On the wire.
    pub wire: u64,
}

impl Rate {
    fn of(from: Bytes, to: Bytes, time: Duration) -> Self {
        let rate = |from: u64, to: u64| {
            let per_second = to.saturating_sub(from) as f64 / time.as_secs_f64();
            // More than any machine moves is a division by nothing.
            if per_second.is_finite() {
                per_second as u64
            } else {
                0
            }
        };
        Self {
            raw: rate(from.raw, to.raw),
            wire: rate(from.wire, to.wire),
        }
    }
}

/// What was seen of something that moves.
#[derive(Debug)]
pub struct Pace {
    begun: Duration,
    now: Bytes,
    /// When there were how many bytes, as often as they have changed; the first
    /// is the beginning, or what is still needed of it.
    moves: VecDeque<(Duration, Bytes)>,
    /// What the time had gone into.
    waits: VecDeque<(Duration, Waited)>,
}

impl Pace {
    /// Begins at this time with nothing moved.
    pub fn begin(at: Duration) -> Self {
        Self {
            begun: at,
            now: Bytes::default(),
            moves: VecDeque::from([(at, Bytes::default())]),
            waits: VecDeque::from([(at, Waited::default())]),
        }
    }

    /// So much has moved by then.
    pub fn note(&mut self, at: Duration, bytes: Bytes) {
        if bytes == self.now {
            return;
        }
        self.now = bytes;
        insert(&mut self.moves, at, bytes);
        let horizon = at.saturating_sub(OUTLOOK);
        while self.moves.len() > MOVES_MIN + 1 && self.moves[1].0 <= horizon {
            self.moves.pop_front();
        }
    }

    /// So the time had been spent by then.
    pub fn note_waits(&mut self, at: Duration, waited: Waited) {
        insert(&mut self.waits, at, waited);
        let horizon = at.saturating_sub(NOW);
        while self.waits.len() > 2 && self.waits[1].0 <= horizon {
            self.waits.pop_front();
        }
    }

    /// What has moved.
    pub fn moved(&self) -> Bytes {
        self.now
    }

    /// How long it has been going on.
    pub fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.begun)
    }

    /// The rate of the last moments.
    pub fn rate(&self, now: Duration) -> Rate {
        self.rate_over(now, NOW)
    }

    /// The rate since it began.
    pub fn average(&self, now: Duration) -> Rate {
        Rate::of(Bytes::default(), self.now, self.age(now))
    }

    /// How long `left` bytes of the stream will take, if it goes on like this;
    /// `None` if nothing moves.
    pub fn time_for(&self, left: u64, now: Duration) -> Option<Duration> {
        match self.rate_over(now, OUTLOOK).raw {
            0 => None,
            rate => Some(Duration::from_secs(left.div_ceil(rate))),
        }
    }

    /// What it has been waiting for most in the last moments.
    pub fn waiting_for(&self) -> Option<WaitingFor> {
        let ((_, first), (_, last)) = (self.waits.front()?, self.waits.back()?);
        last.since(first).most()
    }

    fn rate_over(&self, now: Duration, window: Duration) -> Rate {
        let Some((last, bytes)) = self.moves.back().copied() else {
            return Rate::default();
        };
        let horizon = now.saturating_sub(window);
        let old = self.moves.partition_point(|(at, _)| *at <= horizon);
        let latest = self.moves.len().saturating_sub(MOVES_MIN + 1);
        let first = old.saturating_sub(1).min(latest);
        let (begun, before) = self.moves[first];
        let moves = self.moves.len() - 1 - first;
        if moves == 0 {
            return Rate::default();
        }
        // Between two blocks it has not stopped, until the next one is overdue.
        let gap = (last - begun) / u32::try_from(moves).unwrap_or(u32::MAX);
        let is_overdue = now.saturating_sub(last) > 2 * gap.max(GRAIN);
        let until = if is_overdue { now } else { last };
        Rate::of(before, bytes, (until - begun).max(Duration::from_millis(1)))
    }
}

/// Puts a sample at the end; in the place of the last one if that is young.
fn insert<T>(samples: &mut VecDeque<(Duration, T)>, at: Duration, sample: T) {
    let before_last = samples.len().checked_sub(2).map(|n| samples[n].0);
    if before_last.is_some_and(|before| at.saturating_sub(before) < GRAIN) {
        samples.pop_back();
    }
    samples.push_back((at, sample));
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn raw(bytes: u64) -> Bytes {
        Bytes {
            raw: bytes,
            wire: bytes / 2,
        }
    }

    /// `count` blocks of 1 MiB, one every `gap` seconds after `begin`.
    fn blocks(pace: &mut Pace, begin: f64, count: u64, gap: f64) -> f64 {
        let before = pace.moved().raw;
        let mut now = begin;
        for n in 1..=count {
            now = begin + gap * n as f64;
            pace.note(at(now), raw(before + n * MIB));
        }
        now
    }

    fn is_about(rate: u64, expected: u64) -> bool {
        rate.abs_diff(expected) <= expected / 20
    }

    #[test]
    fn a_steady_transfer_has_its_rate_its_average_and_its_end() {
        let mut pace = Pace::begin(at(3.0));
        let now = at(blocks(&mut pace, 3.0, 10_000, 0.01));
        for rate in [pace.rate(now), pace.average(now)] {
            assert!(is_about(rate.raw, 100 * MIB), "{rate:?}");
            assert!(is_about(rate.wire, 50 * MIB), "{rate:?}");
        }
        let left = pace.time_for(1000 * MIB, now).unwrap();
        assert!((9..=11).contains(&left.as_secs()), "{left:?}");
    }

    #[test]
    fn the_rate_follows_within_seconds_and_the_average_does_not() {
        let mut pace = Pace::begin(at(0.0));
        let then = blocks(&mut pace, 0.0, 6000, 0.01);
        let now = at(blocks(&mut pace, then, 120, 0.1));
        assert!(is_about(pace.rate(now).raw, 10 * MIB), "{pace:?}");
        assert!(pace.average(now).raw > 80 * MIB);
    }

    #[test]
    fn a_transfer_that_stands_still_comes_to_no_rate_and_no_end() {
        let mut pace = Pace::begin(at(0.0));
        let then = blocks(&mut pace, 0.0, 1000, 0.01);
        assert!(pace.rate(at(then + 5.0)).raw < 70 * MIB);
        assert!(pace.rate(at(then + 60.0)).raw < 3 * MIB);
        let mut none = Pace::begin(at(0.0));
        none.note_waits(at(9.0), Waited::default());
        assert_eq!(none.rate(at(9.0)), Rate::default());
        assert_eq!(none.time_for(MIB, at(9.0)), None);
    }

    #[test]
    fn a_slow_transfer_has_a_steady_rate_between_two_of_its_blocks() {
        let mut pace = Pace::begin(at(0.0));
        let then = blocks(&mut pace, 0.0, 5, 100.0);
        for later in [0.0, 20.0, 90.0, 150.0] {
            let rate = pace.rate(at(then + later)).raw;
            assert!(is_about(rate, MIB / 100), "{later}: {rate}");
        }
    }

    #[test]
    fn no_number_of_samples_makes_it_grow() {
        let mut pace = Pace::begin(at(0.0));
        for n in 0..100_000_u64 {
            let now = at(n as f64 / 1000.0);
            pace.note(now, raw(n * MIB));
            pace.note_waits(now, Waited::default());
        }
        assert!(pace.moves.len() < 300, "{}", pace.moves.len());
        assert!(pace.waits.len() < 60, "{}", pace.waits.len());
    }

    #[test]
    fn nothing_divides_by_no_time() {
        let mut pace = Pace::begin(at(1.0));
        pace.note(at(1.0), raw(MIB));
        assert_eq!(pace.average(at(1.0)), Rate::default());
        assert_eq!(pace.average(at(0.5)), Rate::default());
        assert!(pace.rate(at(1.0)).raw > 0);
        assert!(pace.time_for(u64::MAX, at(1.0)).is_some());
    }

    #[test]
    fn what_it_waits_for_is_what_took_most_of_the_last_seconds() {
        let mut pace = Pace::begin(at(0.0));
        let mut waited = Waited::default();
        assert_eq!(pace.waiting_for(), None);
        for second in 1..=100 {
            let (more, less) = if second < 80 {
                (WaitingFor::TargetZfs, WaitingFor::Connection)
            } else {
                (WaitingFor::Connection, WaitingFor::TargetZfs)
            };
            waited.add(more, at(0.7));
            waited.add(less, at(0.3));
            pace.note_waits(at(f64::from(second)), waited);
            match second {
                1..=80 => assert_eq!(pace.waiting_for(), Some(WaitingFor::TargetZfs)),
                90.. => assert_eq!(pace.waiting_for(), Some(WaitingFor::Connection)),
                _ => {}
            }
        }
    }
}
