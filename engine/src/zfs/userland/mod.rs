//! Real ZFS in user space: a pool in a file, without a kernel module.
//!
//! The one module of the engine that names the crate `userland`. It
//! translates, as `kernel` does: names and values one way, errors the other.
//! What both worlds answer are the errnos of OpenZFS, so they mean the same.
//!
//! [`ImagePool`] is one image. What it cannot offer through [`Zfs`], for a
//! kernel has devices for it, are its contents: `volume` writes files into
//! volumes and reads them out. Which image serves which request is for
//! [`super::Pools`] to know.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use ::userland::Pool;
use ::userland::protocol::{self as wire, Answer, Call};

use super::{Scope, Zfs, ZfsError, ZfsErrorKind, left};
use crate::name::{DatasetName, SnapshotName};

mod hold;
mod operations;
mod translate;
mod volume;

pub use ::userland::{Image, Worker};
pub use volume::{Contents, Stored};

use translate::Tried;
#[cfg(feature = "fuzzing")]
pub(crate) use translate::answer_here;

/// A pool in a file, opened for this process alone.
///
/// Its worker may die at any time; the call that met it fails with
/// [`ZfsErrorKind::WorkerLost`], and the next call imports the pool again.
/// Dropping it leaves the image as a machine that lost power would: all that
/// was reported done is there.
#[derive(Debug)]
pub struct ImagePool {
    image: Image,
    pool: Arc<Pool>,
}

/// Space of a pool, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What the pool can hold in all.
    pub total_bytes: u64,
    /// What is taken.
    pub allocated_bytes: u64,
}

/// What reading and verifying every block of a pool has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Bytes examined.
    pub examined_bytes: u64,
    /// Bytes repaired from another copy.
    pub repaired_bytes: u64,
    /// Errors that could not be repaired.
    pub errors: u64,
}

/// The OpenZFS that user-space pools are run by, in one line.
///
/// # Errors
/// `Unavailable`, with what is missing.
pub fn version(worker: &Worker) -> Result<String, ZfsError> {
    worker.version().map_err(|error| ZfsError {
        detail: error.to_string(),
        ..ZfsError::new("run", "pools in files", ZfsErrorKind::Unavailable)
    })
}

impl ImagePool {
    /// Makes a new file of `bytes` with an empty pool in it. After a crash
    /// midway the file may be there without a pool; it then has to be removed
    /// by hand.
    ///
    /// # Errors
    /// `Exists` if there is such a file, `Invalid` below 64 MiB, `Unavailable`
    /// without a worker.
    pub fn create(worker: &Worker, image: &Image, bytes: u64) -> Result<Self, ZfsError> {
        Pool::create(worker, image, bytes)
            .map(|pool| Self::new(image, pool))
            .map_err(|error| Tried::new("create the image", image.path.display()).failed(&error))
    }

    /// Opens an image and locks it against other processes.
    ///
    /// # Errors
    /// `NotFound`, `Busy` if it is in use, `Invalid` if the file holds no pool
    /// or another one, `NotSupported` if the pool is too new, `Unavailable`
    /// without a worker.
    pub fn open(worker: &Worker, image: &Image) -> Result<Self, ZfsError> {
        Pool::open(worker, image)
            .map(|pool| Self::new(image, pool))
            .map_err(|error| Tried::new("open the image", image.path.display()).failed(&error))
    }

    fn new(image: &Image, pool: Pool) -> Self {
        Self {
            image: image.clone(),
            pool: Arc::new(pool),
        }
    }

    /// Which image this is.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Number of the worker's process, if one runs: for tests that kill it.
    #[must_use]
    pub fn worker_pid(&self) -> Option<u32> {
        self.pool.worker_pid()
    }

    /// Exports the pool and ends its worker. Holds that still live keep it
    /// open; their end then lets go of it without an export, which loses
    /// nothing.
    ///
    /// # Errors
    /// `WorkerLost`, `Io`.
    pub fn close(self) -> Result<(), ZfsError> {
        let tried = Tried::new("export the pool in", self.image.path.display());
        match Arc::into_inner(self.pool) {
            None => Ok(()),
            Some(pool) => pool.close().map_err(|error| tried.failed(&error)),
        }
    }

    /// Space of the pool.
    ///
    /// # Errors
    /// `WorkerLost`, `Io`.
    pub fn space(&self) -> Result<Space, ZfsError> {
        let tried = Tried::new("examine the pool", &self.image.pool);
        match self.ask(&tried, Call::Space)? {
            Answer::Space {
                total_bytes,
                allocated_bytes,
            } => Ok(Space {
                total_bytes,
                allocated_bytes,
            }),
            _ => Err(tried.confused()),
        }
    }

    /// Reads and verifies every block (`zpool scrub`). Blocks until done.
    ///
    /// # Errors
    /// `WorkerLost`, `Io`. Damage is no error of this call.
    pub fn check(&self) -> Result<Checked, ZfsError> {
        let tried = Tried::new("check the pool", &self.image.pool);
        match self.ask(&tried, Call::Scrub)? {
            Answer::Checked(found) => Ok(Checked {
                examined_bytes: found.examined_bytes,
                repaired_bytes: found.repaired_bytes,
                errors: found.errors,
            }),
            _ => Err(tried.confused()),
        }
    }

    /// Clones a snapshot to a new dataset of the same pool.
    ///
    /// # Errors
    /// `NotFound`, `Exists`, `CrossDevice` for another pool.
    pub fn clone_snapshot(&self, of: &SnapshotName, to: &DatasetName) -> Result<(), ZfsError> {
        let call = Call::Clone {
            origin: of.to_string(),
            name: to.to_string(),
        };
        self.order(&Tried::new("clone", of), call)
    }

    /// Renames a dataset within its pool.
    ///
    /// # Errors
    /// `NotFound`, `Exists`, `CrossDevice` for another pool.
    pub fn rename(&self, from: &DatasetName, to: &DatasetName) -> Result<(), ZfsError> {
        let call = Call::RenameDataset {
            from: from.to_string(),
            to: to.to_string(),
        };
        self.order(&Tried::new("rename", from), call)
    }

    /// Destroys a dataset that has neither snapshots nor children, and what a
    /// cut receive left in it.
    ///
    /// # Errors
    /// `NotFound`, `Exists` if it has snapshots or children, `Busy`.
    pub fn destroy(&self, dataset: &DatasetName) -> Result<(), ZfsError> {
        let beside = Call::DestroyDataset {
            name: format!("{dataset}/%recv"),
        };
        match self.order(&Tried::new("destroy", dataset), beside) {
            Err(error) if error.kind != ZfsErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let call = Call::DestroyDataset {
            name: dataset.to_string(),
        };
        self.order(&Tried::new("destroy", dataset), call)
    }

    /// Gives up what a cut receive left (`zfs receive -A`): the state beside a
    /// dataset that was there before, or the dataset itself if it was to come
    /// into being.
    ///
    /// # Errors
    /// `NotFound` if nothing is left, `Busy` if the receive is running.
    pub fn abort_receive(&self, dataset: &DatasetName) -> Result<(), ZfsError> {
        let tried = Tried::new(left::OPERATION, dataset);
        let beside = Call::DestroyDataset {
            name: format!("{dataset}/%recv"),
        };
        match self.order(&tried, beside) {
            Err(error) if error.kind == ZfsErrorKind::NotFound => {}
            done => return done,
        }
        let listed = self.tree(dataset, Scope::One)?;
        let itself = listed
            .and_then(|mut tree| tree.pop())
            .is_some_and(|found| found.partial.is_some() && found.snapshots.is_empty());
        if !itself {
            return Err(ZfsError::new(
                left::OPERATION,
                dataset,
                ZfsErrorKind::NotFound,
            ));
        }
        let call = Call::DestroyDataset {
            name: dataset.to_string(),
        };
        self.order(&tried, call)
    }

    fn ask(&self, tried: &Tried, call: Call) -> Result<Answer, ZfsError> {
        self.pool
            .call(call, None)
            .map_err(|error| tried.failed(&error))
    }

    fn ask_with(&self, tried: &Tried, call: Call, fd: OwnedFd) -> Result<Answer, ZfsError> {
        self.pool
            .call(call, Some(fd))
            .map_err(|error| tried.failed(&error))
    }

    fn order(&self, tried: &Tried, call: Call) -> Result<(), ZfsError> {
        match self.ask(tried, call)? {
            Answer::Done => Ok(()),
            _ => Err(tried.confused()),
        }
    }

    /// The tree in the words of the worker; `None` if it does not exist.
    fn listed(
        &self,
        tried: &Tried,
        root: &DatasetName,
        scope: Scope,
    ) -> Result<Option<Vec<wire::Dataset>>, ZfsError> {
        let call = Call::Tree {
            root: root.to_string(),
            scope: translate::scope(scope),
        };
        match self.ask(tried, call)? {
            Answer::Tree(tree) => Ok(tree),
            _ => Err(tried.confused()),
        }
    }

    fn exists(&self, tried: &Tried, dataset: &DatasetName) -> Result<bool, ZfsError> {
        Ok(self.listed(tried, dataset, Scope::One)?.is_some())
    }

    /// What a token says; `None` if it cannot be read.
    fn read_token(&self, token: &str) -> Result<Option<wire::Token>, ZfsError> {
        let tried = Tried::new("decode", "resume token");
        let call = Call::ReadToken {
            token: token.to_owned(),
        };
        match self.ask(&tried, call) {
            Ok(Answer::Token(token)) => Ok(Some(token)),
            Ok(_) => Err(tried.confused()),
            Err(error) if error.kind == ZfsErrorKind::WorkerLost => Err(error),
            Err(_) => Ok(None),
        }
    }
}

fn texts<T: ToString>(names: &[T]) -> Vec<String> {
    names.iter().map(T::to_string).collect()
}

/// Several objects as the object of a sentence: the first of them.
fn first<T: ToString>(names: &[T]) -> String {
    names.first().map_or_else(String::new, T::to_string)
}
