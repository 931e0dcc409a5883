//! The steps of a plan: what is held, estimated and transferred, with both peers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::TOGETHER_MAX;
use super::commands::send_command;
use super::error::ReplicateError;
use super::estimate::{self, Estimate};
use super::run::{DatasetReport, Report};
use super::telling::{Telling, planned};
use super::transfer::{Ends, Manner, Moved, transfer};
use crate::event::{Event, Observer};
use crate::helper::Workers;
use crate::limit::Limiter;
use crate::name::{DatasetName, Guid, SnapshotName};
use crate::peer::{Peer, PeerError};
use crate::plan::{DatasetPlan, Skipped, Step, TreePlan};
use crate::protocol::failure::Failure;
use crate::stream::compress::Compression;
use crate::zfs::{Base, ByName, Dataset, ZfsErrorKind};

/// How long a side may take to let go of holds after a failure. They end with
/// its session in any case.
const RELEASE_MAX: Duration = Duration::from_secs(5);

/// The steps of a run, with the two peers they happen on.
pub(crate) struct Transfers<'a> {
    pub source: &'a mut Peer,
    pub target: &'a mut Peer,
    pub compression: Compression,
    pub workers: Workers,
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
        let streams: Vec<Estimate> = plan
            .datasets
            .iter()
            .flat_map(|plan| plan.streams())
            .map(|stream| {
                let dataset = by_name.get(&stream.snapshot.dataset);
                dataset.map_or_else(Estimate::default, |dataset| Estimate::of(dataset, stream))
            })
            .collect();
        let estimated = estimate::stream_bytes(self.source, &streams).await;
        let mut estimated = estimated.map_err(vanished)?.into_iter();
        let datasets = plan.datasets.iter();
        self.estimates = datasets
            .map(|plan| estimated.by_ref().take(plan.streams().count()).collect())
            .collect();
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

    pub(super) fn rehearsed(&self, plan: TreePlan) -> Report {
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
        for part in snapshots_in_use(plan).chunks(TOGETHER_MAX) {
            let held = self.source.hold(part.to_vec()).await;
            held.map_err(vanished)?;
        }
        self.hold_bases(bases_in_use(plan)).await?;
        self.clear(plan).await?;
        let bytes = self.estimates.iter().flatten().sum();
        self.source.widen_for(bytes, self.observer).await?;
        self.target.widen_for(bytes, self.observer).await?;
        self.tell_workers();
        self.transfer_all(plan).await
    }

    /// Says how many workers a large transfer has on either side, if that was
    /// asked for or is more than one, and who could not be asked.
    fn tell_workers(&self) {
        let told = self.workers.told();
        for peer in [&self.source, &self.target] {
            let workers = match (told, peer.workers) {
                (Some(_), None) => {
                    self.observer.event(&Event::Notice {
                        peer: peer.name.clone(),
                        text: "the zferry there is older and chooses its workers itself".to_owned(),
                    });
                    continue;
                }
                (Some(told), Some(_)) => told,
                (None, Some(usual)) if usual > 1 => usize::from(usual),
                (None, _) => continue,
            };
            self.observer.event(&Event::Workers {
                peer: peer.name.clone(),
                workers,
            });
        }
    }

    /// Holds what streams go onto. A target where that is not allowed, or not
    /// possible, can be replicated to all the same: should somebody destroy the
    /// base meanwhile, the receive fails and nothing is lost. After a refusal the
    /// others are not tried.
    pub(super) async fn hold_bases(
        &mut self,
        bases: Vec<(DatasetName, Guid)>,
    ) -> Result<(), ReplicateError> {
        for part in bases.chunks(TOGETHER_MAX) {
            if let Err(error) = self.target.hold_bases(part.to_vec()).await {
                return self.go_on_without(error);
            }
        }
        Ok(())
    }

    fn go_on_without(&self, error: PeerError) -> Result<(), ReplicateError> {
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
            workers: self.workers,
            limiter: self.limiter.clone(),
            observer,
        };
        let moved = transfer(&mut ends, step, manner).await?;
        telling.done(&moved);
        Ok(moved)
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
