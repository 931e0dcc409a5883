//! Is every copy up to date? Answered from configuration, state and time.
//!
//! The last step of the scheme, and the one that monitoring calls on every
//! node: nothing here connects or changes anything. A node that sends is
//! judged per target; a node that receives, for its own copy; which of the two
//! a node is now, the newest record of the state file says.

#![expect(clippy::todo, reason = "the interface comes first, the bodies follow")]

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::config::{ConfigError, NodeName, Rid, Service, ServiceName, TargetKind};
use super::moment::UtcSeconds;
use super::state::{ResourceState, StateError, Synced, Trouble};
use crate::name::DatasetName;

/// The state file of each resource; a resource without a file is not in it.
pub type States = BTreeMap<Rid, Result<ResourceState, StateError>>;

/// How far ahead a clock may be before the difference is called wrong: more
/// than what unsynchronized clocks drift in a run, less than any delay that
/// matters.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);

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
    #[error("the data is {} old, more than {}", shown(*age), shown(*limit))]
    TooOld {
        /// Age of the snapshot.
        age: Duration,
        /// `sync_max_delay`.
        limit: Duration,
    },
    /// A time that has not come yet.
    #[error(
        "the snapshot was taken {} in the future: the clocks of this node and of {sender} differ",
        shown(*ahead)
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
}

fn shown(duration: Duration) -> String {
    format!("{}s", duration.as_secs())
}

/// What this node is for a resource, judged by configuration and state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusRole {
    /// It sends.
    Sender,
    /// It receives.
    Receiver,
    /// It may do both, and no state says which.
    Either,
    /// Neither.
    None,
}

/// The status of one resource on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceStatus {
    /// The resource.
    pub rid: Rid,
    /// The worst of `reasons` and `copies`.
    pub state: State,
    /// What this node is for it.
    pub role: StatusRole,
    /// `optional` is set.
    pub optional: bool,
    /// What is to be said about the resource as a whole.
    pub reasons: Vec<Reason>,
    /// On a sender each target, on a receiver its own copy.
    pub copies: Vec<CopyStatus>,
}

/// The status of one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyStatus {
    /// The node that keeps it.
    pub node: NodeName,
    /// Its group.
    pub kind: TargetKind,
    /// The dataset there, as configured.
    pub dst: DatasetName,
    /// Its state.
    pub state: State,
    /// Why it is not up.
    pub reasons: Vec<Reason>,
    /// Age of the data: from the creation of the snapshot to now.
    pub data_age: Option<Duration>,
    /// Age of the run: from the end of the last successful one to now.
    pub run_age: Option<Duration>,
    /// The last success.
    pub synced: Option<Synced>,
}

/// The status of a service on one node.
#[derive(Debug)]
pub struct ServiceStatus {
    /// The service.
    pub service: ServiceName,
    /// The worst of its resources.
    pub state: State,
    /// Each resource.
    pub resources: Vec<ResourceStatus>,
    /// Why nothing could be evaluated, for [`State::Undef`].
    pub error: Option<ConfigError>,
}

impl ServiceStatus {
    /// Evaluates a service.
    #[must_use]
    pub fn new(service: &Service, node: &NodeName, states: &States, now: UtcSeconds) -> Self {
        let resources = evaluate(service, node, states, now);
        Self {
            service: service.name().clone(),
            state: State::worst(resources.iter().map(|resource| resource.state)),
            resources,
            error: None,
        }
    }

    /// The status of a service whose configuration is unusable.
    #[must_use]
    pub fn undefined(service: ServiceName, error: ConfigError) -> Self {
        Self {
            service,
            state: State::Undef,
            resources: Vec::new(),
            error: Some(error),
        }
    }
}

/// The status of every zfs resource of `service` on `node`, in the order of
/// the configuration.
#[must_use]
pub fn evaluate(
    service: &Service,
    node: &NodeName,
    states: &States,
    now: UtcSeconds,
) -> Vec<ResourceStatus> {
    todo!("{service:?} {node} {states:?} {now}")
}
