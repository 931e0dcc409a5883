//! What the work of a session waits for: for its heartbeats, and for a driver in
//! the same process.
//!
//! Threads that send and receive note it as they go; whoever sends heartbeats
//! reads it. A thread that hangs inside ZFS notes nothing more, and that is
//! what the other side is told.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::pulse::{Pulse, WaitsFor};

/// What a session waits for, and has waited for. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Activity(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    now: Option<(WaitsFor, Instant)>,
    before: Spent,
}

/// What the time of a session's transfers went into, all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Waiting for the other side.
    pub other_side: Duration,
    /// Waiting for its own ZFS.
    pub zfs: Duration,
    /// Hashing, checking, compressing and unpacking.
    pub processor: Duration,
}

impl Spent {
    fn add(&mut self, whom: WaitsFor, time: Duration) {
        let part = match whom {
            WaitsFor::OtherSide => &mut self.other_side,
            WaitsFor::Zfs => &mut self.zfs,
            WaitsFor::Processor => &mut self.processor,
        };
        *part += time;
    }

    /// What was spent since it was `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            other_side: self.other_side.saturating_sub(earlier.other_side),
            zfs: self.zfs.saturating_sub(earlier.zfs),
            processor: self.processor.saturating_sub(earlier.processor),
        }
    }
}

impl Activity {
    /// From now on it waits for this.
    pub(super) fn waits_for(&self, whom: WaitsFor) {
        self.note(Some((whom, Instant::now())));
    }

    /// There is no work.
    pub(super) fn rests(&self) {
        self.note(None);
    }

    /// For a heartbeat.
    pub(super) fn pulse(&self) -> Option<Pulse> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.now.map(|(waits_for, since)| Pulse {
            waits_for,
            since: since.elapsed(),
        })
    }

    /// What its time went into so far, with what it waits for now.
    pub(crate) fn spent(&self) -> Spent {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut spent = noted.before;
        if let Some((whom, since)) = noted.now {
            spent.add(whom, since.elapsed());
        }
        spent
    }

    fn note(&self, next: Option<(WaitsFor, Instant)>) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((whom, since)) = std::mem::replace(&mut noted.now, next) {
            noted.before.add(whom, since.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_is_counted_for_what_it_went_into_up_to_now() {
        let activity = Activity::default();
        let pass = |seconds| tokio::time::advance(Duration::from_secs(seconds));
        activity.waits_for(WaitsFor::Zfs);
        pass(3).await;
        activity.waits_for(WaitsFor::Processor);
        pass(2).await;
        activity.waits_for(WaitsFor::Zfs);
        pass(4).await;
        let early = activity.spent();
        assert_eq!(early.zfs, Duration::from_secs(7));
        assert_eq!(early.processor, Duration::from_secs(2));
        activity.rests();
        pass(5).await;
        activity.waits_for(WaitsFor::OtherSide);
        pass(1).await;
        let since = activity.spent().since(&early);
        let expected = Spent {
            other_side: Duration::from_secs(1),
            ..Spent::default()
        };
        assert_eq!(since, expected);
    }
}
