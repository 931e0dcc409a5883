//! One round of one resource: bring its `@tosend` to every target that can be
//! reached, commit there, then rotate the source.

use std::sync::Arc;
use std::time::Instant;

use super::Action;
use super::beside::Place;
use super::error::TargetError;
use super::marks::Marks;
use super::side::Side;
use super::stale::Stale;
use crate::copies;
use crate::event::{Event, Observer};
use crate::helper::Workers;
use crate::hold::BaseHold;
use crate::limit::Limiter;
use crate::name::{DatasetName, Guid, SnapshotName};
use crate::peer::{Peer, PeerError};
use crate::plan::{self, Intermediary, Loss, OnRenamed, Taken, TreePlan, TreeRequest, plan_tree};
use crate::protocol::failure::Failure;
use crate::replicate::{ReplicateError, Report, Transfers, explained, find_renamed, vanished};
use crate::stream::compress::Compression;
use crate::sync::config::{KeepOld, NodeName, OnModified, Resource, Sends, Service, Target};
use crate::sync::moment::UtcSeconds;
use crate::sync::state::{DatasetSnapshot, Mode, Synced};
use crate::zfs::{ByName, Dataset, Scope, SendMode, ZfsErrorKind};

/// Which `tosend` a round brings over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// One that an earlier run took and that a target has parts of.
    Leftover,
    /// One that this run took.
    Fresh,
}

/// How a target gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// From what both sides share; everything if nothing is there.
    Usual,
    /// Everything, beside what is there.
    Full,
}

/// What a transfer has to mind besides its target.
#[derive(Default)]
pub(super) struct Extent<'a> {
    /// Another copy of the same target, whose bases stay marked.
    pub spare: Vec<Dataset>,
    /// Its root.
    pub spare_root: Option<&'a DatasetName>,
    /// Nothing is sent unless there is room for all of it.
    pub needs_room: bool,
}

/// What all rounds of a run share.
pub(super) struct Round<'a> {
    pub service: &'a Service,
    pub node: &'a NodeName,
    pub resource: &'a Resource,
    pub sends: &'a Sends,
    /// How the base is kept on targets between two runs.
    pub base: BaseHold,
    pub action: Action,
    pub loss: Loss,
    pub observer: &'a dyn Observer,
    pub compression: Compression,
    pub workers: Workers,
    /// Of targets on other machines.
    pub limiter: Option<Arc<Limiter>>,
    pub clock: &'a dyn Fn() -> UtcSeconds,
}

impl<'a> Round<'a> {
    pub(super) fn scope(&self) -> Scope {
        if self.resource.recursive {
            Scope::Recursive
        } else {
            Scope::One
        }
    }

    /// The source's tree of this resource.
    pub(super) fn source_side(&self) -> Side<'_> {
        self.side(&self.sends.src)
    }

    pub(super) fn side<'s>(&'s self, root: &'s DatasetName) -> Side<'s> {
        Side {
            root,
            scope: self.scope(),
            names: &self.resource.names,
            base: &self.base,
            observer: self.observer,
        }
    }

    /// True if the target has a snapshot that the source still calls `tosend`,
    /// or a part of one: an earlier run was cut, and its data is worth
    /// completing.
    pub(super) async fn is_unfinished(
        &self,
        source_tree: &[Dataset],
        peer: &mut Peer,
        target: &Target,
    ) -> Result<bool, PeerError> {
        let unsent: Vec<Guid> = source_tree
            .iter()
            .filter_map(|dataset| dataset.snapshot_by_name(&self.resource.names.tosend))
            .map(|snapshot| snapshot.guid)
            .collect();
        if unsent.is_empty() {
            return Ok(false);
        }
        let mut tree = self.side(&target.dst).tree(peer).await?;
        if self.action == Action::Full
            && !tree.is_empty()
            && let Ok(new) = copies::new(&target.dst)
        {
            tree = self.side(&new).tree(peer).await?;
        }
        Ok(tree.iter().any(|dataset| {
            let partial = dataset.partial.as_ref();
            let arriving = partial.and_then(|partial| Some(partial.content.as_ref()?.to_guid));
            unsent
                .iter()
                .any(|guid| dataset.snapshot_by_guid(*guid).is_some() || arriving == Some(*guid))
        }))
    }

    /// Brings `tosend` to one target and commits it there; beside what is
    /// there, if everything was to be sent again. `None` if there is nothing
    /// to do in this phase.
    pub(super) async fn bring(
        &self,
        source: &mut Peer,
        source_tree: &[Dataset],
        peer: &mut Peer,
        target: &Target,
        (phase, manner): (Phase, Manner),
    ) -> Result<Option<Synced>, TargetError> {
        let purpose = format!("sync of {} ({})", self.sends.src, self.resource.rid);
        peer.claim(&target.dst, self.scope(), &purpose).await?;
        let brought = self.bring_to_place(source, source_tree, peer, target, (phase, manner));
        match brought.await {
            Err(error) => Err(self.explained(error, source, peer, target).await),
            brought => brought,
        }
    }

    /// Says more about what a plan met.
    pub(super) async fn explained(
        &self,
        error: TargetError,
        source: &mut Peer,
        peer: &mut Peer,
        target: &Target,
    ) -> TargetError {
        match error {
            TargetError::Replicate(error) => {
                let explained = explained(error, &self.sends.src, &target.dst, source, peer);
                explained.await.into()
            }
            other => other,
        }
    }

    /// Refuses to send everything to a place that is empty only because the
    /// copy that was there has another name now.
    pub(super) async fn ensure_not_renamed(
        &self,
        source_tree: &[Dataset],
        peer: &mut Peer,
        target: &Target,
    ) -> Result<(), TargetError> {
        let marks = Marks::new(&self.resource.rid, target);
        let guids = source_tree.first().map(|root| marks.marked(root));
        let guids = guids.unwrap_or_default();
        match find_renamed(&guids, &self.sends.src, &target.dst, peer).await {
            Some(conflict) => Err(ReplicateError::conflicts(vec![conflict]).into()),
            None => Ok(()),
        }
    }

    async fn bring_to_place(
        &self,
        source: &mut Peer,
        source_tree: &[Dataset],
        peer: &mut Peer,
        target: &Target,
        (phase, manner): (Phase, Manner),
    ) -> Result<Option<Synced>, TargetError> {
        let place = self.place(source_tree, peer, target, (phase, manner));
        match place.await? {
            Place::Nowhere => Ok(None),
            Place::Beside { new, copy } => {
                let brought =
                    self.bring_beside(source, source_tree, peer, target, (new, copy), phase);
                brought.await.map(Some)
            }
            Place::Itself { swapped } => {
                let extent = Extent::default();
                let synced = self
                    .bring_onto(source, source_tree, peer, target, extent)
                    .await?;
                if self.resource.keep_old == KeepOld::Next && !swapped {
                    self.drop_old(peer, target).await?;
                }
                Ok(Some(synced))
            }
        }
    }

    /// Brings `tosend` to `target.dst` and commits it there.
    ///
    /// The source has marked it before anything is sent.
    pub(super) async fn bring_onto(
        &self,
        source: &mut Peer,
        source_tree: &[Dataset],
        peer: &mut Peer,
        target: &Target,
        extent: Extent<'_>,
    ) -> Result<Synced, TargetError> {
        let begun = Instant::now();
        let side = self.side(&target.dst);
        let target_tree = self.taken_over(source_tree, peer, target).await?;
        let target_tree = self
            .complete_late(source, source_tree, peer, target_tree, target)
            .await?;
        let target_tree = self
            .commit_late(source_tree, peer, target_tree, target)
            .await?;
        if target_tree.is_empty() && self.action != Action::Full {
            self.ensure_not_renamed(source_tree, peer, target).await?;
        }
        let stale = Stale::find(side, source_tree, &self.sends.src, target_tree);
        let plan = self.plan(source_tree, &stale.tree, target)?;
        let target_tree = &stale.tree;
        let mut transfers = self.transfers(source, peer);
        transfers.tell_skipped(&plan);
        transfers.estimate(source_tree, &plan).await?;
        if extent.needs_room {
            let needed = transfers.estimates.iter().flatten().sum();
            self.check_room(transfers.target, target, needed).await?;
        }
        // Before marks are tidied up: one may be what proves it ours.
        transfers.discard(&plan).await?;
        let mut marks = Marks::new(&self.resource.rid, target);
        let tosend = &self.resource.names.tosend;
        let (there, spare) = (ByName::of(target_tree), ByName::of(&extent.spare));
        let has = |dataset: &Dataset, guid: Guid| {
            let in_tree = |tree: &ByName<'_>, root: &DatasetName| {
                let there = tree.counterpart(&dataset.name, &self.sends.src, root);
                there.is_some_and(|there| there.snapshot_by_guid(guid).is_some())
            };
            in_tree(&there, &target.dst)
                || extent.spare_root.is_some_and(|root| in_tree(&spare, root))
        };
        let marked = marks
            .begin(transfers.source, source_tree, tosend, &plan, has)
            .await;
        self.tolerate(marked).map_err(vanished)?;
        let root_is_new = target_tree.is_empty();
        stale.destroy(side, transfers.target).await?;
        let report = transfers.run(&plan, &target.dst, root_is_new).await?;
        let kept = self.keep_for_others(source_tree, peer, target).await;
        self.tolerate(kept)?;
        self.commit(peer, &plan, side).await?;
        // Those that `begin` destroyed are listed still; missing is no error.
        marks.end(source, source_tree, tosend).await?;
        Ok(self.synced(target, &plan, &report, begun))
    }

    /// Transfers from `source` to `target`, as this run wants them.
    pub(super) fn transfers<'t>(
        &'t self,
        source: &'t mut Peer,
        target: &'t mut Peer,
    ) -> Transfers<'t> {
        Transfers {
            source,
            target,
            compression: self.compression,
            workers: self.workers,
            limiter: self.limiter.clone(),
            observer: self.observer,
            estimates: Vec::new(),
        }
    }

    pub(super) fn plan(
        &self,
        source_tree: &[Dataset],
        target_tree: &[Dataset],
        target: &Target,
    ) -> Result<TreePlan, TargetError> {
        let mut plan = plan_tree(&self.request(source_tree, target_tree, target))?;
        if plan.conflicts.is_empty() {
            return Ok(plan);
        }
        let conflicts = std::mem::take(&mut plan.conflicts);
        Err(ReplicateError::conflicts(conflicts).into())
    }

    /// What the configuration or the command line allows to be lost.
    fn loss(&self) -> Loss {
        match self.resource.on_modified {
            OnModified::Never => self.loss,
            OnModified::RollBack => Loss {
                on_modified: plan::OnModified::RollBack,
                ..self.loss
            },
        }
    }

    pub(super) fn request<'r>(
        &'r self,
        source: &'r [Dataset],
        target_tree: &'r [Dataset],
        target: &'r Target,
    ) -> TreeRequest<'r> {
        TreeRequest {
            source,
            target: target_tree,
            target_root: &target.dst,
            short: &self.resource.names.tosend,
            mode: SendMode::Plain,
            loss: self.loss(),
            intermediary: match self.resource.intermediary {
                true => Intermediary::Carry,
                false => Intermediary::Skip,
            },
            // The rest of the tree does not wait for an operator: such a child
            // arrives anew, and the former one stays.
            on_renamed: OnRenamed::SendAll,
            taken: Taken::Named(&self.resource.names.tosend),
        }
    }

    /// A pool without bookmarks can be replicated all the same; then a target
    /// that is away may need a full sync later, and that is told.
    pub(super) fn tolerate(&self, marked: Result<(), PeerError>) -> Result<(), PeerError> {
        let Err(error) = marked else { return Ok(()) };
        let unsupported = matches!(
            error.failure(),
            Some(Failure::Zfs(error)) if error.kind == ZfsErrorKind::NotSupported
        );
        if !unsupported {
            return Err(error);
        }
        self.observer.event(&Event::Notice {
            peer: error.peer.clone(),
            text: format!("bases are not marked: {}", error.cause),
        });
        Ok(())
    }

    /// Rotates the source, after every target without a mark has got one of
    /// the base that goes.
    pub(super) async fn rotate_source(&self, source: &mut Peer) -> Result<(), PeerError> {
        let side = self.source_side();
        let tree = side.recovered(source).await?;
        let has_tosend = tree
            .first()
            .is_some_and(|root| root.snapshot_by_name(&self.resource.names.tosend).is_some());
        if !has_tosend {
            return Ok(());
        }
        for target in &self.sends.targets {
            let kept = Marks::new(&self.resource.rid, target)
                .keep(source, &tree, &self.resource.names.sent)
                .await;
            self.tolerate(kept)?;
        }
        side.rotate(source, &tree).await
    }

    fn synced(&self, target: &Target, plan: &TreePlan, report: &Report, begun: Instant) -> Synced {
        let root = plan.datasets.first();
        let total = |part: fn(&crate::replicate::Moved) -> u64| {
            report
                .datasets
                .iter()
                .map(|dataset| part(&dataset.moved))
                .sum()
        };
        Synced {
            dst: target.dst.clone(),
            guid: root.map_or(Guid(0), |root| root.guid),
            datasets: plan
                .datasets
                .iter()
                .map(|step| DatasetSnapshot {
                    dataset: step.target.dataset.clone(),
                    guid: step.guid,
                })
                .collect(),
            created: UtcSeconds(root.map_or(0, |root| root.creation_seconds)),
            received: (self.clock)(),
            mode: if plan.is_full() {
                Mode::Full
            } else {
                Mode::Incremental
            },
            wire_bytes: total(|moved| moved.wire_bytes),
            stream_bytes: total(|moved| moved.raw_bytes),
            duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// The names of the `tosend` snapshots to take.
    pub(super) fn snapshots(&self, tree: &[Dataset]) -> Vec<SnapshotName> {
        tree.iter()
            .map(|dataset| SnapshotName {
                dataset: dataset.name.clone(),
                short: self.resource.names.tosend.clone(),
            })
            .collect()
    }
}
