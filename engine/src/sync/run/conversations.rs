//! The conversations of a run with its targets: one per node and way to reach
//! it, whatever number of resources goes there.
//!
//! A helper is started once and serves them in turn. That is less to log in
//! for, and a pool in a file has one user at a time: two helpers of one run
//! would shut each other out. After a failure nobody knows what the other side
//! still says, so that conversation is closed and the next use opens another.

use super::Connector;
use super::error::TargetError;
use crate::peer::Peer;
use crate::sync::config::{Connection, NodeName, Target, TargetKind};

/// Opened when they are first used, until something fails.
pub(super) struct Conversations<'a> {
    connector: &'a dyn Connector,
    open: Vec<(Key, Peer)>,
}

/// Which conversation it is: two targets with the same are served by one helper.
type Key = (NodeName, Option<Connection>);

fn key(target: &Target) -> Key {
    (target.node.clone(), target.connection.clone())
}

impl<'a> Conversations<'a> {
    pub(super) fn new(connector: &'a dyn Connector) -> Self {
        Self {
            connector,
            open: Vec::new(),
        }
    }

    /// The conversation for `target`, taken out: [`Self::keep`] puts it back if
    /// all went well, and dropping it closes it.
    pub(super) async fn take(&mut self, target: &Target) -> Result<Peer, TargetError> {
        let key = key(target);
        if let Some(at) = self.open.iter().position(|(open, _)| *open == key) {
            return Ok(self.open.swap_remove(at).1);
        }
        let reached = match target.kind {
            TargetKind::Local => self.connector.local().await,
            TargetKind::Nodes | TargetKind::DrpNodes => self.connector.reach(target).await,
        };
        reached.map_err(TargetError::from)
    }

    /// Keeps it for the next use.
    pub(super) fn keep(&mut self, target: &Target, peer: Peer) {
        self.open.push((key(target), peer));
    }
}
