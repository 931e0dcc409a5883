//! Is every copy up to date? Answered from configuration, state and time.
//!
//! The last step of the scheme, and the one that monitoring calls on every
//! node: nothing here connects or changes anything. A node that sends is
//! judged per target; a node that receives, for its own copy; which of the two
//! a node is now, the newest record of the state file says.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::config::{
    ConfigError, NodeName, Reception, Resource, Rid, Service, ServiceName, TargetKind,
    duration_text,
};
use super::moment::UtcSeconds;
use super::state::{ResourceState, StateError, Synced, Trouble, TroubleKind};
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
}

impl Reason {
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
        }
    }
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
    /// Age of the data: from the creation of the snapshot to now. `None` also
    /// if the clocks differ too much to say.
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
    let (Ok(resources), Ok(mut receptions)) = (service.resolve(node), service.receives_for(node))
    else {
        return service.rids().map(not_listed).collect();
    };
    let evaluated = resources.into_iter().map(|resource| {
        let found = receptions
            .iter()
            .position(|reception| reception.rid == resource.rid);
        Evaluation {
            node,
            reception: found.map(|at| receptions.swap_remove(at)),
            resource,
            now,
        }
    });
    evaluated
        .map(|evaluation| {
            let state = states.get(&evaluation.resource.rid);
            evaluation.status(state)
        })
        .collect()
}

fn not_listed(rid: &Rid) -> ResourceStatus {
    ResourceStatus {
        rid: rid.clone(),
        state: State::NotApplicable,
        role: StatusRole::None,
        optional: false,
        reasons: vec![Reason::NodeNotListed],
        copies: Vec::new(),
    }
}

/// One resource on one node.
struct Evaluation<'a> {
    node: &'a NodeName,
    resource: Resource,
    reception: Option<Reception>,
    now: UtcSeconds,
}

impl Evaluation<'_> {
    fn status(&self, found: Option<&Result<ResourceState, StateError>>) -> ResourceStatus {
        if self.resource.disabled {
            return self.without_copies(StatusRole::None, State::NotApplicable, Reason::Disabled);
        }
        let state = match found {
            Some(Ok(state)) => Some(state),
            None => None,
            Some(Err(error)) => {
                let role = self.role(None);
                if role == StatusRole::None {
                    return self.not_for_this_node();
                }
                let reason = Reason::StateUnreadable(with_causes(error));
                return self.without_copies(role, State::Warn, reason);
            }
        };
        let role = self.role(state);
        let copies = match role {
            StatusRole::None => return self.not_for_this_node(),
            StatusRole::Either => {
                return self.without_copies(role, State::Warn, Reason::NeverSynced);
            }
            StatusRole::Sender => self.sent_copies(state),
            StatusRole::Receiver => self.own_copy(state),
        };
        ResourceStatus {
            rid: self.resource.rid.clone(),
            state: State::worst(copies.iter().map(|copy| copy.state)),
            role,
            optional: self.resource.optional,
            reasons: Vec::new(),
            copies,
        }
    }

    fn without_copies(&self, role: StatusRole, state: State, reason: Reason) -> ResourceStatus {
        ResourceStatus {
            rid: self.resource.rid.clone(),
            state,
            role,
            optional: self.resource.optional,
            reasons: vec![reason],
            copies: Vec::new(),
        }
    }

    fn not_for_this_node(&self) -> ResourceStatus {
        self.without_copies(
            StatusRole::None,
            State::NotApplicable,
            Reason::NotForThisNode,
        )
    }

    /// Configuration says what a node may be; if that is both, whoever sent
    /// last is the sender.
    fn role(&self, state: Option<&ResourceState>) -> StatusRole {
        let may_send = !self.resource.targets().is_empty();
        let newest = state.and_then(ResourceState::newest);
        match (may_send, self.reception.is_some()) {
            (false, false) => StatusRole::None,
            (true, false) => StatusRole::Sender,
            (false, true) => StatusRole::Receiver,
            (true, true) => match newest {
                None => StatusRole::Either,
                Some(newest) if newest.of.sender == *self.node => StatusRole::Sender,
                Some(_) => StatusRole::Receiver,
            },
        }
    }

    /// A target that another node sent to before a failover counts by what it
    /// has, not by who sent it.
    fn sent_copies(&self, state: Option<&ResourceState>) -> Vec<CopyStatus> {
        let targets = self.resource.targets().iter();
        targets
            .map(|target| {
                let place = CopyPlace {
                    node: target.node.clone(),
                    kind: target.kind,
                    dst: target.dst.clone(),
                };
                self.copy(place, state)
            })
            .collect()
    }

    fn own_copy(&self, state: Option<&ResourceState>) -> Vec<CopyStatus> {
        let Some(reception) = &self.reception else {
            return Vec::new();
        };
        // Where a copy lies depends on the sender. The one that wrote the
        // record is asked first, then the one that sends now.
        let record = state.and_then(|state| state.target(self.node));
        let newest = state.and_then(ResourceState::newest);
        let sender = [record, newest]
            .into_iter()
            .flatten()
            .find_map(|entry| {
                reception
                    .from
                    .iter()
                    .find(|from| from.node == entry.of.sender)
            })
            .or(reception.from.first());
        let place = sender.map(|from| CopyPlace {
            node: self.node.clone(),
            kind: from.kind,
            dst: from.dst.clone(),
        });
        place
            .into_iter()
            .map(|place| self.copy(place, state))
            .collect()
    }

    fn copy(&self, place: CopyPlace, state: Option<&ResourceState>) -> CopyStatus {
        let entry = state.and_then(|state| state.target(&place.node));
        let synced = entry.and_then(|entry| entry.synced.as_ref());
        let mut reasons = Vec::new();
        match (entry, synced) {
            (Some(entry), Some(synced)) if synced.dst == place.dst => {
                reasons.extend(self.judge_age(&entry.of.sender, synced));
            }
            (_, Some(synced)) => reasons.push(Reason::OtherDestination {
                configured: place.dst.clone(),
                recorded: synced.dst.clone(),
            }),
            _ => reasons.push(Reason::NeverSynced),
        }
        let trouble = entry.and_then(|entry| entry.trouble.clone());
        reasons.extend(trouble.map(Reason::Trouble));
        CopyStatus {
            state: if reasons.is_empty() {
                State::Up
            } else {
                State::Warn
            },
            reasons,
            data_age: synced.and_then(|synced| self.age(synced.created)),
            run_age: synced.and_then(|synced| self.age(synced.received)),
            synced: synced.cloned(),
            node: place.node,
            kind: place.kind,
            dst: place.dst,
        }
    }

    /// The time since `moment`: zero if that is ahead by no more than clocks
    /// may differ, nothing if it is further ahead.
    fn age(&self, moment: UtcSeconds) -> Option<Duration> {
        match moment.since(self.now) {
            Some(ahead) if ahead > CLOCK_SKEW_MAX => None,
            Some(_) => Some(Duration::ZERO),
            None => self.now.since(moment),
        }
    }

    fn judge_age(&self, sender: &NodeName, synced: &Synced) -> Option<Reason> {
        let limit = self.resource.sync_max_delay;
        if let Some(ahead) = synced.created.since(self.now)
            && ahead > CLOCK_SKEW_MAX
        {
            return Some(Reason::ClockSkew {
                ahead,
                sender: sender.clone(),
            });
        }
        let age = self.now.since(synced.created)?;
        (age > limit).then_some(Reason::TooOld { age, limit })
    }
}

/// A copy as the configuration describes it.
struct CopyPlace {
    node: NodeName,
    kind: TargetKind,
    dst: DatasetName,
}

/// An error with its causes on one line, for people.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
