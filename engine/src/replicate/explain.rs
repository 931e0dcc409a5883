//! What a plan cannot see, since it has only two trees: where else in the pools
//! a copy is, and who keeps a snapshot.
//!
//! Asked only when there is an obstacle, or a target is missing that earlier
//! runs have filled. Nothing is changed. Where a helper may not list more than
//! its own datasets, the answer is only less exact.

use std::collections::HashSet;

use super::error::ReplicateError;
use super::job::{Job, OnConflict};
use crate::name::{DatasetName, Guid, SnapshotName};
use crate::peer::Peer;
use crate::plan::{Conflict, Keeper, find_kin, known_guids};
use crate::zfs::{Dataset, Scope};

/// Most keepers that are asked for by name; a listing shows the others.
const KEEPERS_MAX: usize = 100;

/// The whole pool of `dataset`; empty if it may not be listed, or cannot be
/// now: what was found before is told all the same.
async fn pool(peer: &mut Peer, dataset: &DatasetName) -> Vec<Dataset> {
    let Ok(root) = DatasetName::parse(dataset.pool()) else {
        return Vec::new();
    };
    let listed = peer.tree(&root, Scope::Recursive).await;
    listed.ok().flatten().unwrap_or_default()
}

/// Says more about conflicts, where the pools know more.
pub(crate) async fn explained(
    error: ReplicateError,
    source_root: &DatasetName,
    target_root: &DatasetName,
    source: &mut Peer,
    target: &mut Peer,
) -> ReplicateError {
    match error {
        ReplicateError::Conflicts {
            conflicts, begun, ..
        } => {
            let mut pools = Pools::default();
            let mut told = Vec::with_capacity(conflicts.len());
            for conflict in conflicts {
                let more = match &conflict {
                    Conflict::NoCommonBase {
                        target: at, origin, ..
                    }
                    | Conflict::UnknownToSource {
                        target: at, origin, ..
                    }
                    | Conflict::OtherKind { target: at, origin } => {
                        let roots = (source_root, target_root);
                        let pools = pools.both(roots, source, target).await;
                        elsewhere(pools, origin, at)
                    }
                    Conflict::Kept { snapshot, .. } => {
                        let keepers = keepers(snapshot, target).await;
                        with_keepers(&conflict, keepers)
                    }
                    _ => None,
                };
                told.push(more.unwrap_or(conflict));
            }
            ReplicateError::Conflicts {
                conflicts: told,
                here: source.name.clone(),
                there: target.name.clone(),
                begun,
            }
        }
        ReplicateError::NoSource { peer, dataset, .. } => {
            let copy = target.tree(target_root, Scope::One).await;
            let copy = copy.ok().flatten().unwrap_or_default();
            let guids: HashSet<Guid> = copy.iter().flat_map(known_guids).collect();
            let renamed = match guids.is_empty() {
                true => None,
                // On one machine the copy has the same guids.
                false => find_kin(&guids, &pool(source, source_root).await, target_root),
            };
            ReplicateError::NoSource {
                peer,
                dataset,
                renamed: renamed.map(Box::new),
            }
        }
        other => other,
    }
}

/// Both pools, listed when they are needed first.
#[derive(Default)]
struct Pools(Option<(Vec<Dataset>, Vec<Dataset>)>);

impl Pools {
    async fn both(
        &mut self,
        (here, there): (&DatasetName, &DatasetName),
        source: &mut Peer,
        target: &mut Peer,
    ) -> &(Vec<Dataset>, Vec<Dataset>) {
        if self.0.is_none() {
            self.0 = Some((pool(source, here).await, pool(target, there).await));
        }
        self.0.get_or_insert_default()
    }
}

/// The copy under another name, or the source under another name.
fn elsewhere(
    (here, there): &(Vec<Dataset>, Vec<Dataset>),
    origin: &DatasetName,
    target: &DatasetName,
) -> Option<Conflict> {
    let of = |tree: &[Dataset], name: &DatasetName| {
        let found = tree.iter().find(|dataset| dataset.name == *name);
        found.map(known_guids).unwrap_or_default()
    };
    let (source_guids, copy_guids) = (of(here, origin), of(there, target));
    if let Some(conflict) = clone_of_copy(there, target, &source_guids) {
        return Some(conflict);
    }
    // On one machine both are in one pool: each is its own kin.
    let outside = |tree: &[Dataset], own: &DatasetName| -> Vec<Dataset> {
        let others = tree.iter().filter(|dataset| dataset.name != *own);
        others.cloned().collect()
    };
    if let Some(kin) = find_kin(&source_guids, &outside(there, origin), target) {
        return Some(Conflict::Renamed {
            target: target.clone(),
            at: kin.at,
            base: kin.shared,
            base_guid: kin.guid,
            is_in_the_way: true,
        });
    }
    let kin = find_kin(&copy_guids, &outside(here, target), origin)?;
    Some(Conflict::SourceRenamed {
        target: target.clone(),
        origin: origin.clone(),
        at: kin.at,
        base: Box::new(kin.shared),
        base_guid: kin.guid,
    })
}

/// The target, if it was cloned from a snapshot that the source knows.
fn clone_of_copy(
    there: &[Dataset],
    target: &DatasetName,
    source_guids: &HashSet<Guid>,
) -> Option<Conflict> {
    let find = |name: &DatasetName| there.iter().find(|dataset| dataset.name == *name);
    let of = find(target)?.origin.as_ref()?;
    let snapshot = find(&of.dataset)?.snapshot_by_name(&of.short)?;
    source_guids
        .contains(&snapshot.guid)
        .then(|| Conflict::CloneOfCopy {
            target: target.clone(),
            of: of.clone(),
            guid: snapshot.guid,
        })
}

fn with_keepers(conflict: &Conflict, keepers: Vec<Keeper>) -> Option<Conflict> {
    let Conflict::Kept {
        snapshot,
        holds,
        clones,
        ..
    } = conflict
    else {
        return None;
    };
    Some(Conflict::Kept {
        snapshot: snapshot.clone(),
        holds: *holds,
        clones: *clones,
        keepers: keepers.into(),
    })
}

/// The holds on a snapshot and its clones, by name.
async fn keepers(snapshot: &SnapshotName, peer: &mut Peer) -> Vec<Keeper> {
    let held = peer.holds(&snapshot.dataset, Scope::One).await;
    let held = held.unwrap_or_default().into_iter();
    let mut keepers: Vec<Keeper> = held
        .filter(|one| one.snapshot == *snapshot)
        .map(|one| Keeper::Hold(one.tag))
        .take(KEEPERS_MAX)
        .collect();
    let all = pool(peer, &snapshot.dataset).await;
    let clones = all.into_iter();
    let clones = clones.filter(|dataset| dataset.origin.as_ref() == Some(snapshot));
    keepers.extend(
        clones
            .map(|dataset| Keeper::Clone(dataset.name))
            .take(KEEPERS_MAX),
    );
    keepers
}

/// A target that is missing is filled with everything. Not so if earlier runs
/// of the same pair have filled it, and it has another name now.
pub(super) async fn ensure_not_renamed(
    job: &Job,
    source_tree: &[Dataset],
    target: &mut Peer,
) -> Result<(), ReplicateError> {
    let Some(series) = job.snapshot.series() else {
        return Ok(());
    };
    let root = source_tree.first();
    let of_pair = root.into_iter().flat_map(|root| &root.snapshots);
    let of_pair = of_pair.filter(|one| one.short.as_str().starts_with(series));
    let guids = of_pair.map(|one| one.guid).collect();
    if job.on_conflict == OnConflict::Archive {
        return Ok(());
    }
    match find_renamed(&guids, &job.source, &job.target, target).await {
        Some(conflict) => Err(ReplicateError::conflicts(vec![conflict])),
        None => Ok(()),
    }
}

/// The copy of `origin` on the target that has one of these snapshots, which
/// only `target_root` was ever given.
pub(crate) async fn find_renamed(
    guids: &HashSet<Guid>,
    origin: &DatasetName,
    target_root: &DatasetName,
    target: &mut Peer,
) -> Option<Conflict> {
    if guids.is_empty() {
        return None;
    }
    let mut all = pool(target, target_root).await;
    // On one machine the source is in reach as well.
    all.retain(|dataset| dataset.name != *origin);
    let kin = find_kin(guids, &all, target_root)?;
    Some(Conflict::Renamed {
        target: target_root.clone(),
        at: kin.at,
        base: kin.shared,
        base_guid: kin.guid,
        is_in_the_way: false,
    })
}
