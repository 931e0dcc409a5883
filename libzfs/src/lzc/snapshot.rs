//! Taking and destroying snapshots.

use libzfs_sys::bindings::{B_FALSE, B_TRUE};

use super::{Core, first};
use crate::error::{Error, Operation};
use crate::nvlist::{NvList, NvValue};
use crate::property::PropertySetting;

/// When a snapshot that is still needed is destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestroyTiming {
    /// Now or never: a held or cloned one is an error.
    Now,
    /// A held or cloned one is marked, and goes with its last hold or clone
    /// (`zfs destroy -d`). One that is being sent is an error all the same.
    Deferred,
}

impl Core {
    /// Takes all `snapshots` (`dataset@name`) in one transaction group: they
    /// show one moment. At most one per dataset, all in one pool.
    /// `user_properties` are set on each (names with a colon, text values).
    /// Source: `lzc_snapshot`.
    ///
    /// # Errors
    /// With the failed ones as items; then none was taken. `Exists`,
    /// `NotFound` (no such dataset), `CrossDevice` (two pools, or two of one
    /// dataset), `NoSpace`, `Permission`.
    pub fn snapshot(
        &self,
        snapshots: &[impl AsRef<str>],
        user_properties: &[PropertySetting],
    ) -> Result<(), Error> {
        let operation = Operation::Snapshot;
        let object = first(snapshots);
        let list = self.names(operation, snapshots)?;
        let properties = NvList::from_pairs(
            &self.api.nvpair,
            user_properties
                .iter()
                .map(|setting| (setting.name.as_str(), setting.value.to_nv())),
        )
        .map_err(|error| Error::new(operation, object, error))?;
        self.with_error_list(operation, object, |errors| {
            // SAFETY: both lists are ours and live until the call returns.
            unsafe { (self.api.core.lzc_snapshot)(list.as_ptr(), properties.as_ptr(), errors) }
        })
    }

    /// Destroys all `snapshots` of one pool, in one transaction group. Names
    /// that do not exist are no error. One whose `.zfs` directory is mounted
    /// and idle is unmounted. Source: `lzc_destroy_snaps`.
    ///
    /// # Errors
    /// With the failed ones as items; then none was destroyed. `Busy` (held,
    /// being sent, or in use), `Exists` (has a clone, or is the base of a
    /// partial receive).
    pub fn destroy_snapshots(
        &self,
        snapshots: &[impl AsRef<str>],
        timing: DestroyTiming,
    ) -> Result<(), Error> {
        let operation = Operation::DestroySnapshots;
        let list = self.names(operation, snapshots)?;
        let defer = match timing {
            DestroyTiming::Now => B_FALSE,
            DestroyTiming::Deferred => B_TRUE,
        };
        self.with_error_list(operation, first(snapshots), |errors| {
            // SAFETY: the list is ours and lives until the call returns.
            unsafe { (self.api.core.lzc_destroy_snaps)(list.as_ptr(), defer, errors) }
        })
    }
}

/// A text as the value of a pair.
pub(super) fn text(value: &str) -> NvValue {
    NvValue::Text(value.to_owned())
}
