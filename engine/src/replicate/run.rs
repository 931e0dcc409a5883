//! The driver of one replication.

use std::collections::BTreeSet;

use super::archive::Archived;
use super::base::{BaseChange, Place};
use super::commands::snapshot_command;
use super::error::{Begun, ReplicateError};
use super::explain::ensure_not_renamed;
use super::job::{Job, OnConflict, SnapshotChoice};
use super::transfer::Moved;
use super::transfers::Transfers;
use crate::event::Observer;
use crate::hold::KeepBase;
use crate::name::{CreateTxg, Guid, ShortName, SnapshotName};
use crate::peer::Peer;
use crate::plan::{
    Clearing, Discard, OnRenamed, Step, Taken, TreePlan, TreeRequest, plan_leftovers, plan_tree,
    with_arrived,
};
use crate::zfs::{ByName, Dataset, Scope, Snapshot};

/// What became of one dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetReport {
    /// The snapshot on the source.
    pub snapshot: SnapshotName,
    /// The snapshot on the target.
    pub target: SnapshotName,
    /// Its guid on both sides; zero in a rehearsal that would take it first.
    pub guid: Guid,
    /// When it was taken, seconds since 1970.
    pub creation_seconds: u64,
    /// What a cut receive had left, and was given up, or would be.
    pub discard: Option<Discard>,
    /// What was given up on the target, or would be.
    pub clearing: Option<Clearing>,
    /// What was done, or would be: the first stream, if several lead there.
    pub step: Step,
    /// Snapshots in between that went along, each by a stream of its own.
    pub carried: usize,
    /// Estimated bytes of the stream.
    pub estimated_bytes: u64,
    /// What was moved.
    pub moved: Moved,
}

/// How a rehearsal looks at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AsIf {
    /// As what it is.
    ItIs,
    /// As if it had been put aside.
    MovedAway,
}

/// What became of the whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// What was put aside on the target first, or would be.
    pub archived: Option<Archived>,
    /// One entry per dataset, parents first.
    pub datasets: Vec<DatasetReport>,
}

/// Replicates as `job` says, onto a target `as_if` it were like that.
///
/// # Errors
/// [`ReplicateError`]; the module's table says what is left behind.
pub(super) async fn attempt(
    (job, as_if): (&Job, AsIf),
    source: &mut Peer,
    target: &mut Peer,
    observer: &dyn Observer,
) -> Result<Report, ReplicateError> {
    job.check()?;
    let no_source = |peer: &Peer| ReplicateError::NoSource {
        peer: peer.name.clone(),
        dataset: job.source.clone(),
        renamed: None,
    };
    if !job.rehearsal {
        let purpose = format!("replicate of {}", job.source);
        target.claim(&job.target, job.scope, &purpose).await?;
    }
    // Both after the claim: whoever had it before may have changed the source.
    let there = async {
        match as_if {
            AsIf::ItIs => target.tree(&job.target, job.scope).await,
            AsIf::MovedAway => Ok(None),
        }
    };
    // With many datasets and nothing to do this is what a run takes.
    let (here, there) = tokio::join!(source.tree(&job.source, job.scope), there);
    let mut target_tree = there?.unwrap_or_default();
    let mut source_tree = here?.ok_or_else(|| no_source(source))?;
    if target_tree.is_empty() {
        ensure_not_renamed(job, &source_tree, target).await?;
    }
    let short = job.snapshot.short();
    let leftovers = TreePlan {
        datasets: plan_leftovers(&request(job, &source_tree, &target_tree), None)?,
        ..TreePlan::default()
    };
    let completed = with_arrived(&target_tree, &leftovers.datasets);
    let is_there = match &job.snapshot {
        SnapshotChoice::Existing(_) => true,
        SnapshotChoice::Take { .. } => false,
        // The whole tree's are taken at once.
        SnapshotChoice::Again { .. } => source_tree
            .first()
            .is_some_and(|root| root.snapshot_by_name(short).is_some()),
    };
    let rehearsed = if is_there {
        plan_tree(&request(job, &source_tree, &completed))?
    } else {
        let imagined = with_imagined(&source_tree, short);
        plan_tree(&request(job, &imagined, &completed))?
    };
    let mut begun = Begun::default();
    if is_there && job.snapshot.series().is_some() {
        begun.taken = Some(job.source.snapshot(short)?);
    }
    let plan = clear(rehearsed).map_err(|error| error.having(begun.clone()))?;
    let mut transfers = Transfers {
        source,
        target,
        compression: job.compression(),
        workers: job.workers,
        limiter: job.limiter.clone(),
        observer,
        estimates: Vec::new(),
    };
    if job.rehearsal {
        transfers.tell_skipped(&plan);
        let mut all = leftovers;
        all.datasets.extend(plan.datasets);
        transfers.estimate(&source_tree, &all).await?;
        return Ok(transfers.rehearsed(all));
    }
    let root_is_new = target_tree.is_empty();
    let mut report = Report::default();
    if !leftovers.datasets.is_empty() {
        transfers.estimate(&source_tree, &leftovers).await?;
        report = transfers.run(&leftovers, &job.target, false).await?;
        let listed = transfers.target.tree(&job.target, job.scope).await?;
        target_tree = listed.unwrap_or_default();
    }
    begun.completed = report.datasets.len();
    let mut in_use = BTreeSet::new();
    if let Some(series) = job.snapshot.series() {
        if !is_there {
            transfers.take(&source_tree, short, job.scope).await?;
            begun.taken = Some(job.source.snapshot(short)?);
        }
        for dataset in &mut source_tree {
            dataset
                .snapshots
                .retain(|snapshot| snapshot.short != *short);
        }
        in_use = transfers
            .destroy_unsent(series, &job.target, &source_tree, &target_tree)
            .await;
        let listed = transfers.source.tree(&job.source, job.scope).await?;
        source_tree = listed.ok_or_else(|| no_source(transfers.source))?;
    }
    let plan = clear(plan_tree(&request(job, &source_tree, &target_tree))?);
    let plan = plan.map_err(|error| error.having(begun))?;
    transfers.tell_skipped(&plan);
    transfers.estimate(&source_tree, &plan).await?;
    transfers.discard(&plan).await?;
    let rest = transfers.run(&plan, &job.target, root_is_new).await?;
    report.datasets.extend(rest.datasets);
    let snapshots = || target_tree.iter().flat_map(|dataset| &dataset.snapshots);
    if job.base.keep == KeepBase::Hold || snapshots().any(|snapshot| snapshot.holds > 0) {
        transfers.keep_base(job, &plan).await?;
    }
    if let Some(series) = job.snapshot.series() {
        let listed = transfers.target.tree(&job.target, job.scope).await?;
        target_tree = listed.unwrap_or_default();
        transfers
            .destroy_obsolete((series, &plan), &source_tree, &target_tree, &in_use)
            .await;
    }
    Ok(report)
}

fn request<'a>(job: &'a Job, source: &'a [Dataset], target: &'a [Dataset]) -> TreeRequest<'a> {
    TreeRequest {
        source,
        target,
        target_root: &job.target,
        short: job.snapshot.short(),
        mode: job.mode,
        loss: job.loss,
        intermediary: job.intermediary,
        on_renamed: match job.on_conflict {
            OnConflict::Refuse => OnRenamed::Refuse,
            OnConflict::Archive => OnRenamed::SendAll,
        },
        taken: job.snapshot.series().map_or(Taken::Nothing, Taken::Series),
    }
}

fn clear(mut plan: TreePlan) -> Result<TreePlan, ReplicateError> {
    if plan.conflicts.is_empty() {
        return Ok(plan);
    }
    let conflicts = std::mem::take(&mut plan.conflicts);
    Err(ReplicateError::conflicts(conflicts))
}

/// The tree as it will be when the snapshot has been taken, for a plan that is
/// made before anything is changed.
fn with_imagined(tree: &[Dataset], short: &ShortName) -> Vec<Dataset> {
    let mut tree = tree.to_vec();
    for dataset in &mut tree {
        dataset.snapshots.push(Snapshot {
            short: short.clone(),
            guid: Guid(0),
            createtxg: CreateTxg(u64::MAX),
            creation_seconds: 0,
            written_bytes: 0,
            holds: 0,
            clones: 0,
            ivset: None,
        });
    }
    tree
}

impl Transfers<'_> {
    async fn take(
        &mut self,
        tree: &[Dataset],
        short: &ShortName,
        scope: Scope,
    ) -> Result<(), ReplicateError> {
        let names: Result<Vec<_>, _> = tree
            .iter()
            .map(|dataset| dataset.name.snapshot(short))
            .collect();
        if let Some(root) = tree.first() {
            self.step(self.source, snapshot_command(&root.name, short, scope));
        }
        Ok(self.source.snapshot(names?).await?)
    }

    /// Holds what both sides have now on the target, if that is asked for, and
    /// nothing else any more.
    async fn keep_base(&mut self, job: &Job, plan: &TreePlan) -> Result<(), ReplicateError> {
        let place = Place {
            root: &job.target,
            scope: job.scope,
        };
        let listed = self.target.tree(place.root, place.scope).await?;
        let tree = listed.unwrap_or_default();
        let by_name = ByName::of(&tree);
        let wanted: Vec<_> = plan
            .datasets
            .iter()
            .filter_map(|step| {
                let there = by_name.get(&step.target.dataset)?;
                let found = there.snapshot_by_guid(step.guid)?;
                Some((there.name.snapshot(&found.short).ok()?, found.guid))
            })
            .collect();
        let change = BaseChange::find(self.target, place, &tree, &wanted, &job.base).await?;
        Ok(change.make(self.target, self.observer).await?)
    }
}
