//! A replication that is tried again until it succeeds, gets nowhere, or its
//! time is over.
//!
//! Each attempt opens its conversations anew: after a failure nobody knows what
//! the other side still says. It lists and plans anew as well. One thing is
//! kept from the attempts before: the name of the snapshot. If one of them has
//! taken it, it is the one to send.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::error::ReplicateError;
use super::job::Job;
use super::run::{Report, replicate};
use crate::error::Family;
use crate::event::Observer;
use crate::peer::Peer;
use crate::retry::{Backoff, Failed, Persistence, Progress, pause};

/// How much longer than its limit a transfer may need to end by itself before
/// its conversations are torn down: both sides answer once more, and ZFS gives
/// up a receive.
const GRACE: Duration = Duration::from_secs(30);

/// What a run may take.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allowance {
    /// How persistent it is.
    pub persistence: Persistence,
    /// How long it may take in all; `None`: as long as it needs.
    pub timeout: Option<Duration>,
    /// How long nothing may move before it is cut; `None`: for ever.
    pub stall_timeout: Option<Duration>,
}

/// Why a machine could not be reached.
pub trait Unreachable: std::error::Error {
    /// The exit-code family.
    fn family(&self) -> Family;
}

/// Why all attempts were in vain: what happened in the last of them.
#[derive(Debug)]
pub enum PersistError<E> {
    /// A machine could not be reached.
    Unreachable(E),
    /// The replication failed.
    Failed(ReplicateError),
}

impl<E: Unreachable> PersistError<E> {
    fn family(&self) -> Family {
        match self {
            Self::Unreachable(error) => error.family(),
            Self::Failed(error) => error.family(),
        }
    }

    /// The peer it is about, where one is known.
    fn peer(&self) -> Option<&str> {
        match self {
            Self::Failed(ReplicateError::Peer(cause)) => Some(&cause.peer),
            Self::Failed(
                ReplicateError::Transfer { cause, .. }
                | ReplicateError::Vanished { cause }
                | ReplicateError::NotCleared { cause, .. }
                | ReplicateError::NotDiscarded { cause, .. },
            ) => Some(&cause.peer),
            _ => None,
        }
    }
}

/// Replicates as `job` says, over conversations that `reach` opens (source and
/// target), for each attempt anew. `node` is this machine in messages.
///
/// # Errors
/// [`PersistError`] of the last attempt; what it leaves behind is what a single
/// [`replicate`] leaves.
pub async fn replicate_persistently<E: Unreachable>(
    job: &Job,
    allowance: Allowance,
    node: &str,
    reach: impl AsyncFn() -> Result<(Peer, Peer), E>,
    observer: &dyn Observer,
) -> Result<Report, PersistError<E>> {
    let until = allowance.timeout.map(|limit| Instant::now() + limit);
    let mut backoff = Backoff::new(allowance.persistence);
    let progress = Progress::new(observer);
    let mut job = job.clone();
    loop {
        let attempt = async {
            let (mut source, mut target) = reach().await.map_err(PersistError::Unreachable)?;
            for peer in [&mut source, &mut target] {
                peer.limit_transfers(until);
                peer.limit_stalls(allowance.stall_timeout);
            }
            let ran = Box::pin(replicate(&job, &mut source, &mut target, &progress)).await;
            ran.map_err(PersistError::Failed)
        };
        let error = match within(until, allowance.timeout, attempt).await {
            Ok(report) => return Ok(report),
            Err(error) => error,
        };
        if progress.take() {
            backoff.progressed();
        }
        let text = match &error {
            PersistError::Unreachable(error) => error.to_string(),
            PersistError::Failed(error) => error.to_string(),
        };
        let failed = Failed {
            peer: error.peer().unwrap_or(node),
            family: error.family(),
            error: &text,
        };
        if !pause(&mut backoff, &failed, until, observer).await {
            return Err(error);
        }
        job.snapshot = job.snapshot.again();
    }
}

async fn within<T, E>(
    until: Option<Instant>,
    limit: Option<Duration>,
    attempt: impl Future<Output = Result<T, PersistError<E>>>,
) -> Result<T, PersistError<E>> {
    let (Some(until), Some(limit)) = (until, limit) else {
        return attempt.await;
    };
    let ran = timeout_at(until + GRACE, attempt).await;
    ran.unwrap_or(Err(PersistError::Failed(ReplicateError::TimedOut {
        limit,
    })))
}
