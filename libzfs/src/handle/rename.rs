//! The one change that only libzfs can do in one transaction group.

use libzfs_sys::bindings::ZFS_TYPE_SNAPSHOT;

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
}
