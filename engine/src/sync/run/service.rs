//! All resources of a service in one run, in the order that the scheme asks
//! for: who may start → locks → triggers → targets are reached → what an
//! earlier run left is completed → one group of snapshots → transfers →
//! triggers → states.
//!
//! Resources and targets are independent from there on: each target has a
//! conversation of its own, and what fails for one is tried again (`patience`)
//! or written down, and holds nobody back.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::sync::Mutex;

use super::admission::{self, Admission, NotRun, Stop};
use super::commands::{Command, TRIGGER_MAX, shown};
use super::conversations::Conversations;
use super::error::{ResourceError, SyncError};
use super::facts::Facts;
use super::report::{ResourceReport, SyncReport};
use super::work::Work;
use super::{Action, Sync, group};
use crate::error::Family;
use crate::event::Event;
use crate::name::SnapshotName;
use crate::peer::Peer;
use crate::sync::attempts::AttemptStore;
use crate::sync::config::{Resource, Target};

/// What all resources of a run share.
pub(super) struct Run<'a> {
    pub sync: &'a Sync<'a>,
    /// The source, for what is not part of a transfer.
    pub source: Mutex<Peer>,
    pub conversations: Conversations<'a>,
    pub attempts: AttemptStore,
}

pub(super) async fn run(sync: &Sync<'_>) -> Result<SyncReport, SyncError> {
    let mut report = SyncReport::default();
    let resources = match admission::of_node(sync) {
        Ok(resources) => resources,
        Err(refusal) => {
            report.refused = Some(refusal);
            return Ok(report);
        }
    };
    let selected = resources.iter().filter(|one| sync.selection.takes(one));
    let selected: Vec<&Resource> = selected.collect();
    let mut works = Vec::new();
    let mut admission = Admission::new(sync);
    // In the order of the configuration, with what each has come to.
    let mut entries: Vec<Option<ResourceReport>> = Vec::new();
    for resource in selected {
        match admission.judge(resource).await {
            Ok(admitted) => {
                works.push((entries.len(), Work::new(sync, resource, admitted)));
                entries.push(None);
            }
            Err(stop) => entries.push(Some(stopped(resource, stop))),
        }
    }
    let mut guards = Vec::new();
    let mut running = Vec::new();
    for (at, mut work) in works {
        match lock(sync, &work).await {
            Ok(guard) => {
                guards.push(guard);
                running.push((at, work));
            }
            Err(Stop::NotRun(why)) => entries[at] = Some(work.not_run(why)),
            Err(Stop::Failed(error)) => {
                work.failure = Some(error);
                entries[at] = Some(work.report());
            }
        }
    }
    let (places, mut works): (Vec<usize>, Vec<Work<'_>>) = running.into_iter().unzip();
    if !works.is_empty() {
        let targets = works.iter().flat_map(Work::targets);
        let mut source = sync.connector.local().await?;
        // What is not part of a transfer of one of them.
        let stalls = works
            .iter()
            .map(|work| sync.patience.stall_max(work.round.resource));
        source.limit_stalls(stalls.collect::<Option<Vec<_>>>().and_then(longest));
        let run = Run {
            sync,
            source: Mutex::new(source),
            conversations: Conversations::new(sync.connector, sync.turns, targets),
            attempts: AttemptStore::new(sync.states.dir()),
        };
        run.all(&mut works).await;
    }
    for (at, work) in places.into_iter().zip(works) {
        entries[at] = Some(work.report());
    }
    report.resources = entries.into_iter().flatten().collect();
    Ok(report)
}

fn longest(times: Vec<Duration>) -> Option<Duration> {
    times.into_iter().max()
}

/// A resource that does not begin.
fn stopped(resource: &Resource, stop: Stop) -> ResourceReport {
    let (not_run, failure) = match stop {
        Stop::NotRun(why) => (Some(why), None),
        Stop::Failed(error) => (None, Some(error)),
    };
    ResourceReport {
        rid: resource.rid.clone(),
        optional: resource.optional,
        not_run,
        failure,
        refused: Vec::new(),
        targets: Vec::new(),
    }
}

async fn lock(sync: &Sync<'_>, work: &Work<'_>) -> Result<Box<dyn Any>, Stop> {
    let locked = sync.locks.lock(work.round.resource, work.round.sends).await;
    locked.map_err(|fault| {
        if sync.action == Action::All && fault.family == Family::Transient {
            // The other run does what this one would do.
            Stop::NotRun(NotRun::Skipped(fault.to_string()))
        } else {
            Stop::Failed(ResourceError::Locked(Arc::new(fault)))
        }
    })
}

impl Run<'_> {
    async fn all(&self, works: &mut [Work<'_>]) {
        for work in works.iter_mut() {
            work.begin_attempt(self);
            work.before(self).await;
        }
        self.reach(works).await;
        let (late, ready): (Vec<_>, Vec<_>) = works
            .iter_mut()
            .partition(|work| work.waits_for_a_target(self));
        let late = late.into_iter().map(|work| self.late(work));
        join(Box::pin(self.together(ready)), join_all(late)).await;
    }

    /// The resources that can begin.
    async fn together(&self, mut works: Vec<&mut Work<'_>>) {
        join_all(works.iter_mut().map(|work| work.complete_leftover(self))).await;
        self.take_group(&mut works).await;
        join_all(works.iter_mut().map(|work| work.conclude(self))).await;
    }

    /// A resource whose targets have to come back before it can begin.
    async fn late(&self, work: &mut Work<'_>) {
        work.await_a_target(self).await;
        work.complete_leftover(self).await;
        if !work.delays_snapshot() {
            self.take(&mut [&mut *work]).await;
        }
        work.conclude(self).await;
    }

    /// Opens the conversations with all targets at the same time.
    pub(super) async fn reach(&self, works: &mut [Work<'_>]) {
        let wanted = works.iter_mut().filter(|work| work.failure.is_none());
        let mut wanted: Vec<_> = wanted.flat_map(|work| work.targets.iter_mut()).collect();
        let targets: Vec<&Target> = wanted.iter().map(|(target, _)| *target).collect();
        let reached = self.conversations.reach(&targets).await;
        for ((_, outcome), reached) in wanted.iter_mut().zip(reached) {
            *outcome = reached;
        }
    }

    /// Takes the `tosend` of all resources together, but for those that are
    /// tagged to take it themselves, later.
    async fn take_group(&self, works: &mut [&mut Work<'_>]) {
        let group = works.iter_mut().filter(|work| !work.delays_snapshot());
        let mut group: Vec<_> = group.map(|work| &mut **work).collect();
        self.take(&mut group).await;
    }

    /// Takes the `tosend` of these resources, one atomic call per pool, between
    /// their snapshot triggers. Each trigger is started once, whatever number
    /// of resources has it.
    pub(super) async fn take(&self, works: &mut [&mut Work<'_>]) {
        let mut names: Vec<Vec<SnapshotName>> = Vec::new();
        for work in works.iter_mut() {
            names.push(work.prepare_snapshot(self).await);
        }
        let mut thaws: Vec<&[String]> = Vec::new();
        let mut frozen: Vec<(&[String], Result<(), ResourceError>)> = Vec::new();
        for (work, names) in works.iter_mut().zip(&names) {
            let resource = work.round.resource;
            if names.is_empty() {
                continue;
            }
            if let Some(argv) = &resource.postsnap_trigger
                && !thaws.contains(&argv.as_slice())
            {
                thaws.push(argv);
            }
            let Some(argv) = &resource.presnap_trigger else {
                continue;
            };
            let known = frozen.iter().position(|(known, _)| known == argv);
            let at = match known {
                Some(at) => at,
                None => {
                    let done = self.start("presnap_trigger", argv, work).await;
                    frozen.push((argv, done));
                    frozen.len() - 1
                }
            };
            if let Err(error) = &frozen[at].1 {
                // What is not in the state that its owner wants is not sent.
                work.failure = Some(error.clone());
            }
        }
        let mut by_pool: BTreeMap<&str, Vec<SnapshotName>> = BTreeMap::new();
        for (work, names) in works.iter().zip(names) {
            if work.failure.is_none() {
                let pool = work.round.sends.src.pool();
                by_pool.entry(pool).or_default().extend(names);
            }
        }
        let mut failed = Vec::new();
        for (pool, names) in by_pool.into_iter().filter(|(_, names)| !names.is_empty()) {
            for call in group::calls(names) {
                let taken = self.source.lock().await.snapshot(call).await;
                if let Err(error) = taken {
                    failed.push((pool.to_owned(), ResourceError::source(error)));
                    break;
                }
            }
        }
        for work in works.iter_mut().filter(|work| work.failure.is_none()) {
            let pool = work.round.sends.src.pool();
            let error = failed.iter().find(|(failed, _)| failed == pool);
            work.failure = error.map(|(_, error)| error.clone());
        }
        for argv in thaws {
            let of = works
                .iter()
                .find(|work| work.round.resource.postsnap_trigger.as_deref() == Some(argv));
            let Some(work) = of else { continue };
            if let Err(error) = self.start("postsnap_trigger", argv, work).await {
                self.warn(error.to_string());
            }
        }
    }

    /// Starts a trigger of a resource and waits for its end.
    pub(super) async fn start(
        &self,
        keyword: &str,
        argv: &[String],
        work: &Work<'_>,
    ) -> Result<(), ResourceError> {
        let resource = work.round.resource;
        self.sync.observer.event(&Event::Step {
            peer: self.sync.node.to_string(),
            command: shown(argv),
        });
        let command = Command {
            argv,
            facts: Facts::of_resource(self.sync, resource, work.round.sends)
                .with("ZFERRY_TRIGGER", keyword.to_owned())
                .list(),
            limit: resource.timeout.unwrap_or(TRIGGER_MAX),
        };
        let ran = self.sync.commands.run(command).await;
        ran.map_err(|error| ResourceError::command(format!("{} {keyword}", resource.rid), error))
    }

    /// Tells what changes nothing.
    pub(super) fn warn(&self, text: String) {
        self.sync.observer.event(&Event::Notice {
            peer: self.sync.node.to_string(),
            text,
        });
    }
}
