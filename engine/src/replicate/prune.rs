//! Which snapshots of earlier runs may go, and how they do.
//!
//! Only names of the series that this pair of source and target uses are ever
//! considered (the series carries a hash of the pair), and only snapshots that
//! are older than the one both sides now have. Each is destroyed by name and
//! guid, so that a name that was given to another snapshot meanwhile is safe.
//! One that somebody holds, or that has a clone, stays until it is free.

use std::collections::BTreeSet;

use super::TOGETHER_MAX;
use super::transfers::Transfers;
use crate::event::{Event, Observer};
use crate::name::{DatasetName, Guid, ShortName, SnapshotName};
use crate::peer::{Peer, PeerError};
use crate::plan::TreePlan;
use crate::protocol::failure::Failure;
use crate::zfs::{ByName, Dataset, ZfsErrorKind};

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
    /// Destroys snapshots of ours that never reached the target, and returns
    /// those that are in use and stay. A failure is only told: they are in
    /// nobody's way.
    pub(super) async fn destroy_unsent(
        &mut self,
        series: &str,
        target_root: &DatasetName,
        source_tree: &[Dataset],
        target_tree: &[Dataset],
    ) -> BTreeSet<SnapshotName> {
        let Some(root) = source_tree.first() else {
            return BTreeSet::new();
        };
        let there = ByName::of(target_tree);
        let doomed: Vec<_> = source_tree
            .iter()
            .flat_map(|dataset| {
                let target = there.counterpart(&dataset.name, &root.name, target_root);
                unsent(series, dataset, target)
            })
            .collect();
        destroy(self.source, self.observer, doomed).await
    }

    /// Destroys on both sides what `plan`, now carried out, makes obsolete, except
    /// what of the source is `in_use`. A failure is only told.
    pub(super) async fn destroy_obsolete(
        &mut self,
        (series, plan): (&str, &TreePlan),
        source_tree: &[Dataset],
        target_tree: &[Dataset],
        in_use: &BTreeSet<SnapshotName>,
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
        source_doomed.retain(|(name, _)| !in_use.contains(name));
        destroy(self.target, self.observer, target_doomed).await;
        destroy(self.source, self.observer, source_doomed).await;
    }
}

/// Destroys these, [`TOGETHER_MAX`] by one call. One that is held or has a clone
/// stays, and keeps no other: these are told, and returned. After another failure
/// the rest stays, which is told too.
async fn destroy(
    peer: &mut Peer,
    observer: &dyn Observer,
    mut doomed: Vec<(SnapshotName, Guid)>,
) -> BTreeSet<SnapshotName> {
    let mut stay = BTreeSet::new();
    while !doomed.is_empty() {
        let part: Vec<_> = doomed.drain(..doomed.len().min(TOGETHER_MAX)).collect();
        match peer.destroy_snapshots(part.clone()).await {
            Ok(()) => tell_destroyed(peer, observer, &part),
            Err(error) => {
                let in_use = in_use(&error, &part);
                if in_use.is_empty() {
                    let text = format!("snapshots of earlier runs stay for now: {}", error.cause);
                    tell(peer, observer, text);
                    break;
                }
                // Without them the others can go, with those that come next.
                let rest = part.into_iter().filter(|(name, _)| !in_use.contains(name));
                doomed.splice(..0, rest);
                stay.extend(in_use);
            }
        }
    }
    if let Some(first) = stay.first() {
        let text = format!(
            "snapshots of earlier runs stay as long as they are held or have a clone: {} ({first})",
            stay.len()
        );
        tell(peer, observer, text);
    }
    stay
}

fn tell(peer: &Peer, observer: &dyn Observer, text: String) {
    let peer = peer.name.clone();
    observer.event(&Event::Notice { peer, text });
}

fn tell_destroyed(peer: &Peer, observer: &dyn Observer, names: &[(SnapshotName, Guid)]) {
    for (name, _) in names {
        observer.event(&Event::Step {
            peer: peer.name.clone(),
            command: format!("zfs destroy {name}"),
        });
    }
}

/// Those of `part` that ZFS did not destroy because something needs them.
fn in_use(error: &PeerError, part: &[(SnapshotName, Guid)]) -> Vec<SnapshotName> {
    let Some(Failure::Zfs(zfs)) = error.failure() else {
        return Vec::new();
    };
    let items = zfs.items.iter();
    let in_use =
        items.filter(|item| matches!(item.kind, ZfsErrorKind::Busy | ZfsErrorKind::Exists));
    let names: BTreeSet<&str> = in_use.map(|item| item.name.as_str()).collect();
    let named = part.iter().map(|(name, _)| name);
    named
        .filter(|name| names.contains(name.to_string().as_str()))
        .cloned()
        .collect()
}
