//! State files on disk: read with bounds, replaced as a whole or not at all.
//!
//! A write is temporary file → fsync → rename → fsync of the folder, under a
//! lock on the service's folder, so a crash leaves the old state or the new
//! one, and two writers never lose each other's entries.

#![expect(clippy::todo, reason = "the interface comes first, the bodies follow")]

use std::io;
use std::path::{Path, PathBuf};

use super::{Merge, ResourceState, StateFault};
use crate::error::Family;
use crate::sync::config::{Rid, Service, ServiceName};
use crate::sync::status::States;

/// The folder of all state files.
#[derive(Debug, Clone)]
pub struct StateStore {
    dir: PathBuf,
}

/// What a write did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The file.
    pub file: PathBuf,
    /// The state that is in the file now.
    pub state: ResourceState,
    /// How the new state and the one on disk were brought together.
    pub merge: Merge,
    /// Where an unusable file was moved to, if there was one.
    pub moved_aside: Option<PathBuf>,
}

/// Why a state file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The operating system says no.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// In the words of a sentence: "read", "create".
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there but useless.
    #[error("state file {} is unusable; {}", file.display(), remedy(source))]
    Unusable {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: StateFault,
    },
}

fn remedy(fault: &StateFault) -> &'static str {
    match fault {
        StateFault::Version { .. } => "update zferry on this node, or move the file away",
        _ => "the next successful synchronization replaces it, or move it away",
    }
}

impl StateError {
    /// The family of this error.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::Failed
    }
}

impl StateStore {
    /// The store in `dir`, which is created when the first state is written.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file of one resource: `SERVICE/sync.1.json` for `sync#1`.
    #[must_use]
    pub fn file(&self, service: &ServiceName, rid: &Rid) -> PathBuf {
        self.dir
            .join(service.as_str())
            .join(format!("{}.json", rid.dotted()))
    }

    /// Reads the state of one resource; `None` if there is no file.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn read(
        &self,
        service: &ServiceName,
        rid: &Rid,
    ) -> Result<Option<ResourceState>, StateError> {
        todo!("{service} {rid}")
    }

    /// Reads the states of all resources of a service, for
    /// [`crate::sync::status::evaluate`].
    #[must_use]
    pub fn read_all(&self, service: &Service) -> States {
        todo!("{service:?}")
    }

    /// Merges `state` into the file and replaces it. A damaged file is moved
    /// aside (`….damaged`) and reported; one of a newer version is left alone.
    /// After a crash the file holds the old state or the new one.
    ///
    /// # Errors
    /// [`StateError`]; the file is as it was.
    pub fn write(&self, state: &ResourceState) -> Result<Written, StateError> {
        todo!("{state:?}")
    }
}
