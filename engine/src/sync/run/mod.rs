//! `sync`: the `@tosend` → `@sent` scheme on top of plan and transfer.
//!
//! One run of a service: who may start → locks → triggers → reach the targets →
//! complete what an earlier run left → take all resources' `@tosend` at once →
//! per resource and target, at the same time: plan, transfer, commit → rotate
//! the source → triggers → write and deliver the state.
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
//! | refusal, lock | as before | as before | the same; nothing was written down |
//! | attempt written down | as before | as before | counts it as failed: `sync all` waits 1, 2, 4 … minutes |
//! | triggers before the action | as before | as before | starts them again |
//! | source: marks for other resources | former=S0 #mark=S0 | former=S0 | renames, then as below (`former`) |
//! | source: some former names renamed | former sent=S0 tosend=S1 | the same, former | renames the rest |
//! | source: former names renamed | sent=S0 | former=S0 | renames the target's, then as below |
//! | target: some former names renamed | sent=S0 | former sent=S0 tosend=S1 | renames the rest |
//! | a wait before a target is tried again | as the step that failed left it | as it left it | as after that step: the run itself goes on so, with the same tosend |
//! | presnap trigger | no tosend, or an old one | as before | starts both snapshot triggers again: until then nobody thaws |
//! | snapshot | sent=S0 tosend=S1 | sent=S0 | replaces tosend, sends S0→S2 |
//! | marks | the same, #mark of S1, of S0 and of what lies between | sent=S0 | the same |
//! | target: unknown tosend destroyed | the same | sent=S0 | the same |
//! | target: snapshots given up, where that is allowed | the same | sent=S0 is the newest, changes after it | rolls back, if that is allowed still |
//! | target: rolled back | the same | sent=S0 in some datasets, changes in others | the same |
//! | some of the snapshots in between | sent=S0 tosend=S1 #mark=D | sent=S0 D | sends D→…→S2, from the mark if D is gone |
//! | a snapshot in between, in the middle | sent=S0 tosend=S1 #mark=D | sent=S0, a part of D | sends the rest of D, then D→…→S2 |
//! | transfer of a part of the tree | sent=S0 tosend=S1 | tosend=S1 in some | completes S1, commits, then sends S1→S2 |
//! | transfer, in the middle | sent=S0 tosend=S1 | sent=S0, a part of S1 | sends the rest of S1, commits, then sends S1→S2 |
//! | transfer | sent=S0 tosend=S1 | sent=S0 tosend=S1 | commits S1, then sends S1→S2 |
//! | marks for other targets | the same | tosend=S1, #mark=S0 | the same |
//! | target: new base held, with `hold_base` | the same | both bases are held | the same; releases the old one |
//! | target: old base released | the same | tosend=S1 is held | the same |
//! | target: first rename | sent=S0 tosend=S1 | aside=S0 tosend=S1 | completes the target's rotation, as above |
//! | target: second rename | sent=S0 tosend=S1 | aside=S0 sent=S1 | destroys aside, as above |
//! | target: commit | sent=S0 tosend=S1 | sent=S1 | rotates the source, then sends S1→S2 |
//! | source: first rename | aside=S0 tosend=S1 | sent=S1 | completes the source's rotation, sends S1→S2 |
//! | either: rename of a base that is in use | sent=S1, kept=S0 | the same | destroys kept once it is free |
//! | source: second rename | aside=S0 sent=S1 | sent=S1 | destroys aside, sends S1→S2 |
//! | source rotated for another target | sent=S1 #mark=S1 | tosend=S1 in some or all | commits S1 per dataset, sends S1→S2 |
//! | source rotated for another target | sent=S1 #mark=S0 | sent=S0, a part of S1 | sends the rest as tosend, commits S1, sends S1→S2 |
//! | target: the base of DST released, before a swap | sent=S1 | DST=old, no base held there; DST.zferry-new with a held sent=S1 | swaps them |
//! | a full beside DST, whole | sent=S1 | DST=old, DST.zferry-new with sent=S1 | swaps them (`beside`) |
//! | state on one side only | sent=S1 | sent=S1 | sends S1→S2, writes both |

mod admission;
mod bequest;
mod beside;
mod commands;
mod commit;
mod confirm;
mod conversations;
mod error;
mod facts;
mod former;
mod group;
mod limits;
mod marks;
mod mounts;
mod patience;
mod record;
mod rehearse;
mod report;
mod round;
mod service;
mod side;
mod stale;
#[cfg(test)]
mod tests;
mod work;

use std::any::Any;
use std::pin::Pin;

use jiff::tz::TimeZone;

pub use super::config::SyncAction as Action;
pub use admission::{NotRun, Refusal};
pub use beside::OldCopy;
pub use commands::{CHECK_MAX, Command, CommandError, Commands, Running, TRIGGER_MAX};
pub use confirm::{Confirmation, ResourceConfirmation, TargetConfirmation};
pub use error::{ConnectFault, ResourceError, SyncError, TargetError};
pub use limits::Limits;
pub(super) use marks::Marks;
pub use patience::Patience;
pub use rehearse::{Rehearsal, ResourceRehearsal, Steps, TargetRehearsal};
pub use report::{ResourceReport, SyncReport, TargetReport};

use super::config::{NodeName, Resource, Sends, Service, Target, TargetKind};
use super::moment::UtcSeconds;
use super::selection::Selection;
use super::state::StateStore;
use crate::event::Observer;
use crate::helper::Workers;
use crate::peer::Peer;
use crate::plan::Loss;
use crate::stream::compress::Compression;

/// How many targets are served at the same time, if nobody says otherwise:
/// each transfer holds some dozen MiB, and more than a few share one disk.
pub const TURNS_DEFAULT: usize = 8;

/// Whether the activity check of the configuration is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivityCheck {
    /// It is, and its answer counts.
    Asked,
    /// It is not: the operator says that this node may send.
    Overridden,
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

/// A future of [`Locks`].
pub type Locking<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Any>, ConnectFault>> + 'a>>;

/// One run at a time for one resource, whatever it was started by.
pub trait Locks {
    /// Waits for the locks of the resource and of its pairs of datasets, as
    /// long as is configured or asked for. They are held until what comes back
    /// is dropped. A lock that another run has is a transient fault.
    fn lock<'a>(&'a self, resource: &'a Resource, sends: &'a Sends) -> Locking<'a>;
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
    /// Which of its resources.
    pub selection: &'a Selection,
    /// Targets of these groups; empty for all.
    pub groups: &'a [TargetKind],
    /// Whether the activity check is asked.
    pub activity: ActivityCheck,
    /// Where states are kept on this node.
    pub states: &'a StateStore,
    /// What time it is.
    pub clock: &'a dyn Fn() -> UtcSeconds,
    /// What the clock on the wall shows, for schedules.
    pub zone: &'a TimeZone,
    /// Opens conversations.
    pub connector: &'a dyn Connector,
    /// Starts commands of the configuration.
    pub commands: &'a dyn Commands,
    /// Keeps other runs away.
    pub locks: &'a dyn Locks,
    /// How many targets are served at the same time.
    pub turns: usize,
    /// How long to try, where the configuration does not have the last word.
    pub patience: Patience,
    /// Is told what happens.
    pub observer: &'a dyn Observer,
    /// Compression on the way.
    pub compression: Compression,
    /// How many hash and compress a large transfer, on each side.
    pub workers: Workers,
    /// How fast it may go.
    pub limits: &'a Limits,
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
            Some(service) => service::run(&self.of(&service)).await,
            None => service::run(self).await,
        }
    }

    /// Says what [`Self::run`] would do, and does nothing of it.
    ///
    /// # Errors
    /// [`SyncError`].
    pub async fn rehearse(&self) -> Result<Rehearsal, SyncError> {
        match mounts::resolved(self).await? {
            Some(service) => rehearse::rehearse(&self.of(&service)).await,
            None => rehearse::rehearse(self).await,
        }
    }

    /// Destroys the old copies that full syncs have put aside on the targets.
    ///
    /// # Errors
    /// [`SyncError`]. A crash leaves old copies, for the same call again.
    pub async fn confirm(&self) -> Result<Confirmation, SyncError> {
        match mounts::resolved(self).await? {
            Some(service) => confirm::confirm(&self.of(&service)).await,
            None => confirm::confirm(self).await,
        }
    }

    fn of<'s>(&'s self, service: &'s Service) -> Sync<'s> {
        Sync { service, ..*self }
    }
}
