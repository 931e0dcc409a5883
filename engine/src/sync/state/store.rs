//! State files on disk: read with bounds, replaced as a whole or not at all.
//!
//! A write is temporary file → fsync → rename → fsync of the folder, under a
//! lock on the service's folder, so a crash leaves the old state or the new
//! one, and two writers never lose each other's entries.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::legacy::LegacyFolder;
use super::{Merge, ResourceState, STATE_BYTES_MAX, StateFault};
use crate::error::Family;
use crate::sync::config::{Rid, Service, ServiceName};
use crate::sync::status::States;

/// The folder of all state files.
#[derive(Debug, Clone)]
pub struct StateStore {
    pub(super) dir: PathBuf,
    pub(super) legacy: Option<LegacyFolder>,
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
        Self {
            dir: dir.into(),
            legacy: None,
        }
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
        let file = self.file(service, rid);
        let mut text = Vec::new();
        let read = File::open(&file).and_then(|open| {
            // One byte more than allowed: enough to know that it is too much.
            open.take(STATE_BYTES_MAX as u64 + 1).read_to_end(&mut text)
        });
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("read", &file)(source)),
        }
        ResourceState::of_peer(&text, service, rid)
            .map(Some)
            .map_err(|source| StateError::Unusable { file, source })
    }

    /// Reads the states of all resources of a service, for
    /// [`crate::sync::status::evaluate`].
    #[must_use]
    pub fn read_all(&self, service: &Service) -> States {
        let read = |rid: &Rid| {
            let state = self.read(service.name(), rid).transpose()?;
            Some((rid.clone(), state))
        };
        service.rids().filter_map(read).collect()
    }

    /// Merges `state` into the file and replaces it. A damaged file is moved
    /// aside (`….damaged`) and reported; one of a newer version is left alone.
    /// After a crash the file holds the old state or the new one.
    ///
    /// Waits for another writer of the same service; each holds the lock for
    /// the time of one write.
    ///
    /// # Errors
    /// [`StateError`]; the file is as it was, or moved aside if it was damaged.
    pub fn write(&self, state: &ResourceState) -> Result<Written, StateError> {
        let file = self.file(&state.service, &state.rid);
        let unusable = |source| StateError::Unusable {
            file: file.clone(),
            source,
        };
        // What would not be read back is not written.
        state.check().map_err(unusable)?;
        let dir = self.dir.join(state.service.as_str());
        fs::create_dir_all(&dir).map_err(failed("create", &dir))?;
        // The folder itself is the lock: it stays, and no file is left over.
        let dir_file = File::open(&dir).map_err(failed("open", &dir))?;
        dir_file.lock().map_err(failed("lock", &dir))?;
        // A folder that was just created must survive as well as its content.
        sync_dir(&self.dir)?;

        let mut written = Written {
            file: file.clone(),
            state: ResourceState::new(state.service.clone(), state.rid.clone()),
            merge: Merge::default(),
            moved_aside: None,
        };
        match self.read(&state.service, &state.rid) {
            Ok(Some(known)) => written.state = known,
            Ok(None) => {}
            Err(StateError::Unusable { source, .. })
                if !matches!(source, StateFault::Version { .. }) =>
            {
                let aside = file.with_extension("json.damaged");
                fs::rename(&file, &aside).map_err(failed("move aside", &file))?;
                written.moved_aside = Some(aside);
            }
            Err(error) => return Err(error),
        }
        written.merge = written.state.merge(state).map_err(unusable)?;
        let text = written.state.to_json();
        if text.len() > STATE_BYTES_MAX {
            return Err(unusable(StateFault::TooLarge));
        }
        replace(&file, &text)?;
        dir_file.sync_all().map_err(failed("sync", &dir))?;
        Ok(written)
    }
}

/// Makes an error of the operating system one of ours.
pub(super) fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io {
        operation,
        path,
        source,
    }
}

fn sync_dir(dir: &Path) -> Result<(), StateError> {
    File::open(dir)
        .and_then(|open| open.sync_all())
        .map_err(failed("sync", dir))
}

/// Puts `text` in the place of `file`. The caller holds the lock, so the name
/// of the temporary file can be a fixed one: what a crash left is overwritten.
fn replace(file: &Path, text: &[u8]) -> Result<(), StateError> {
    let temporary = file.with_extension("json.tmp");
    let mut open = File::create(&temporary).map_err(failed("create", &temporary))?;
    open.write_all(text)
        .and_then(|()| open.sync_all())
        .map_err(failed("write", &temporary))?;
    fs::rename(&temporary, file).map_err(failed("replace", file))
}
