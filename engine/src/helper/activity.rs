//! What the work of a session waits for, for its heartbeats.
//!
//! Threads that send and receive note it as they go; whoever sends heartbeats
//! reads it. A thread that hangs inside ZFS notes nothing more, and that is
//! what the other side is told.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::protocol::pulse::{Pulse, WaitsFor};

/// What a session waits for. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Activity(Arc<Mutex<Option<(WaitsFor, Instant)>>>);

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
        let noted = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.map(|(waits_for, since)| Pulse {
            waits_for,
            since: since.elapsed(),
        })
    }

    fn note(&self, noted: Option<(WaitsFor, Instant)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = noted;
    }
}
