//! libzfs_core: the calls that carry data and change snapshots.
//!
//! One ioctl per call. The kernel does each in one transaction group or not at
//! all, unless a method says otherwise: after a crash there is the state before
//! or the state after. Calls may come from any thread, several at once.
//!
//! Leaves trees, properties' meaning and resume tokens to [`crate::Handle`].

mod bookmark;
mod dataset;
mod hold;
mod receive;
mod send;
mod snapshot;

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::Mutex;

use libzfs_sys::Api;
use libzfs_sys::bindings::nvlist_t;

use crate::api::{Unavailable, libraries_and_module};
use crate::errno::Errno;
use crate::error::{Cause, Error, ErrorList, Operation};
use crate::nvlist::{NvList, c_string};

pub use bookmark::{Bookmark, BookmarkRequest};
pub use dataset::{NewFilesystem, Rename, Rollback};
pub use hold::{Hold, HoldGuard};
pub use receive::{BeginRecord, ReceiveRequest, Received};
pub use send::{ResumePoint, SendFlags, SendRequest};
pub use snapshot::DestroyTiming;

/// The door to libzfs_core. Cheap to copy, usable from any thread.
#[derive(Debug, Clone, Copy)]
pub struct Core {
    api: &'static Api,
}

/// Whether `libzfs_core_init` succeeded. It opens `/dev/zfs` for the rest of
/// the process, once.
static STARTED: Mutex<bool> = Mutex::new(false);

impl Core {
    /// Loads the libraries and opens `/dev/zfs`, once per process. Does not
    /// load the kernel module. Source: `libzfs_core_init`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unavailable`] with what is missing; a later call
    /// tries again.
    pub fn open() -> Result<Self, Error> {
        Self::start().map_err(|missing| Error::new(Operation::Start, "libzfs_core", missing))
    }

    fn start() -> Result<Self, Unavailable> {
        let api = libraries_and_module()?;
        let mut started = STARTED
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if !*started {
            // SAFETY: no arguments; calls are counted and locked in the library.
            let rc = unsafe { (api.core.libzfs_core_init)() };
            if rc != 0 {
                return Err(Unavailable::Start {
                    errno: Errno(rc),
                    text: String::new(),
                });
            }
            *started = true;
        }
        Ok(Self { api })
    }

    /// Runs a call that may return a list of errors, and reads it whatever the
    /// call returned.
    fn with_error_list(
        &self,
        operation: Operation,
        object: &str,
        call: impl FnOnce(*mut *mut nvlist_t) -> i32,
    ) -> Result<(), Error> {
        let mut raw = ptr::null_mut();
        let rc = call(&mut raw);
        self.take_error_list(raw).outcome(rc, operation, object)
    }

    /// Reads and frees a list of errors that a call wrote.
    fn take_error_list(&self, raw: *mut nvlist_t) -> ErrorList {
        // SAFETY: libzfs_core leaves null or a list that the caller frees.
        let list = unsafe { NvList::from_raw(raw, &self.api.nvpair) };
        list.map(|list| ErrorList::read(list.as_ref()))
            .unwrap_or_default()
    }

    /// A list of names, for calls about several objects.
    fn names(&self, operation: Operation, names: &[impl AsRef<str>]) -> Result<NvList, Error> {
        NvList::from_names(&self.api.nvpair, names)
            .map_err(|error| Error::new(operation, first(names), error))
    }
}

/// The object that an error about several of them names.
fn first(names: &[impl AsRef<str>]) -> &str {
    names.first().map_or("", AsRef::as_ref)
}

/// A name for C.
fn name(operation: Operation, name: &str) -> Result<CString, Error> {
    c_string(name).map_err(|error| Error::new(operation, name, error))
}

/// Null for no name.
fn optional(name: Option<&CString>) -> *const std::ffi::c_char {
    name.map_or(ptr::null(), |name| name.as_ptr())
}

/// The number behind a descriptor, if it is a pipe.
///
/// With other kinds of files the kernel fails with EINVAL in some versions, and
/// the library puts a pipe and a thread in between in others.
fn pipe_number(operation: Operation, object: &str, pipe: BorrowedFd<'_>) -> Result<i32, Error> {
    let mut status = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the descriptor is open; the status is written to `status`.
    let rc = unsafe { libc::fstat(pipe.as_raw_fd(), status.as_mut_ptr()) };
    if rc != 0 {
        return Err(Error::new(operation, object, Cause::Errno(Errno::last())));
    }
    // SAFETY: fstat succeeded, so it wrote the status.
    let status = unsafe { status.assume_init() };
    if status.st_mode & libc::S_IFMT == libc::S_IFIFO {
        Ok(pipe.as_raw_fd())
    } else {
        Err(Error::new(
            operation,
            object,
            Cause::Refused("the stream needs a pipe, this is another kind of file"),
        ))
    }
}
