//! What a helper's heartbeat says: whom it is waiting for, and how long.
//!
//! A heartbeat proves that the helper's process and the network are alive, and
//! nothing about its ZFS, which has threads of its own. So that a transfer that
//! stands still can be told from one that is only slow, and by whose fault, a
//! helper says in the header of each heartbeat what its transfer waits for:
//! the transfer's number has 0 (it says nothing), 1, 2 or 3 ([`WaitsFor`]), the
//! sequence the milliseconds since that began. A helper of before says nothing,
//! and a driver of before takes what it does not know for that.

use std::time::Duration;

use crate::stream::frame::{Frame, Header, Kind};

/// Whom a helper waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitsFor {
    /// The other side: its next frame, or room on the way to it.
    OtherSide,
    /// Its own ZFS: the next bytes of a stream, or that it takes some.
    Zfs,
    /// Itself: it hashes, checks, compresses or unpacks.
    Processor,
}

/// What a helper was doing when it sent a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    /// Whom it waited for.
    pub waits_for: WaitsFor,
    /// Since when, seen from the moment of the heartbeat.
    pub since: Duration,
}

impl Pulse {
    /// The heartbeat that says so; of `None` one that says nothing.
    #[must_use]
    pub fn frame(pulse: Option<Self>) -> Frame {
        let (code, milliseconds) = match pulse {
            None => (0, 0),
            Some(Self { waits_for, since }) => (
                match waits_for {
                    WaitsFor::OtherSide => 1,
                    WaitsFor::Zfs => 2,
                    WaitsFor::Processor => 3,
                },
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            ),
        };
        Frame::stored(Kind::Heartbeat, code, milliseconds, &[])
    }

    /// What a heartbeat says; `None` if it says nothing, or nothing known.
    #[must_use]
    pub fn of(header: &Header) -> Option<Self> {
        let waits_for = match header.transfer {
            1 => WaitsFor::OtherSide,
            2 => WaitsFor::Zfs,
            3 => WaitsFor::Processor,
            _ => return None,
        };
        Some(Self {
            waits_for,
            since: Duration::from_millis(header.sequence),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::decoder::Decoder;

    fn over_the_wire(frame: Frame) -> Header {
        let mut decoder = Decoder::default();
        decoder.push(frame.into_wire());
        decoder.next_frame().unwrap().unwrap().header
    }

    #[test]
    fn a_pulse_survives_the_wire() {
        for waits_for in [WaitsFor::OtherSide, WaitsFor::Zfs, WaitsFor::Processor] {
            for milliseconds in [0, 1, u64::MAX] {
                let since = Duration::from_millis(milliseconds);
                let pulse = Pulse { waits_for, since };
                let header = over_the_wire(Pulse::frame(Some(pulse)));
                assert_eq!(Pulse::of(&header), Some(pulse));
            }
        }
    }

    #[test]
    fn a_heartbeat_of_a_driver_or_of_a_later_helper_says_nothing() {
        assert_eq!(Pulse::of(&over_the_wire(Pulse::frame(None))), None);
        let later = Frame::stored(Kind::Heartbeat, 9, 5, &[]);
        assert_eq!(Pulse::of(&over_the_wire(later)), None);
    }
}
