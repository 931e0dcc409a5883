//! The plan for one dataset.

use std::collections::HashMap;

use super::conflict::Conflict;
use crate::name::{CreateTxg, DatasetName, Guid, SnapshotName};
use crate::zfs::{Base, Dataset, SendMode, Snapshot};

/// What brings one dataset of the target to the wanted snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The target has the snapshot already.
    UpToDate,
    /// The target does not exist: everything is sent.
    Full,
    /// The target has an older snapshot of the source.
    Incremental {
        /// The base, as the source names it.
        base: Base,
        /// Its guid.
        guid: Guid,
    },
}

/// Plans the transfer of `wanted`, a snapshot of `source`, to `target_name`,
/// which is `target` if it exists.
///
/// The base is the newest snapshot or bookmark of the source, older than
/// `wanted`, whose guid the target has as a snapshot.
///
/// # Errors
/// [`Conflict`] if no stream leads from the target's state to `wanted` without
/// losing something.
pub fn plan_dataset(
    source: &Dataset,
    wanted: &Snapshot,
    mode: SendMode,
    target_name: &DatasetName,
    target: Option<&Dataset>,
) -> Result<Step, Conflict> {
    let Some(target) = target else {
        check_key(source, mode)?;
        return Ok(Step::Full);
    };
    if target.guid == source.guid {
        return Err(Conflict::SameDataset {
            target: target_name.clone(),
        });
    }
    if target.kind != source.kind {
        return Err(Conflict::OtherKind {
            target: target_name.clone(),
            origin: source.name.clone(),
        });
    }
    if target.snapshot_by_guid(wanted.guid).is_some() {
        return Ok(Step::UpToDate);
    }
    if target.partial.is_some() {
        return Err(Conflict::PartialReceive {
            target: target_name.clone(),
        });
    }
    let common = Common::find(source, wanted.createtxg, target);
    if let Some(newer) = common.newer {
        return Err(Conflict::Ahead {
            target: target_name.clone(),
            newer: named(target, newer),
            wanted: named(source, wanted),
        });
    }
    let Some((base, base_there)) = common.base else {
        return Err(Conflict::NoCommonBase {
            target: target_name.clone(),
            origin: source.name.clone(),
            snapshots: target.snapshots.len(),
            newest: target.snapshots.last().map_or_else(
                || "so none to start from".to_owned(),
                |snapshot| format!("the newest is @{}", snapshot.short),
            ),
        });
    };
    if let Some(other) = target.snapshot_by_name(&wanted.short) {
        return Err(Conflict::NameTaken {
            snapshot: named(target, other),
            guid: other.guid,
        });
    }
    check_modes(source, target, mode)?;
    check_key(source, mode)?;
    if target.written_bytes > 0 {
        return Err(Conflict::Modified {
            target: target_name.clone(),
            base: named(target, base_there),
            written_bytes: target.written_bytes,
        });
    }
    Ok(Step::Incremental {
        base,
        guid: base_there.guid,
    })
}

/// What source and target share, seen from a snapshot that is to be sent.
struct Common<'a> {
    /// The newest shared state before it, as a base and as the target's snapshot.
    base: Option<(Base, &'a Snapshot)>,
    /// A shared state after it.
    newer: Option<&'a Snapshot>,
}

impl<'a> Common<'a> {
    fn find(source: &Dataset, wanted: CreateTxg, target: &'a Dataset) -> Self {
        let there: HashMap<Guid, &Snapshot> = target
            .snapshots
            .iter()
            .map(|snapshot| (snapshot.guid, snapshot))
            .collect();
        let newer = source
            .snapshots
            .iter()
            .rev()
            .take_while(|snapshot| snapshot.createtxg > wanted)
            .find_map(|snapshot| there.get(&snapshot.guid).copied());
        let snapshots = source.snapshots.iter().filter_map(|snapshot| {
            let base = Base::Snapshot(named(source, snapshot));
            Some((snapshot.createtxg, base, *there.get(&snapshot.guid)?))
        });
        let bookmarks = source.bookmarks.iter().filter_map(|bookmark| {
            let base = Base::Bookmark(bookmark.short.clone());
            Some((bookmark.createtxg, base, *there.get(&bookmark.guid)?))
        });
        let base = bookmarks
            .chain(snapshots)
            .filter(|(createtxg, _, _)| *createtxg < wanted)
            // Of equals the last wins: a snapshot is preferred to its bookmark.
            .max_by_key(|(createtxg, _, _)| *createtxg)
            .map(|(_, base, snapshot)| (base, snapshot));
        Self { base, newer }
    }
}

/// A raw-received dataset is its own encryption root or lies below one inside
/// the received tree; one that was received plainly has no encryption, or
/// inherits that of the target's pool.
fn check_modes(source: &Dataset, target: &Dataset, mode: SendMode) -> Result<(), Conflict> {
    let Some(source_encryption) = &source.encryption else {
        return Ok(());
    };
    let same_depth_root = target.encryption.as_ref().is_some_and(|encryption| {
        let below = |root: &DatasetName, name: &DatasetName| {
            name.as_str().len().checked_sub(root.as_str().len())
        };
        below(&encryption.root, &target.name) == below(&source_encryption.root, &source.name)
    });
    match (mode, same_depth_root) {
        (SendMode::Raw, false) if target.encryption.is_none() => Err(Conflict::MixedModes {
            target: target.name.clone(),
            there: "plain",
            here: "raw",
        }),
        (SendMode::Plain, true) => Err(Conflict::MixedModes {
            target: target.name.clone(),
            there: "raw",
            here: "plain",
        }),
        _ => Ok(()),
    }
}

fn check_key(source: &Dataset, mode: SendMode) -> Result<(), Conflict> {
    match &source.encryption {
        Some(encryption) if mode == SendMode::Plain && !encryption.key_loaded => {
            Err(Conflict::KeyNotLoaded {
                origin: source.name.clone(),
            })
        }
        _ => Ok(()),
    }
}

fn named(dataset: &Dataset, snapshot: &Snapshot) -> SnapshotName {
    SnapshotName {
        dataset: dataset.name.clone(),
        short: snapshot.short.clone(),
    }
}
