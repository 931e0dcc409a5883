//! Which snapshots of earlier runs may go.
//!
//! Only names of the series that this pair of source and target uses are ever
//! considered (the series carries a hash of the pair), and only snapshots that
//! are older than the one both sides now have. Each is destroyed by name and
//! guid, so that a name that was given to another snapshot meanwhile is safe.

use crate::name::{Guid, ShortName, SnapshotName};
use crate::zfs::Dataset;

/// Snapshots to destroy on each side, with the guids they must have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Obsolete {
    pub source: Vec<(SnapshotName, Guid)>,
    pub target: Vec<(SnapshotName, Guid)>,
}

/// What `current`, now on both sides, makes obsolete in one dataset.
pub(super) fn obsolete(
    series: &str,
    current: Guid,
    source: &Dataset,
    target: &Dataset,
) -> Obsolete {
    let of_series = |short: &ShortName| short.as_str().starts_with(series);
    let older = |dataset: &Dataset| -> Vec<(SnapshotName, Guid)> {
        let Some(now) = dataset.snapshot_by_guid(current) else {
            return Vec::new();
        };
        dataset
            .snapshots
            .iter()
            .filter(|old| old.createtxg < now.createtxg && of_series(&old.short))
            .filter_map(|old| Some((dataset.name.snapshot(&old.short).ok()?, old.guid)))
            .collect()
    };
    Obsolete {
        source: older(source),
        target: older(target),
    }
}

/// Snapshots of the series that never reached the target: left over from runs
/// that were cut.
pub(super) fn unsent(
    series: &str,
    source: &Dataset,
    target: Option<&Dataset>,
) -> Vec<(SnapshotName, Guid)> {
    source
        .snapshots
        .iter()
        .filter(|snapshot| snapshot.short.as_str().starts_with(series))
        .filter(|snapshot| {
            target.is_none_or(|target| target.snapshot_by_guid(snapshot.guid).is_none())
        })
        .filter_map(|snapshot| Some((source.name.snapshot(&snapshot.short).ok()?, snapshot.guid)))
        .collect()
}
