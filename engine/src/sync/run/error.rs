//! Why a sync, or its part for one target, did not happen.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::commands::CommandError;
use crate::error::Family;
use crate::name::{DatasetName, NameError, SnapshotName};
use crate::peer::PeerError;
use crate::replicate::ReplicateError;
use crate::sync::config::{ConfigError, ResolveError, duration_text};
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
            Self::Config(error) => error.family(),
        }
    }

    /// What to do next, one way out per line.
    #[must_use]
    pub fn remedies(&self) -> Vec<String> {
        match self {
            Self::Connect(fault) => fault.remedy.iter().cloned().collect(),
            _ => Vec::new(),
        }
    }
}

/// A resource could not be sent at all, or not be ended as it should.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ResourceError {
    /// Another run has it.
    #[error("{0}")]
    Locked(Arc<ConnectFault>),
    /// A command of the configuration failed.
    #[error("{what} failed: {source}")]
    Command {
        /// Which one: the keyword, or what it is for.
        what: String,
        /// How.
        source: Arc<CommandError>,
    },
    /// Listing, snapshots or the rotation of the source failed.
    #[error("{0}")]
    Source(Arc<PeerError>),
    /// `src` is a mount point, and no dataset is mounted there.
    #[error("no dataset is mounted at {}, which is its src", path.display())]
    NotMounted {
        /// The mount point.
        path: PathBuf,
    },
    /// What was tried could not be written down.
    #[error("the attempt cannot be written down: {0}")]
    Attempts(Arc<std::io::Error>),
}

impl ResourceError {
    pub(super) fn command(what: impl Into<String>, error: CommandError) -> Self {
        Self::Command {
            what: what.into(),
            source: Arc::new(error),
        }
    }

    pub(super) fn source(error: PeerError) -> Self {
        Self::Source(Arc::new(error))
    }

    /// The exit-code family.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::Locked(fault) => fault.family,
            Self::Command { .. } | Self::Attempts(_) | Self::NotMounted { .. } => Family::Failed,
            Self::Source(error) => error.family(),
        }
    }

    /// What to do next, one way out per line.
    #[must_use]
    pub fn remedies(&self) -> Vec<String> {
        match self {
            Self::Locked(fault) => fault.remedy.iter().cloned().collect(),
            Self::Command { .. } => {
                vec!["see what the command does when it is started by hand".to_owned()]
            }
            Self::Source(_) => Vec::new(),
            Self::NotMounted { path } => vec![
                format!(
                    "mount it: zfs list -o name,mounted,mountpoint; then findmnt {}",
                    path.display()
                ),
                "or name the dataset in src".to_owned(),
            ],
            Self::Attempts(_) => {
                vec!["name a folder that this user may write to with --state".to_owned()]
            }
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
    /// It took longer than it may, a transfer longer than the `timeout` of the
    /// resource.
    #[error("the target took longer than {}", duration_text(*limit))]
    TimedOut {
        /// The time it had.
        limit: Duration,
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
    /// Old copies are there, and not the one that took their place.
    #[error(
        "{dst} does not exist on the target, where old copies of it are: {}",
        listed(copies)
    )]
    NothingBut {
        /// The dataset on the target.
        dst: DatasetName,
        /// The old copies.
        copies: Vec<DatasetName>,
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
            Self::NothingBut { .. } | Self::NoRoom { .. } | Self::NotThere { .. } => Family::Failed,
            Self::TimedOut { .. } => Family::Transient,
        }
    }

    /// What is there now.
    #[must_use]
    pub fn state_left(&self) -> Option<String> {
        match self {
            // The source may have a fresh `tosend`.
            Self::Replicate(ReplicateError::Conflicts { .. })
            | Self::RootOfPool { .. }
            | Self::NoRoom { .. }
            | Self::NothingBut { .. } => Some("nothing was changed on the target".to_owned()),
            Self::Replicate(error) => error.state_left(),
            Self::NotSwapped { new, .. } => Some(format!(
                "{new} is whole and committed; nothing was destroyed"
            )),
            Self::TimedOut { .. } => {
                Some("what arrived is kept; the next run goes on from there".to_owned())
            }
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
            Self::NothingBut { dst, copies } => copies
                .iter()
                .map(|copy| format!("take this one back, on the target: zfs rename {copy} {dst}"))
                .collect(),
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
            Self::Replicate(ReplicateError::Conflicts { conflicts, .. }) => {
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

fn listed(copies: &[DatasetName]) -> String {
    let names: Vec<&str> = copies.iter().map(DatasetName::as_str).collect();
    names.join(", ")
}
