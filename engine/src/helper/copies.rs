//! Copies beside a dataset: they are moved into its place, put aside, destroyed.
//!
//! Nothing here believes a name alone: a rename looks at the guid, an old copy
//! has to bear its own, and a new one may hold nothing but what a sync puts in.

use crate::copies;
use crate::name::{DatasetName, Guid, ShortName, SnapshotName};
use crate::protocol::failure::Failure;
use crate::zfs::{Dataset, Scope, Zfs, ZfsError, ZfsErrorKind};

/// Renames a dataset if it is still the one that was looked at.
pub(super) fn rename(
    zfs: &dyn Zfs,
    from: &DatasetName,
    guid: Guid,
    to: &DatasetName,
) -> Result<(), Failure> {
    let found = one(zfs, from)?;
    if found.as_ref().map(|found| found.guid) != Some(guid) {
        let kind = match found {
            None => ZfsErrorKind::NotFound,
            Some(_) => ZfsErrorKind::Busy,
        };
        return Err(ZfsError {
            detail: format!("it is not the dataset with guid {guid} any more"),
            ..ZfsError::new("rename", from, kind)
        }
        .into());
    }
    Ok(zfs.rename_dataset(from, to)?)
}

/// The old copies of a dataset.
pub(super) fn old(zfs: &dyn Zfs, of: &DatasetName) -> Result<Vec<DatasetName>, Failure> {
    let Some(parent) = of.parent() else {
        return Ok(Vec::new());
    };
    let children = match zfs.children(&parent) {
        Ok(children) => children,
        Err(error) if error.kind == ZfsErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for child in children {
        let Some(guid) = copies::guid_of_old(&child, of) else {
            continue;
        };
        if one(zfs, &child)?.is_some_and(|dataset| dataset.guid == guid) {
            found.push(child);
        }
    }
    Ok(found)
}

/// Destroys a copy with everything in it, leaves first. A missing one is no
/// error.
pub(super) fn destroy(
    zfs: &dyn Zfs,
    of: &DatasetName,
    copy: &DatasetName,
    ours: &[ShortName],
) -> Result<(), Failure> {
    let Some(tree) = zfs.tree(copy, Scope::Recursive)? else {
        return Ok(());
    };
    let refused = |reason: String| -> Failure {
        let kind = ZfsErrorKind::Busy;
        ZfsError {
            detail: reason,
            ..ZfsError::new("destroy the copy", copy, kind)
        }
        .into()
    };
    let is_new = copies::new(of).is_ok_and(|new| new == *copy);
    let guid = tree.first().map(|root| root.guid);
    if !is_new && (copies::guid_of_old(copy, of).is_none() || copies::guid_of_old(copy, of) != guid)
    {
        return Err(refused(format!("it is no copy that was made of {of}")));
    }
    let mut names: Vec<SnapshotName> = Vec::new();
    for dataset in &tree {
        for snapshot in &dataset.snapshots {
            let name = SnapshotName {
                dataset: dataset.name.clone(),
                short: snapshot.short.clone(),
            };
            if is_new && !ours.contains(&snapshot.short) {
                return Err(refused(format!("{name} was not made by a sync")));
            }
            if snapshot.holds > 0 {
                return Err(refused(format!("{name} is held")));
            }
            let inside = tree
                .iter()
                .filter(|other| other.origin.as_ref() == Some(&name));
            if snapshot.clones > inside.count() as u64 {
                return Err(refused(format!("{name} has a clone elsewhere")));
            }
            names.push(name);
        }
    }
    // Clones inside go before their origins: what is deepest may still be the
    // origin of a sibling, so a refusal is tried again as long as any goes.
    let mut left: Vec<Dataset> = tree;
    while !left.is_empty() {
        let before = left.len();
        let mut kept = Vec::new();
        let mut last = None;
        for dataset in left.into_iter().rev() {
            let own: Vec<_> = names
                .iter()
                .filter(|name| name.dataset == dataset.name)
                .cloned()
                .collect();
            let gone = zfs
                .destroy_snapshots(&own)
                .and_then(|()| zfs.destroy_dataset(&dataset.name));
            match gone {
                Err(error) if error.kind != ZfsErrorKind::NotFound => {
                    last = Some(error);
                    kept.push(dataset);
                }
                _ => {}
            }
        }
        kept.reverse();
        left = kept;
        if left.len() == before {
            return Err(last.map_or_else(|| refused("it stays".to_owned()), Failure::from));
        }
    }
    Ok(())
}

/// Room at a dataset, or at the deepest of its ancestors that exists.
pub(super) fn available(zfs: &dyn Zfs, dataset: &DatasetName) -> Result<u64, Failure> {
    let mut place = dataset.clone();
    loop {
        match (zfs.available_bytes(&place), place.parent()) {
            (Err(error), Some(parent)) if error.kind == ZfsErrorKind::NotFound => place = parent,
            (answer, _) => return Ok(answer?),
        }
    }
}

fn one(zfs: &dyn Zfs, name: &DatasetName) -> Result<Option<Dataset>, ZfsError> {
    Ok(zfs.tree(name, Scope::One)?.and_then(|mut tree| tree.pop()))
}
