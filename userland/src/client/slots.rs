//! How many calls run at once.

use std::sync::{Condvar, Mutex, PoisonError};

/// Most calls that run at once; each takes a thread of the worker and, if it
/// sends or receives, a few more inside libzpool. Others wait for their turn.
pub(crate) const CALLS_MAX: usize = 32;

/// Places for calls.
#[derive(Debug, Default)]
pub(super) struct Slots {
    taken: Mutex<usize>,
    freed: Condvar,
}

/// A place; dropping it gives it to the next.
#[derive(Debug)]
pub(super) struct Slot<'a>(&'a Slots);

impl Slots {
    /// Waits for a place. Calls end, at the latest by the watch over them.
    pub fn take(&self) -> Slot<'_> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self
            .freed
            .wait_while(taken, |taken| *taken >= CALLS_MAX)
            .unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Slot(self)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken -= 1;
        self.0.freed.notify_one();
    }
}
