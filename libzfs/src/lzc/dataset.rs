//! Single datasets and snapshots by name: is it there, create, rename, roll
//! back, destroy.

use libzfs_sys::bindings::LZC_DATSET_TYPE_ZFS;

use super::{Core, name};
use crate::error::{Error, Operation};
use crate::nvlist::NvList;
use crate::property::PropertySetting;

/// A snapshot to be renamed within its dataset.
#[derive(Debug, Clone, Copy)]
pub struct Rename<'a> {
    /// `dataset@old`
    pub from: &'a str,
    /// `dataset@new`
    pub to: &'a str,
}

/// A dataset to be rolled back.
#[derive(Debug, Clone, Copy)]
pub struct Rollback<'a> {
    /// The dataset.
    pub dataset: &'a str,
    /// Its most recent snapshot, `dataset@snapshot`.
    pub snapshot: &'a str,
}

/// A file system to be created.
#[derive(Debug, Clone, Copy)]
pub struct NewFilesystem<'a> {
    /// Its name; the parent exists.
    pub name: &'a str,
    /// Local properties.
    pub properties: &'a [PropertySetting],
}

impl Core {
    /// Whether a dataset or snapshot of this name exists. `dataset/%recv` is
    /// the partial receive into an existing dataset. No answer is "no".
    /// Source: `lzc_exists`.
    #[must_use]
    pub fn exists(&self, name: &str) -> bool {
        super::name(Operation::Open, name).is_ok_and(|name| {
            // SAFETY: the name lives until the call returns.
            unsafe { (self.api.core.lzc_exists)(name.as_ptr()) != 0 }
        })
    }

    /// Creates a file system in one transaction group, without mounting it.
    /// Source: `lzc_create`.
    ///
    /// # Errors
    /// `Exists`, `NotFound` (no parent), `Invalid` (a property), `Permission`.
    pub fn create_filesystem(&self, request: &NewFilesystem<'_>) -> Result<(), Error> {
        let operation = Operation::Create;
        let c_name = name(operation, request.name)?;
        let properties = NvList::from_pairs(
            &self.api.nvpair,
            request
                .properties
                .iter()
                .map(|setting| (setting.name.as_str(), setting.value.to_nv())),
        )
        .map_err(|error| Error::new(operation, request.name, error))?;
        // SAFETY: name and list live until the call returns; there is no key.
        let rc = unsafe {
            (self.api.core.lzc_create)(
                c_name.as_ptr(),
                LZC_DATSET_TYPE_ZFS,
                properties.as_ptr(),
                std::ptr::null_mut(),
                0,
            )
        };
        done(rc, operation, request.name)
    }

    /// Renames one snapshot of one dataset. Guid, createtxg, holds, bookmarks
    /// and clones stay; it may be held, in use, or being sent. In a whole tree
    /// at once: [`crate::Handle::rename_snapshot_recursive`].
    /// Source: `lzc_rename`.
    ///
    /// # Errors
    /// `Exists` (also if both names are equal), `NotFound`, `CrossDevice` (not
    /// the same dataset).
    pub fn rename(&self, request: &Rename<'_>) -> Result<(), Error> {
        let operation = Operation::Rename;
        let from = name(operation, request.from)?;
        let to = name(operation, request.to)?;
        // SAFETY: the names live until the call returns.
        let rc = unsafe { (self.api.core.lzc_rename)(from.as_ptr(), to.as_ptr()) };
        done(rc, operation, request.from)
    }

    /// Discards everything written to the dataset since its most recent
    /// snapshot, which must be the one named. Source: `lzc_rollback_to`.
    ///
    /// # Errors
    /// `Exists` or `CrossDevice` (it is not the most recent one), `NotFound`,
    /// `Busy`.
    pub fn rollback_to(&self, request: &Rollback<'_>) -> Result<(), Error> {
        let operation = Operation::Rollback;
        let dataset = name(operation, request.dataset)?;
        let snapshot = name(operation, request.snapshot)?;
        // SAFETY: the names live until the call returns.
        let rc = unsafe { (self.api.core.lzc_rollback_to)(dataset.as_ptr(), snapshot.as_ptr()) };
        done(rc, operation, request.dataset)
    }

    /// Destroys a dataset without children and snapshots, unmounted. This is
    /// how a partial receive is aborted: `dataset/%recv` if the dataset was
    /// there before, else the dataset itself. Source: `lzc_destroy`.
    ///
    /// # Errors
    /// `NotFound`, `Busy` (mounted, or the receive is still running), `Exists`
    /// (has children or snapshots).
    pub fn destroy(&self, dataset: &str) -> Result<(), Error> {
        let operation = Operation::Destroy;
        let c_dataset = name(operation, dataset)?;
        // SAFETY: the name lives until the call returns.
        let rc = unsafe { (self.api.core.lzc_destroy)(c_dataset.as_ptr()) };
        done(rc, operation, dataset)
    }
}

fn done(rc: i32, operation: Operation, object: &str) -> Result<(), Error> {
    if rc == 0 {
        Ok(())
    } else {
        Err(Error::errno(operation, object, rc))
    }
}
