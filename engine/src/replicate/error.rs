//! Why a replication did not happen.

use std::time::Duration;

use crate::error::Family;
use crate::name::{DatasetName, NameError, SnapshotName};
use crate::peer::PeerError;
use crate::plan::{Conflict, Hosts, Kin};
use crate::protocol::failure::Failure;
use crate::zfs::ZfsErrorKind;

/// A replication that failed, with the state it leaves.
#[derive(Debug, thiserror::Error)]
pub enum ReplicateError {
    /// Source and target are one name on one machine.
    #[error("source and target are the same dataset, {dataset}")]
    SamePlace {
        /// Both.
        dataset: DatasetName,
    },
    /// The target would be part of what is replicated.
    #[error("the target {target} lies inside the source {source_dataset}")]
    TargetInsideSource {
        /// The source.
        source_dataset: DatasetName,
        /// The target.
        target: DatasetName,
    },
    /// The source does not exist.
    #[error("{peer}: dataset {dataset} does not exist{}", now_called(renamed.as_deref()))]
    NoSource {
        /// On which peer.
        peer: String,
        /// The dataset.
        dataset: DatasetName,
        /// The dataset there that the target is a copy of, if it was found.
        renamed: Option<Box<Kin>>,
    },
    /// The target cannot be reached by a stream without losing something.
    #[error("{}", summary(conflicts))]
    Conflicts {
        /// All of them.
        conflicts: Vec<Conflict>,
        /// The machine of the source, as messages name it.
        here: String,
        /// That of the target.
        there: String,
        /// What the run had done by then; nothing, if they were there at first.
        begun: Box<Begun>,
    },
    /// The target cannot be put aside.
    #[error("{target} cannot be put aside as {to}: {cause}")]
    NotArchived {
        /// The target.
        target: DatasetName,
        /// What it was to be called.
        to: DatasetName,
        /// Why.
        #[source]
        cause: Box<PeerError>,
    },
    /// The root dataset of a pool cannot be put aside.
    #[error("{target} is the root of a pool and cannot be renamed: {conflict}")]
    ArchivingRoot {
        /// The target.
        target: DatasetName,
        /// What it was to mend.
        conflict: Box<Conflict>,
    },
    /// There is no room for everything beside what is there.
    #[error(
        "beside the old {target} everything needs about {needed} bytes, and {available} are \
         available"
    )]
    NoRoom {
        /// The target.
        target: DatasetName,
        /// Estimated size of everything.
        needed: u64,
        /// What can be written there.
        available: u64,
    },
    /// A name would be too long on the target.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A step other than a transfer failed.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// Between listing and sending a snapshot was destroyed or renamed: one that
    /// was to be sent, or what the stream goes onto.
    #[error("a snapshot vanished before it could be held and sent: {cause}")]
    Vanished {
        /// What ZFS said.
        #[source]
        cause: Box<PeerError>,
    },
    /// What stands after the base could not be given up, though it may be.
    #[error("what {} has after {to} could not be given up: {cause}", to.dataset)]
    NotCleared {
        /// The base, by its name on the target; if snapshots of several
        /// datasets were to go, that of the first.
        to: SnapshotName,
        /// Why.
        #[source]
        cause: Box<PeerError>,
    },
    /// The whole took longer than it may.
    #[error("the run took longer than {} s", limit.as_secs())]
    TimedOut {
        /// The time it had.
        limit: Duration,
    },
    /// What a cut receive left could not be given up, though it may be.
    #[error("the part of a cut receive in {dataset} could not be given up: {cause}")]
    NotDiscarded {
        /// The dataset on the target.
        dataset: DatasetName,
        /// Why.
        #[source]
        cause: Box<PeerError>,
    },
    /// A transfer failed.
    #[error("{snapshot} was not replicated to {target}: {cause}")]
    Transfer {
        /// What was being sent.
        snapshot: SnapshotName,
        /// What it should have become.
        target: SnapshotName,
        /// How many datasets of this run the target already has.
        done: usize,
        /// How many there are.
        of: usize,
        /// Why.
        #[source]
        cause: Box<PeerError>,
    },
}

/// What a run had done when it found what somebody had put in its way after it
/// began.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Begun {
    /// The snapshot of the whole tree that was taken, by its name at the root.
    pub taken: Option<SnapshotName>,
    /// Streams of a cut run that this attempt completed.
    pub completed: usize,
}

impl Begun {
    fn state_left(&self) -> String {
        let taken = self.taken.as_ref().map(|snapshot| {
            format!("{snapshot} was taken on the source, which the next run replaces")
        });
        let completed = match self.completed {
            0 => None,
            1 => Some("a stream that had been cut was completed on the target".to_owned()),
            n => Some(format!(
                "{n} streams that had been cut were completed on the target"
            )),
        };
        let done: Vec<String> = taken.into_iter().chain(completed).collect();
        match done.is_empty() {
            true => "nothing was changed on either side".to_owned(),
            false => format!(
                "{}; what had arrived on the target by then stays",
                done.join("; ")
            ),
        }
    }
}

fn now_called(kin: Option<&Kin>) -> String {
    match kin {
        None => String::new(),
        Some(Kin { at, shared, guid }) => {
            format!("; the target is a copy of {at} there: both have {shared} (guid {guid})")
        }
    }
}

/// The other side has answered that it did not do it; without an answer nobody
/// knows.
fn was_refused(cause: &PeerError) -> bool {
    cause.failure().is_some()
}

fn is_modified(cause: &PeerError) -> bool {
    matches!(cause.failure(), Some(Failure::Zfs(error)) if error.kind == ZfsErrorKind::Modified)
}

fn is_unsupported(cause: &PeerError) -> bool {
    matches!(cause.failure(), Some(Failure::Unsupported { .. }))
}

fn summary(conflicts: &[Conflict]) -> String {
    match conflicts {
        [] => "conflict".to_owned(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first} (and {} more like it)", rest.len()),
    }
}

impl ReplicateError {
    /// Conflicts of a plan, which knows no machines.
    pub(crate) fn conflicts(conflicts: Vec<Conflict>) -> Self {
        Self::Conflicts {
            conflicts,
            here: "the source".to_owned(),
            there: "the target".to_owned(),
            begun: Box::default(),
        }
    }

    /// The same, of a run that had done so much before.
    pub(super) fn having(mut self, done: Begun) -> Self {
        if let Self::Conflicts { begun, .. } = &mut self {
            **begun = done;
        }
        self
    }

    /// The exit-code family.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::SamePlace { .. }
            | Self::TargetInsideSource { .. }
            | Self::NoSource { .. }
            | Self::Name(_) => Family::Usage,
            Self::Conflicts { conflicts, .. } => {
                conflicts.first().map_or(Family::Failed, Conflict::family)
            }
            Self::Peer(error) => error.family(),
            Self::Vanished { .. } | Self::TimedOut { .. } => Family::Transient,
            Self::ArchivingRoot { conflict, .. } => conflict.family(),
            Self::NoRoom { .. } => Family::Failed,
            Self::NotCleared { cause, .. }
            | Self::NotDiscarded { cause, .. }
            | Self::Transfer { cause, .. }
            | Self::NotArchived { cause, .. } => cause.family(),
        }
    }

    /// The same, of a run that had brought so many datasets over before.
    pub(super) fn after(mut self, brought: usize, all: usize) -> Self {
        if let Self::Transfer { done, of, .. } = &mut self {
            (*done, *of) = (brought, all);
        }
        self
    }

    /// What is there now.
    #[must_use]
    pub fn state_left(&self) -> Option<String> {
        match self {
            Self::Transfer {
                target, done: 0, ..
            } => Some(format!(
                "{} has no new snapshot; what came of the stream is kept to go on from",
                target.dataset
            )),
            Self::Transfer {
                target, done, of, ..
            } => Some(format!(
                "{done} of {of} datasets have their new snapshot; what came of the stream for {} is kept to go on from",
                target.dataset
            )),
            Self::NotCleared { to, .. } => Some(format!(
                "{} is as it was; of its tree, what was to be given up may be gone",
                to.dataset
            )),
            Self::TimedOut { .. } => {
                Some("what arrived is kept; the next run goes on from there".to_owned())
            }
            Self::NotDiscarded { dataset, cause } if was_refused(cause) => {
                Some(format!("{dataset} is as it was, and nothing was sent"))
            }
            Self::NotDiscarded { dataset, .. } => Some(format!(
                "nothing was sent; whether the part is still in {dataset} is not known, since no \
                 answer came"
            )),
            Self::NotArchived { target, to, cause } if !was_refused(cause) => Some(format!(
                "nothing was sent; no answer came, so that what was {target} may be called {to} \
                 by now"
            )),
            Self::Conflicts { begun, .. } => Some(begun.state_left()),
            Self::NoRoom { .. } | Self::ArchivingRoot { .. } | Self::NotArchived { .. } => {
                Some("nothing was changed on either side".to_owned())
            }
            _ => None,
        }
    }

    /// What to do next, one way out per line.
    #[must_use]
    pub fn remedies(&self) -> Vec<String> {
        match self {
            Self::Conflicts {
                conflicts,
                here,
                there,
                ..
            } => {
                let on = Hosts {
                    source: here,
                    target: there,
                };
                conflicts.iter().map(|one| one.remedy(on)).collect()
            }
            Self::NotArchived { target, to, cause } if !was_refused(cause) => vec![format!(
                "see what happened, on {}: zfs list -o name,guid {target} {to}; then run the same \
                 command again",
                cause.peer
            )],
            Self::NotArchived { target, .. } => vec![format!(
                "see what uses it, on the target: zfs list -r -o name,mounted {target}; when it \
                 is free run the same command again"
            )],
            Self::ArchivingRoot { target, .. } => {
                vec![format!("replicate into a dataset below it: {target}/NAME")]
            }
            Self::NoRoom { .. } => {
                vec!["free some space on the target, then run the same command again".to_owned()]
            }
            Self::Transfer { cause, .. } if cause.family() == Family::Transient => {
                let mut remedies = cause.remedies();
                remedies.push(
                    "run the same command again; it goes on where this one was cut".to_owned(),
                );
                remedies
            }
            Self::TimedOut { .. } => vec![
                "run the same command again; it goes on where this one was cut".to_owned(),
                "or give it more time with --timeout".to_owned(),
            ],
            Self::Vanished { .. } => {
                vec!["run the same command again; it plans with what there is".to_owned()]
            }
            Self::NotCleared { to, .. } => vec![format!(
                "see what keeps it: zfs list -t all -o name,userrefs,clones {}; then run the \
                 same command again",
                to.dataset
            )],
            Self::NotDiscarded { dataset, .. } => vec![format!(
                "see what is there: zfs get receive_resume_token,used {dataset}; then run the \
                 same command again"
            )],
            Self::Transfer { cause, target, .. } if is_unsupported(cause) => {
                let pool = target.dataset.pool();
                vec![format!(
                    "see what the pool has, on the target: zpool get all {pool} | grep feature@; \
                     enable what is missing, which older systems may then be unable to read: \
                     zpool upgrade {pool}"
                )]
            }
            // A change too small for the plan to see.
            Self::Transfer { cause, target, .. } if is_modified(cause) => vec![format!(
                "if the changes of {0} may be lost, on the target: zfs rollback to its newest \
                 snapshot; then keep it unchanged: zfs set readonly=on {0}",
                target.dataset
            )],
            Self::Peer(error) => error.remedies(),
            Self::Transfer { cause, .. } => cause.remedies(),
            Self::NoSource {
                peer,
                dataset,
                renamed: Some(kin),
            } => vec![format!(
                "send {0} instead, or give it its name back on {peer}: zfs rename {0} {dataset}",
                kin.at
            )],
            Self::NoSource { dataset, .. } => {
                vec![format!("see what there is: zfs list -r {}", dataset.pool())]
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::wire::WireError;
    use crate::zfs::ZfsError;

    fn failures(cause: fn() -> PeerError) -> [ReplicateError; 2] {
        let target = || DatasetName::parse("backup/data").unwrap();
        [
            ReplicateError::NotArchived {
                target: target(),
                to: DatasetName::parse("backup/data.aside").unwrap(),
                cause: Box::new(cause()),
            },
            ReplicateError::NotDiscarded {
                dataset: target(),
                cause: Box::new(cause()),
            },
        ]
    }

    #[test]
    fn what_was_refused_was_not_done() {
        let busy = || {
            let error = ZfsError::new("rename", "backup/data", ZfsErrorKind::Busy);
            PeerError::new("beta", Failure::from(error))
        };
        let [archived, discarded] = failures(busy).map(|error| error.state_left().unwrap());
        assert_eq!(archived, "nothing was changed on either side");
        assert!(discarded.contains("is as it was"), "{discarded}");
    }

    #[test]
    fn what_was_not_answered_may_have_been_done() {
        let lost = || PeerError::new("beta", WireError::Closed);
        for error in failures(lost) {
            let state = error.state_left().unwrap();
            assert!(state.contains("no answer came"), "{state}");
            assert!(!state.contains("as it was"), "{state}");
            assert!(!error.remedies().is_empty());
        }
    }
}
