//! Why a helper did not do what it was asked for.

use serde::{Deserialize, Serialize};

use super::message;
use crate::error::Family;
use crate::name::{DatasetName, Guid, SnapshotName};
use crate::zfs::ZfsError;

/// Why a helper did not do it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// ZFS said no.
    #[error(transparent)]
    Zfs(ZfsError),
    /// The dataset is outside of what the helper was started for.
    #[error("the helper refuses {dataset}: it was started with --allow {allowed}")]
    NotAllowed {
        /// The dataset of the request.
        dataset: DatasetName,
        /// What is allowed, as a list.
        allowed: String,
    },
    /// The request is malformed, unknown, too long or out of turn.
    #[error("the helper does not understand the request: {0}")]
    BadRequest(String),
    /// A snapshot of that name is not the one that was meant.
    #[error("{snapshot} has guid {found}, not {expected}: it was replaced meanwhile")]
    OtherGuid {
        /// Its name.
        snapshot: SnapshotName,
        /// The guid the driver knows.
        expected: Guid,
        /// The guid it has.
        found: Guid,
    },
    /// The stream is damaged or not the announced one. The snapshot does not
    /// exist; what came before the damage may be kept.
    #[error("the stream for {snapshot} was refused: {reason}")]
    Stream {
        /// What should have arrived.
        snapshot: SnapshotName,
        /// What is wrong with it.
        reason: String,
    },
    /// The receiving ZFS does not support the stream, and nothing was received.
    #[error("{}", unsupported(snapshot, stream, pool_features, error))]
    Unsupported {
        /// What should have arrived.
        snapshot: SnapshotName,
        /// Features of the stream, by name.
        stream: Vec<String>,
        /// Features that the pool needs for it, by name.
        pool_features: Vec<String>,
        /// What ZFS said.
        error: Box<ZfsError>,
    },
    /// The sender gave up. The snapshot does not exist; what came may be kept.
    #[error("the transfer of {snapshot} was given up by the sender: {reason}")]
    GivenUp {
        /// What should have arrived.
        snapshot: SnapshotName,
        /// The sender's reason.
        reason: String,
    },
    /// Another driver has claimed the destination, or a part of it.
    #[error("{dataset} cannot be received into now: it is in use by {holder}")]
    Claimed {
        /// The destination.
        dataset: DatasetName,
        /// Who has it, and for what.
        holder: String,
    },
    /// The helper cannot keep others from the destination.
    #[error("{dataset} cannot be locked: {reason}")]
    NoClaim {
        /// The destination.
        dataset: DatasetName,
        /// Why.
        reason: String,
    },
    /// The conversation goes on as it is, over the sessions that it has.
    #[error("the helper takes no more sessions: {reason}")]
    NoSessions {
        /// Why.
        reason: String,
    },
    /// The state file could not be stored.
    #[error("the state of {service} {rid} could not be stored: {reason}")]
    State {
        /// The service.
        service: String,
        /// The resource.
        rid: String,
        /// Why.
        reason: String,
    },
    /// The helper met a defect of its own.
    #[error("the helper failed: {0}")]
    Internal(String),
}

impl Failure {
    /// The same failure, safe to show; see [`Reply::made_printable`](message::Reply::made_printable).
    #[must_use]
    pub fn made_printable(self) -> Self {
        message::printable(self)
    }

    /// The exit-code family.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::Zfs(error) => error.family(),
            Self::Unsupported { error, .. } => error.family(),
            Self::NotAllowed { .. } => Family::Refused,
            Self::BadRequest(_) => Family::Protocol,
            Self::OtherGuid { .. }
            | Self::State { .. }
            | Self::NoClaim { .. }
            | Self::NoSessions { .. } => Family::Failed,
            Self::Stream { .. } | Self::GivenUp { .. } | Self::Claimed { .. } => Family::Transient,
            Self::Internal(_) => Family::Bug,
        }
    }

    /// What to do next, if that is the same whatever was going on.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Claimed { .. } => Some("run the same command again when the other one has ended"),
            Self::NoClaim { .. } => Some(
                "give the helper on that machine a folder that its account may write to: \
                 zferry --state DIR helper (remote_command in a service's configuration)",
            ),
            _ => None,
        }
    }
}

fn unsupported(
    snapshot: &SnapshotName,
    stream: &[String],
    pool_features: &[String],
    error: &ZfsError,
) -> String {
    let pool = snapshot.dataset.pool();
    let needed = match pool_features {
        [] => format!("no feature of pool {pool} is known to be needed for it"),
        names => format!("pool {pool} needs {}", names.join(", ")),
    };
    format!(
        "the ZFS that should receive {snapshot} does not support the stream, which has {}; \
         {needed}: {error}",
        stream.join(", ")
    )
}

impl From<ZfsError> for Failure {
    fn from(error: ZfsError) -> Self {
        Self::Zfs(error)
    }
}

/// The reason that travels in an abort frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abort {
    /// Why the stream is void.
    pub failure: Failure,
}
