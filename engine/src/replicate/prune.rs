//! Which snapshots of earlier runs may go, and how they do.
//!
//! Only names of the series that this pair of source and target uses are ever
//! considered (the series carries a hash of the pair), and only snapshots that
//! are older than the one both sides now have. Each is destroyed by name and
//! guid, so that a name that was given to another snapshot meanwhile is safe.

use super::transfers::Transfers;
use crate::event::{Event, Observer};
use crate::name::{DatasetName, Guid, ShortName, SnapshotName};
use crate::peer::{Peer, PeerError};
use crate::plan::TreePlan;
use crate::zfs::{ByName, Dataset};

/// Snapshots to destroy on each side, with the guids they must have.
#[derive(Debug, Default, PartialEq, Eq)]
struct Obsolete {
    source: Vec<(SnapshotName, Guid)>,
    target: Vec<(SnapshotName, Guid)>,
}

/// What `current`, now on both sides, makes obsolete in one dataset.
fn obsolete(series: &str, current: Guid, source: &Dataset, target: &Dataset) -> Obsolete {
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
fn unsent(series: &str, source: &Dataset, target: Option<&Dataset>) -> Vec<(SnapshotName, Guid)> {
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

impl Transfers<'_> {
    /// Destroys snapshots of ours that never reached the target. A failure is
    /// only told: they are in nobody's way.
    pub(super) async fn destroy_unsent(
        &mut self,
        series: &str,
        target_root: &DatasetName,
        source_tree: &[Dataset],
        target_tree: &[Dataset],
    ) {
        let Some(root) = source_tree.first() else {
            return;
        };
        let there = ByName::of(target_tree);
        let doomed: Vec<_> = source_tree
            .iter()
            .flat_map(|dataset| {
                let target = there.counterpart(&dataset.name, &root.name, target_root);
                unsent(series, dataset, target)
            })
            .collect();
        let result = destroy(self.source, self.observer, doomed).await;
        tell_failed_pruning(self.observer, result);
    }

    /// Destroys on both sides what `plan`, now carried out, makes obsolete. A
    /// failure is only told.
    pub(super) async fn destroy_obsolete(
        &mut self,
        series: &str,
        plan: &TreePlan,
        source_tree: &[Dataset],
        target_tree: &[Dataset],
    ) {
        let (here, there) = (ByName::of(source_tree), ByName::of(target_tree));
        let mut source_doomed = Vec::new();
        let mut target_doomed = Vec::new();
        for step in &plan.datasets {
            let source = here.get(&step.snapshot.dataset);
            let target = there.get(&step.target.dataset);
            if let (Some(source), Some(target)) = (source, target) {
                let found = obsolete(series, step.guid, source, target);
                source_doomed.extend(found.source);
                target_doomed.extend(found.target);
            }
        }
        let result = destroy(self.target, self.observer, target_doomed).await;
        tell_failed_pruning(self.observer, result);
        let result = destroy(self.source, self.observer, source_doomed).await;
        tell_failed_pruning(self.observer, result);
    }
}

async fn destroy(
    peer: &mut Peer,
    observer: &dyn Observer,
    doomed: Vec<(SnapshotName, Guid)>,
) -> Result<(), PeerError> {
    if doomed.is_empty() {
        return Ok(());
    }
    for (name, _) in &doomed {
        observer.event(&Event::Step {
            peer: peer.name.clone(),
            command: format!("zfs destroy {name}"),
        });
    }
    peer.destroy_snapshots(doomed).await
}

fn tell_failed_pruning(observer: &dyn Observer, result: Result<(), PeerError>) {
    if let Err(error) = result {
        let text = format!("snapshots of earlier runs stay for now: {}", error.cause);
        observer.event(&Event::Notice {
            peer: error.peer,
            text,
        });
    }
}
