//! One resource and its targets in the course of a run.

use futures_util::future::join_all;

use super::admission::{Admitted, NotRun, Refusal};
use super::commands::{CHECK_MAX, Command, shown};
use super::conversations::QUESTION_MAX;
use super::error::{ResourceError, TargetError};
use super::facts::Facts;
use super::patience::{SourceTrials, Trials};
use super::report::{ResourceReport, TargetReport};
use super::round::{Manner, Phase, Round};
use super::service::Run;
use super::{Action, Sync};
use crate::event::Event;
use crate::hold::{BaseHold, HoldTag, KeepBase};
use crate::name::SnapshotName;
use crate::peer::PeerError;
use crate::replicate::snapshot_command;
use crate::retry::Progress;
use crate::sync::attempts::Attempts;
use crate::sync::config::{NodeName, Resource, Target, TargetKind, When};
use crate::sync::state::{Mode, Synced, TroubleKind};
use crate::zfs::Dataset;

/// The tag of a resource whose snapshot is not taken with the others but just
/// before its own transfer.
const DELAY_SNAP: &str = "delay_snap";

/// A resource and its targets, in the course of a run.
pub(super) struct Work<'a> {
    pub(super) round: Round<'a>,
    /// With what has kept each from its data, once something has.
    pub(super) targets: Vec<(&'a Target, Result<(), TargetError>)>,
    /// Of each target, in the same order: what it has, once that is known.
    pub(super) synced: Vec<Option<Synced>>,
    /// What has stopped the resource as a whole, or spoilt its end.
    pub(super) failure: Option<ResourceError>,
    /// Why the source cannot be sent at all.
    broken: Option<TargetError>,
    refused: Vec<(NodeName, Refusal)>,
    /// The attempt that this is, once it has been written down.
    attempt: Option<Attempts>,
}

impl<'a> Work<'a> {
    pub(super) fn new(sync: &Sync<'a>, resource: &'a Resource, admitted: Admitted<'a>) -> Self {
        let targets = admitted.targets.into_iter().map(|target| (target, Ok(())));
        let targets: Vec<_> = targets.collect();
        Self {
            round: Round {
                service: sync.service,
                node: sync.node,
                resource,
                sends: admitted.sends,
                base: BaseHold {
                    tag: HoldTag::for_resource(
                        sync.service.name().as_str(),
                        &resource.rid.dotted(),
                    ),
                    keep: match resource.hold_base {
                        true => KeepBase::Hold,
                        false => KeepBase::Leave,
                    },
                },
                action: sync.action,
                loss: sync.loss,
                observer: sync.observer,
                compression: sync.compression,
                workers: sync.workers,
                limiter: sync.limits.limiter(resource.bandwidth_limit.as_ref()),
                clock: sync.clock,
            },
            synced: targets.iter().map(|_| None).collect(),
            targets,
            failure: None,
            broken: None,
            refused: admitted.refused,
            attempt: None,
        }
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = &'a Target> {
        self.targets.iter().map(|(target, _)| *target)
    }

    pub(super) fn delays_snapshot(&self) -> bool {
        self.round.resource.tags.contains(DELAY_SNAP)
    }

    fn has_reachable_target(&self) -> bool {
        self.targets.iter().any(|(_, reached)| reached.is_ok())
    }

    /// True while there is something left to do for it.
    fn is_live(&self) -> bool {
        self.failure.is_none() && self.broken.is_none() && self.has_reachable_target()
    }

    /// Writes the attempt down, as one that has failed until it ends well.
    pub(super) fn begin_attempt(&mut self, run: &Run<'_>) {
        let (service, rid) = (run.sync.service.name(), &self.round.resource.rid);
        let attempt = run.attempts.read(service, rid).begun((run.sync.clock)());
        match run.attempts.write(service, rid, &attempt) {
            Ok(()) => self.attempt = Some(attempt),
            Err(error) => self.failure = Some(ResourceError::Attempts(error.into())),
        }
    }

    /// The triggers before the action.
    pub(super) async fn before(&mut self, run: &Run<'_>) {
        self.triggers(run, When::Pre).await;
    }

    /// A blocking trigger that fails stops the resource; another one warns.
    async fn triggers(&mut self, run: &Run<'_>, when: When) {
        let triggers = &self.round.resource.triggers;
        for trigger in triggers.get(self.round.action, when) {
            if self.failure.is_some() {
                return;
            }
            let blocking = if trigger.blocking { "blocking_" } else { "" };
            let keyword = format!("{blocking}{}_sync_{}", when.as_str(), self.round.action);
            match run.start(&keyword, &trigger.argv, self).await {
                Ok(()) => {}
                Err(error) if trigger.blocking => self.failure = Some(error),
                Err(error) => run.warn(error.to_string()),
            }
        }
    }

    /// Completes what an earlier run had begun to bring to a target, so that
    /// its `tosend` can be replaced.
    pub(super) async fn complete_leftover(&mut self, run: &Run<'_>) {
        if self.failure.is_some() {
            return;
        }
        let trials = SourceTrials::new(run, self.round.resource);
        let completed = trials.until_done(async || self.try_complete_leftover(run).await);
        if let Err(error) = completed.await {
            self.failure = Some(ResourceError::source(error));
        }
    }

    async fn try_complete_leftover(&mut self, run: &Run<'_>) -> Result<(), PeerError> {
        let tree = self.take_over(run).await?;
        let (round, tree_of_source) = (&self.round, &tree);
        let looks = self.targets.iter_mut().map(|(target, reached)| async {
            if reached.is_err() {
                return false;
            }
            let look = run
                .conversations
                .with(target, Some(QUESTION_MAX), async |_, peer| {
                    Ok(round.is_unfinished(tree_of_source, peer, target).await?)
                });
            match look.await {
                Ok(found) => found,
                Err(error) => {
                    *reached = Err(error);
                    false
                }
            }
        });
        if join_all(looks).await.contains(&true) {
            self.bring_all(run, &tree, Phase::Leftover).await?;
        }
        Ok(())
    }

    /// The source's tree, after what has former names was renamed, as far as
    /// the targets in reach prove it, and a rotation that was cut is completed.
    async fn take_over(&mut self, run: &Run<'_>) -> Result<Vec<Dataset>, PeerError> {
        let side = self.round.source_side();
        let tree = side.tree(&mut *run.source.lock().await).await?;
        let has_former = self.round.has_former(&tree);
        let round = &self.round;
        let looks = self.targets.iter_mut().map(|(target, reached)| async {
            if !has_former || reached.is_err() {
                return None;
            }
            let look = run
                .conversations
                .with(target, Some(QUESTION_MAX), async |_, peer| {
                    Ok(round.side(&target.dst).tree(peer).await?)
                });
            match look.await {
                Ok(copy) => Some((*target, copy)),
                Err(error) => {
                    *reached = Err(error);
                    None
                }
            }
        });
        let copies: Vec<_> = join_all(looks).await.into_iter().flatten().collect();
        let mut source = run.source.lock().await;
        if has_former {
            // Another resource may have renamed what both could call theirs.
            let tree = side.tree(&mut source).await?;
            round.rename_source(&mut source, &tree, &copies).await?;
        }
        side.recovered(&mut source).await
    }

    /// Makes way for a fresh `tosend`, and names the snapshots to take; none if
    /// there is nobody or nothing to send.
    pub(super) async fn prepare_snapshot(&mut self, run: &Run<'_>) -> Vec<SnapshotName> {
        if !self.is_live() {
            return Vec::new();
        }
        let side = self.round.source_side();
        let prepared = SourceTrials::new(run, self.round.resource).until_done(async || {
            let mut source = run.source.lock().await;
            let tree = side.recovered(&mut source).await?;
            side.drop_tosend(&mut source, &tree).await?;
            Ok(tree)
        });
        match prepared.await {
            Err(error) => self.failure = Some(ResourceError::source(error)),
            Ok(tree) if tree.is_empty() => {
                let src = self.round.sends.src.clone();
                self.broken = Some(TargetError::NoSource { src });
            }
            Ok(tree) => {
                run.sync.observer.event(&Event::Step {
                    peer: run.source.lock().await.name.clone(),
                    command: snapshot_command(side.root, &side.names.tosend, side.scope),
                });
                return self.round.snapshots(&tree);
            }
        }
        Vec::new()
    }

    /// Everything that one resource does for itself: its delayed snapshot, the
    /// transfers, the triggers after them, and what is left to know.
    pub(super) async fn conclude(&mut self, run: &Run<'_>) {
        if self.delays_snapshot() {
            run.take(&mut [&mut *self]).await;
        }
        if self.is_live()
            && let Err(error) = self.run_round(run).await
        {
            self.failure = Some(ResourceError::source(error));
        }
        if let Some(error) = self.broken.take() {
            let reachable = self.targets.iter_mut().find(|(_, reached)| reached.is_ok());
            if let Some((_, reached)) = reachable {
                *reached = Err(error);
            }
        }
        if self.has_succeeded() {
            self.triggers(run, When::Post).await;
        }
        if let Some(attempt) = self.attempt.filter(|_| self.has_succeeded()) {
            let (service, rid) = (run.sync.service.name(), &self.round.resource.rid);
            if let Err(error) = run.attempts.write(service, rid, &attempt.succeeded()) {
                run.warn(format!("the success cannot be written down: {error}"));
            }
        }
        let recorded = self.record(run).await;
        self.deliver(run, &recorded).await;
        self.alert(run).await;
    }

    fn has_succeeded(&self) -> bool {
        self.failure.is_none()
            && self.targets.iter().all(|(_, reached)| reached.is_ok())
            && self.synced.iter().all(Option::is_some)
    }

    /// Brings the fresh `tosend` to all targets.
    async fn run_round(&mut self, run: &Run<'_>) -> Result<(), PeerError> {
        let listed = SourceTrials::new(run, self.round.resource).until_done(async || {
            let mut source = run.source.lock().await;
            self.round.source_side().tree(&mut source).await
        });
        let tree = listed.await?;
        self.bring_all(run, &tree, Phase::Fresh).await
    }

    /// All targets at the same time, each until it has its data or is tried no
    /// longer; the source rotates if any has committed.
    async fn bring_all(
        &mut self,
        run: &Run<'_>,
        tree: &[Dataset],
        phase: Phase,
    ) -> Result<(), PeerError> {
        let round = &self.round;
        let pairs = self.targets.iter_mut().zip(&mut self.synced);
        let transfers = pairs.map(|((target, reached), synced)| async move {
            let target: &Target = target;
            // Whoever failed before the snapshot may be there by now.
            let mut failed = std::mem::replace(reached, Ok(())).err();
            if phase == Phase::Leftover && failed.is_some() {
                *reached = failed.map_or(Ok(()), Err);
                return false;
            }
            let was_full = |synced: &Synced| synced.mode == Mode::Full;
            // The full sync that was asked for may be the one just completed.
            let manner = if round.action == Action::Full && !synced.as_ref().is_some_and(was_full) {
                Manner::Full
            } else {
                Manner::Usual
            };
            let progress = Progress::new(round.observer);
            let is_on_a_wire = target.kind != TargetKind::Local;
            let round = Round {
                observer: &progress,
                base: round.base.clone(),
                limiter: round.limiter.clone().filter(|_| is_on_a_wire),
                compression: match is_on_a_wire {
                    true => round.compression,
                    false => round.compression.on_one_machine(),
                },
                ..*round
            };
            let mut trials = Trials::new(run, round.resource, target, phase);
            let stall_max = run.sync.patience.stall_max(round.resource);
            let mut is_first = true;
            loop {
                if let Some(error) = failed.take() {
                    is_first = false;
                    if !trials.again(&error, &progress).await {
                        *reached = Err(error);
                        return false;
                    }
                }
                let left = trials.left();
                let brought = run.conversations.with(target, left, async |source, peer| {
                    trials.begin();
                    for peer in [&mut *source, &mut *peer] {
                        peer.limit_stalls(stall_max);
                    }
                    let how = (phase, manner);
                    if is_first {
                        return round.bring(source, tree, peer, target, how).await;
                    }
                    // The attempt before has left marks, and time has passed.
                    let tree = round.source_side().tree(source).await?;
                    round.bring(source, &tree, peer, target, how).await
                });
                match brought.await {
                    Ok(None) => return false,
                    Ok(Some(now)) => {
                        *synced = Some(joined(synced.take(), now));
                        return true;
                    }
                    Err(error) => failed = Some(trials.of_all(error)),
                }
            }
        });
        if join_all(transfers).await.contains(&true) {
            self.rotate(run).await?;
        }
        Ok(())
    }

    /// Tells somebody of each chain that is broken.
    async fn alert(&self, run: &Run<'_>) {
        let Some(argv) = &self.round.resource.alert_command else {
            return;
        };
        for (target, reached) in &self.targets {
            let Err(error) = reached else { continue };
            let kind = match error.trouble() {
                TroubleKind::BrokenChain => "broken_chain",
                TroubleKind::Diverged => "diverged",
                TroubleKind::Failed => continue,
            };
            run.sync.observer.event(&Event::Step {
                peer: run.sync.node.to_string(),
                command: shown(argv),
            });
            let command = Command {
                argv,
                facts: Facts::of_resource(run.sync, self.round.resource, self.round.sends)
                    .with("ZFERRY_TARGET", target.node.to_string())
                    .with("ZFERRY_KIND", kind.to_owned())
                    .with("ZFERRY_MESSAGE", error.to_string())
                    .with("ZFERRY_REMEDY", error.remedies().join("\n"))
                    .list(),
                limit: CHECK_MAX,
            };
            if let Err(error) = run.sync.commands.run(command).await {
                run.warn(format!("the alert of {} failed: {error}", target.node));
            }
        }
    }

    /// The report of a resource that was not begun.
    pub(super) fn not_run(self, why: NotRun) -> ResourceReport {
        ResourceReport {
            not_run: Some(why),
            targets: Vec::new(),
            ..self.report()
        }
    }

    pub(super) fn report(self) -> ResourceReport {
        let Self {
            round,
            targets,
            synced,
            failure,
            refused,
            ..
        } = self;
        let outcome = |((target, reached), synced): ((&Target, Result<(), TargetError>), _)| {
            let outcome = match (reached, synced) {
                (Err(error), _) => Err(error),
                (Ok(()), Some(synced)) => Ok(synced),
                // Told once, as the failure of the resource.
                (Ok(()), None) if failure.is_some() => return None,
                (Ok(()), None) => Err(TargetError::NoSource {
                    src: round.sends.src.clone(),
                }),
            };
            Some(TargetReport {
                node: target.node.clone(),
                dst: target.dst.clone(),
                outcome,
            })
        };
        ResourceReport {
            rid: round.resource.rid.clone(),
            optional: round.resource.optional,
            not_run: None,
            targets: targets
                .into_iter()
                .zip(synced)
                .filter_map(outcome)
                .collect(),
            failure,
            refused,
        }
    }
}

/// Two rounds for one target in one run: the later state, the bytes of both.
fn joined(before: Option<Synced>, now: Synced) -> Synced {
    let Some(before) = before else { return now };
    Synced {
        wire_bytes: before.wire_bytes + now.wire_bytes,
        stream_bytes: before.stream_bytes + now.stream_bytes,
        duration_ms: before.duration_ms + now.duration_ms,
        mode: before.mode,
        ..now
    }
}
