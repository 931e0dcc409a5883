//! All resources of a service in one run.

use std::collections::BTreeMap;

use super::conversations::Conversations;
use super::error::{SyncError, TargetError};
use super::report::{ResourceReport, SyncReport, TargetReport};
use super::round::{Manner, Phase, Round};
use super::{Action, Sync};
use crate::event::Event;
use crate::name::SnapshotName;
use crate::peer::Peer;
use crate::replicate::snapshot_command;
use crate::sync::config::{Resource, Role, Sends, Target, TargetKind};
use crate::sync::state::{Mode, Synced};
use crate::zfs::Dataset;

/// A resource and its targets, in the course of a run.
pub(super) struct Work<'a> {
    pub(super) round: Round<'a>,
    /// With what has kept each from its data, once something has.
    pub(super) targets: Vec<(&'a Target, Result<(), TargetError>)>,
    /// Of each target, in the same order: what it has, once that is known.
    pub(super) synced: Vec<Option<Synced>>,
    /// Why the source cannot be sent at all.
    broken: Option<TargetError>,
}

pub(super) async fn run(sync: &Sync<'_>) -> Result<SyncReport, SyncError> {
    let resources = sync.service.resolve(sync.node)?;
    let mut source = sync.connector.local().await?;
    let mut report = SyncReport::default();
    let mut conversations = Conversations::new(sync.connector);
    let mut works = Vec::new();
    for resource in &resources {
        match due(sync.action, resource) {
            Err(why) => report.resources.push(ResourceReport {
                rid: resource.rid.clone(),
                optional: resource.optional,
                skipped: Some(why),
                targets: Vec::new(),
            }),
            Ok(sends) => works.push(Work::begin(sync, &mut conversations, resource, sends).await),
        }
    }
    for work in &mut works {
        work.complete_leftover(&mut source, &mut conversations)
            .await?;
    }
    take_snapshots(sync, &mut source, &mut works).await?;
    for work in &mut works {
        work.run_round(&mut source, &mut conversations).await?;
    }
    for work in works {
        report
            .resources
            .push(work.finish(sync, &mut conversations).await);
    }
    Ok(report)
}

/// What the resource sends, or why this command does not concern it.
fn due(action: Action, resource: &Resource) -> Result<&Sends, String> {
    if resource.disabled {
        return Err("disabled".to_owned());
    }
    let sends = match &resource.role {
        Role::Sender(sends) => sends,
        Role::SenderByMount(sends) => {
            let path = sends.mount_point.display();
            return Err(format!("it is not known what is mounted at {path}"));
        }
        Role::ReceiverOnly(why) => return Err(why.to_string()),
    };
    if sends.targets.is_empty() {
        return Err("it has no target besides this node".to_owned());
    }
    let to_drp = sends
        .targets
        .iter()
        .any(|target| target.kind == TargetKind::DrpNodes);
    if action == Action::Nodes && to_drp {
        return Err("it targets drpnodes too: use sync update".to_owned());
    }
    Ok(sends)
}

/// Takes the `tosend` of all resources, one atomic call per pool.
async fn take_snapshots(
    sync: &Sync<'_>,
    source: &mut Peer,
    works: &mut [Work<'_>],
) -> Result<(), SyncError> {
    let mut by_pool: BTreeMap<String, Vec<SnapshotName>> = BTreeMap::new();
    for work in works.iter_mut() {
        if !work.has_reachable_target() {
            continue;
        }
        let side = work.round.source_side();
        let tree = side.recovered(source).await?;
        if tree.is_empty() {
            let src = work.round.sends.src.clone();
            work.broken = Some(TargetError::NoSource { src });
            continue;
        }
        side.drop_tosend(source, &tree).await?;
        sync.observer.event(&Event::Step {
            peer: source.name.clone(),
            command: snapshot_command(side.root, &side.names.tosend, side.scope),
        });
        by_pool
            .entry(side.root.pool().to_owned())
            .or_default()
            .extend(work.round.snapshots(&tree));
    }
    for names in by_pool.into_values() {
        source.snapshot(names).await?;
    }
    Ok(())
}

impl<'a> Work<'a> {
    async fn begin(
        sync: &Sync<'a>,
        conversations: &mut Conversations<'_>,
        resource: &'a Resource,
        sends: &'a Sends,
    ) -> Self {
        let mut targets = Vec::new();
        for target in &sends.targets {
            let reached = conversations.take(target).await;
            let reached = reached.map(|peer| conversations.keep(target, peer));
            targets.push((target, reached));
        }
        Self {
            round: Round {
                resource,
                sends,
                action: sync.action,
                loss: sync.loss,
                observer: sync.observer,
                compression: sync.compression,
                clock: sync.clock,
            },
            synced: targets.iter().map(|_| None).collect(),
            targets,
            broken: None,
        }
    }

    fn has_reachable_target(&self) -> bool {
        self.targets.iter().any(|(_, reached)| reached.is_ok())
    }

    /// Completes what an earlier run had begun to bring to a target, so that
    /// its `tosend` can be replaced.
    async fn complete_leftover(
        &mut self,
        source: &mut Peer,
        conversations: &mut Conversations<'_>,
    ) -> Result<(), SyncError> {
        let tree = self.round.source_side().recovered(source).await?;
        let mut unfinished = false;
        for (target, reached) in &mut self.targets {
            let Some(mut peer) = taken(conversations, target, reached).await else {
                continue;
            };
            match self.round.is_unfinished(&tree, &mut peer, target).await {
                Ok(found) => {
                    unfinished |= found;
                    conversations.keep(target, peer);
                }
                Err(error) => *reached = Err(error.into()),
            }
        }
        if unfinished {
            self.bring_all(source, conversations, &tree, Phase::Leftover)
                .await?;
        }
        Ok(())
    }

    /// Brings the fresh `tosend` to all targets.
    async fn run_round(
        &mut self,
        source: &mut Peer,
        conversations: &mut Conversations<'_>,
    ) -> Result<(), SyncError> {
        if self.broken.is_some() || !self.has_reachable_target() {
            return Ok(());
        }
        let tree = self.round.source_side().tree(source).await?;
        self.bring_all(source, conversations, &tree, Phase::Fresh)
            .await
    }

    /// One target after the other; the source rotates if any has committed.
    async fn bring_all(
        &mut self,
        source: &mut Peer,
        conversations: &mut Conversations<'_>,
        tree: &[Dataset],
        phase: Phase,
    ) -> Result<(), SyncError> {
        let mut committed = false;
        for ((target, reached), synced) in self.targets.iter_mut().zip(&mut self.synced) {
            let was_full = |synced: &Synced| synced.mode == Mode::Full;
            // The full sync that was asked for may be the one just completed.
            let manner =
                if self.round.action == Action::Full && !synced.as_ref().is_some_and(was_full) {
                    Manner::Full
                } else {
                    Manner::Usual
                };
            let Some(mut peer) = taken(conversations, target, reached).await else {
                continue;
            };
            let brought = self
                .round
                .bring(source, tree, &mut peer, target, (phase, manner));
            match brought.await {
                Ok(None) => conversations.keep(target, peer),
                Ok(Some(now)) => {
                    conversations.keep(target, peer);
                    committed = true;
                    *synced = Some(joined(synced.take(), now));
                }
                Err(error) => *reached = Err(error),
            }
        }
        if committed {
            self.round.rotate_source(source).await?;
        }
        Ok(())
    }

    /// Records what happened, on this node and on every target in reach.
    async fn finish(
        mut self,
        sync: &Sync<'_>,
        conversations: &mut Conversations<'_>,
    ) -> ResourceReport {
        let reachable = self.targets.iter_mut().find(|(_, reached)| reached.is_ok());
        if let (Some(error), Some((_, reached))) = (self.broken.take(), reachable) {
            *reached = Err(error);
        }
        let state = self.record(sync, conversations).await;
        if let Some(state) = state {
            self.deliver(sync, conversations, &state).await;
        }
        let Self {
            round,
            targets,
            synced,
            ..
        } = self;
        let outcome = |((target, reached), synced): ((&Target, Result<(), TargetError>), _)| {
            let outcome = match (reached, synced) {
                (Err(error), _) => Err(error),
                (Ok(()), Some(synced)) => Ok(synced),
                (Ok(()), None) => Err(TargetError::NoSource {
                    src: round.sends.src.clone(),
                }),
            };
            TargetReport {
                node: target.node.clone(),
                dst: target.dst.clone(),
                outcome,
            }
        };
        ResourceReport {
            rid: round.resource.rid.clone(),
            optional: round.resource.optional,
            skipped: None,
            targets: targets.into_iter().zip(synced).map(outcome).collect(),
        }
    }
}

/// The conversation for a target that nothing has gone wrong with.
async fn taken(
    conversations: &mut Conversations<'_>,
    target: &Target,
    reached: &mut Result<(), TargetError>,
) -> Option<Peer> {
    if reached.is_err() {
        return None;
    }
    match conversations.take(target).await {
        Ok(peer) => Some(peer),
        Err(error) => {
            *reached = Err(error);
            None
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
