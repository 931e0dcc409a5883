//! Who a dataset is a copy of, as far as guids and names of snapshots prove it.
//!
//! Sending keeps the guids of snapshots, and no rename changes them: a dataset
//! that has a snapshot of the source is a copy of it, whatever it is called. A
//! name of a snapshot proves nothing; a message may mention it.

use std::collections::HashSet;

use super::conflict::Conflict;
use super::dataset::named;
use super::way::is_of_zferry;
use crate::copies;
use crate::name::{DatasetName, Guid, SnapshotName};
use crate::zfs::{Dataset, Snapshot};

/// A dataset that has what another lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kin {
    /// The dataset.
    pub at: DatasetName,
    /// The newest snapshot of it that was looked for.
    pub shared: SnapshotName,
    /// Its guid.
    pub guid: Guid,
}

/// The dataset in `tree` that has the newest of the snapshots `guids`, other
/// than what lies within `except`, or was put aside and says so in its name.
#[must_use]
pub fn find_kin(guids: &HashSet<Guid>, tree: &[Dataset], except: &DatasetName) -> Option<Kin> {
    let mut best: Option<(&Snapshot, &Dataset)> = None;
    for dataset in tree {
        if dataset.name.is_within(except) || copies::original(&dataset.name) != dataset.name {
            continue;
        }
        let mut newest_first = dataset.snapshots.iter().rev();
        let shared = newest_first.find(|one| guids.contains(&one.guid));
        if let Some(shared) = shared
            && best.is_none_or(|(other, _)| other.createtxg < shared.createtxg)
        {
            best = Some((shared, dataset));
        }
    }
    best.map(|(shared, dataset)| Kin {
        at: dataset.name.clone(),
        shared: named(dataset, shared),
        guid: shared.guid,
    })
}

/// The guids that the source can name: of its snapshots and its bookmarks.
#[must_use]
pub fn known_guids(source: &Dataset) -> HashSet<Guid> {
    let snapshots = source.snapshots.iter().map(|one| one.guid);
    let marks = source.bookmarks.iter().map(|one| one.guid);
    snapshots.chain(marks).collect()
}

/// Why there is no base: the target exists and shares nothing with the source.
pub(super) fn without_base(source: &Dataset, target: &Dataset) -> Conflict {
    let mut newest_first = target.snapshots.iter().rev();
    let named_by_us = newest_first.find(|one| is_of_zferry(&one.short));
    let written = target.snapshots.iter().map(|one| one.written_bytes);
    let held_bytes = written.fold(target.written_bytes, u64::saturating_add);
    match named_by_us {
        Some(last) => Conflict::UnknownToSource {
            target: target.name.clone(),
            origin: source.name.clone(),
            origin_guid: source.guid,
            last: Box::new(named(target, last)),
            last_guid: last.guid,
            snapshots: target.snapshots.len(),
            held_bytes,
        },
        None => Conflict::NoCommonBase {
            target: target.name.clone(),
            origin: source.name.clone(),
            snapshots: target.snapshots.len(),
            newest: target.snapshots.last().map_or_else(
                || "so none to start from".to_owned(),
                |snapshot| format!("the newest is @{}", snapshot.short),
            ),
            held_bytes,
        },
    }
}

/// The copy of `source`, which has no dataset of its name on the target, among
/// those that the target has and no dataset of the source goes to.
pub(super) fn renamed_within(
    source: &Dataset,
    target_name: &DatasetName,
    spare: &[Dataset],
) -> Option<Conflict> {
    let guids = known_guids(source);
    let kin = find_kin(&guids, spare, target_name)?;
    Some(Conflict::Renamed {
        target: target_name.clone(),
        at: kin.at,
        base: kin.shared,
        base_guid: kin.guid,
        is_in_the_way: false,
    })
}
