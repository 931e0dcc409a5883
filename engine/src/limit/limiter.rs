//! One limit for all transfers that share it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::civil::DateTime;
use tokio::time::Instant;

use super::{BandwidthLimit, Bucket, Place};

/// What the clock on the wall of this machine shows.
pub type WallClock = Arc<dyn Fn() -> DateTime + Send + Sync>;

/// Whoever waits looks at the clock so often: so another rate applies within
/// this time, whether its time has come or the clock was put right.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Lets frames pass at the rate of the time of day.
pub struct Limiter {
    limit: BandwidthLimit,
    wall: WallClock,
    begun: Instant,
    bucket: Mutex<Bucket>,
}

impl Limiter {
    /// Of transfers that begin now.
    #[must_use]
    pub fn new(limit: BandwidthLimit, wall: WallClock) -> Arc<Self> {
        Arc::new(Self {
            limit,
            wall,
            begun: Instant::now(),
            bucket: Mutex::new(Bucket::new(Duration::ZERO)),
        })
    }

    /// The limit.
    #[must_use]
    pub fn limit(&self) -> &BandwidthLimit {
        &self.limit
    }

    /// A place for a frame of so many bytes, behind those that have one.
    #[must_use]
    pub fn book(self: &Arc<Self>, bytes: usize) -> Booking {
        Booking {
            limiter: Arc::clone(self),
            place: Some(self.look(|bucket| bucket.book(bytes))),
        }
    }

    fn look<T>(&self, look: impl FnOnce(&mut Bucket) -> T) -> T {
        let rate = self.limit.at((self.wall)());
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.look(self.begun.elapsed(), rate);
        look(&mut bucket)
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit.as_str();
        f.debug_struct("Limiter").field("limit", &limit).finish()
    }
}

/// A frame's place. Given back if it is dropped before the frame has passed.
#[derive(Debug)]
pub struct Booking {
    limiter: Arc<Limiter>,
    place: Option<Place>,
}

impl Booking {
    /// When to ask again; `None` if the frame may pass.
    #[must_use]
    pub fn held_until(&self) -> Option<Instant> {
        let place = self.place?;
        let limiter = &*self.limiter;
        let wait = limiter.look(|bucket| bucket.wait(place));
        if wait.is_zero() {
            return None;
        }
        Some(Instant::now() + wait.min(LOOK_INTERVAL))
    }

    /// The frame has passed.
    pub fn passed(mut self) {
        self.place = None;
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.limiter.look(|bucket| bucket.give_back(place));
        }
    }
}
