//! The error of every call: what was tried, on what, why it failed, and for
//! which of several objects.

use std::fmt;

use libzfs_sys::bindings;

use crate::api::Unavailable;
use crate::errno::{Errno, ErrorKind};
use crate::nvlist::{NvError, NvListRef, NvValue};

/// What was tried, in the words of "cannot … NAME".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum Operation {
    Start,
    Open,
    ListChildren,
    ListSnapshots,
    ListBookmarks,
    ListHolds,
    ListPools,
    ReadReceivedProperties,
    CheckProperties,
    DecodeResumeToken,
    Snapshot,
    DestroySnapshots,
    Bookmark,
    DestroyBookmarks,
    Rename,
    Hold,
    Release,
    Send,
    ResumeSend,
    EstimateSend,
    Receive,
    Rollback,
    Create,
    Destroy,
    Unmount,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "use",
            Self::Open => "open",
            Self::ListChildren => "list the children of",
            Self::ListSnapshots => "list the snapshots of",
            Self::ListBookmarks => "list the bookmarks of",
            Self::ListHolds => "list the holds of",
            Self::ListPools => "list",
            Self::ReadReceivedProperties => "read the received properties of",
            Self::CheckProperties => "use these properties for",
            Self::DecodeResumeToken => "decode",
            Self::Snapshot => "take",
            Self::DestroySnapshots | Self::DestroyBookmarks | Self::Destroy => "destroy",
            Self::Bookmark => "bookmark",
            Self::Rename => "rename",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Send => "send",
            Self::ResumeSend => "resume the send of",
            Self::EstimateSend => "estimate the send of",
            Self::Receive => "receive",
            Self::Rollback => "roll back",
            Self::Create => "create",
            Self::Unmount => "unmount",
        })
    }
}

/// One of several objects of a call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemError {
    /// The snapshot, `snapshot#tag` of a hold, bookmark or property.
    pub name: String,
    /// Why.
    pub errno: Errno,
}

/// What libzfs says about its last failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{action}: {description}")]
pub struct LibzfsError {
    /// `libzfs_errno`: `EZFS_*`, from 2000 on; 0 if libzfs did not set it.
    /// Numbers above 2065 mean other things in other versions.
    pub number: i32,
    /// `errno` right after the call; 0 or stale if libzfs did not set it.
    pub errno: Errno,
    /// What libzfs was about, for example `cannot rename 'tank@a'`.
    pub action: String,
    /// Why it failed, in libzfs' words.
    pub description: String,
}

impl LibzfsError {
    /// What it means.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        let Ok(number) = u32::try_from(self.number) else {
            return ErrorKind::Other(self.number);
        };
        match number {
            bindings::EZFS_SUCCESS => self.errno.kind(),
            bindings::EZFS_NOENT => ErrorKind::NotFound,
            bindings::EZFS_EXISTS => ErrorKind::Exists,
            bindings::EZFS_BUSY => ErrorKind::Busy,
            bindings::EZFS_PERM => ErrorKind::Permission,
            bindings::EZFS_NOSPC => ErrorKind::NoSpace,
            bindings::EZFS_CROSSTARGET => ErrorKind::CrossDevice,
            bindings::EZFS_INTR => ErrorKind::Interrupted,
            bindings::EZFS_IO => ErrorKind::Io,
            bindings::EZFS_NOTSUP | bindings::EZFS_BADVERSION => ErrorKind::NotSupported,
            bindings::EZFS_BADPROP
            | bindings::EZFS_PROPREADONLY
            | bindings::EZFS_PROPTYPE
            | bindings::EZFS_PROPNONINHERIT
            | bindings::EZFS_PROPSPACE
            | bindings::EZFS_BADTYPE
            | bindings::EZFS_INVALIDNAME
            | bindings::EZFS_NAMETOOLONG
            | bindings::EZFS_BADPATH => ErrorKind::Invalid,
            _ => ErrorKind::Other(self.number),
        }
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The kernel module returned this.
    #[error("{0}")]
    Errno(Errno),
    /// libzfs returned this.
    #[error(transparent)]
    Libzfs(LibzfsError),
    /// ZFS is missing.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A list of names and values could not be made or read.
    #[error(transparent)]
    NvList(#[from] NvError),
    /// `/dev/zfs` could not be opened.
    #[error("cannot open /dev/zfs: {0}")]
    Device(std::io::Error),
    /// The argument was refused before any library saw it.
    #[error("{0}")]
    Refused(&'static str),
}

/// A call that failed.
///
/// Where a call is about several objects and the kernel tells them apart, they
/// are in `items`; `cause` is then the reason of the whole call, or of the
/// first item if the whole call has none (see [`crate::Core::hold`]).
#[derive(Debug)]
pub struct Error {
    /// What was tried.
    pub operation: Operation,
    /// The dataset, snapshot, bookmark or pool it was about; the first of
    /// several.
    pub object: String,
    /// Why it failed. Part of the message, so [`std::error::Error::source`] is
    /// what is behind it.
    pub cause: Box<Cause>,
    /// The objects that failed, where the kernel tells.
    pub items: Vec<ItemError>,
    /// Failed objects that the kernel had no room to name.
    pub items_omitted: u64,
}

/// Items that a message names before it only counts.
const ITEMS_SHOWN_MAX: usize = 4;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot {} {}: {}",
            self.operation, self.object, self.cause
        )?;
        for item in self.items.iter().take(ITEMS_SHOWN_MAX) {
            write!(f, "; {}: {}", item.name, item.errno)?;
        }
        let more = self.items.len().saturating_sub(ITEMS_SHOWN_MAX) as u64 + self.items_omitted;
        if more > 0 {
            write!(f, "; and {more} more")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.source()
    }
}

impl Error {
    pub(crate) fn new(operation: Operation, object: &str, cause: impl Into<Cause>) -> Self {
        Self {
            operation,
            object: object.to_owned(),
            cause: Box::new(cause.into()),
            items: Vec::new(),
            items_omitted: 0,
        }
    }

    pub(crate) fn errno(operation: Operation, object: &str, errno: i32) -> Self {
        Self::new(operation, object, Cause::Errno(Errno(errno)))
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self.cause.as_ref() {
            Cause::Errno(errno) => errno.kind(),
            Cause::Libzfs(error) => error.kind(),
            Cause::Unavailable(_) => ErrorKind::Unavailable,
            Cause::NvList(_) | Cause::Refused(_) => ErrorKind::Invalid,
            Cause::Device(error) => match error.raw_os_error() {
                Some(libc::EACCES) => ErrorKind::Permission,
                Some(errno) => Errno(errno).kind(),
                None => ErrorKind::Io,
            },
        }
    }
}

/// What an error list says: items, and how many more there were.
#[derive(Debug, Default)]
pub(crate) struct ErrorList {
    pub(crate) items: Vec<ItemError>,
    pub(crate) omitted: u64,
}

/// The key under which the kernel counts errors that did not fit.
const N_MORE_ERRORS: &str = "N_MORE_ERRORS";

impl ErrorList {
    /// Reads an error list of libzfs_core: names with an `int32` each.
    pub(crate) fn read(list: NvListRef<'_>) -> Self {
        let mut errors = Self::default();
        for (name, value) in list.iter() {
            let number = match value {
                Ok(NvValue::Int32(number)) => number,
                // Never seen; an unreadable entry is still an error.
                _ => libc::EINVAL,
            };
            if name == N_MORE_ERRORS {
                errors.omitted = u64::try_from(number).unwrap_or(0);
            } else if number != 0 {
                errors.items.push(ItemError {
                    name,
                    errno: Errno(number),
                });
            }
        }
        errors
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.omitted == 0
    }

    /// The result of a call that returned `rc` and this list. A call may
    /// return 0 and still have failed for some objects.
    pub(crate) fn outcome(self, rc: i32, operation: Operation, object: &str) -> Result<(), Error> {
        if rc == 0 && self.is_empty() {
            return Ok(());
        }
        let errno = match (rc, self.items.first()) {
            (0, Some(item)) => item.errno.0,
            (0, None) => libc::EINVAL,
            (rc, _) => rc,
        };
        Err(Error {
            items: self.items,
            items_omitted: self.omitted,
            ..Error::errno(operation, object, errno)
        })
    }
}
