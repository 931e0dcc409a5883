//! How many of the links of a bundle are used: as many as carry more than fewer
//! of them would.
//!
//! In the way of the data: beside `spread`, which tells it of every piece, and
//! asks no clock itself. A link to `sshd` carries a window in a round trip and
//! no more, so links are needed where that is less than the line. Where the line
//! is what holds them up, more of them only fill the queue before it, in which
//! everybody else's packets then wait, and take several shares of it.
//!
//! It begins with all links, since on a long way each needs many round trips to
//! gain speed. What they carry then, by what one can, says how many are needed.
//! That is tried, for a line may also carry more by many links because it loses
//! packets: if fewer carry less it goes back to as many as before, and tries again
//! much later. Links that are about to carry all they can get others beside them.
//!
//! Only time in which the links took nothing more counts: a source that is slow
//! says nothing about the line.

use std::time::Duration;

use tokio::time::Instant;

/// How much of a window in each round trip a link is expected to carry before it
/// is taken for full. With `sshd`, which opens the window by halves, it is 0.9 at
/// best.
const FULL: f64 = 0.7;

/// Fewer links have to carry at least so much of what more of them did.
const AS_MUCH: f64 = 0.9;

/// What is left of what was carried once when it is measured next: a line that
/// stutters for a moment has not become slower.
const REMEMBERED: f64 = 0.95;

/// How long is measured, at least.
const MEASURED_MIN: Duration = Duration::from_millis(500);
/// The same, in round trips: TCP may need several to show what it can.
const MEASURED_ROUND_TRIPS: u32 = 10;
/// How much of that time the links have to be what is waited for.
const HELD_UP: f64 = 0.5;

/// What a link that is no longer used may still have to send, besides its window.
const QUEUED_BYTES: u64 = 2 << 20;
/// The longest wait for that.
const SETTLING_MAX: Duration = Duration::from_secs(30);

/// After fewer links were not enough.
const PAUSE_MIN: Duration = Duration::from_secs(20);
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// What one link carries at most: a window in each round trip.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// What its far end takes before it has to say that it takes more.
    pub window_bytes: u64,
    /// As it was measured before the links were filled.
    pub round_trip: Duration,
}

/// How many links are used, of those that there are.
#[derive(Debug)]
pub struct Width {
    most: usize,
    used: usize,
    each: Capacity,
    stage: Stage,
    began: Option<Instant>,
    bytes: u64,
    waited: Duration,
    /// The most that was carried lately, bytes a second.
    best: f64,
    /// Fewer are being tried than these.
    trial: Option<usize>,
    /// No trial before this.
    rests_until: Option<Instant>,
    pause: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// What was in the queues gets out first.
    Settling(Duration),
    Measuring,
}

impl Width {
    /// Of `links`, `each` of which carries so much.
    #[must_use]
    pub fn new(links: usize, each: Capacity) -> Self {
        let each = Capacity {
            window_bytes: each.window_bytes.max(1),
            round_trip: each.round_trip.max(Duration::from_micros(1)),
        };
        Self {
            most: links.max(1),
            used: links.max(1),
            each,
            stage: Stage::Settling(each.round_trip * MEASURED_ROUND_TRIPS),
            began: None,
            bytes: 0,
            waited: Duration::ZERO,
            best: 0.0,
            trial: None,
            rests_until: None,
            pause: PAUSE_MIN,
        }
    }

    /// How many are used: the first ones.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }

    /// So many bytes were handed to the links, which had no room for them before
    /// `waited` had passed.
    pub fn passed(&mut self, bytes: usize, waited: Duration, now: Instant) {
        let began = *self.began.get_or_insert(now);
        self.bytes += bytes as u64;
        self.waited += waited;
        let time = now.saturating_duration_since(began);
        match self.stage {
            Stage::Settling(enough) if time >= enough => self.begin(Stage::Measuring, now),
            Stage::Measuring if time >= self.measured() => {
                if self.waited.as_secs_f64() >= HELD_UP * time.as_secs_f64() {
                    self.judge(self.bytes as f64 / time.as_secs_f64(), now);
                } else {
                    self.begin(Stage::Measuring, now);
                }
            }
            _ => {}
        }
    }

    fn measured(&self) -> Duration {
        MEASURED_MIN.max(self.each.round_trip * MEASURED_ROUND_TRIPS)
    }

    fn begin(&mut self, stage: Stage, now: Instant) {
        self.stage = stage;
        self.began = Some(now);
        self.bytes = 0;
        self.waited = Duration::ZERO;
    }

    /// The links were full, and carried so many bytes a second.
    fn judge(&mut self, rate: f64, now: Instant) {
        let before = self.used;
        self.best = rate.max(self.best * REMEMBERED);
        if let Some(more) = self.trial.take()
            && rate < AS_MUCH * self.best
        {
            self.used = more;
            self.rests_until = Some(now + self.pause);
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        } else {
            let needed = self.needed(self.best);
            let may_try = self.rests_until.is_none_or(|until| now >= until);
            if needed < before && may_try {
                self.trial = Some(before);
                self.used = needed;
            } else {
                self.used = self.needed(rate).max(before);
            }
        }
        if self.used == before {
            return self.begin(Stage::Measuring, now);
        }
        let each = self.each.window_bytes.saturating_add(QUEUED_BYTES);
        let left = before.abs_diff(self.used) as f64 * each as f64;
        let out = Duration::try_from_secs_f64(left / rate).unwrap_or(SETTLING_MAX);
        let settling = (out + self.each.round_trip * MEASURED_ROUND_TRIPS).min(SETTLING_MAX);
        self.begin(Stage::Settling(settling), now);
    }

    /// How many links carry so much without being full.
    fn needed(&self, rate: f64) -> usize {
        let each = FULL * self.each.window_bytes as f64 / self.each.round_trip.as_secs_f64();
        (1..self.most)
            .find(|links| *links as f64 * each >= rate)
            .unwrap_or(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 2 << 20;
    const PIECE: usize = 256 << 10;
    const MB: f64 = 1e6;

    /// What a line carries by so many links, bytes a second.
    type Line<'a> = &'a dyn Fn(usize) -> f64;

    fn of(links: usize, window_bytes: u64, round_trip: Duration) -> Width {
        let each = Capacity {
            window_bytes,
            round_trip,
        };
        Width::new(links, each)
    }

    fn milliseconds(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Sends over `width` for a while, from a source of so many bytes a second;
    /// returns the average rate and the share of links that were used.
    fn send(width: &mut Width, seconds: f64, line: Line<'_>, source: f64) -> (f64, f64) {
        let begin = Instant::now();
        let (mut at, mut bytes, mut links) = (0.0, 0, 0.0);
        while at < seconds {
            let (carries, used) = (line(width.used()), width.used());
            let takes = PIECE as f64 / carries.min(source);
            let waited = if carries < source { takes } else { 0.0 };
            at += takes;
            bytes += PIECE;
            links += takes * used as f64;
            let now = begin + Duration::from_secs_f64(at);
            width.passed(PIECE, Duration::from_secs_f64(waited), now);
        }
        (bytes as f64 / at, links / at)
    }

    /// A line of this rate, with links that carry 0.9 of a window a round trip.
    fn line_of(rate: f64, round_trip: Duration) -> impl Fn(usize) -> f64 {
        let each = 0.9 * WINDOW as f64 / round_trip.as_secs_f64();
        move |links| rate.min(links as f64 * each)
    }

    #[test]
    fn a_slow_line_is_left_to_one_link_within_seconds() {
        let round_trip = milliseconds(20);
        let line = line_of(12.5 * MB, round_trip);
        let mut width = of(4, WINDOW, round_trip);
        assert_eq!(width.used(), 4);
        send(&mut width, 2.0, &line, 1e9);
        assert_eq!(width.used(), 1);
        let (rate, links) = send(&mut width, 60.0, &line, 1e9);
        assert!(rate > 12.0 * MB && links == 1.0, "{rate} {links}");
    }

    #[test]
    fn a_fast_line_is_filled_by_as_many_links_as_it_takes() {
        let round_trip = milliseconds(50);
        for (rate, fewest) in [(125.0 * MB, 4), (312.0 * MB, 8), (60.0 * MB, 2)] {
            let line = line_of(rate, round_trip);
            let mut width = of(8, WINDOW, round_trip);
            let (reached, _) = send(&mut width, 60.0, &line, 1e9);
            assert!(reached >= 0.99 * rate.min(line(8)), "{rate} {reached}");
            assert!(
                width.used() >= fewest && width.used() <= fewest + 2,
                "{rate}"
            );
        }
    }

    #[test]
    fn a_line_that_becomes_faster_gets_more_links_again() {
        let round_trip = milliseconds(50);
        let mut width = of(8, WINDOW, round_trip);
        send(&mut width, 10.0, &line_of(10.0 * MB, round_trip), 1e9);
        assert_eq!(width.used(), 1);
        let fast = line_of(125.0 * MB, round_trip);
        send(&mut width, 15.0, &fast, 1e9);
        let (rate, _) = send(&mut width, 10.0, &fast, 1e9);
        assert!(rate > 124.0 * MB, "{rate}");
    }

    #[test]
    fn a_line_that_carries_more_by_many_links_keeps_them() {
        // As one that loses packets does: each link has its own speed.
        let line = |links: usize| 4.0 * MB * links as f64;
        let mut width = of(8, WINDOW, milliseconds(100));
        let (rate, _) = send(&mut width, 600.0, &line, 1e9);
        assert_eq!(width.used(), 8);
        assert!(rate > 0.95 * line(8), "{rate}");
    }

    #[test]
    fn a_slow_source_decides_nothing() {
        let round_trip = milliseconds(50);
        let mut width = of(8, WINDOW, round_trip);
        send(&mut width, 60.0, &line_of(125.0 * MB, round_trip), 5.0 * MB);
        assert_eq!(width.used(), 8);
    }

    #[test]
    fn nonsense_is_some_number_of_links() {
        for (window, round_trip) in [(0, Duration::ZERO), (u64::MAX, Duration::MAX / 100)] {
            for links in [0, 1, 8] {
                let mut width = of(links, window, round_trip);
                send(&mut width, 3.0, &|_| MB, 1e9);
                assert!((1..=8).contains(&width.used()));
            }
        }
    }
}
