//! A failed question to a peer.

use std::time::Duration;

use super::stall::Stalled;
use super::wire::WireError;
use crate::error::Family;
use crate::protocol::failure::Failure;

/// Which peer, what was wanted of it, and why it did not happen.
#[derive(Debug, thiserror::Error)]
#[error("{peer}: {cause}")]
pub struct PeerError {
    /// The peer's name: its host, or this node's name.
    pub peer: String,
    /// Why.
    #[source]
    pub cause: Box<PeerCause>,
}

/// Why a question was not answered with success.
#[derive(Debug, thiserror::Error)]
pub enum PeerCause {
    /// The helper answered that it did not do it.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The conversation broke.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The helper answered something else.
    #[error("the answer does not fit the question ({0})")]
    Confused(&'static str),
    /// A transfer was cut because its time was over.
    #[error("the time for the transfer is over")]
    OutOfTime,
    /// Nothing moved, or was answered, for too long.
    #[error("{why} for {} s", waited.as_secs())]
    Stalled {
        /// Whose fault it seems to be.
        why: Stalled,
        /// How long it was waited for.
        waited: Duration,
    },
}

impl PeerError {
    /// An error of the peer called `peer`.
    pub fn new(peer: &str, cause: impl Into<PeerCause>) -> Self {
        Self {
            peer: peer.to_owned(),
            cause: Box::new(cause.into()),
        }
    }

    /// The exit-code family.
    #[must_use]
    pub fn family(&self) -> Family {
        match &*self.cause {
            PeerCause::Failure(failure) => failure.family(),
            PeerCause::Wire(error) => error.family(),
            PeerCause::Confused(_) => Family::Protocol,
            PeerCause::OutOfTime | PeerCause::Stalled { .. } => Family::Transient,
        }
    }

    /// What to do next, one way out per line.
    #[must_use]
    pub fn remedies(&self) -> Vec<String> {
        match &*self.cause {
            PeerCause::Stalled { why, .. } => vec![why.remedy(&self.peer)],
            PeerCause::Failure(Failure::Zfs(error)) => {
                let remedy = error.remedy();
                let there = remedy.map(|remedy| format!("on {}, {remedy}", self.peer));
                there.into_iter().collect()
            }
            PeerCause::Failure(failure) => {
                failure.remedy().map(str::to_owned).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// The helper's own answer, if it gave one.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match &*self.cause {
            PeerCause::Failure(failure) => Some(failure),
            _ => None,
        }
    }
}
