//! Trying again what may go better the next time.
//!
//! Only failures of the family [`Family::Transient`] are tried again: network,
//! a peer that restarts or is busy, a worker that died. Between two attempts
//! lies a random time up to a limit that doubles ([`Backoff`]), so that many
//! drivers do not come back at once. Each attempt looks at the pools again and
//! goes on with what is there; nothing of the one before is taken for granted.
//!
//! A run gives up when it has got nowhere for as long as `retry_for` says, or
//! when its time is over. It gets somewhere if a target has more than before:
//! [`Progress`] sees that. Bytes that were sent and lost again do not count, or
//! a target that refuses the same block each time would be asked for ever.

mod backoff;
mod progress;

use std::time::Duration;

use tokio::time::{Instant, sleep};

pub use backoff::{Backoff, WAIT_FIRST, WAIT_MAX};
pub use progress::Progress;

use crate::error::Family;
use crate::event::{Event, Observer};

/// How long a run may get nowhere if nobody says otherwise: a peer that boots
/// is back in that time, and an operator who waits has not left yet.
pub const RETRY_FOR_DEFAULT: Duration = Duration::from_secs(5 * 60);

/// How persistent a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Persistence {
    /// How long it may get nowhere before it gives up; zero: it never tries
    /// again.
    pub retry_for: Duration,
    /// Of the random waits; `None` for one that differs each time.
    pub seed: Option<u64>,
}

impl Persistence {
    /// A failure is final.
    pub const NONE: Self = Self {
        retry_for: Duration::ZERO,
        seed: None,
    };
}

impl Default for Persistence {
    fn default() -> Self {
        Self {
            retry_for: RETRY_FOR_DEFAULT,
            seed: None,
        }
    }
}

/// What failed, for [`pause`].
pub(crate) struct Failed<'a> {
    /// The peer or node it is about.
    pub peer: &'a str,
    /// The exit-code family.
    pub family: Family,
    /// What happened.
    pub error: &'a dyn std::fmt::Display,
}

/// After a failed attempt: tells of it, waits, and is true if there is to be
/// another one. False at once if there is not. Cancel-safe: dropped while it
/// waits nothing has happened.
pub(crate) async fn pause(
    backoff: &mut Backoff,
    failed: &Failed<'_>,
    until: Option<Instant>,
    observer: &dyn Observer,
) -> bool {
    if failed.family != Family::Transient {
        return false;
    }
    let Some(wait) = backoff.after_failure(until) else {
        return false;
    };
    observer.event(&Event::Retrying {
        peer: failed.peer.to_owned(),
        error: failed.error.to_string(),
        attempt: backoff.failures(),
        wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
    });
    sleep(wait).await;
    true
}
