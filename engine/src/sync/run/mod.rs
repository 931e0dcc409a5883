//! `sync`: the `@tosend` → `@sent` scheme on top of plan and transfer.
//!
//! One run of a service: reach the targets → complete what an earlier run left
//! → take all resources' `@tosend` at once → per resource and target: plan,
//! transfer, commit → rotate the source → write and deliver the state.
//!
//! Commit of a target is its rotation: `@sent` is renamed aside, `@tosend` is
//! renamed to `@sent`, what stands aside is destroyed. Each rename is atomic
//! over the whole tree, and the base is destroyed last, so that at every
//! instant both sides share a snapshot. Before anything is sent to a target it
//! is marked on the source by a bookmark of that target's own: a target that
//! is away keeps its base though the source rotates for the others.
//!
//! All decisions are made from what the pools hold; the state file is for
//! status and people. What a run that is cut leaves behind:
//!
//! | cut after | source has | target has | the next run |
//! |---|---|---|---|
//! | snapshot | sent=S0 tosend=S1 | sent=S0 | replaces tosend, sends S0→S2 |
//! | mark | the same, #mark=S1 | sent=S0 | the same |
//! | target: unknown tosend destroyed | the same | sent=S0 | the same |
//! | transfer of a part of the tree | sent=S0 tosend=S1 | tosend=S1 in some | completes S1, commits, then sends S1→S2 |
//! | transfer, in the middle | sent=S0 tosend=S1 | sent=S0, a part of S1 | sends the rest of S1, commits, then sends S1→S2 |
//! | transfer | sent=S0 tosend=S1 | sent=S0 tosend=S1 | commits S1, then sends S1→S2 |
//! | marks for other targets | the same | tosend=S1, #mark=S0 | the same |
//! | target: first rename | sent=S0 tosend=S1 | aside=S0 tosend=S1 | completes the target's rotation, as above |
//! | target: second rename | sent=S0 tosend=S1 | aside=S0 sent=S1 | destroys aside, as above |
//! | target: commit | sent=S0 tosend=S1 | sent=S1 | rotates the source, then sends S1→S2 |
//! | source: first rename | aside=S0 tosend=S1 | sent=S1 | completes the source's rotation, sends S1→S2 |
//! | source: second rename | aside=S0 sent=S1 | sent=S1 | destroys aside, sends S1→S2 |
//! | source rotated for another target | sent=S1 #mark=S1 | tosend=S1 in some or all | commits S1 per dataset, sends S1→S2 |
//! | source rotated for another target | sent=S1 #mark=S0 | sent=S0, a part of S1 | sends the rest as tosend, commits S1, sends S1→S2 |
//! | a full beside DST, whole | sent=S1 | DST=old, DST.zferry-new with sent=S1 | swaps them (`beside`) |
//! | state on one side only | sent=S1 | sent=S1 | sends S1→S2, writes both |

mod bequest;
mod beside;
mod conversations;
mod error;
mod marks;
mod mounts;
mod record;
mod report;
mod round;
mod service;
mod side;
mod stale;
#[cfg(test)]
mod tests;

use std::pin::Pin;

pub use error::{ConnectFault, SyncError, TargetError};
pub(super) use marks::Marks;
pub use report::{ResourceReport, SyncReport, TargetReport};

use super::config::{NodeName, Service, Target};
use super::moment::UtcSeconds;
use super::state::StateStore;
use crate::event::Observer;
use crate::peer::Peer;
use crate::plan::Loss;
use crate::stream::compress::Compression;

/// Which `sync` command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `sync full`: to all targets, from nothing.
    Full,
    /// `sync update`: to all targets; full where a target has nothing yet.
    Update,
    /// `sync nodes`: as `update`, for resources that do not target drpnodes.
    Nodes,
}

/// A future of a [`Connector`].
pub type Reaching<'a> = Pin<Box<dyn Future<Output = Result<Peer, ConnectFault>> + 'a>>;

/// Opens conversations with helpers: the caller knows keys, hosts, commands.
pub trait Connector {
    /// The helper of this machine.
    fn local(&self) -> Reaching<'_>;

    /// The helper of a target's machine.
    fn reach<'a>(&'a self, target: &'a Target) -> Reaching<'a>;
}

/// One run for one service.
pub struct Sync<'a> {
    /// The service.
    pub service: &'a Service,
    /// This node.
    pub node: &'a NodeName,
    /// Which command.
    pub action: Action,
    /// What the command line allows to be lost on targets.
    pub loss: Loss,
    /// Where states are kept on this node.
    pub states: &'a StateStore,
    /// What time it is.
    pub clock: &'a dyn Fn() -> UtcSeconds,
    /// Opens conversations.
    pub connector: &'a dyn Connector,
    /// Is told what happens.
    pub observer: &'a dyn Observer,
    /// Compression on the way.
    pub compression: Compression,
}

impl Sync<'_> {
    /// Runs to the end. The failure of one target does not keep the others
    /// from their data; it is in the report.
    ///
    /// # Errors
    /// [`SyncError`] if nothing could be done at all. The module's table says
    /// what a run leaves that is cut.
    pub async fn run(&self) -> Result<SyncReport, SyncError> {
        match mounts::resolved(self).await? {
            Some(service) => {
                let resolved = Sync {
                    service: &service,
                    ..*self
                };
                service::run(&resolved).await
            }
            None => service::run(self).await,
        }
    }
}
