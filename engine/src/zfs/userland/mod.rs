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

use super::{
    Dataset, DatasetKind, Hold, Landing, NewBookmark, OnCut, PropertyRefusal, ReceiveRequest,
    Scope, SendRequest, Zfs, ZfsError, ZfsErrorKind, left,
};
use crate::hold::HoldTag;
use crate::name::{BookmarkName, DatasetName, ShortName, SnapshotName};
use crate::stream::record::BeginRecord;

mod hold;
mod translate;
mod volume;

pub use ::userland::{Image, Worker};
pub use volume::{Contents, Stored};

use hold::ImageHold;
#[cfg(feature = "fuzzing")]
pub(crate) use translate::answer_here;
use translate::{Tried, canmount, kind_of_errno};

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

impl Zfs for ImagePool {
    fn tree(&self, root: &DatasetName, scope: Scope) -> Result<Option<Vec<Dataset>>, ZfsError> {
        let tried = Tried::new("list", root);
        let Some(listed) = self.listed(&tried, root, scope)? else {
            return Ok(None);
        };
        let datasets: Result<Vec<Dataset>, ZfsError> = listed
            .into_iter()
            .filter_map(|dataset| {
                let token = dataset.resume_token.as_ref();
                let content = match token.map(|token| self.read_token(token)).transpose() {
                    Ok(content) => content.flatten(),
                    Err(error) => return Some(Err(error)),
                };
                translate::dataset(dataset, content).map(Ok)
            })
            .collect();
        let mut datasets = datasets?;
        // The worker lists siblings as the pool stores them, a kernel's library
        // by name.
        datasets.sort_by(|one, other| {
            let (one, other) = (one.name.as_str(), other.name.as_str());
            one.split('/').cmp(other.split('/'))
        });
        Ok(Some(datasets).filter(|datasets| !datasets.is_empty()))
    }

    fn create_ancestors(&self, dataset: &DatasetName) -> Result<Vec<DatasetName>, ZfsError> {
        let mut created = Vec::new();
        for ancestor in dataset.ancestors() {
            let tried = Tried::new("create", &ancestor);
            if self.exists(&tried, &ancestor)? {
                continue;
            }
            if ancestor.parent().is_none() {
                let kind = ZfsErrorKind::NotFound;
                return Err(ZfsError::new("find the pool", &ancestor, kind));
            }
            let call = Call::CreateFilesystem {
                name: ancestor.to_string(),
                properties: vec![canmount(translate::CANMOUNT_OFF)],
            };
            self.order(&tried, call)?;
            created.push(ancestor);
        }
        Ok(created)
    }

    fn snapshot(&self, names: &[SnapshotName]) -> Result<(), ZfsError> {
        let call = Call::Snapshot {
            names: texts(names),
        };
        self.order(&Tried::new("take", first(names)), call)
    }

    fn destroy_snapshots(&self, names: &[SnapshotName]) -> Result<(), ZfsError> {
        if names.is_empty() {
            return Ok(());
        }
        let call = Call::DestroySnapshots {
            names: texts(names),
        };
        self.order(&Tried::new("destroy", first(names)), call)
    }

    fn rename_snapshot(
        &self,
        from: &SnapshotName,
        to: &ShortName,
        scope: Scope,
    ) -> Result<(), ZfsError> {
        let tried = Tried::new("rename", from);
        // The DSL itself ignores snapshots that are missing; it is the layers
        // above it that look, in a kernel too.
        let top = self.tree(&from.dataset, Scope::One)?.unwrap_or_default();
        let found = top
            .first()
            .and_then(|top| top.snapshot_by_name(&from.short));
        if found.is_none() {
            return Err(tried.refused(ZfsErrorKind::NotFound, ""));
        }
        // As libzfs has it, which renames trees.
        if scope == Scope::Recursive && from.short == *to {
            return Ok(());
        }
        let call = Call::RenameSnapshot {
            dataset: from.dataset.to_string(),
            from: from.short.to_string(),
            to: to.to_string(),
            scope: translate::scope(scope),
        };
        self.order(&tried, call)
    }

    fn rename_dataset(&self, from: &DatasetName, to: &DatasetName) -> Result<(), ZfsError> {
        self.rename(from, to)
    }

    fn destroy_dataset(&self, name: &DatasetName) -> Result<(), ZfsError> {
        self.destroy(name)
    }

    fn discard_partial(&self, dataset: &DatasetName, token: &str) -> Result<(), ZfsError> {
        left::still_there(self, dataset, token)?;
        self.abort_receive(dataset)
    }

    fn available_bytes(&self, dataset: &DatasetName) -> Result<u64, ZfsError> {
        let tried = Tried::new("examine", dataset);
        if !self.exists(&tried, dataset)? {
            return Err(ZfsError::new("examine", dataset, ZfsErrorKind::NotFound));
        }
        let space = self.space()?;
        Ok(space.total_bytes.saturating_sub(space.allocated_bytes))
    }

    fn bookmark(&self, marks: &[NewBookmark]) -> Result<(), ZfsError> {
        let name = |mark: &NewBookmark| format!("{}#{}", mark.of.dataset, mark.short);
        let call = Call::Bookmark {
            marks: marks
                .iter()
                .map(|mark| (mark.of.to_string(), name(mark)))
                .collect(),
        };
        let object = marks.first().map_or_else(String::new, name);
        self.order(&Tried::new("bookmark", object), call)
    }

    fn destroy_bookmarks(&self, names: &[BookmarkName]) -> Result<(), ZfsError> {
        let call = Call::DestroyBookmarks {
            names: texts(names),
        };
        self.order(&Tried::new("destroy", first(names)), call)
    }

    fn hold(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<Box<dyn Hold>, ZfsError> {
        Ok(Box::new(ImageHold::take(&self.pool, tag, names)?))
    }

    fn hold_kept(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<(), ZfsError> {
        if names.is_empty() {
            return Ok(());
        }
        let call = Call::Hold {
            names: texts(names),
            tag: tag.to_string(),
            temporary: false,
        };
        let held = self.order(&Tried::new("hold", first(names)), call);
        if let Err(error) = &held
            && error.kind == ZfsErrorKind::NotFound
        {
            // ZFS holds those that are there. None had the tag before.
            self.release(names, tag)?;
        }
        held
    }

    fn release(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<(), ZfsError> {
        if names.is_empty() {
            return Ok(());
        }
        let call = Call::Release {
            names: texts(names),
            tag: tag.to_string(),
        };
        self.order(&Tried::new("release", first(names)), call)
    }

    fn holds(&self, snapshot: &SnapshotName) -> Result<Vec<(String, u64)>, ZfsError> {
        let tried = Tried::new("list the holds on", snapshot);
        let call = Call::Holds {
            snapshot: snapshot.to_string(),
        };
        match self.ask(&tried, call)? {
            Answer::Holds(holds) => Ok(holds),
            _ => Err(tried.confused()),
        }
    }

    fn rollback(&self, to: &SnapshotName) -> Result<(), ZfsError> {
        let call = Call::Rollback {
            dataset: to.dataset.to_string(),
            to: to.to_string(),
        };
        self.order(&Tried::new("roll back", &to.dataset), call)
    }

    fn send_size(&self, request: &SendRequest) -> Result<u64, ZfsError> {
        let tried = Tried::new("estimate the send of", &request.snapshot);
        match self.ask(&tried, Call::SendSize(translate::send(request)))? {
            Answer::Bytes(bytes) => Ok(bytes),
            _ => Err(tried.confused()),
        }
    }

    fn send(&self, request: &SendRequest, into: OwnedFd) -> Result<(), ZfsError> {
        let tried = Tried::new("send", &request.snapshot);
        match self.ask_with(&tried, Call::Send(translate::send(request)), into)? {
            Answer::Done => Ok(()),
            _ => Err(tried.confused()),
        }
    }

    fn receive(
        &self,
        request: &ReceiveRequest,
        begin: &BeginRecord,
        from: OwnedFd,
    ) -> Result<Vec<PropertyRefusal>, ZfsError> {
        let tried = Tried::new("receive", &request.snapshot);
        let local = match (request.landing, request.kind) {
            (Landing::Create, DatasetKind::Filesystem) => {
                vec![canmount(translate::CANMOUNT_NOAUTO)]
            }
            _ => Vec::new(),
        };
        let call = Call::Receive(wire::ReceiveRequest {
            snapshot: request.snapshot.to_string(),
            begin: begin.bytes().to_vec(),
            origin: request.origin.as_ref().map(ToString::to_string),
            resumable: request.on_cut == OnCut::Keep,
            received: request
                .properties
                .iter()
                .map(translate::property_there)
                .collect(),
            local,
        });
        match self.ask_with(&tried, call, from)? {
            Answer::Received(refused) => Ok(refused
                .into_iter()
                .map(|(name, errno)| PropertyRefusal {
                    name,
                    kind: kind_of_errno(errno),
                })
                .collect()),
            _ => Err(tried.confused()),
        }
    }
}
