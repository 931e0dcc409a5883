//! Holds: what keeps a snapshot from being destroyed.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use super::snapshot::text;
use super::{Core, first, name};
use crate::api::DEVICE_PATH;
use crate::errno::Errno;
use crate::error::{Cause, Error, Operation};
use crate::nvlist::{NvList, NvValue};

/// No cleanup descriptor: the hold stays until it is released.
const PERMANENT: i32 = -1;

/// A hold on a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Its name.
    pub tag: String,
    /// When it was placed: seconds since 1970, UTC.
    pub creation_seconds: u64,
}

/// Holds that the kernel releases when this is dropped, or when the process
/// ends, however it ends.
///
/// They belong to the snapshots, not to their names: renaming does not lose
/// them. A tag of these must never be used for a permanent hold on the same
/// snapshot, or the end of this one takes that one away too: make it unique.
#[derive(Debug)]
pub struct HoldGuard {
    /// `/dev/zfs`: closing it releases the holds.
    _device: OwnedFd,
}

impl Core {
    /// Holds all `snapshots` (of one pool) under `tag` until the guard is
    /// dropped. Source: `lzc_hold` with a cleanup fd.
    ///
    /// # Errors
    /// With the failed ones as items; then none is held. `NotFound`, `Exists`
    /// (the tag is there already), `Permission`.
    pub fn hold_until_dropped(
        &self,
        tag: &str,
        snapshots: &[impl AsRef<str>],
    ) -> Result<HoldGuard, Error> {
        // std opens with O_CLOEXEC: no child keeps the holds alive.
        let device: File = OpenOptions::new()
            .read(true)
            .write(true)
            .open(DEVICE_PATH)
            .map_err(|error| Error::new(Operation::Hold, first(snapshots), Cause::Device(error)))?;
        // If only some could be held, closing the device releases those.
        self.place_holds(tag, snapshots, device.as_raw_fd())?;
        Ok(HoldGuard {
            _device: device.into(),
        })
    }

    /// Holds all `snapshots` (of one pool) under `tag` until they are
    /// released; the holds outlive this process. Source: `lzc_hold`.
    ///
    /// # Errors
    /// With the failed ones as items. **The others may be held**: a missing
    /// snapshot (`NotFound`) does not keep the kernel from holding the rest,
    /// while a tag that is there already (`Exists`) does. [`Self::release`]
    /// with the same arguments restores the state before.
    pub fn hold(&self, tag: &str, snapshots: &[impl AsRef<str>]) -> Result<(), Error> {
        self.place_holds(tag, snapshots, PERMANENT)
    }

    fn place_holds(
        &self,
        tag: &str,
        snapshots: &[impl AsRef<str>],
        cleanup_fd: i32,
    ) -> Result<(), Error> {
        let operation = Operation::Hold;
        let object = first(snapshots);
        let list = NvList::from_pairs(
            &self.api.nvpair,
            snapshots.iter().map(|name| (name.as_ref(), text(tag))),
        )
        .map_err(|error| Error::new(operation, object, error))?;
        self.with_error_list(operation, object, |errors| {
            // SAFETY: the list is ours, the descriptor is open or -1; both
            // until the call returns.
            unsafe { (self.api.core.lzc_hold)(list.as_ptr(), cleanup_fd, errors) }
        })
    }

    /// Releases the hold `tag` on all `snapshots` (of one pool). A snapshot
    /// marked by [`super::DestroyTiming::Deferred`] goes with its last hold.
    /// Source: `lzc_release`.
    ///
    /// # Errors
    /// With the failed ones as items (`snapshot#tag` for a missing tag, kind
    /// `NotFound`); **the others are released**. `Permission`.
    pub fn release(&self, tag: &str, snapshots: &[impl AsRef<str>]) -> Result<(), Error> {
        let operation = Operation::Release;
        let object = first(snapshots);
        let tags = NvValue::List(vec![(tag.to_owned(), NvValue::Flag)]);
        let list = NvList::from_pairs(
            &self.api.nvpair,
            snapshots.iter().map(|name| (name.as_ref(), tags.clone())),
        )
        .map_err(|error| Error::new(operation, object, error))?;
        self.with_error_list(operation, object, |errors| {
            // SAFETY: the list is ours and lives until the call returns.
            unsafe { (self.api.core.lzc_release)(list.as_ptr(), errors) }
        })
    }

    /// The holds on `snapshot`, by tag. Source: `lzc_get_holds`.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn holds(&self, snapshot: &str) -> Result<Vec<Hold>, Error> {
        let operation = Operation::ListHolds;
        let c_snapshot = name(operation, snapshot)?;
        let mut raw = ptr::null_mut();
        // SAFETY: the name lives until the call returns; the answer is written
        // to `raw`.
        let rc = unsafe { (self.api.core.lzc_get_holds)(c_snapshot.as_ptr(), &mut raw) };
        // SAFETY: the answer is null or a list that the caller frees.
        let answer = unsafe { NvList::from_raw(raw, &self.api.nvpair) };
        if rc != 0 {
            return Err(Error::new(operation, snapshot, Cause::Errno(Errno(rc))));
        }
        let mut holds = Vec::new();
        for (tag, creation) in answer.iter().flatten() {
            let creation = creation.map_err(|error| Error::new(operation, snapshot, error))?;
            holds.push(Hold {
                tag,
                creation_seconds: creation.as_u64().unwrap_or(0),
            });
        }
        holds.sort_by(|a, b| a.tag.cmp(&b.tag));
        Ok(holds)
    }
}
