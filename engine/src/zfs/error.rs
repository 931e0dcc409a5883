//! Why an operation of ZFS failed, in a form that crosses the wire.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Family;

/// The reasons the engine tells apart; everything else keeps its errno.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZfsErrorKind {
    /// ENOENT: the dataset, snapshot or pool does not exist.
    NotFound,
    /// EEXIST: the name is taken, or clones depend on it.
    Exists,
    /// EBUSY: held, mounted in a way that matters, or being received into.
    Busy,
    /// EPERM: not root, and no delegated permission.
    Permission,
    /// ENOSPC: the pool is full.
    NoSpace,
    /// EDQUOT: a quota is reached.
    Quota,
    /// ETXTBSY: the target has changed since the base.
    Modified,
    /// ENODEV: the target does not have the base of the stream.
    NoSuchBase,
    /// EXDEV: not in one pool, or the base is no ancestor.
    CrossDevice,
    /// EINTR: the other end of the pipe was closed, or a signal came.
    Interrupted,
    /// The stream ended before its END record.
    StreamTruncated,
    /// A checksum inside the stream is wrong.
    ChecksumMismatch,
    /// Raw and non-raw streams were mixed on one chain.
    IvsetMismatch,
    /// EACCES: the encryption key is not loaded.
    KeyUnavailable,
    /// ENOTSUP: the pool lacks a feature of the stream, or the system the means.
    NotSupported,
    /// EINVAL: ZFS finds the request or the stream malformed.
    Invalid,
    /// EIO: the device or the pool failed.
    Io,
    /// EROFS: the pool was imported read-only.
    ReadOnly,
    /// EAGAIN: the pool is suspended until its devices are back and it is cleared.
    Suspended,
    /// The libraries or the kernel module are missing.
    Unavailable,
    /// The process that serves a user-space pool ended or hung. What was asked
    /// may be done or not, but never half; the next call opens the pool again.
    WorkerLost,
    /// Another errno.
    #[serde(untagged)]
    Other(i32),
}

impl fmt::Display for ZfsErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "does not exist",
            Self::Exists => "already exists, or a clone depends on it",
            Self::Busy => "is busy (held, or a receive into it is running or left over)",
            Self::Permission => "permission denied",
            Self::NoSpace => "the pool is out of space",
            Self::Quota => "a quota is exceeded",
            Self::Modified => "has been modified since the most recent common snapshot",
            Self::NoSuchBase => "the target does not have the snapshot this stream starts from",
            Self::CrossDevice => "the base is not an earlier snapshot of the same dataset",
            Self::Interrupted => "interrupted",
            Self::StreamTruncated => "the stream ended before its end record",
            Self::ChecksumMismatch => "a checksum inside the stream does not match",
            Self::IvsetMismatch => "raw and non-raw streams were mixed (ivset guid mismatch)",
            Self::KeyUnavailable => "the encryption key is not loaded",
            Self::NotSupported => "the pool, or this system, does not support it",
            Self::Invalid => "invalid argument or stream",
            Self::Io => "input/output error",
            Self::ReadOnly => "the pool was imported read-only",
            Self::Suspended => "the pool is suspended, because a device of it failed",
            Self::Unavailable => "ZFS is not available",
            Self::WorkerLost => "the process that serves the pool ended or hung",
            Self::Other(errno) => return write!(f, "errno {errno}"),
        })
    }
}

/// One of several objects of an operation that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemError {
    /// The snapshot, hold or property.
    pub name: String,
    /// Why.
    pub kind: ZfsErrorKind,
}

/// A failed operation: what was tried, on what, and why it failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct ZfsError {
    /// The operation in the words of a sentence: "receive", "take a snapshot".
    pub operation: String,
    /// The dataset or snapshot it was about.
    pub object: String,
    /// The reason as a whole.
    pub kind: ZfsErrorKind,
    /// Per-object reasons, where ZFS gave them.
    pub items: Vec<ItemError>,
    /// What the library or the loader adds, or empty.
    pub detail: String,
}

impl ZfsError {
    /// An error without per-object reasons.
    #[must_use]
    pub fn new(operation: &str, object: impl fmt::Display, kind: ZfsErrorKind) -> Self {
        Self {
            operation: operation.to_owned(),
            object: object.to_string(),
            kind,
            items: Vec::new(),
            detail: String::new(),
        }
    }

    /// The exit-code family.
    #[must_use]
    pub fn family(&self) -> Family {
        match self.kind {
            ZfsErrorKind::Busy
            | ZfsErrorKind::Interrupted
            | ZfsErrorKind::StreamTruncated
            | ZfsErrorKind::WorkerLost => Family::Transient,
            ZfsErrorKind::Modified | ZfsErrorKind::NoSuchBase | ZfsErrorKind::IvsetMismatch => {
                Family::BrokenChain
            }
            ZfsErrorKind::Permission => Family::Refused,
            ZfsErrorKind::Unavailable => Family::NoZfs,
            _ => Family::Failed,
        }
    }

    /// What to type on the machine where it happened, if that is the same
    /// whatever was going on.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        let dataset = self.object.split(['@', '#']).next().unwrap_or_default();
        let pool = dataset.split('/').next().unwrap_or_default();
        Some(match self.kind {
            ZfsErrorKind::NoSpace => {
                format!("make room, then run the same command again: zfs list -o space -r {pool}")
            }
            ZfsErrorKind::Quota => format!(
                "raise the quota that is reached, then run the same command again: \
                 zfs get -r quota,refquota {pool}"
            ),
            ZfsErrorKind::ReadOnly => {
                format!("import it writable: zpool export {pool} && zpool import {pool}")
            }
            ZfsErrorKind::Suspended => {
                format!("bring its devices back, see zpool status {pool}; then: zpool clear {pool}")
            }
            ZfsErrorKind::KeyUnavailable => format!("load the key: zfs load-key -r {pool}"),
            _ => return None,
        })
    }
}

impl fmt::Display for ZfsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot {} {}: {}",
            self.operation, self.object, self.kind
        )?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        for item in self.items.iter().take(4) {
            write!(f, "; {}: {}", item.name, item.kind)?;
        }
        if self.items.len() > 4 {
            write!(f, "; and {} more", self.items.len() - 4)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_has_to_mend_names_the_command_with_the_pool() {
        for (kind, command) in [
            (ZfsErrorKind::NoSpace, "zfs list -o space -r tank"),
            (ZfsErrorKind::Quota, "zfs get -r quota,refquota tank"),
            (ZfsErrorKind::ReadOnly, "zpool import tank"),
            (ZfsErrorKind::Suspended, "zpool clear tank"),
            (ZfsErrorKind::KeyUnavailable, "zfs load-key -r tank"),
        ] {
            for object in ["tank", "tank/a/b", "tank/a@x", "tank/a#x"] {
                let error = ZfsError::new("receive", object, kind);
                assert_eq!(error.family(), Family::Failed);
                let remedy = error.remedy().unwrap();
                assert!(remedy.ends_with(command), "{object}: {remedy}");
            }
        }
    }

    #[test]
    fn a_pool_that_is_suspended_or_read_only_is_told_from_other_errors() {
        use rustix::io::Errno;
        let kind = |errno: Errno| crate::zfs::kernel::kind_of_errno(errno.raw_os_error());
        assert_eq!(kind(Errno::AGAIN), ZfsErrorKind::Suspended);
        assert_eq!(kind(Errno::ROFS), ZfsErrorKind::ReadOnly);
    }
}
