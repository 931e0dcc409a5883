//! The conversations of a run with its targets: one per node and way to reach
//! it, whatever number of resources goes there, each with a conversation of
//! its own with the source.
//!
//! A helper is started once and serves the resources in turn. That is less to
//! log in for, and a pool in a file has one user at a time: two helpers of one
//! run would shut each other out. Different nodes are served at the same time.
//! After a failure nobody knows what the other side still says, so that pair
//! of conversations is closed and the next use opens another.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout};

use super::Connector;
use super::error::{ConnectFault, TargetError};
use crate::peer::Peer;
use crate::sync::config::{Connection, NodeName, Target, TargetKind};

/// How much longer than its limit a transfer may need to end by itself before
/// its conversations are torn down: both sides answer once more, and ZFS gives
/// up a receive.
const GRACE: Duration = Duration::from_secs(30);

/// How long a target may take to answer what moves no data: listing the largest
/// trees takes minutes, and one that hangs must not hold up the snapshots of
/// the others for ever.
pub(super) const QUESTION_MAX: Duration = Duration::from_secs(10 * 60);

/// Opened when they are first used, until something fails.
pub(super) struct Conversations<'a> {
    connector: &'a dyn Connector,
    lanes: Vec<(Key, Mutex<Lane>)>,
    /// How many targets are served at the same time.
    turns: Semaphore,
}

/// Which conversation it is: two targets with the same are served by one helper.
type Key = (NodeName, Option<Connection>);

/// Both ends of the way to one target.
#[derive(Default)]
struct Lane {
    source: Option<Peer>,
    target: Option<Peer>,
}

fn key(target: &Target) -> Key {
    (target.node.clone(), target.connection.clone())
}

impl<'a> Conversations<'a> {
    /// For these targets and no others.
    pub(super) fn new<'t>(
        connector: &'a dyn Connector,
        turns: usize,
        targets: impl Iterator<Item = &'t Target>,
    ) -> Self {
        let mut lanes: Vec<(Key, Mutex<Lane>)> = Vec::new();
        for target in targets {
            let key = key(target);
            if !lanes.iter().any(|(known, _)| *known == key) {
                lanes.push((key, Mutex::default()));
            }
        }
        Self {
            connector,
            lanes,
            turns: Semaphore::new(turns.max(1)),
        }
    }

    /// Opens the conversations with all of `targets` at the same time, and says
    /// for each whether it is there.
    pub(super) async fn reach(&self, targets: &[&Target]) -> Vec<Result<(), TargetError>> {
        join_all(targets.iter().map(|target| async {
            let mut lane = self.lane(target).lock().await;
            if lane.target.is_none() {
                lane.target = Some(self.open(target).await?);
            }
            Ok(())
        }))
        .await
    }

    /// Does `work` with the source and the target. It waits until no other
    /// resource uses the conversation. If it takes longer than `limit` a
    /// running transfer is cut, and at last the conversations are.
    pub(super) async fn with<R>(
        &self,
        target: &Target,
        limit: Option<Duration>,
        work: impl AsyncFnOnce(&mut Peer, &mut Peer) -> Result<R, TargetError>,
    ) -> Result<R, TargetError> {
        let mut lane = self.lane(target).lock().await;
        let _turn = self.turns.acquire().await;
        let mut source = match lane.source.take() {
            Some(source) => source,
            None => self.connector.local().await?,
        };
        let mut peer = match lane.target.take() {
            Some(peer) => peer,
            None => self.open(target).await?,
        };
        let done = match limit {
            None => work(&mut source, &mut peer).await,
            Some(limit) => {
                source.limit_transfers(Some(Instant::now() + limit));
                let working = work(&mut source, &mut peer);
                let done = timeout(limit.saturating_add(GRACE), working).await;
                done.unwrap_or(Err(TargetError::TimedOut { limit }))
            }
        };
        source.limit_transfers(None);
        source.limit_stalls(None);
        peer.limit_stalls(None);
        if done.is_ok() {
            *lane = Lane {
                source: Some(source),
                target: Some(peer),
            };
        }
        done
    }

    fn lane(&self, target: &Target) -> &Mutex<Lane> {
        let key = key(target);
        let found = self.lanes.iter().find(|(known, _)| *known == key);
        &found.expect("every target of the run has a lane").1
    }

    async fn open(&self, target: &Target) -> Result<Peer, ConnectFault> {
        match target.kind {
            TargetKind::Local => self.connector.local().await,
            TargetKind::Nodes | TargetKind::DrpNodes => self.connector.reach(target).await,
        }
    }
}
