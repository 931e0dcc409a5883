//! The evaluation itself: one resource on one node.

use std::time::Duration;

use super::reason::{Reason, State};
use super::snapshots::Evidence;
use super::{CLOCK_SKEW_MAX, CopyStatus, Known, ResourceStatus, StatusRole};
use crate::name::DatasetName;
use crate::sync::config::{NodeName, Reception, Resource, Rid, Service, TargetKind};
use crate::sync::moment::UtcSeconds;
use crate::sync::state::{ResourceState, StateError};

/// The status of every zfs resource of `service` on `node` that `asked` is true
/// for, in the order of the configuration. On a node that is not listed nothing
/// can be asked of a resource: then all of them are in it.
#[must_use]
pub fn evaluate(
    service: &Service,
    node: &NodeName,
    known: Known<'_>,
    asked: impl Fn(&Resource) -> bool,
) -> Vec<ResourceStatus> {
    let (Ok(resources), Ok(mut receptions)) = (service.resolve(node), service.receives_for(node))
    else {
        return service.rids().map(not_listed).collect();
    };
    let resources = resources.into_iter().filter(|resource| asked(resource));
    let evaluated = resources.map(|resource| {
        let found = receptions
            .iter()
            .position(|reception| reception.rid == resource.rid);
        Evaluation {
            node,
            reception: found.map(|at| receptions.swap_remove(at)),
            resource,
            known,
        }
    });
    evaluated
        .map(|evaluation| {
            let state = known.states.get(&evaluation.resource.rid);
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
    known: Known<'a>,
}

impl Evaluation<'_> {
    fn status(&self, found: Option<&Result<ResourceState, StateError>>) -> ResourceStatus {
        if self.resource.disabled {
            return self.without_copies(StatusRole::None, State::NotApplicable, Reason::Disabled);
        }
        let (state, unreadable) = match found {
            Some(Ok(state)) => (Some(state), None),
            None => (None, None),
            Some(Err(error)) => (None, Some(Reason::StateUnreadable(with_causes(error)))),
        };
        let role = self.role(state);
        let mut copies = match role {
            StatusRole::None => return self.not_for_this_node(),
            StatusRole::Either => self.own_copy(state),
            StatusRole::Sender => self.sent_copies(state),
            StatusRole::Receiver => self.own_copy(state),
        };
        let has_data = copies.iter().any(|copy| copy.seen.is_some());
        let no_role = (role == StatusRole::Either).then_some(match has_data {
            true => Reason::RoleUnknown,
            false => Reason::NeverSynced,
        });
        if role == StatusRole::Either {
            // That there is nothing, the resource says as a whole.
            copies.retain(|copy| copy.reasons != [Reason::NeverSynced]);
        }
        let reasons: Vec<Reason> = unreadable.into_iter().chain(no_role).collect();
        let own = if reasons.is_empty() {
            State::NotApplicable
        } else {
            State::Warn
        };
        let of_copies = copies.iter().map(|copy| copy.state);
        ResourceStatus {
            rid: self.resource.rid.clone(),
            state: State::worst(of_copies.chain([own])),
            role,
            optional: self.resource.optional,
            reasons,
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
    /// last is the sender, or else the snapshots tell.
    fn role(&self, state: Option<&ResourceState>) -> StatusRole {
        let may_send = !self.resource.targets().is_empty();
        let reception = match (may_send, &self.reception) {
            (false, None) => return StatusRole::None,
            (true, None) => return StatusRole::Sender,
            (false, Some(_)) => return StatusRole::Receiver,
            (true, Some(reception)) => reception,
        };
        let is_sender = match state.and_then(ResourceState::newest) {
            Some(newest) => Some(newest.of.sender == *self.node),
            None => {
                let from = reception.from.iter();
                let senders: Vec<_> = from.map(|from| from.node.clone()).collect();
                self.known.snapshots.sends(&self.resource, &senders)
            }
        };
        match is_sender {
            Some(true) => StatusRole::Sender,
            Some(false) => StatusRole::Receiver,
            None => StatusRole::Either,
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
                let snapshots = self.known.snapshots;
                self.copy(place, state, || snapshots.copy_of(&self.resource, target))
            })
            .collect()
    }

    fn own_copy(&self, state: Option<&ResourceState>) -> Vec<CopyStatus> {
        let Some(reception) = &self.reception else {
            return Vec::new();
        };
        // Where a copy lies depends on the sender. The one that wrote the
        // record is asked first, then the one that sends now, then any whose
        // place has a snapshot.
        let record = state.and_then(|state| state.target(self.node));
        let newest = state.and_then(ResourceState::newest);
        let evidence = |dst: &DatasetName| self.known.snapshots.copy_here(dst, &reception.names);
        let sender = [record, newest]
            .into_iter()
            .flatten()
            .find_map(|entry| {
                reception
                    .from
                    .iter()
                    .find(|from| from.node == entry.of.sender)
            })
            .or_else(|| {
                let has_snapshot = |dst| matches!(evidence(dst), Evidence::Seen(_));
                reception.from.iter().find(|from| has_snapshot(&from.dst))
            })
            .or(reception.from.first());
        let place = sender.map(|from| CopyPlace {
            node: self.node.clone(),
            kind: from.kind,
            dst: from.dst.clone(),
        });
        place
            .into_iter()
            .map(|place| {
                let dst = place.dst.clone();
                self.copy(place, state, || evidence(&dst))
            })
            .collect()
    }

    /// What the state says of a copy, and without a success in it what
    /// `evidence` says.
    fn copy(
        &self,
        place: CopyPlace,
        state: Option<&ResourceState>,
        evidence: impl FnOnce() -> Evidence,
    ) -> CopyStatus {
        let entry = state.and_then(|state| state.target(&place.node));
        let synced = entry.and_then(|entry| entry.synced.as_ref());
        let mut reasons = Vec::new();
        let mut seen = None;
        match (entry, synced) {
            (Some(entry), Some(synced)) if synced.dst == place.dst => {
                reasons.extend(self.judge_age(&entry.of.sender, synced.created));
            }
            (_, Some(synced)) => reasons.push(Reason::OtherDestination {
                configured: place.dst.clone(),
                recorded: synced.dst.clone(),
            }),
            (_, None) => match evidence() {
                Evidence::Seen(found) => {
                    seen = Some(found);
                    reasons.extend(self.judge_age(&place.node, found.created));
                }
                Evidence::Behind => reasons.push(Reason::Behind),
                Evidence::Nothing => reasons.push(Reason::NeverSynced),
                Evidence::Unreadable(why) => {
                    reasons.push(Reason::NeverSynced);
                    reasons.push(Reason::SnapshotsUnreadable(why));
                }
            },
        }
        let trouble = entry.and_then(|entry| entry.trouble.clone());
        reasons.extend(trouble.map(Reason::Trouble));
        let created = synced.map(|synced| synced.created);
        let created = created.or(seen.map(|seen| seen.created));
        CopyStatus {
            state: if reasons.is_empty() {
                State::Up
            } else {
                State::Warn
            },
            reasons,
            data_age: created.and_then(|created| self.age(created)),
            run_age: synced.and_then(|synced| self.age(synced.received)),
            synced: synced.cloned(),
            seen,
            node: place.node,
            kind: place.kind,
            dst: place.dst,
        }
    }

    /// The time since `moment`: zero if that is ahead by no more than clocks
    /// may differ, nothing if it is further ahead.
    fn age(&self, moment: UtcSeconds) -> Option<Duration> {
        match moment.since(self.known.now) {
            Some(ahead) if ahead > CLOCK_SKEW_MAX => None,
            Some(_) => Some(Duration::ZERO),
            None => self.known.now.since(moment),
        }
    }

    fn judge_age(&self, clock_of: &NodeName, created: UtcSeconds) -> Option<Reason> {
        let (now, limit) = (self.known.now, self.resource.sync_max_delay);
        if let Some(ahead) = created.since(now)
            && ahead > CLOCK_SKEW_MAX
        {
            return Some(Reason::ClockSkew {
                ahead,
                sender: clock_of.clone(),
            });
        }
        let age = now.since(created)?;
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
