//! Changes that are libzfs' business: a snapshot renamed in a whole tree, in one
//! transaction group, and datasets that may be mounted.

use libzfs_sys::bindings::{ZFS_TYPE_FILESYSTEM, ZFS_TYPE_SNAPSHOT};

use super::Handle;
use super::object::Object;
use crate::error::{Error, Operation};
use crate::nvlist::c_string;

/// A snapshot to be renamed in a whole tree.
#[derive(Debug, Clone, Copy)]
pub struct RecursiveRename<'a> {
    /// `dataset@old` of the topmost dataset.
    pub snapshot: &'a str,
    /// The new name, without dataset and `@`.
    pub to: &'a str,
}

/// A dataset to be renamed.
#[derive(Debug, Clone, Copy)]
pub struct DatasetRename<'a> {
    /// Its name.
    pub from: &'a str,
    /// Its new name, in the same pool.
    pub to: &'a str,
}

impl Handle {
    /// Renames a snapshot in a dataset and in all its descendants that have
    /// one of this name, in one transaction group, all or none; after a crash
    /// all have the old name or all the new one. Guids, holds, bookmarks and
    /// clones stay. Equal names are no error.
    /// Source: `zfs_rename` with `recursive`.
    ///
    /// # Errors
    /// `Exists` (the new name is taken in some dataset), `NotFound` (the
    /// topmost dataset does not have the snapshot), `Permission`, `Invalid`.
    pub fn rename_snapshot_recursive(&self, request: &RecursiveRename<'_>) -> Result<(), Error> {
        let operation = Operation::Rename;
        let object = Object::open(self, request.snapshot, ZFS_TYPE_SNAPSHOT)?;
        let dataset = request
            .snapshot
            .split_once('@')
            .map_or(request.snapshot, |(dataset, _)| dataset);
        let target = c_string(&format!("{dataset}@{}", request.to))
            .map_err(|error| Error::new(operation, request.snapshot, error))?;
        let rename = self.api.zfs.zfs_rename;
        // SAFETY: the snapshot is open, the name ends with a zero byte.
        #[cfg(not(target_os = "illumos"))]
        let rc = unsafe {
            rename(
                object.as_ptr(),
                target.as_ptr(),
                libzfs_sys::rename_recursively(),
            )
        };
        // SAFETY: as above; recursive, without forced unmounting.
        #[cfg(target_os = "illumos")]
        let rc = unsafe {
            use libzfs_sys::bindings::{B_FALSE, B_TRUE};
            rename(object.as_ptr(), target.as_ptr(), B_TRUE, B_FALSE)
        };
        if rc == 0 {
            Ok(())
        } else {
            Err(self.last_error(operation, request.snapshot))
        }
    }

    /// Renames a dataset within its pool, with everything below it, in one
    /// transaction group. What is mounted is unmounted before and mounted again
    /// after, never by force. Guids, snapshots and holds stay.
    /// Source: `zfs_rename`.
    ///
    /// # Errors
    /// `NotFound` (the dataset, or the parent of the new name), `Exists`,
    /// `Busy` (in use), `Permission`, `Invalid` (another pool, or a name that
    /// gets too long).
    pub fn rename_dataset(&self, request: &DatasetRename<'_>) -> Result<(), Error> {
        let operation = Operation::Rename;
        let object = self.open_dataset(request.from)?;
        let target =
            c_string(request.to).map_err(|error| Error::new(operation, request.from, error))?;
        let rename = self.api.zfs.zfs_rename;
        // SAFETY: the dataset is open, the name ends with a zero byte.
        #[cfg(not(target_os = "illumos"))]
        let rc = unsafe {
            rename(
                object.as_ptr(),
                target.as_ptr(),
                libzfs_sys::rename_gently(),
            )
        };
        // SAFETY: as above; not recursive, without forced unmounting.
        #[cfg(target_os = "illumos")]
        let rc = unsafe {
            use libzfs_sys::bindings::B_FALSE;
            rename(object.as_ptr(), target.as_ptr(), B_FALSE, B_FALSE)
        };
        if rc == 0 {
            Ok(())
        } else {
            Err(self.last_error(operation, request.from))
        }
    }

    /// Unmounts a file system, if it is mounted, not by force.
    /// Source: `zfs_unmount`.
    ///
    /// # Errors
    /// `NotFound`, `Busy` (in use), `Permission`.
    pub fn unmount(&self, dataset: &str) -> Result<(), Error> {
        let object = self.open_dataset(dataset)?;
        if object.kind() != ZFS_TYPE_FILESYSTEM {
            return Ok(());
        }
        let unmount = self.api.zfs.zfs_unmount;
        // SAFETY: the dataset is open; without a mount point libzfs looks for it.
        let rc = unsafe { unmount(object.as_ptr(), std::ptr::null(), 0) };
        if rc == 0 {
            Ok(())
        } else {
            Err(self.last_error(Operation::Unmount, dataset))
        }
    }
}
