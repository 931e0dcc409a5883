//! How fast a transfer may go: what the switch asks before it passes a frame on.

use std::sync::Arc;

use tokio::time::Instant;

use crate::limit::{Booking, Limiter};
use crate::stream::frame::Frame;

/// Of one transfer. A frame has its place from when it came to when it was
/// passed on; the place of one that is given up is given back.
pub(super) struct Pace {
    limiter: Option<Arc<Limiter>>,
    booking: Option<Booking>,
}

impl Pace {
    /// As the limiter says, if there is one.
    pub(super) fn new(limiter: Option<Arc<Limiter>>) -> Self {
        Self {
            limiter,
            booking: None,
        }
    }

    /// This frame comes next.
    pub(super) fn book(&mut self, frame: &Frame) {
        let limiter = self.limiter.as_ref();
        self.booking = limiter.map(|limiter| limiter.book(frame.wire_bytes()));
    }

    /// When to ask again; `None` if the frame may be passed on, or there is
    /// none.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.booking.as_ref()?.held_until()
    }

    /// It has been passed on.
    pub(super) fn passed(&mut self) {
        if let Some(booking) = self.booking.take() {
            booking.passed();
        }
    }
}
