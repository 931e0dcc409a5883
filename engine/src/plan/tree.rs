//! The plan for a dataset and, if asked, everything below it.

use std::collections::{HashMap, HashSet};

use super::conflict::Conflict;
use super::dataset::{DatasetRequest, Step, Way, plan_dataset};
use super::kin::renamed_within;
use super::loss::{Clearing, Loss};
use super::partial::{Discard, Taken};
use super::way::{Intermediary, is_of_zferry};
use crate::name::{CreateTxg, DatasetName, Guid, Ivset, NameError, ShortName, SnapshotName};
use crate::zfs::{
    Base, ByName, Dataset, DatasetKind, Landing, OnCut, Property, ReceiveRequest, SendMode,
    SendRequest, Snapshot,
};

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub struct TreeRequest<'a> {
    /// The source tree, root first. Without recursion: the root alone.
    pub source: &'a [Dataset],
    /// The target tree; empty if its root does not exist.
    pub target: &'a [Dataset],
    /// Where the root of the source goes.
    pub target_root: &'a DatasetName,
    /// The snapshot to bring over, in every dataset that has it.
    pub short: &'a ShortName,
    /// Block form.
    pub mode: SendMode,
    /// What may be lost on the target.
    pub loss: Loss,
    /// Whether the snapshots in between go along.
    pub intermediary: Intermediary,
    /// What becomes of a dataset whose copy has another name on the target.
    pub on_renamed: OnRenamed,
    /// The snapshots that runs like this one take.
    pub taken: Taken<'a>,
}

/// What becomes of a dataset of the source that is not on the target by its
/// name, while a copy of it is there by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRenamed {
    /// It is a conflict: giving the copy its name back saves sending everything.
    #[default]
    Refuse,
    /// The copy stays where it is, and everything is sent.
    SendAll,
}

/// One dataset of the plan: the stream that brings the wanted snapshot, and the
/// streams that come before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetPlan {
    /// What is sent.
    pub snapshot: SnapshotName,
    /// Its guid.
    pub guid: Guid,
    /// The ivset guid that it has on the target, as far as that is known: a raw
    /// stream keeps the source's.
    pub ivset: Option<Ivset>,
    /// When it was taken, seconds since 1970.
    pub creation_seconds: u64,
    /// Where it goes.
    pub target: SnapshotName,
    /// File system or volume.
    pub kind: DatasetKind,
    /// What a cut receive left, to be given up before all else.
    pub discard: Option<Discard>,
    /// What goes from the target first.
    pub clearing: Option<Clearing>,
    /// Streams of the same dataset that come first, in this order: one for each
    /// snapshot in between. They have nothing before them.
    pub before: Vec<DatasetPlan>,
    /// How, after them.
    pub step: Step,
    /// Block form.
    pub mode: SendMode,
    /// Properties to carry.
    pub properties: Vec<Property>,
    /// The source is a clone, and a full stream would make it independent.
    pub clone_of: Option<SnapshotName>,
}

impl DatasetPlan {
    /// All streams of the dataset, in the order in which they have to be sent.
    pub fn streams(&self) -> impl Iterator<Item = &Self> {
        self.before.iter().chain(std::iter::once(self))
    }

    /// How the dataset leaves the state it is in: the step of its first stream.
    #[must_use]
    pub fn first_step(&self) -> &Step {
        &self.before.first().unwrap_or(self).step
    }

    /// The request to the sending side; `None` if nothing is to be sent.
    #[must_use]
    pub fn send_request(&self) -> Option<SendRequest> {
        let resume = match &self.step {
            Step::UpToDate => return None,
            Step::Full | Step::Incremental { .. } => None,
            Step::Resume { point, .. } => Some(*point),
        };
        Some(SendRequest {
            snapshot: self.snapshot.clone(),
            base: self.step.base().map(|(base, _)| base.clone()),
            mode: self.mode,
            resume,
        })
    }

    /// The request to the receiving side.
    #[must_use]
    pub fn receive_request(&self) -> ReceiveRequest {
        ReceiveRequest {
            snapshot: self.target.clone(),
            landing: match self.step.is_full() {
                true => Landing::Create,
                false => Landing::Existing,
            },
            kind: self.kind,
            properties: self.properties.clone(),
            origin: None,
            on_cut: OnCut::Keep,
        }
    }

    /// The guid the stream starts from.
    #[must_use]
    pub fn base_guid(&self) -> Option<Guid> {
        self.step.base().map(|(_, guid)| guid)
    }
}

/// A dataset that is not part of the transfer, and why that is not an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skipped {
    /// A descendant without the snapshot: created later, or not snapshot.
    NoSnapshot(DatasetName),
    /// A dataset of the target whose source is gone. It is left alone.
    OnlyOnTarget(DatasetName),
    /// A snapshot in between, whose name belongs to another one on the target.
    NameTaken(SnapshotName),
}

/// What a transfer consists of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TreePlan {
    /// In the order in which it has to happen: parents first.
    pub datasets: Vec<DatasetPlan>,
    /// Obstacles; with any of them nothing is transferred.
    pub conflicts: Vec<Conflict>,
    /// Datasets that are left out.
    pub skipped: Vec<Skipped>,
}

impl TreePlan {
    /// True if the target has everything already.
    #[must_use]
    pub fn is_up_to_date(&self) -> bool {
        self.datasets
            .iter()
            .all(|dataset| *dataset.first_step() == Step::UpToDate)
    }

    /// True if every dataset that is sent is sent in full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let mut first_steps = self.datasets.iter().map(DatasetPlan::first_step);
        first_steps.all(Step::is_full)
    }
}

/// Plans every dataset of the tree.
///
/// # Errors
/// [`NameError`] if a target name would be too long for ZFS.
pub fn plan_tree(request: &TreeRequest<'_>) -> Result<TreePlan, NameError> {
    let mut plan = TreePlan::default();
    let Some(root) = request.source.first() else {
        return Ok(plan);
    };
    let there = ByName::of(request.target);
    let mut expected = HashSet::new();
    for source in request.source {
        expected.insert(source.name.rebase(&root.name, request.target_root)?);
    }
    let spare: Vec<Dataset> = match request.on_renamed {
        OnRenamed::SendAll => Vec::new(),
        OnRenamed::Refuse => {
            let mut spare = request.target.to_vec();
            spare.retain(|dataset| !expected.contains(&dataset.name));
            spare
        }
    };
    for source in request.source {
        let target_name = source.name.rebase(&root.name, request.target_root)?;
        let Some(wanted) = source.snapshot_by_name(request.short) else {
            if source.name == root.name {
                plan.conflicts.push(Conflict::NoSuchSnapshot {
                    origin: source.name.clone(),
                    short: request.short.clone(),
                });
            } else {
                plan.skipped.push(Skipped::NoSnapshot(source.name.clone()));
            }
            continue;
        };
        let target = there.get(&target_name);
        if target.is_none()
            && let Some(conflict) = renamed_within(source, &target_name, &spare)
        {
            plan.conflicts.push(conflict);
            continue;
        }
        let way = plan_dataset(&DatasetRequest {
            source,
            wanted,
            mode: request.mode,
            target_name: &target_name,
            target,
            loss: request.loss,
            intermediary: request.intermediary,
            taken: request.taken,
            source_top: &root.name,
            target_top: request.target_root,
        });
        match way {
            Ok(way) => {
                for taken in &way.left_out {
                    let snapshot = source.name.snapshot(&taken.short)?;
                    plan.skipped.push(Skipped::NameTaken(snapshot));
                }
                let plans = dataset_plans(source, wanted, way, request)?;
                plan.datasets
                    .push(plans.arriving_at(&target_name, request.short)?);
            }
            Err(conflict) => plan.conflicts.push(conflict),
        }
    }
    // A target without recursion lists the root alone, so nothing is extra.
    plan.skipped.extend(
        request
            .target
            .iter()
            .filter(|dataset| !expected.contains(&dataset.name))
            .map(|dataset| Skipped::OnlyOnTarget(dataset.name.clone())),
    );
    Ok(plan)
}

/// What cut runs left in the target, as far as it can be completed: the rest of
/// each stream whose snapshot the source still has, other than the one that
/// `request` wants (which [`plan_tree`] completes itself). Each becomes a
/// snapshot named `short`, or as the source calls it by now. What does not fit
/// is not here; it is a conflict of the plan that follows.
///
/// # Errors
/// [`NameError`] if a target name would be too long for ZFS.
pub fn plan_leftovers(
    request: &TreeRequest<'_>,
    short: Option<&ShortName>,
) -> Result<Vec<DatasetPlan>, NameError> {
    let Some(root) = request.source.first() else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    let there = ByName::of(request.target);
    for source in request.source {
        let target_name = source.name.rebase(&root.name, request.target_root)?;
        let target = there.get(&target_name);
        let left = target.and_then(|target| target.partial.as_ref()?.content.as_ref());
        let Some(wanted) = left.and_then(|left| source.snapshot_by_guid(left.to_guid)) else {
            continue;
        };
        if wanted.short == *request.short {
            continue;
        }
        // What zferry took is renamed once it is there; others' snapshots keep
        // their names.
        let short = short.filter(|_| is_of_zferry(&wanted.short));
        let arriving = Snapshot {
            short: short.unwrap_or(&wanted.short).clone(),
            ..wanted.clone()
        };
        let way = plan_dataset(&DatasetRequest {
            source,
            wanted: &arriving,
            mode: request.mode,
            target_name: &target_name,
            target,
            loss: request.loss,
            intermediary: Intermediary::Skip,
            taken: request.taken,
            source_top: &root.name,
            target_top: request.target_root,
        });
        if let Ok(way) = way
            && matches!(way.step, Step::Resume { .. })
        {
            let plans = dataset_plans(source, wanted, way, request)?;
            found.push(plans.arriving_at(&target_name, &arriving.short)?);
        }
    }
    Ok(found)
}

/// The target tree as it will be when `plans` has been carried out.
#[must_use]
pub fn with_arrived(target: &[Dataset], plans: &[DatasetPlan]) -> Vec<Dataset> {
    let mut tree = target.to_vec();
    let arriving = plans.iter().map(|plan| (&plan.target.dataset, plan));
    let arriving: HashMap<_, _> = arriving.collect();
    for dataset in &mut tree {
        if let Some(plan) = arriving.get(&dataset.name) {
            dataset.partial = None;
            dataset.written_bytes = 0;
            if let Some(clearing) = &plan.clearing {
                let gone = |guid| clearing.snapshots.iter().any(|(_, gone)| *gone == guid);
                dataset.snapshots.retain(|snapshot| !gone(snapshot.guid));
            }
            dataset.snapshots.push(Snapshot {
                short: plan.target.short.clone(),
                guid: plan.guid,
                // Newer than all that is there.
                createtxg: CreateTxg(u64::MAX),
                creation_seconds: plan.creation_seconds,
                written_bytes: 0,
                holds: 0,
                clones: 0,
                ivset: plan.ivset,
            });
        }
    }
    tree
}

impl DatasetPlan {
    /// With the names that its snapshots have on the target.
    fn arriving_at(mut self, target: &DatasetName, short: &ShortName) -> Result<Self, NameError> {
        for hop in &mut self.before {
            hop.target = target.snapshot(&hop.snapshot.short)?;
        }
        self.target = target.snapshot(short)?;
        Ok(self)
    }
}

/// The plan of a way; its targets are the names of the source's snapshots still.
fn dataset_plans(
    source: &Dataset,
    wanted: &Snapshot,
    way: Way,
    request: &TreeRequest<'_>,
) -> Result<DatasetPlan, NameError> {
    let Way {
        discard,
        clearing,
        step,
        hops,
        left_out: _,
    } = way;
    let properties = carried(&source.properties);
    let mut streams = Vec::with_capacity(hops.len() + 1);
    let mut next = step;
    for snapshot in hops.iter().chain(std::iter::once(wanted)) {
        let name = source.name.snapshot(&snapshot.short)?;
        let after = Step::Incremental {
            base: Base::Snapshot(name.clone()),
            guid: snapshot.guid,
        };
        let step = std::mem::replace(&mut next, after);
        streams.push(DatasetPlan {
            target: name.clone(),
            snapshot: name,
            guid: snapshot.guid,
            ivset: snapshot.ivset.filter(|_| request.mode == SendMode::Raw),
            creation_seconds: snapshot.creation_seconds,
            kind: source.kind,
            clone_of: source.origin.clone().filter(|_| step == Step::Full),
            discard: None,
            clearing: None,
            before: Vec::new(),
            step,
            mode: request.mode,
            properties: properties.clone(),
        });
    }
    let last = streams.pop().expect("the wanted snapshot is the last");
    Ok(DatasetPlan {
        discard,
        clearing,
        before: streams,
        ..last
    })
}

/// Properties that decide what happens on the machine that holds the dataset
/// (mounting, sharing, zones, keys) stay with the source.
const NOT_CARRIED: [&str; 13] = [
    "canmount",
    "encryption",
    "jailed",
    "keyformat",
    "keylocation",
    "mountpoint",
    "pbkdf2iters",
    "readonly",
    "sharenfs",
    "sharesmb",
    "volsize",
    "zoned",
    "mlslabel",
];

fn carried(properties: &[Property]) -> Vec<Property> {
    properties
        .iter()
        .filter(|property| !NOT_CARRIED.contains(&property.name.as_str()))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests;
