//! The configuration of a service: an INI file in the dialect of OpenSVC.
//!
//! The first step of the scheme: text → lines with their numbers → keywords,
//! found by scope and with references expanded → typed values → resources as
//! one node sees them. A file is checked for **all** its nodes when it is
//! read, so what resolves here resolves on the peers, and every mistake is
//! reported in one go. What a resource's snapshots are worth, and who sends
//! now, is left to the driver.

mod check;
mod cluster;
mod collide;
mod command;
mod folder;
mod ini;
mod keyword;
mod lookup;
mod mistake;
mod mount;
mod names;
mod owner;
mod resolve;
mod resource;
mod service;
#[cfg(test)]
mod tests;
mod typed;
mod value;
mod views;

pub use cluster::ENV_PRODUCTION;
pub use command::{RequiredState, Requirement, SyncAction, Trigger, Triggers, When};
pub use folder::{Crossing, crossings};
pub use mistake::{ConfigError, Mistake, MistakeKind, Notice, Place};
pub use mount::MountPoint;
pub use names::{BadName, NodeName, Rid, ServiceName};
pub use resource::{
    Connection, KeepOld, Naming, OnModified, ReceivesFrom, Reception, Resource, Role,
    SYNC_MAX_DELAY_DEFAULT, Sends, SendsByMount, SnapshotNames, Target, TargetKind, WhyReceiver,
};
pub use service::{ResolveError, Service, Topology};
pub(in crate::sync) use value::{BareNumber, duration};
pub use value::{duration_of, duration_text};
