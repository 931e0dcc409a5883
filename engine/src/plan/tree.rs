//! The plan for a dataset and, if asked, everything below it.

use std::collections::HashMap;

use super::conflict::Conflict;
use super::dataset::{Step, plan_dataset};
use crate::name::{DatasetName, Guid, NameError, ShortName, SnapshotName};
use crate::zfs::{
    Dataset, DatasetKind, Landing, OnCut, Property, ReceiveRequest, SendMode, SendRequest,
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
}

/// One dataset of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetPlan {
    /// What is sent.
    pub snapshot: SnapshotName,
    /// Its guid.
    pub guid: Guid,
    /// When it was taken, seconds since 1970.
    pub creation_seconds: u64,
    /// Where it goes.
    pub target: SnapshotName,
    /// File system or volume.
    pub kind: DatasetKind,
    /// How.
    pub step: Step,
    /// Block form.
    pub mode: SendMode,
    /// Properties to carry.
    pub properties: Vec<Property>,
    /// The source is a clone, and a full stream would make it independent.
    pub clone_of: Option<SnapshotName>,
}

impl DatasetPlan {
    /// The request to the sending side; `None` if nothing is to be sent.
    #[must_use]
    pub fn send_request(&self) -> Option<SendRequest> {
        let base = match &self.step {
            Step::UpToDate => return None,
            Step::Full => None,
            Step::Incremental { base, .. } => Some(base.clone()),
        };
        Some(SendRequest {
            snapshot: self.snapshot.clone(),
            base,
            mode: self.mode,
            resume: None,
        })
    }

    /// The request to the receiving side.
    #[must_use]
    pub fn receive_request(&self) -> ReceiveRequest {
        ReceiveRequest {
            snapshot: self.target.clone(),
            landing: match self.step {
                Step::Full => Landing::Create,
                _ => Landing::Existing,
            },
            kind: self.kind,
            properties: self.properties.clone(),
            origin: None,
            on_cut: OnCut::Discard,
        }
    }

    /// The guid the stream starts from.
    #[must_use]
    pub fn base_guid(&self) -> Option<Guid> {
        match self.step {
            Step::Incremental { guid, .. } => Some(guid),
            _ => None,
        }
    }
}

/// A dataset that is not part of the transfer, and why that is not an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skipped {
    /// A descendant without the snapshot: created later, or not snapshot.
    NoSnapshot(DatasetName),
    /// A dataset of the target whose source is gone. It is left alone.
    OnlyOnTarget(DatasetName),
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
            .all(|dataset| dataset.step == Step::UpToDate)
    }

    /// True if every dataset that is sent is sent in full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.datasets
            .iter()
            .all(|dataset| dataset.step == Step::Full)
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
    let there: HashMap<&DatasetName, &Dataset> = request
        .target
        .iter()
        .map(|dataset| (&dataset.name, dataset))
        .collect();
    let mut expected = Vec::new();
    for source in request.source {
        let target_name = source.name.rebase(&root.name, request.target_root)?;
        expected.push(target_name.clone());
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
        let target = there.get(&target_name).copied();
        match plan_dataset(source, wanted, request.mode, &target_name, target) {
            Ok(step) => plan.datasets.push(DatasetPlan {
                snapshot: source.name.snapshot(request.short)?,
                guid: wanted.guid,
                creation_seconds: wanted.creation_seconds,
                target: target_name.snapshot(request.short)?,
                kind: source.kind,
                clone_of: source.origin.clone().filter(|_| step == Step::Full),
                step,
                mode: request.mode,
                properties: carried(&source.properties),
            }),
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
