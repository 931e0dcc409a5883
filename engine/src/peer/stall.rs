//! Transfers that stand still, and answers that do not come.
//!
//! A driver sees bytes; whom the two helpers wait for, their heartbeats tell
//! ([`crate::protocol::pulse`]). Together that says which side stands still:
//! the source's ZFS, the network, or the target's ZFS. Being alive is no
//! excuse: a ZFS that hangs has a helper that goes on with its heartbeats.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::pulse::{Pulse, WaitsFor};

/// How long nothing may move if nobody says otherwise. ZFS may be silent for
/// minutes and yet at work: a send that looks for blocks that have changed, a
/// receive that waits for a transaction group, a listing of a very large pool.
pub const STALL_DEFAULT: Duration = Duration::from_secs(10 * 60);

/// How long either side may take to answer when a transfer is cut. ZFS gives
/// up as soon as its pipe is closed; one that hangs is not waited for.
const CUT_MAX: Duration = Duration::from_secs(20);

/// How long things may take with one peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// When transfers from it are cut.
    pub transfers_until: Option<Instant>,
    /// How long nothing may move or be answered.
    pub stall_max: Option<Duration>,
    /// How long it may take to end a transfer that is cut.
    pub cut_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            transfers_until: None,
            stall_max: None,
            cut_max: CUT_MAX,
        }
    }
}

/// What stands still, by all that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stalled {
    /// The source's ZFS delivers nothing.
    SourceZfs,
    /// The target's ZFS takes nothing.
    TargetZfs,
    /// ZFS of that machine has not done what was asked.
    Zfs,
    /// Both wait for each other: nothing gets through.
    Network,
    /// The other side does not say what it is doing.
    Unknown,
}

impl Stalled {
    /// While a frame of the source is due.
    pub(crate) fn while_sending(pulse: Option<Pulse>) -> Self {
        Self::of(pulse, Self::SourceZfs)
    }

    /// While the target has no room for the next frame, or is to say what came
    /// of all of them.
    pub(crate) fn while_receiving(pulse: Option<Pulse>) -> Self {
        Self::of(pulse, Self::TargetZfs)
    }

    /// While an answer is due.
    pub(crate) fn while_answering(pulse: Option<Pulse>) -> Self {
        Self::of(pulse, Self::Zfs)
    }

    fn of(pulse: Option<Pulse>, zfs: Self) -> Self {
        match pulse.map(|pulse| pulse.waits_for) {
            Some(WaitsFor::Zfs) => zfs,
            Some(WaitsFor::OtherSide) => Self::Network,
            // No block takes a processor that long: something else is wrong.
            Some(WaitsFor::Processor) | None => Self::Unknown,
        }
    }

    /// What to do next about `peer`.
    pub(crate) fn remedy(self, peer: &str) -> String {
        match self {
            Self::SourceZfs | Self::TargetZfs | Self::Zfs => format!(
                "see what its pools do, on {peer}: zpool status; if ZFS only needs longer, give \
                 it more time with --stall-timeout (stall_timeout in a service's configuration)"
            ),
            Self::Network | Self::Unknown => {
                format!("see whether {peer} and the network to it are well, then run it again")
            }
        }
    }
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SourceZfs => "the helper there is alive, but its ZFS has sent nothing",
            Self::TargetZfs => "the helper there is alive, but its ZFS has taken nothing",
            Self::Zfs => "the helper there is alive, but its ZFS has not answered",
            Self::Network => "both sides wait for each other, and nothing got through",
            Self::Unknown => "nothing moved and nothing was answered",
        })
    }
}
