//! How long to wait before the next attempt.
//!
//! The limit doubles from [`WAIT_FIRST`] to [`WAIT_MAX`]; the wait is a random
//! part of it ("full jitter"), but never less than [`WAIT_MIN`].

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

use super::Persistence;

/// Longest first wait: a connection that was cut is often back at once.
pub const WAIT_FIRST: Duration = Duration::from_secs(2);
/// Longest wait of all: a machine that is back should not have to wait longer.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// Shortest wait: what fails at once must not fail thousands of times.
const WAIT_MIN: Duration = Duration::from_millis(200);

/// The waits between the attempts of one piece of work.
#[derive(Debug)]
pub struct Backoff {
    persistence: Persistence,
    limits: ExponentialBackoff,
    random: fastrand::Rng,
    /// Failures since there was progress.
    failures: u32,
    /// The first of them.
    failing_since: Option<Instant>,
}

impl Backoff {
    /// Nothing has failed yet.
    #[must_use]
    pub fn new(persistence: Persistence) -> Self {
        Self {
            persistence,
            limits: limits(),
            random: persistence
                .seed
                .map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed),
            failures: 0,
            failing_since: None,
        }
    }

    /// Failures since there was progress.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// There was progress: what failed before does not count any more.
    pub fn progressed(&mut self) {
        self.limits = limits();
        self.failures = 0;
        self.failing_since = None;
    }

    /// An attempt has failed. How long to wait before the next one, or `None`
    /// if the work is to be given up: it has got nowhere for too long, or would
    /// have to go on after `until`.
    pub fn after_failure(&mut self, until: Option<Instant>) -> Option<Duration> {
        let now = Instant::now();
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(now);
        let left = self.persistence.retry_for.saturating_sub(now - since);
        let longest = self.limits.next().unwrap_or(WAIT_MAX);
        if left.is_zero() {
            return None;
        }
        // The last attempt is made when the time is just over.
        let wait = longest.mul_f64(self.random.f64()).max(WAIT_MIN).min(left);
        match until {
            Some(until) if now + wait >= until => None,
            _ => Some(wait),
        }
    }
}

fn limits() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(WAIT_FIRST)
        .with_max_delay(WAIT_MAX)
        .with_factor(2.0)
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn persistence(retry_for: u64, seed: u64) -> Persistence {
        Persistence {
            retry_for: Duration::from_secs(retry_for),
            seed: Some(seed),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_are_random_parts_of_a_limit_that_doubles_up_to_a_minute() {
        let mut largest = [Duration::ZERO; 10];
        let mut sums = [Duration::ZERO; 10];
        for seed in 0..500 {
            let mut backoff = Backoff::new(persistence(1 << 30, seed));
            for n in 0..10 {
                let wait = backoff.after_failure(None).unwrap();
                let limit = WAIT_MAX.min(WAIT_FIRST * (1 << n));
                assert!((WAIT_MIN..=limit).contains(&wait), "seed {seed}: {wait:?}");
                largest[n] = largest[n].max(wait);
                sums[n] += wait;
            }
        }
        for n in 0..10 {
            let limit = WAIT_MAX.min(WAIT_FIRST * (1 << n));
            assert!(largest[n] > limit.mul_f64(0.95), "{n}: {:?}", largest[n]);
            let mean = sums[n] / 500;
            let half = limit / 2;
            assert!(
                mean > half.mul_f64(0.85) && mean < half.mul_f64(1.25),
                "{n}: {mean:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_seed_waits_the_same() {
        let waits = |seed| {
            let mut backoff = Backoff::new(persistence(1 << 30, seed));
            (0..20)
                .map_while(|_| backoff.after_failure(None))
                .collect::<Vec<_>>()
        };
        assert_eq!(waits(7), waits(7));
        assert_ne!(waits(7), waits(8));
    }

    #[tokio::test(start_paused = true)]
    async fn what_gets_nowhere_is_given_up_when_its_time_is_over_and_not_before() {
        for seed in 0..50 {
            let mut backoff = Backoff::new(persistence(300, seed));
            let begun = Instant::now();
            while let Some(wait) = backoff.after_failure(None) {
                assert!(begun.elapsed() + wait <= Duration::from_secs(300));
                tokio::time::sleep(wait).await;
            }
            assert_eq!(begun.elapsed().as_secs(), 300, "seed {seed}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn progress_begins_again_with_short_waits_and_all_of_the_time() {
        let mut backoff = Backoff::new(persistence(300, 3));
        for _ in 0..50 {
            while backoff.failures() < 6 {
                let wait = backoff.after_failure(None).unwrap();
                tokio::time::sleep(wait).await;
            }
            backoff.progressed();
            assert!(backoff.after_failure(None).unwrap() <= WAIT_FIRST);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_begins_after_the_end_and_nothing_is_tried_again_without_persistence() {
        let mut backoff = Backoff::new(persistence(300, 1));
        let until = Instant::now() + Duration::from_millis(100);
        assert_eq!(backoff.after_failure(Some(until)), None);
        let mut backoff = Backoff::new(Persistence::NONE);
        assert_eq!(backoff.after_failure(None), None);
    }
}
