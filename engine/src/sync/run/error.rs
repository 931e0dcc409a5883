//! Why a sync, or its part for one target, did not happen.

use std::fmt;
use std::path::PathBuf;

use crate::error::Family;
use crate::name::{DatasetName, NameError, SnapshotName};
use crate::peer::PeerError;
use crate::replicate::ReplicateError;
use crate::sync::config::{ConfigError, ResolveError, Rid};
use crate::sync::state::TroubleKind;

/// A machine could not be reached.
#[derive(Debug)]
pub struct ConnectFault {
    /// The exit-code family.
    pub family: Family,
    /// What happened.
    pub source: Box<dyn std::error::Error + Send + Sync>,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl fmt::Display for ConnectFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl std::error::Error for ConnectFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.source()
    }
}

/// Nothing could be done for the service.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// This node has no part in the service.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// ZFS of this machine cannot be used.
    #[error(transparent)]
    Connect(#[from] ConnectFault),
    /// Listing or snapshots on the source failed.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// A snapshot name would be too long for ZFS.
    #[error(transparent)]
    Name(#[from] NameError),
    /// `src` is a mount point, and no dataset is mounted there.
    #[error("{rid}: no dataset is mounted at {}, which is its src", path.display())]
    NotMounted {
        /// The resource.
        rid: Rid,
        /// The mount point.
        path: PathBuf,
    },
    /// What is mounted makes the configuration wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl SyncError {
    /// The exit-code family.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::Resolve(error) => error.family(),
            Self::Connect(fault) => fault.family,
            Self::Peer(error) => error.family(),
            Self::Name(_) => Family::Usage,
            Self::NotMounted { .. } => Family::Failed,
            Self::Config(error) => error.family(),
        }
    }

    /// What to do next, one way out per line.
    #[must_use]
    pub fn remedies(&self) -> Vec<String> {
        match self {
            Self::Connect(fault) => fault.remedy.iter().cloned().collect(),
            Self::NotMounted { path, .. } => vec![
                format!(
                    "mount it: zfs list -o name,mounted,mountpoint; then findmnt {}",
                    path.display()
                ),
                "or name the dataset in src".to_owned(),
            ],
            _ => Vec::new(),
        }
    }
}

/// One target of one resource has not got its data.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The source dataset is missing.
    #[error("the source {src} does not exist on this node")]
    NoSource {
        /// `src` of the resource.
        src: DatasetName,
    },
    /// The target could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectFault),
    /// Plan or transfer failed.
    #[error(transparent)]
    Replicate(#[from] ReplicateError),
    /// Another step failed.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// A name would be too long for ZFS.
    #[error(transparent)]
    Name(#[from] NameError),
    /// `sync full` onto the root dataset of a pool, beside which nothing is.
    #[error("{dst} is the root of a pool: a full sync cannot receive beside it")]
    RootOfPool {
        /// The dataset on the target.
        dst: DatasetName,
    },
    /// A full copy does not fit beside the one that is there.
    #[error("a full copy beside {dst} needs about {needed} bytes, and {available} are available")]
    NoRoom {
        /// The dataset on the target.
        dst: DatasetName,
        /// Estimated size of everything.
        needed: u64,
        /// What can be written there.
        available: u64,
    },
    /// Everything arrived, and could not be put into its place.
    #[error("{new} could not take the place of {dst}: {source}")]
    NotSwapped {
        /// The dataset on the target.
        dst: DatasetName,
        /// Where everything is.
        new: DatasetName,
        /// Why.
        source: PeerError,
    },
    /// Everything was sent, and yet the target does not have it.
    #[error("{snapshot} is not on the target although it was received")]
    NotThere {
        /// The snapshot.
        snapshot: SnapshotName,
    },
}

impl TargetError {
    /// The exit-code family.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::Connect(fault) => fault.family,
            Self::Replicate(error) => error.family(),
            Self::Peer(error) => error.family(),
            Self::Name(_) | Self::NoSource { .. } => Family::Usage,
            Self::RootOfPool { .. } => Family::Usage,
            Self::NotSwapped { source, .. } => source.family(),
            Self::NoRoom { .. } | Self::NotThere { .. } => Family::Failed,
        }
    }

    /// What is there now.
    #[must_use]
    pub fn state_left(&self) -> Option<String> {
        match self {
            Self::Replicate(error) => error.state_left(),
            Self::RootOfPool { .. } | Self::NoRoom { .. } => {
                Some("nothing was changed on the target".to_owned())
            }
            Self::NotSwapped { new, .. } => Some(format!(
                "{new} is whole and committed; nothing was destroyed"
            )),
            _ => None,
        }
    }

    /// What to do next, one way out per line.
    #[must_use]
    pub fn remedies(&self) -> Vec<String> {
        match self {
            Self::Connect(fault) => fault.remedy.iter().cloned().collect(),
            Self::Replicate(error) => error.remedies(),
            Self::Peer(error) => error.remedies(),
            Self::RootOfPool { dst } => vec![format!(
                "send into a dataset below it: set dst = {dst}/NAME in the configuration"
            )],
            Self::NoRoom { dst, .. } => vec![
                "free some space on the target, then run the same command again".to_owned(),
                format!("or give the old copy up before, on the target: zfs destroy -r {dst}"),
            ],
            Self::NotSwapped { dst, .. } => vec![format!(
                "see what uses it, on the target: zfs list -r -o name,mounted {dst}; when it is \
                 free run any sync again: it swaps them"
            )],
            _ => Vec::new(),
        }
    }

    /// The same, as the state file tells it.
    #[must_use]
    pub fn trouble(&self) -> TroubleKind {
        use crate::plan::Conflict;
        match self {
            Self::Replicate(ReplicateError::Conflicts { conflicts }) => {
                let diverged = conflicts.iter().any(|conflict| {
                    matches!(
                        conflict,
                        Conflict::Modified { .. }
                            | Conflict::Diverged { .. }
                            | Conflict::Kept { .. }
                            | Conflict::Ahead { .. }
                    )
                });
                if diverged {
                    TroubleKind::Diverged
                } else if self.family() == Family::BrokenChain {
                    TroubleKind::BrokenChain
                } else {
                    TroubleKind::Failed
                }
            }
            _ if self.family() == Family::BrokenChain => TroubleKind::BrokenChain,
            _ => TroubleKind::Failed,
        }
    }
}
