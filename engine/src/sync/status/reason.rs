//! States, and why one is not simply up.

use std::time::Duration;

use serde::Serialize;

use crate::name::DatasetName;
use crate::sync::config::{NodeName, duration_text};
use crate::sync::state::{Trouble, TroubleKind};

/// The state of a resource or a target, best first: the worst of several is
/// the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum State {
    /// Disabled, or not evaluated here.
    #[serde(rename = "n/a")]
    NotApplicable,
    /// The last success is not older than `sync_max_delay`.
    #[serde(rename = "up")]
    Up,
    /// Too old, never synced, broken, or unknown.
    #[serde(rename = "warn")]
    Warn,
    /// The evaluation itself failed.
    #[serde(rename = "undef")]
    Undef,
}

impl State {
    /// The worst of several; n/a for none.
    pub fn worst(states: impl IntoIterator<Item = Self>) -> Self {
        states.into_iter().max().unwrap_or(Self::NotApplicable)
    }
}

/// Why a state is not simply up. Displayed as a clause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// `disable` is set.
    #[error("disabled")]
    Disabled,
    /// The node is not listed in the service.
    #[error("this node is not listed in the service")]
    NodeNotListed,
    /// This node neither sends nor receives it.
    #[error("this node neither sends nor receives this resource")]
    NotForThisNode,
    /// No state, or no success in it.
    #[error("never synchronized")]
    NeverSynced,
    /// The state is about another dataset than the configuration.
    #[error("never synchronized to {configured}: the last success was to {recorded}")]
    OtherDestination {
        /// What the configuration says.
        configured: DatasetName,
        /// What the state says.
        recorded: DatasetName,
    },
    /// Older than allowed.
    #[error("the data is {} old, more than {}", duration_text(*age), duration_text(*limit))]
    TooOld {
        /// Age of the snapshot.
        age: Duration,
        /// `sync_max_delay`.
        limit: Duration,
    },
    /// A time that has not come yet.
    #[error(
        "the snapshot was taken {} in the future: the clocks of this node and of {sender} differ",
        duration_text(*ahead)
    )]
    ClockSkew {
        /// How far ahead it is.
        ahead: Duration,
        /// Whose clock it was.
        sender: NodeName,
    },
    /// The last run failed.
    #[error("{} (since {})", .0.message, .0.since)]
    Trouble(Trouble),
    /// The state file cannot be used.
    #[error("{0}")]
    StateUnreadable(String),
    /// Without a state, and what this node's snapshots know of a target is not
    /// the newest of what this node has sent.
    #[error("by the marks of this node it has an older snapshot, and no state says how old")]
    Behind,
    /// Without a state, and the snapshots cannot be read either.
    #[error("there is no state, and the snapshots cannot be read: {0}")]
    SnapshotsUnreadable(String),
    /// Without a state, and the snapshots do not tell who sends.
    #[error("there is no state, and the snapshots of this node do not tell which node sends")]
    RoleUnknown,
}

impl Reason {
    /// True if no run repairs this by itself: the chain of deltas is broken,
    /// or the target was changed.
    #[must_use]
    pub fn is_broken_chain(&self) -> bool {
        matches!(
            self,
            Self::Trouble(trouble) if trouble.kind != TroubleKind::Failed
        )
    }

    /// A word for programs that never changes; the text is for people.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::NodeNotListed => "node_not_listed",
            Self::NotForThisNode => "not_for_this_node",
            Self::NeverSynced => "never_synced",
            Self::OtherDestination { .. } => "other_destination",
            Self::TooOld { .. } => "too_old",
            Self::ClockSkew { .. } => "clock_skew",
            Self::Trouble(trouble) => match trouble.kind {
                TroubleKind::BrokenChain => "broken_chain",
                TroubleKind::Diverged => "diverged",
                TroubleKind::Failed => "failed",
            },
            Self::StateUnreadable(_) => "state_unreadable",
            Self::Behind => "behind",
            Self::SnapshotsUnreadable(_) => "snapshots_unreadable",
            Self::RoleUnknown => "role_unknown",
        }
    }
}
