//! What the snapshots of this node tell when the state file does not.
//!
//! State files can be lost; the snapshots are the data itself. A receiver has
//! its `@sent`. A sender has its own `@sent` and, per target, a mark of what
//! that target may have: the oldest one is what it has for sure, since a run
//! destroys those that the target has outgrown. One case stays open: of a
//! target that never got its first full, the mark looks like that of a target
//! that has it, if other targets committed the same snapshot.

use std::collections::{BTreeMap, BTreeSet};

use super::States;
use crate::name::{DatasetName, Guid};
use crate::sync::config::{NodeName, Resource, Sends, Service, SnapshotNames, Target, TargetKind};
use crate::sync::moment::UtcSeconds;
use crate::sync::run::Marks;
use crate::sync::state::ResourceState;
use crate::zfs::{Dataset, Scope, Snapshot, Zfs};

/// Datasets of this node as its ZFS lists them. Those nobody asked for are not
/// in it.
#[derive(Debug, Default)]
pub struct Snapshots {
    pub(super) found: BTreeMap<DatasetName, Result<Option<Dataset>, String>>,
}

/// A snapshot that shows what a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its guid.
    pub guid: Guid,
    /// When it was taken.
    pub created: UtcSeconds,
}

/// What snapshots and marks say about a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Evidence {
    /// It has this one.
    Seen(Seen),
    /// It has one that is no longer here, older than `@sent`.
    Behind,
    /// Nothing of it is known.
    Nothing,
    /// The snapshots cannot be read.
    Unreadable(String),
}

impl Snapshots {
    /// Lists these datasets. What cannot be listed is kept with its reason.
    /// Blocks.
    #[must_use]
    pub fn read(zfs: &dyn Zfs, datasets: BTreeSet<DatasetName>) -> Self {
        let list = |name: DatasetName| {
            let listed = zfs.tree(&name, Scope::One);
            let dataset = listed.map(|tree| tree.and_then(|tree| tree.into_iter().next()));
            (name, dataset.map_err(|error| error.to_string()))
        };
        Self {
            found: datasets.into_iter().map(list).collect(),
        }
    }

    /// None of these datasets can be listed.
    #[must_use]
    pub fn unreadable(datasets: BTreeSet<DatasetName>, why: &str) -> Self {
        let entry = |name| (name, Err(why.to_owned()));
        Self {
            found: datasets.into_iter().map(entry).collect(),
        }
    }

    fn dataset(&self, name: &DatasetName) -> Result<Option<&Dataset>, String> {
        match self.found.get(name) {
            None => Ok(None),
            Some(Ok(dataset)) => Ok(dataset.as_ref()),
            Some(Err(why)) => Err(why.clone()),
        }
    }

    /// The copy that this node keeps in `dst`.
    pub(super) fn copy_here(&self, dst: &DatasetName, names: &SnapshotNames) -> Evidence {
        match self.dataset(dst) {
            Err(why) => Evidence::Unreadable(why),
            Ok(dataset) => match dataset.and_then(|dataset| sent(dataset, names)) {
                Some(snapshot) => Evidence::Seen(seen(snapshot)),
                None => Evidence::Nothing,
            },
        }
    }

    /// The copy of a target, as its sender's `src` tells of it.
    pub(super) fn copy_of(&self, resource: &Resource, target: &Target) -> Evidence {
        if target.kind == TargetKind::Local {
            return self.copy_here(&target.dst, &resource.names);
        }
        let Some(sends) = resource.sends() else {
            let why = "its src is a mount point, which only a run resolves";
            return Evidence::Unreadable(why.to_owned());
        };
        let dataset = match self.dataset(&sends.src) {
            Err(why) => return Evidence::Unreadable(why),
            Ok(None) => return Evidence::Nothing,
            Ok(Some(dataset)) => dataset,
        };
        let marks = Marks::new(&resource.rid, target).guids(dataset);
        let Some(oldest) = marks.first() else {
            // A pool without bookmarks, or the agents' snapshots: the only
            // target shares `@sent`, unless it has taken another one's place.
            let others = Marks::any(&resource.rid, dataset);
            return match sent(dataset, &resource.names) {
                Some(snapshot) if sends.targets.len() == 1 && !others => {
                    Evidence::Seen(seen(snapshot))
                }
                _ => Evidence::Nothing,
            };
        };
        match dataset.snapshot_by_guid(*oldest) {
            // Of a first full that has not ended.
            Some(snapshot) if snapshot.short == resource.names.tosend => Evidence::Nothing,
            Some(snapshot) => Evidence::Seen(seen(snapshot)),
            None => Evidence::Behind,
        }
    }

    /// Whether this node sends a resource that it may also receive; `None` if
    /// its snapshots leave that open. `senders` are the nodes it may receive
    /// from.
    ///
    /// A sender marks `@sent` for all targets in reach. A receiver is left
    /// marks by its sender, but none for that sender itself.
    pub(super) fn sends(&self, resource: &Resource, senders: &[NodeName]) -> Option<bool> {
        let Sends { src, targets, .. } = resource.sends()?;
        let dataset = self.dataset(src).ok()??;
        let sent = sent(dataset, &resource.names)?.guid;
        let mut up_to_date = 0;
        let mut unmarked_sender = false;
        for target in targets {
            let marks = Marks::new(&resource.rid, target).guids(dataset);
            if marks.contains(&sent) {
                up_to_date += 1;
            }
            unmarked_sender |= marks.is_empty() && senders.contains(&target.node);
        }
        match up_to_date {
            0 => Some(false),
            all if all == targets.len() => Some(true),
            _ => unmarked_sender.then_some(false),
        }
    }
}

/// The datasets of `node` that [`super::evaluate`] has to look at, because the
/// states do not tell all.
#[must_use]
pub fn to_look_at(service: &Service, node: &NodeName, states: &States) -> BTreeSet<DatasetName> {
    let mut datasets = BTreeSet::new();
    let (Ok(resources), Ok(receptions)) = (service.resolve(node), service.receives_for(node))
    else {
        return datasets;
    };
    for resource in resources.iter().filter(|resource| !resource.disabled) {
        let state = states
            .get(&resource.rid)
            .and_then(|state| state.as_ref().ok());
        let reception = receptions
            .iter()
            .find(|reception| reception.rid == resource.rid);
        let targets = resource.targets();
        let sends = targets.iter().any(|target| !knows(state, &target.node));
        let receives = reception.is_some() && !knows(state, node);
        let receives_now = reception.is_some()
            && state
                .and_then(ResourceState::newest)
                .is_some_and(|newest| newest.of.sender != *node);
        if sends && !receives_now {
            datasets.extend(resource.sends().map(|sends| sends.src.clone()));
            let local = targets
                .iter()
                .filter(|target| target.kind == TargetKind::Local);
            datasets.extend(local.map(|target| target.dst.clone()));
        }
        let from = reception.iter().flat_map(|reception| &reception.from);
        if receives {
            datasets.extend(from.map(|from| from.dst.clone()));
        }
    }
    datasets
}

/// True if `state` records a success for this node's copy.
fn knows(state: Option<&ResourceState>, node: &NodeName) -> bool {
    state
        .and_then(|state| state.target(node))
        .is_some_and(|entry| entry.synced.is_some())
}

/// The last shared state; between the two renames of a rotation it stands
/// aside.
fn sent<'d>(dataset: &'d Dataset, names: &SnapshotNames) -> Option<&'d Snapshot> {
    dataset
        .snapshot_by_name(&names.sent)
        .or_else(|| dataset.snapshot_by_name(&names.aside))
}

fn seen(snapshot: &Snapshot) -> Seen {
    Seen {
        guid: snapshot.guid,
        created: UtcSeconds(snapshot.creation_seconds),
    }
}
