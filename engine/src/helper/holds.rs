//! Holds: placed and released by guid, and listed.

use std::collections::{HashMap, HashSet};

use crate::hold::{Held, HoldTag};
use crate::name::{DatasetName, Guid, ShortName, SnapshotName};
use crate::protocol::failure::Failure;
use crate::protocol::message::Reply;
use crate::zfs::{Dataset, Scope, Zfs, ZfsError, ZfsErrorKind};

use super::requests::still_the_same;

/// Holds in one part of an answer: about 600 bytes each at most, so that it
/// stays below the bound of a message (16 MiB).
const PART_HOLDS: usize = 20_000;

/// The newest snapshots of what a session has listed: where a base is looked for
/// first, since listing everything again takes as long as all else.
#[derive(Debug, Default)]
pub(super) struct Newest(HashMap<DatasetName, (Guid, ShortName)>);

impl Newest {
    /// These have been listed just now.
    pub(super) fn remember(&mut self, listed: &[Dataset]) {
        for dataset in listed {
            match dataset.snapshots.last() {
                Some(last) => {
                    let known = (last.guid, last.short.clone());
                    self.0.insert(dataset.name.clone(), known);
                }
                None => {
                    self.0.remove(&dataset.name);
                }
            }
        }
    }

    /// What this one was called, if it was the newest.
    fn name(&self, dataset: &DatasetName, guid: Guid) -> Option<SnapshotName> {
        let (_, short) = self.0.get(dataset).filter(|(newest, _)| *newest == guid)?;
        Some(SnapshotName {
            dataset: dataset.clone(),
            short: short.clone(),
        })
    }
}

/// The names that snapshots of these guids have now.
///
/// # Errors
/// `NotFound`, naming the dataset and the guid, if one is not there any more.
pub(super) fn by_guid(
    zfs: &dyn Zfs,
    bases: Vec<(DatasetName, Guid)>,
    newest: &Newest,
) -> Result<Vec<SnapshotName>, Failure> {
    let guesses: Vec<_> = bases
        .iter()
        .filter_map(|(dataset, guid)| Some((newest.name(dataset, *guid)?, *guid)))
        .collect();
    let guessed: Vec<SnapshotName> = guesses.iter().map(|(name, _)| name.clone()).collect();
    let found = zfs.snapshot_guids(&guessed)?;
    let mut names = Vec::with_capacity(bases.len());
    let mut known = HashSet::new();
    for ((name, guid), found) in guesses.into_iter().zip(found) {
        if found == Some(guid) {
            known.insert((name.dataset.clone(), guid));
            names.push(name);
        }
    }
    let bases: Vec<_> = bases
        .into_iter()
        .filter(|base| !known.contains(base))
        .collect();
    // Those of a tree are listed at once.
    let root = bases.first().map(|(dataset, _)| dataset.clone());
    let root = root
        .filter(|root| bases.len() > 1 && bases.iter().all(|(dataset, _)| dataset.is_within(root)));
    let listed = match root {
        Some(root) => zfs.tree(&root, Scope::Recursive)?.unwrap_or_default(),
        None => Vec::new(),
    };
    let mut listed: HashMap<DatasetName, Dataset> = by_name(listed).collect();
    for (dataset, guid) in bases {
        if !listed.contains_key(&dataset) {
            let alone = zfs.tree(&dataset, Scope::One)?.unwrap_or_default();
            listed.extend(by_name(alone));
        }
        let found = listed.get(&dataset);
        match found.and_then(|found| found.snapshot_by_guid(guid)) {
            Some(found) => names.push(SnapshotName {
                short: found.short.clone(),
                dataset,
            }),
            None => {
                return Err(ZfsError {
                    detail: format!("no snapshot with guid {guid}"),
                    ..ZfsError::new("hold the base of", &dataset, ZfsErrorKind::NotFound)
                }
                .into());
            }
        }
    }
    Ok(names)
}

fn by_name(tree: Vec<Dataset>) -> impl Iterator<Item = (DatasetName, Dataset)> {
    tree.into_iter().map(|one| (one.name.clone(), one))
}

/// Holds what does not have the tag yet.
///
/// # Errors
/// `NotFound` if one is missing, [`Failure::OtherGuid`] if its name belongs to
/// another; then none is held that was not before.
pub(super) fn keep(
    zfs: &dyn Zfs,
    snapshots: Vec<(SnapshotName, Guid)>,
    tag: &HoldTag,
) -> Result<(), Failure> {
    let wanted: Vec<_> = snapshots.iter().map(|(name, _)| name.clone()).collect();
    let there = still_the_same(zfs, snapshots)?;
    let known: HashSet<_> = there.iter().collect();
    if let Some(missing) = wanted.iter().find(|name| !known.contains(name)) {
        return Err(ZfsError::new("hold", missing, ZfsErrorKind::NotFound).into());
    }
    let mut new = Vec::new();
    for name in there {
        let holds = zfs.holds(&name)?;
        if !holds.iter().any(|(held, _)| held == tag.as_str()) {
            new.push(name);
        }
    }
    if new.is_empty() {
        return Ok(());
    }
    Ok(zfs.hold_kept(&new, tag)?)
}

/// All holds in a tree, in parts.
///
/// # Errors
/// `NotFound` if the root does not exist.
pub(super) fn list(zfs: &dyn Zfs, root: &DatasetName, scope: Scope) -> Result<Vec<Reply>, Failure> {
    let tree = zfs.tree(root, scope)?;
    let tree = tree.ok_or_else(|| ZfsError::new("list", root, ZfsErrorKind::NotFound))?;
    let mut held = Vec::new();
    for dataset in &tree {
        held.extend(of_dataset(zfs, dataset)?);
    }
    let parts = held.chunks(PART_HOLDS).count().max(1);
    let mut replies = Vec::with_capacity(parts);
    for n in 1..=parts {
        let rest = held.split_off(held.len().min(PART_HOLDS));
        replies.push(Reply::Holds {
            part: std::mem::replace(&mut held, rest),
            more: n < parts,
        });
    }
    Ok(replies)
}

fn of_dataset(zfs: &dyn Zfs, dataset: &Dataset) -> Result<Vec<Held>, Failure> {
    let mut held = Vec::new();
    for snapshot in dataset.snapshots.iter().filter(|one| one.holds > 0) {
        let name = SnapshotName {
            dataset: dataset.name.clone(),
            short: snapshot.short.clone(),
        };
        let holds = match zfs.holds(&name) {
            Ok(holds) => holds,
            // Destroyed or renamed between the two listings.
            Err(error) if error.kind == ZfsErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        held.extend(holds.into_iter().map(|(tag, since_seconds)| Held {
            snapshot: name.clone(),
            guid: snapshot.guid,
            tag,
            since_seconds,
        }));
    }
    Ok(held)
}
