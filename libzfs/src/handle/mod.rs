//! libzfs: names, properties, trees, resume tokens.
//!
//! A libzfs handle has unlocked buffers of its own and must stay in one thread,
//! so each thread gets one of its own, on first use ([`with_handle`]). It does
//! not print, and nothing here lets libzfs walk or stream on its own.
//!
//! Leaves everything that one ioctl of libzfs_core can do to [`crate::Core`].

mod dataset;
mod object;
mod pool;
mod property;
mod rename;
mod snapshot;
mod token;
mod walk;

use std::cell::RefCell;
use std::ffi::{CStr, c_char};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

use libzfs_sys::Api;
use libzfs_sys::bindings::{B_FALSE, libzfs_handle_t};

use crate::api::{Unavailable, libraries_and_module};
use crate::errno::Errno;
use crate::error::{Cause, Error, LibzfsError, Operation};

pub use dataset::{Dataset, DatasetKind, Depth, Encryption, KeyStatus, Listed, list};
pub use pool::{Pool, Version};
pub use property::{PropertyInfo, ValueKind};
pub use rename::{DatasetRename, RecursiveRename};
pub use snapshot::{Snapshot, SnapshotId};
pub use token::ResumeToken;

/// Held while a handle is made.
static STARTING: Mutex<()> = Mutex::new(());

thread_local! {
    /// The handle of this thread, from its first use to the end of the thread.
    static HANDLE: RefCell<Option<Rc<Handle>>> = const { RefCell::new(None) };
}

/// Calls `work` with this thread's libzfs handle, which is made on first use.
/// Calls may be nested. A failure to make one is not remembered.
///
/// # Errors
/// What `work` returns, or [`crate::ErrorKind::Unavailable`] before it is
/// called.
pub fn with_handle<T, E: From<Error>>(work: impl FnOnce(&Handle) -> Result<T, E>) -> Result<T, E> {
    let existing = HANDLE.with_borrow(Clone::clone);
    let handle = match existing {
        Some(handle) => handle,
        None => {
            let made = Rc::new(Handle::open()?);
            HANDLE.set(Some(Rc::clone(&made)));
            made
        }
    };
    work(&handle)
}

/// A libzfs handle. Belongs to one thread: see [`with_handle`].
#[derive(Debug)]
pub struct Handle {
    raw: NonNull<libzfs_handle_t>,
    api: &'static Api,
}

impl Handle {
    /// Source: `libzfs_init`.
    fn open() -> Result<Self, Error> {
        Self::start().map_err(|missing| Error::new(Operation::Start, "libzfs", missing))
    }

    fn start() -> Result<Self, Unavailable> {
        // Asks for /dev/zfs first: libzfs_init would run modprobe and wait.
        let api = libraries_and_module()?;
        // It fills tables that all handles share.
        let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: no arguments.
        let raw = unsafe { (api.zfs.libzfs_init)() };
        let errno = Errno::last();
        let Some(raw) = NonNull::new(raw) else {
            // SAFETY: returns a constant text for every number.
            let text = unsafe { (api.zfs.libzfs_error_init)(errno.0) };
            return Err(Unavailable::Start {
                errno,
                text: owned_text(text),
            });
        };
        // SAFETY: the handle is new and ours. With printing on, libzfs would
        // also end the process on some errors.
        unsafe { (api.zfs.libzfs_print_on_error)(raw.as_ptr(), B_FALSE) };
        Ok(Self { raw, api })
    }

    /// The error of the call to libzfs that failed just now. Nothing may come
    /// in between: errno is read too.
    fn last_error(&self, operation: Operation, object: &str) -> Error {
        let errno = Errno::last();
        let raw = self.raw.as_ptr();
        // SAFETY: the handle is valid.
        let number = unsafe { (self.api.zfs.libzfs_errno)(raw) };
        // SAFETY: the handle is valid; the text is copied before the next call.
        let action = owned_text(unsafe { (self.api.zfs.libzfs_error_action)(raw) });
        // SAFETY: as above.
        let description = owned_text(unsafe { (self.api.zfs.libzfs_error_description)(raw) });
        Error::new(
            operation,
            object,
            Cause::Libzfs(LibzfsError {
                number,
                errno,
                action,
                description,
            }),
        )
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and nothing opened from it is left: the
        // types that hold such a thing borrow it.
        unsafe { (self.api.zfs.libzfs_fini)(self.raw.as_ptr()) };
    }
}

/// A copy of a text that a library owns; empty for null.
fn owned_text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the libraries' texts end with a zero byte and live at least until
    // the next call with the same handle.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn machine_without_the_module_is_told_at_once() {
        if crate::device_exists() {
            println!("not tested: this machine has ZFS");
            return;
        }
        let start = std::time::Instant::now();
        let result: Result<(), Error> = with_handle(|_| Ok(()));
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Unavailable);
        let error = crate::Core::open().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        // libzfs_init alone would have waited ten seconds.
        assert!(start.elapsed().as_secs() < 5);
    }
}
