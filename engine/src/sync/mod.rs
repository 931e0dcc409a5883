//! The `@tosend`/`@sent` scheme: which datasets a service keeps on which
//! nodes, and whether they are up to date there.
//!
//! The way of the data: a service's configuration file → [`config`] resolves
//! it for one node into resources, targets and connection settings →
//! [`schedule`] says when a resource is due → the sync driver replicates and
//! rotates the snapshots → each success or trouble is recorded in [`state`],
//! here and on every peer → [`status`] says from the configuration and the
//! state alone whether a node's copy is up to date.
//!
//! Nothing in these four modules connects, calls ZFS, reads a clock or the
//! environment: the caller hands in directories, the node's name and the time.

pub mod attempts;
pub mod config;
pub mod moment;
pub mod run;
pub mod schedule;
pub mod selection;
pub mod state;
pub mod status;
