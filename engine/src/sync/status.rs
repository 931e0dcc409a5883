//! Is every copy up to date? Answered from configuration, state and time.
//!
//! The last step of the scheme, and the one that monitoring calls on every
//! node: nothing here connects or changes anything. A node that sends is
//! judged per target; a node that receives, for its own copy; which of the two
//! a node is now, the newest record of the state file says. What state files
//! do not tell, because they are lost or damaged, the snapshots of this node
//! do: [`to_look_at`] says which datasets to list, [`Snapshots`] lists them.

mod evaluation;
mod reason;
mod snapshots;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::config::{ConfigError, NodeName, Resource, Rid, Service, ServiceName, TargetKind};
use super::moment::UtcSeconds;
use super::state::{ResourceState, StateError, Synced};
use crate::name::DatasetName;

pub use evaluation::evaluate;
pub use reason::{Reason, State};
pub use snapshots::{Seen, Snapshots, to_look_at};

/// The state file of each resource; a resource without a file is not in it.
pub type States = BTreeMap<Rid, Result<ResourceState, StateError>>;

/// How far ahead a clock may be before the difference is called wrong: more
/// than what unsynchronized clocks drift in a run, less than any delay that
/// matters.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);

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
    /// Age of the data: from the creation of the snapshot to now. `None` also
    /// if the clocks differ too much to say.
    pub data_age: Option<Duration>,
    /// Age of the run: from the end of the last successful one to now.
    pub run_age: Option<Duration>,
    /// The last success, as the state file tells it.
    pub synced: Option<Synced>,
    /// Without one: what the snapshots of this node show.
    pub seen: Option<Seen>,
}

/// Everything that an evaluation starts from, besides the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The state files.
    pub states: &'a States,
    /// The datasets of [`to_look_at`].
    pub snapshots: &'a Snapshots,
    /// What time it is.
    pub now: UtcSeconds,
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
    /// Evaluates those resources of a service that `asked` is true for.
    #[must_use]
    pub fn new(
        service: &Service,
        node: &NodeName,
        known: Known<'_>,
        asked: impl Fn(&Resource) -> bool,
    ) -> Self {
        let resources = evaluate(service, node, known, asked);
        Self {
            service: service.name().clone(),
            state: State::worst(resources.iter().map(|resource| resource.state)),
            resources,
            error: None,
        }
    }

    /// True if a chain of deltas is broken: waiting does not repair it.
    #[must_use]
    pub fn is_broken_chain(&self) -> bool {
        let copies = self.resources.iter().flat_map(|resource| &resource.copies);
        copies
            .flat_map(|copy| &copy.reasons)
            .any(Reason::is_broken_chain)
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
