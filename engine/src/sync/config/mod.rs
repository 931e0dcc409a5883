//! The configuration of a service: an INI file in the dialect of OpenSVC.
//!
//! The first step of the scheme: text → lines with their numbers → keywords,
//! found by scope and with references expanded → typed values → resources as
//! one node sees them. A file is checked for **all** its nodes when it is
//! read, so what resolves here resolves on the peers, and every mistake is
//! reported in one go. What a resource's snapshots are worth, and who sends
//! now, is left to the driver.

#![expect(clippy::todo, reason = "the interface comes first, the bodies follow")]

mod mistake;
mod names;
mod resource;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use mistake::{ConfigError, Mistake, Notice, Place};
pub use names::{BadName, NodeName, Rid, ServiceName};
pub use resource::{
    Connection, Naming, ReceivesFrom, Reception, Resource, Role, Sends, SnapshotNames, Target,
    TargetKind, WhyReceiver,
};

use crate::error::Family;

/// `topology`: how many nodes run the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// One node at a time.
    Failover,
    /// Several; only the flex_primary sends.
    Flex,
}

/// Why a node's view of a service cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The node is in neither list.
    #[error(
        "node {node} is not listed in service {service} (nodes and drpnodes name {listed}; names compare exactly)"
    )]
    NodeNotListed {
        /// The service.
        service: ServiceName,
        /// The node that was asked for.
        node: NodeName,
        /// The nodes that are listed, joined by blanks.
        listed: String,
    },
}

impl ResolveError {
    /// The family of this error.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::Refused
    }
}

/// A service whose configuration has no mistakes.
#[derive(Debug, Clone)]
pub struct Service {
    name: ServiceName,
    file: PathBuf,
    notices: Vec<Notice>,
}

impl Service {
    /// Reads and checks `dir/NAME.conf`.
    ///
    /// # Errors
    /// [`ConfigError`]; with all mistakes of the file if it was readable.
    pub fn load(dir: &Path, name: &ServiceName) -> Result<Self, ConfigError> {
        todo!("{dir:?} {name}")
    }

    /// Checks `text`, which was read from `file`.
    ///
    /// # Errors
    /// [`ConfigError::Mistakes`], [`ConfigError::TooLarge`].
    pub fn parse(name: &ServiceName, file: &Path, text: &[u8]) -> Result<Self, ConfigError> {
        todo!("{name} {file:?} {}", text.len())
    }

    /// The services that have a configuration file in `dir`, by name. Files
    /// whose stem is no service name are left out.
    ///
    /// # Errors
    /// [`ConfigError::Read`].
    pub fn list(dir: &Path) -> Result<Vec<ServiceName>, ConfigError> {
        todo!("{dir:?}")
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ServiceName {
        &self.name
    }

    /// The file it was read from.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What the file says to no effect, in the order of lines.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// `nodes`, in order.
    #[must_use]
    pub fn nodes(&self) -> &[NodeName] {
        todo!()
    }

    /// `drpnodes`, in order.
    #[must_use]
    pub fn drpnodes(&self) -> &[NodeName] {
        todo!()
    }

    /// `topology`; failover by default.
    #[must_use]
    pub fn topology(&self) -> Topology {
        todo!()
    }

    /// `flex_primary`; the first of `nodes` by default.
    #[must_use]
    pub fn flex_primary(&self) -> Option<&NodeName> {
        todo!()
    }

    /// `env`, for example `PRD`.
    #[must_use]
    pub fn env(&self) -> Option<&str> {
        todo!()
    }

    /// `lock_timeout`: how long to wait for another run; 60 s by default.
    #[must_use]
    pub fn lock_timeout(&self) -> Duration {
        todo!()
    }

    /// Every resource of type zfs as `node` sees it, in the order of the file.
    ///
    /// # Errors
    /// [`ResolveError::NodeNotListed`].
    pub fn resolve(&self, node: &NodeName) -> Result<Vec<Resource>, ResolveError> {
        todo!("{node}")
    }

    /// What `node` may receive from other nodes (not its own local targets),
    /// in the order of the file. Senders on which the resource is disabled are
    /// left out.
    ///
    /// # Errors
    /// [`ResolveError::NodeNotListed`].
    pub fn receives_for(&self, node: &NodeName) -> Result<Vec<Reception>, ResolveError> {
        todo!("{node}")
    }
}
