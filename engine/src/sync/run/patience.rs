//! How long a run tries for its targets.
//!
//! A target that fails for a passing reason is tried again while the others go
//! on; what each attempt finds in the pools decides how it goes on, and the
//! same `tosend` does. Three cases:
//!
//! - A transfer failed, or a target is away while others are there: it is tried
//!   for `retry_for`. The source rotates when that has ended.
//! - What an earlier run left is being completed, or the source's own tree is
//!   listed and made ready: all wait for that before the group's snapshot, so
//!   that it is tried for a minute at most. The snapshot itself is not tried
//!   again: its triggers may have stopped a database.
//! - None of a resource's targets can be reached: they are tried for
//!   `retry_for` before anything is done, since one of them may have a part of
//!   the `tosend` that is there. The resource's snapshot is not one of the
//!   group then.

use std::time::Duration;

use tokio::time::Instant;

use super::Action;
use super::error::TargetError;
use super::round::Phase;
use super::service::Run;
use super::work::Work;
use crate::error::Family;
use crate::event::Observer;
use crate::peer::PeerError;
use crate::retry::{Backoff, Failed, Persistence, Progress, RETRY_FOR_DEFAULT, pause};
use crate::sync::config::{Resource, Target};

/// How long the group's snapshot waits for one target to be tried again.
const LEFTOVER_RETRY_MAX: Duration = Duration::from_secs(60);

/// How long `sync all` tries again if nobody says otherwise. It comes again by
/// itself, and services that go elsewhere wait for this one.
pub const RETRY_ALL_FOR_DEFAULT: Duration = Duration::from_secs(60);

/// What the command line says; where it says nothing, the resource does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Patience {
    /// How long a target that gets nowhere is tried again; zero: not at all.
    pub retry_for: Option<Duration>,
    /// How long nothing may move; zero: for ever.
    pub stall_timeout: Option<Duration>,
    /// Of the random waits; `None` for one that differs each time.
    pub seed: Option<u64>,
}

impl Patience {
    fn persistence(&self, action: Action, resource: &Resource) -> Persistence {
        let said = self.retry_for.or(resource.retry_for);
        Persistence {
            retry_for: said.unwrap_or(match action {
                Action::All => RETRY_ALL_FOR_DEFAULT,
                _ => RETRY_FOR_DEFAULT,
            }),
            seed: self.seed,
        }
    }

    /// How long nothing may move in a transfer of the resource.
    pub(super) fn stall_max(&self, resource: &Resource) -> Option<Duration> {
        let stall = self.stall_timeout.unwrap_or(resource.stall_timeout);
        (!stall.is_zero()).then_some(stall)
    }
}

/// The attempts for one target of one resource.
pub(super) struct Trials<'a> {
    target: &'a Target,
    observer: &'a dyn Observer,
    backoff: Backoff,
    limit: Option<Duration>,
    /// When the first attempt had its turn, or failed before.
    begun: Option<Instant>,
}

impl<'a> Trials<'a> {
    pub(super) fn new(
        run: &Run<'a>,
        resource: &Resource,
        target: &'a Target,
        phase: Phase,
    ) -> Self {
        let mut persistence = run.sync.patience.persistence(run.sync.action, resource);
        if phase == Phase::Leftover {
            persistence.retry_for = persistence.retry_for.min(LEFTOVER_RETRY_MAX);
        }
        Self {
            target,
            observer: run.sync.observer,
            backoff: Backoff::new(persistence),
            limit: resource.timeout,
            begun: None,
        }
    }

    /// An attempt has its turn, or the first one never came to it.
    pub(super) fn begin(&mut self) {
        self.begun.get_or_insert_with(Instant::now);
    }

    /// Time left for the next attempt, of the resource's `timeout`.
    pub(super) fn left(&self) -> Option<Duration> {
        let spent = self.begun.map_or(Duration::ZERO, |begun| begun.elapsed());
        self.limit.map(|limit| limit.saturating_sub(spent))
    }

    /// The error of one attempt as one of all of them: the time that is over is
    /// not that of the last one alone.
    pub(super) fn of_all(&self, error: TargetError) -> TargetError {
        match (error, self.limit) {
            (TargetError::TimedOut { .. }, Some(limit)) => TargetError::TimedOut { limit },
            (error, _) => error,
        }
    }

    /// True, after a while, if there is to be another attempt.
    pub(super) async fn again(&mut self, error: &TargetError, progress: &Progress<'_>) -> bool {
        if progress.take() {
            self.backoff.progressed();
        }
        let failed = Failed {
            peer: self.target.node.as_str(),
            family: error.family(),
            error,
        };
        self.begin();
        let until = self.left().map(|left| Instant::now() + left);
        pause(&mut self.backoff, &failed, until, self.observer).await
    }
}

/// The attempts for something of the source's own. All targets wait for it, so
/// that it is tried for a minute at most.
pub(super) struct SourceTrials<'a> {
    observer: &'a dyn Observer,
    backoff: Backoff,
}

impl<'a> SourceTrials<'a> {
    pub(super) fn new(run: &Run<'a>, resource: &Resource) -> Self {
        let mut persistence = run.sync.patience.persistence(run.sync.action, resource);
        persistence.retry_for = persistence.retry_for.min(LEFTOVER_RETRY_MAX);
        Self {
            observer: run.sync.observer,
            backoff: Backoff::new(persistence),
        }
    }

    /// Attempts it until it is done, or is to be given up.
    pub(super) async fn until_done<T>(
        mut self,
        mut attempt: impl AsyncFnMut() -> Result<T, PeerError>,
    ) -> Result<T, PeerError> {
        loop {
            let error = match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let failed = Failed {
                peer: &error.peer,
                family: error.family(),
                error: &error,
            };
            if !pause(&mut self.backoff, &failed, None, self.observer).await {
                return Err(error);
            }
        }
    }
}

impl Work<'_> {
    /// True if it cannot begin, because none of its targets can be reached, and
    /// is to be tried again.
    pub(super) fn waits_for_a_target(&self, run: &Run<'_>) -> bool {
        let patience = &run.sync.patience;
        let persistence = patience.persistence(run.sync.action, self.round.resource);
        let passing = |error: &TargetError| error.family() == Family::Transient;
        self.failure.is_none()
            && !persistence.retry_for.is_zero()
            && self.targets.iter().all(|(_, reached)| reached.is_err())
            && self
                .targets
                .iter()
                .any(|(_, reached)| reached.as_ref().is_err_and(passing))
    }

    /// Rotates the source; what fails for a passing reason is tried again for a
    /// minute at most.
    pub(super) async fn rotate(&self, run: &Run<'_>) -> Result<(), PeerError> {
        let rotated = SourceTrials::new(run, self.round.resource).until_done(async || {
            let mut source = run.source.lock().await;
            self.round.rotate_source(&mut source).await
        });
        rotated.await
    }

    /// Tries to reach the targets until one of them is there, or none is to be
    /// tried any longer.
    pub(super) async fn await_a_target(&mut self, run: &Run<'_>) {
        let resource = self.round.resource;
        let persistence = run.sync.patience.persistence(run.sync.action, resource);
        let mut backoff = Backoff::new(persistence);
        let until = resource.timeout.map(|limit| Instant::now() + limit);
        while self.waits_for_a_target(run) {
            let passing = self.targets.iter().find_map(|(target, reached)| {
                let error = reached.as_ref().err()?;
                (error.family() == Family::Transient).then_some((target, error))
            });
            let Some((target, error)) = passing else {
                return;
            };
            let failed = Failed {
                peer: target.node.as_str(),
                family: error.family(),
                error,
            };
            if !pause(&mut backoff, &failed, until, run.sync.observer).await {
                return;
            }
            run.reach(std::slice::from_mut(self)).await;
        }
    }
}
