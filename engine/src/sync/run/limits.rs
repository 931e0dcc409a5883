//! The limits of a run: resources with the same one share it, since they share
//! the line that it is about.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::limit::{BandwidthLimit, Limiter, WallClock};

/// What a run is told of limits, and the limiters that it has made.
pub struct Limits {
    /// That of the command line: it takes the place of all others.
    said: Option<BandwidthLimit>,
    wall: WallClock,
    limiters: Mutex<BTreeMap<String, Arc<Limiter>>>,
}

impl Limits {
    /// `said` is what takes the place of the configuration's limits; `wall`
    /// shows the time of this machine.
    #[must_use]
    pub fn new(said: Option<BandwidthLimit>, wall: WallClock) -> Self {
        Self {
            said,
            wall,
            limiters: Mutex::default(),
        }
    }

    /// The limiter of a resource whose configuration says `limit`.
    pub(super) fn limiter(&self, limit: Option<&BandwidthLimit>) -> Option<Arc<Limiter>> {
        let limit = self.said.as_ref().or(limit)?;
        let mut limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || Limiter::new(limit.clone(), Arc::clone(&self.wall));
        let limiter = limiters.entry(limit.to_string()).or_insert_with(made);
        Some(Arc::clone(limiter))
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").field("said", &self.said).finish()
    }
}
