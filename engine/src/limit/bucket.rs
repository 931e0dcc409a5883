//! When the next frame may go: a token bucket without a clock.
//!
//! Frames book a place one after the other, and one may go as soon as all that
//! was booked before it is paid for. So the first does not wait, each waits for
//! the others' bytes and not for its own, and whoever came first goes first,
//! however many transfers share the bucket. What is paid for grows with the
//! rate of each moment; it runs ahead of what is booked by [`BURST`] at most, so
//! that no pause is made up for by a flood.
//!
//! Some dozen lines of integers, since no crate fits: governor lets nothing pass
//! that is larger than its burst, as a frame is at a low rate, and with
//! async-speed-limit a new rate does not reach who waits already.

use std::time::Duration;

use super::Rate;

/// What may pass at once after a pause, as time at the rate: other traffic on
/// the line waits no longer than that.
pub const BURST: Duration = Duration::from_millis(100);

/// Amounts are nanobytes: a rate in bytes per second, times nanoseconds.
const NANO: i128 = 1_000_000_000;

/// Place of a frame in the order of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// What was booked before it.
    before: i128,
    /// The frame itself.
    size: i128,
}

/// What was booked, and what of it is paid for.
#[derive(Debug, Clone)]
pub struct Bucket {
    booked: i128,
    paid: i128,
    /// The rate since `looked`; `None`: everything is paid for at once.
    rate: Option<Rate>,
    /// Until when it is accounted for.
    looked: Duration,
}

impl Bucket {
    /// An empty one, at this time.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        Self {
            booked: 0,
            paid: 0,
            rate: None,
            looked: now,
        }
    }

    /// From now on this rate applies; until now the one before did. Times do
    /// not go back.
    pub fn look(&mut self, now: Duration, rate: Option<Rate>) {
        let passed = now.saturating_sub(self.looked);
        self.looked = self.looked.max(now);
        // Nothing is owed from, or saved up in, a time without a limit.
        self.paid = match (self.rate, rate) {
            (Some(before), Some(_)) => self.paid.saturating_add(earned(before, passed)),
            _ => self.booked,
        };
        if let Some(rate) = rate {
            self.paid = self.paid.min(self.booked + earned(rate, BURST));
        }
        self.rate = rate;
    }

    /// A place for a frame of so many bytes, behind all others.
    pub fn book(&mut self, bytes: usize) -> Place {
        let place = Place {
            before: self.booked,
            size: bytes as i128 * NANO,
        };
        self.booked += place.size;
        place
    }

    /// A frame does not go after all: the others need not wait for it.
    pub fn give_back(&mut self, place: Place) {
        self.paid += place.size;
    }

    /// How long the frame still has to wait, if the rate stays as it is; zero:
    /// it may go.
    #[must_use]
    pub fn wait(&self, place: Place) -> Duration {
        let missing = place.before - self.paid;
        let Some(rate) = self.rate.filter(|_| missing > 0) else {
            return Duration::ZERO;
        };
        let rate = i128::from(rate.bytes_per_second());
        let nanoseconds = (missing + rate - 1) / rate;
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

fn earned(rate: Rate, time: Duration) -> i128 {
    let time = i128::try_from(time.as_nanos()).unwrap_or(i128::MAX);
    time.saturating_mul(i128::from(rate.bytes_per_second()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: usize = 1 << 20;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// When each of these frames goes, if each is booked as soon as the one
    /// before it has gone.
    fn greedy(rate: Rate, sizes: &[usize]) -> Vec<Duration> {
        let mut now = Duration::ZERO;
        let mut bucket = Bucket::new(now);
        let mut gone = Vec::new();
        for size in sizes {
            bucket.look(now, Some(rate));
            let place = bucket.book(*size);
            now += bucket.wait(place);
            bucket.look(now, Some(rate));
            assert_eq!(bucket.wait(place), Duration::ZERO);
            gone.push(now);
        }
        gone
    }

    #[test]
    fn the_first_frame_goes_at_once_and_the_next_when_that_one_is_paid_for() {
        let gone = greedy(Rate::new(100 << 10), &[MIB, MIB, MIB / 2, MIB]);
        let expected = [0.0, 10.24, 20.48, 25.6].map(seconds);
        assert_eq!(gone, expected);
    }

    #[test]
    fn a_pause_is_not_made_up_for_but_for_the_burst() {
        let rate = Rate::new(10 << 20);
        let mut bucket = Bucket::new(Duration::ZERO);
        bucket.look(Duration::ZERO, Some(rate));
        bucket.book(MIB);
        bucket.look(seconds(3600.0), Some(rate));
        let places = [MIB, MIB, MIB].map(|size| bucket.book(size));
        // The burst is as much as one of them.
        let waits = places.map(|place| bucket.wait(place));
        assert_eq!(waits, [0.0, 0.0, 0.1].map(seconds));
    }

    #[test]
    fn a_change_of_the_rate_applies_to_those_that_wait() {
        let (slow, fast) = (Rate::new(1 << 20), Rate::new(100 << 20));
        let mut bucket = Bucket::new(Duration::ZERO);
        bucket.look(Duration::ZERO, Some(slow));
        let places = [0, 1, 2, 3].map(|_| bucket.book(MIB));
        assert_eq!(bucket.wait(places[3]), seconds(3.0));
        bucket.look(seconds(1.5), Some(fast));
        assert_eq!(bucket.wait(places[3]), seconds(0.015));
        bucket.look(seconds(1.505), Some(slow));
        assert_eq!(bucket.wait(places[3]), seconds(1.0));
        bucket.look(seconds(1.6), None);
        assert_eq!(bucket.wait(places[3]), Duration::ZERO);
        // What passed without a limit is not owed, and none of it is saved up.
        bucket.book(1000 * MIB);
        bucket.look(seconds(2.0), Some(slow));
        assert_eq!(bucket.wait(bucket.clone().book(MIB)), Duration::ZERO);
        bucket.book(MIB);
        assert_eq!(bucket.wait(bucket.clone().book(MIB)), seconds(1.0));
    }

    #[test]
    fn who_gives_up_is_not_waited_for() {
        let rate = Rate::new(1 << 20);
        let mut bucket = Bucket::new(Duration::ZERO);
        bucket.look(Duration::ZERO, Some(rate));
        let places = [0, 1, 2].map(|_| bucket.book(MIB));
        bucket.give_back(places[1]);
        assert_eq!(bucket.wait(places[2]), seconds(1.0));
    }

    #[test]
    fn a_clock_that_goes_back_earns_nothing_twice() {
        let rate = Rate::new(1 << 20);
        let mut bucket = Bucket::new(seconds(10.0));
        bucket.look(seconds(10.0), Some(rate));
        let places = [0, 1].map(|_| bucket.book(MIB));
        bucket.look(seconds(10.5), Some(rate));
        bucket.look(seconds(9.0), Some(rate));
        bucket.look(seconds(10.6), Some(rate));
        assert_eq!(bucket.wait(places[1]), seconds(0.4));
    }

    proptest! {
        #[test]
        fn no_window_has_more_than_the_rate_the_burst_and_one_frame(
            rate in 1024_u64..1 << 40,
            frames in prop::collection::vec((1_usize..=MIB + 64, 0_u64..3_000_000_000), 2..60),
        ) {
            let rate = Rate::new(rate);
            let mut now = Duration::ZERO;
            let mut bucket = Bucket::new(now);
            let mut gone: Vec<(Duration, usize)> = Vec::new();
            for (size, pause) in frames {
                now += Duration::from_nanos(pause);
                bucket.look(now, Some(rate));
                let place = bucket.book(size);
                now += bucket.wait(place);
                bucket.look(now, Some(rate));
                prop_assert_eq!(bucket.wait(place), Duration::ZERO);
                gone.push((now, size));
            }
            for (n, (begin, _)) in gone.iter().enumerate() {
                let mut bytes = 0;
                for (end, size) in &gone[n..] {
                    // The last one has just begun to pass.
                    let time = *end - *begin + BURST;
                    let most = earned(rate, time) / NANO + 1;
                    prop_assert!(bytes <= most, "{bytes} in {time:?}, at most {most}");
                    bytes += *size as i128;
                }
            }
        }

        #[test]
        fn who_always_has_a_frame_gets_the_whole_rate(
            rate in 1024_u64..1 << 40,
            sizes in prop::collection::vec(1_usize..=MIB + 64, 2..60),
        ) {
            let rate = Rate::new(rate);
            let gone = greedy(rate, &sizes);
            let before = sizes[..sizes.len() - 1].iter().sum::<usize>() as i128 * NANO;
            let took = *gone.last().unwrap();
            // Each wait is rounded up to a whole nanosecond.
            let slack = Duration::from_nanos(sizes.len() as u64);
            prop_assert!(earned(rate, took.saturating_sub(slack)) <= before);
        }

        #[test]
        fn transfers_that_share_it_go_in_turn_and_together_keep_the_rate(
            rate in 1024_u64..1 << 30,
            transfers in 2_usize..9,
            rounds in 1_usize..10,
        ) {
            let rate = Rate::new(rate);
            let mut now = Duration::ZERO;
            let mut bucket = Bucket::new(now);
            bucket.look(now, Some(rate));
            let mut waiting: Vec<_> = (0..transfers).map(|_| bucket.book(MIB)).collect();
            let mut order = Vec::new();
            for _ in 0..rounds * transfers {
                let waits = waiting.iter().map(|place| bucket.wait(*place));
                let (who, wait) = waits.enumerate().min_by_key(|(_, wait)| *wait).unwrap();
                now += wait;
                bucket.look(now, Some(rate));
                order.push(who);
                waiting[who] = bucket.book(MIB);
            }
            let turns: Vec<_> = (0..rounds).flat_map(|_| 0..transfers).collect();
            prop_assert_eq!(&order, &turns);
            let sent = (order.len() - 1) as i128 * MIB as i128 * NANO;
            let slack = Duration::from_nanos(order.len() as u64);
            prop_assert!(earned(rate, now) >= sent);
            prop_assert!(earned(rate, now.saturating_sub(slack)) <= sent);
        }
    }
}
