//! The driver of one replication.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::archive::Archived;
use super::base::{BaseChange, Place};
use super::commands::{send_command, snapshot_command};
use super::error::ReplicateError;
use super::explain::ensure_not_renamed;
use super::job::{Job, OnConflict, SnapshotChoice};
use super::telling::{Telling, planned};
use super::transfer::{Ends, Manner, Moved, transfer};
use super::{estimate, prune};
use crate::event::{Event, Observer};
use crate::hold::KeepBase;
use crate::limit::Limiter;
use crate::name::{CreateTxg, DatasetName, Guid, ShortName, SnapshotName};
use crate::peer::{Peer, PeerError};
use crate::plan::{
    Clearing, DatasetPlan, Discard, OnRenamed, Skipped, Step, Taken, TreePlan, TreeRequest,
    plan_leftovers, plan_tree, with_arrived,
};
use crate::protocol::message::{Failure, NAMES_MAX};
use crate::stream::compress::Compression;
use crate::zfs::{Base, ByName, Dataset, Scope, Snapshot, ZfsErrorKind};

/// How long a side may take to let go of holds after a failure. They end with
/// its session in any case.
const RELEASE_MAX: Duration = Duration::from_secs(5);

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
    let listed = source.tree(&job.source, job.scope).await?;
    let mut source_tree = listed.ok_or_else(|| no_source(source))?;
    let mut target_tree = match as_if {
        AsIf::ItIs => target.tree(&job.target, job.scope).await?,
        AsIf::MovedAway => None,
    }
    .unwrap_or_default();
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
    let plan = clear(rehearsed)?;
    let mut transfers = Transfers {
        source,
        target,
        compression: job.compression,
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
    if let Some(series) = job.snapshot.series() {
        if !is_there {
            transfers.take(&source_tree, short, job.scope).await?;
        }
        for dataset in &mut source_tree {
            dataset
                .snapshots
                .retain(|snapshot| snapshot.short != *short);
        }
        transfers
            .destroy_unsent(series, &job.target, &source_tree, &target_tree)
            .await;
        let listed = transfers.source.tree(&job.source, job.scope).await?;
        source_tree = listed.ok_or_else(|| no_source(transfers.source))?;
    }
    let plan = clear(plan_tree(&request(job, &source_tree, &target_tree))?)?;
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
            .destroy_obsolete(series, &plan, &source_tree, &target_tree)
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

/// The steps of a run, with the two peers they happen on.
pub(crate) struct Transfers<'a> {
    pub source: &'a mut Peer,
    pub target: &'a mut Peer,
    pub compression: Compression,
    pub limiter: Option<Arc<Limiter>>,
    pub observer: &'a dyn Observer,
    /// Estimated bytes, in the order of the plan: of each dataset its streams.
    pub estimates: Vec<Vec<u64>>,
}

impl Transfers<'_> {
    pub(super) fn step(&self, peer: &Peer, command: String) {
        self.observer.event(&Event::Step {
            peer: peer.name.clone(),
            command,
        });
    }

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

    pub(crate) fn tell_skipped(&self, plan: &TreePlan) {
        for skipped in &plan.skipped {
            self.observer.event(&match skipped {
                Skipped::NoSnapshot(dataset) => Event::SkippedWithoutSnapshot {
                    dataset: dataset.clone(),
                },
                Skipped::OnlyOnTarget(dataset) => Event::OnlyOnTarget {
                    dataset: dataset.clone(),
                },
                Skipped::NameTaken(snapshot) => Event::NameTaken {
                    snapshot: snapshot.clone(),
                },
            });
        }
    }

    pub(crate) async fn estimate(
        &mut self,
        tree: &[Dataset],
        plan: &TreePlan,
    ) -> Result<(), ReplicateError> {
        let by_name = ByName::of(tree);
        self.estimates.clear();
        for plan in &plan.datasets {
            let mut estimates = Vec::new();
            for stream in plan.streams() {
                let bytes = match by_name.get(&stream.snapshot.dataset) {
                    Some(dataset) => {
                        let estimated = estimate::stream_bytes(self.source, dataset, stream).await;
                        estimated.map_err(vanished)?
                    }
                    None => 0,
                };
                estimates.push(bytes);
            }
            self.estimates.push(estimates);
        }
        Ok(())
    }

    pub(super) fn report(&self, n: usize, step: &DatasetPlan, moved: Moved) -> DatasetReport {
        DatasetReport {
            snapshot: step.snapshot.clone(),
            target: step.target.clone(),
            guid: step.guid,
            creation_seconds: step.creation_seconds,
            discard: step.discard.clone(),
            clearing: step.clearing.clone(),
            step: step.first_step().clone(),
            carried: step.before.len(),
            estimated_bytes: self.estimates.get(n).map_or(0, |all| all.iter().sum()),
            moved,
        }
    }

    fn rehearsed(&self, plan: TreePlan) -> Report {
        let report = |(n, step)| self.report(n, step, Moved::default());
        Report {
            datasets: plan.datasets.iter().enumerate().map(report).collect(),
            ..Report::default()
        }
    }

    /// Carries out a plan without conflicts. Ancestors of `target_root` are
    /// created if `root_is_new`. Held meanwhile: on the source what is sent and
    /// what it starts from, on the target what the streams go onto.
    pub(crate) async fn run(
        &mut self,
        plan: &TreePlan,
        target_root: &DatasetName,
        root_is_new: bool,
    ) -> Result<Report, ReplicateError> {
        let (peer, estimates) = (&self.target.name, &self.estimates);
        planned(self.observer, peer, target_root, plan, estimates);
        if root_is_new && target_root.parent().is_some() {
            for dataset in self.target.create_ancestors(target_root).await? {
                self.step(self.target, format!("zfs create -o canmount=off {dataset}"));
            }
        }
        match self.hold_and_transfer(plan).await {
            Ok(report) => {
                self.source.release().await?;
                self.target.release().await?;
                Ok(report)
            }
            Err(error) => {
                // The holds end with the sessions at the latest: a side that
                // does not answer must not hide what went wrong.
                let releases = async {
                    let _ = self.source.release().await;
                    let _ = self.target.release().await;
                };
                let _ = timeout(RELEASE_MAX, releases).await;
                Err(error)
            }
        }
    }

    async fn hold_and_transfer(&mut self, plan: &TreePlan) -> Result<Report, ReplicateError> {
        for part in snapshots_in_use(plan).chunks(NAMES_MAX) {
            let held = self.source.hold(part.to_vec()).await;
            held.map_err(vanished)?;
        }
        for part in bases_in_use(plan).chunks(NAMES_MAX) {
            self.hold_bases(part.to_vec()).await?;
        }
        self.clear(plan).await?;
        let bytes = self.estimates.iter().flatten().sum();
        self.source.widen_for(bytes, self.observer).await?;
        self.target.widen_for(bytes, self.observer).await?;
        self.transfer_all(plan).await
    }

    /// Holds what streams go onto. A target where that is not allowed, or not
    /// possible, can be replicated to all the same: should somebody destroy the
    /// base meanwhile, the receive fails and nothing is lost.
    pub(super) async fn hold_bases(
        &mut self,
        bases: Vec<(DatasetName, Guid)>,
    ) -> Result<(), ReplicateError> {
        let Err(error) = self.target.hold_bases(bases).await else {
            return Ok(());
        };
        let tolerated = matches!(
            error.failure(),
            Some(Failure::Zfs(zfs))
                if matches!(zfs.kind, ZfsErrorKind::Permission | ZfsErrorKind::NotSupported)
        );
        if !tolerated {
            return Err(vanished(error));
        }
        self.observer.event(&Event::Notice {
            peer: error.peer.clone(),
            text: format!("bases are not held meanwhile: {}", error.cause),
        });
        Ok(())
    }

    pub(super) async fn transfer_one(
        &mut self,
        step: &DatasetPlan,
        estimated_bytes: u64,
    ) -> Result<Moved, PeerError> {
        let observer = self.observer;
        if let Some(origin) = &step.clone_of {
            let dataset = step.snapshot.dataset.clone();
            observer.event(&Event::CloneSentWhole {
                dataset,
                origin: origin.clone(),
            });
        }
        self.step(self.source, send_command(step));
        self.step(self.target, format!("zfs receive -s -u {}", step.target));
        let telling = Telling::begin(observer, &self.target.name, step, estimated_bytes);
        let mut ends = Ends {
            source: self.source,
            target: self.target,
        };
        let manner = Manner {
            compression: self.compression,
            limiter: self.limiter.clone(),
            observer,
        };
        let moved = transfer(&mut ends, step, manner).await?;
        telling.done(&moved);
        Ok(moved)
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

    /// Destroys snapshots of ours that never reached the target. A failure is
    /// only told: they are in nobody's way.
    async fn destroy_unsent(
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
                prune::unsent(series, dataset, target)
            })
            .collect();
        let result = destroy(self.source, self.observer, doomed).await;
        tell_failed_pruning(self.observer, result);
    }

    async fn destroy_obsolete(
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
                let found = prune::obsolete(series, step.guid, source, target);
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

/// A snapshot of the plan is not there any more: that is no failure of ZFS, and
/// another plan goes without it.
pub(crate) fn vanished(error: PeerError) -> ReplicateError {
    match error.failure() {
        Some(Failure::Zfs(zfs)) if zfs.kind == ZfsErrorKind::NotFound => ReplicateError::Vanished {
            cause: Box::new(error),
        },
        _ => error.into(),
    }
}

/// What a stream goes onto: the dataset of the target, and the guid.
pub(super) fn base_in_use(stream: &DatasetPlan) -> Option<(DatasetName, Guid)> {
    let (_, guid) = stream.step.base()?;
    Some((stream.target.dataset.clone(), guid))
}

/// What the streams of `plan` go onto, as far as it is there when they begin.
fn bases_in_use(plan: &TreePlan) -> Vec<(DatasetName, Guid)> {
    let first = |step: &DatasetPlan| base_in_use(step.streams().next()?);
    plan.datasets.iter().filter_map(first).collect()
}

/// Everything on the source that the streams of `plan` read from, each once.
fn snapshots_in_use(plan: &TreePlan) -> Vec<SnapshotName> {
    let mut names = BTreeSet::new();
    for step in plan.datasets.iter().flat_map(DatasetPlan::streams) {
        if step.step == Step::UpToDate {
            continue;
        }
        if let Some((Base::Snapshot(base), _)) = step.step.base() {
            names.insert(base.clone());
        }
        names.insert(step.snapshot.clone());
    }
    names.into_iter().collect()
}
