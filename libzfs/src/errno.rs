//! Error numbers of the kernel module: their names, and what they mean for ZFS.
//!
//! Numbers from 1024 on are ZFS' own (`zfs_errno_t` in `sys/fs/zfs.h`); they
//! are only ever appended to. The C library has no words for them.

use std::fmt;

/// What went wrong, as far as callers tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// ENOENT, or ESRCH for a bookmark: it does not exist.
    NotFound,
    /// EEXIST: the name is taken, or a clone depends on it.
    Exists,
    /// EBUSY: held, being sent or received, or a partial receive is left over.
    Busy,
    /// EPERM: neither root nor allowed to (`zfs allow`).
    Permission,
    /// ENOSPC: the pool is full.
    NoSpace,
    /// EDQUOT: a quota is reached.
    Quota,
    /// ETXTBSY: the target has changed since the base of the stream.
    Modified,
    /// ENODEV: the target has no snapshot with the guid the stream starts from.
    NoSuchBase,
    /// EXDEV: not in one pool or dataset, or the base is no ancestor.
    CrossDevice,
    /// EINTR, EPIPE: the other end of the pipe was closed, or a signal came.
    Interrupted,
    /// 1040: the stream ended before its END record.
    StreamTruncated,
    /// EBADE (`ECKSUM` in ZFS): a checksum inside the stream is wrong.
    ChecksumMismatch,
    /// 1034, 1035: raw and non-raw streams were mixed on one chain.
    IvsetMismatch,
    /// EACCES: the encryption key is not loaded.
    KeyUnavailable,
    /// ENOTSUP and relatives: this pool or kernel cannot do that.
    NotSupported,
    /// EINVAL and relatives: the request or the stream is malformed.
    Invalid,
    /// EIO: the pool, a device or the stream could not be read.
    Io,
    /// EROFS: the pool was imported read-only.
    ReadOnly,
    /// EAGAIN: the pool is suspended, since a device failed.
    Suspended,
    /// The libraries or the kernel module are missing.
    Unavailable,
    /// Another error number (of the kernel, or of libzfs from 2000 on).
    Other(i32),
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "does not exist",
            Self::Exists => "already exists, or a clone depends on it",
            Self::Busy => "is busy",
            Self::Permission => "permission denied",
            Self::NoSpace => "the pool is out of space",
            Self::Quota => "a quota is reached",
            Self::Modified => "has been modified since the base of the stream",
            Self::NoSuchBase => "does not have the snapshot the stream starts from",
            Self::CrossDevice => "not an earlier snapshot of the same dataset, or not one pool",
            Self::Interrupted => "interrupted",
            Self::StreamTruncated => "the stream ended before its end record",
            Self::ChecksumMismatch => "a checksum inside the stream does not match",
            Self::IvsetMismatch => "raw and non-raw streams were mixed",
            Self::KeyUnavailable => "the encryption key is not loaded",
            Self::NotSupported => "not supported by this pool or kernel module",
            Self::Invalid => "invalid argument or stream",
            Self::Io => "input/output error",
            Self::ReadOnly => "the pool was imported read-only",
            Self::Suspended => "the pool is suspended",
            Self::Unavailable => "ZFS is not available",
            Self::Other(number) => return write!(f, "error {number}"),
        })
    }
}

/// An error number, as the kernel module returned it. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

/// ZFS' own error numbers (`zfs_errno_t`) that are told apart.
mod zfs {
    /// `ZFS_ERR_IOC_CMD_UNAVAIL`: the module is older than the library.
    pub(super) const IOC_CMD_UNAVAIL: i32 = 1029;
    /// `ZFS_ERR_IOC_ARG_UNAVAIL`: an argument that the module does not know.
    pub(super) const IOC_ARG_UNAVAIL: i32 = 1030;
    /// `ZFS_ERR_WRONG_PARENT`: the parent is a volume.
    pub(super) const WRONG_PARENT: i32 = 1033;
    /// `ZFS_ERR_FROM_IVSET_GUID_MISSING`
    pub(super) const FROM_IVSET_GUID_MISSING: i32 = 1034;
    /// `ZFS_ERR_FROM_IVSET_GUID_MISMATCH`
    pub(super) const FROM_IVSET_GUID_MISMATCH: i32 = 1035;
    /// `ZFS_ERR_SPILL_BLOCK_FLAG_MISSING`
    pub(super) const SPILL_BLOCK_FLAG_MISSING: i32 = 1036;
    /// `ZFS_ERR_UNKNOWN_SEND_STREAM_FEATURE`
    pub(super) const UNKNOWN_SEND_STREAM_FEATURE: i32 = 1037;
    /// `ZFS_ERR_BOOKMARK_SOURCE_NOT_ANCESTOR`
    pub(super) const BOOKMARK_SOURCE_NOT_ANCESTOR: i32 = 1039;
    /// `ZFS_ERR_STREAM_TRUNCATED`
    pub(super) const STREAM_TRUNCATED: i32 = 1040;
    /// `ZFS_ERR_STREAM_LARGE_BLOCK_MISMATCH`
    pub(super) const STREAM_LARGE_BLOCK_MISMATCH: i32 = 1041;
    /// `ZFS_ERR_BADPROP`
    pub(super) const BADPROP: i32 = 1044;
    /// `ZFS_ERR_RESUME_EXISTS`
    pub(super) const RESUME_EXISTS: i32 = 1047;
    /// `ZFS_ERR_CRYPTO_NOTSUP`
    pub(super) const CRYPTO_NOTSUP: i32 = 1048;
    /// `ZFS_ERR_STREAM_LARGE_MICROZAP`
    pub(super) const STREAM_LARGE_MICROZAP: i32 = 1051;
}

/// ZFS uses EBADE for `ECKSUM` on Linux and illumos, EINTEGRITY on FreeBSD.
#[cfg(any(target_os = "linux", target_os = "illumos"))]
const ECKSUM: i32 = libc::EBADE;
#[cfg(target_os = "freebsd")]
const ECKSUM: i32 = libc::EINTEGRITY;

impl Errno {
    /// What it means.
    #[must_use]
    pub fn kind(self) -> ErrorKind {
        match self.0 {
            // A missing bookmark as base of a send is ESRCH.
            libc::ENOENT | libc::ESRCH => ErrorKind::NotFound,
            libc::EEXIST => ErrorKind::Exists,
            libc::EBUSY | zfs::RESUME_EXISTS => ErrorKind::Busy,
            libc::EPERM => ErrorKind::Permission,
            libc::ENOSPC => ErrorKind::NoSpace,
            libc::EDQUOT => ErrorKind::Quota,
            libc::ETXTBSY => ErrorKind::Modified,
            libc::ENODEV => ErrorKind::NoSuchBase,
            libc::EXDEV | zfs::BOOKMARK_SOURCE_NOT_ANCESTOR => ErrorKind::CrossDevice,
            // EPIPE if the reader was gone before the first record.
            libc::EINTR | libc::EPIPE => ErrorKind::Interrupted,
            zfs::STREAM_TRUNCATED => ErrorKind::StreamTruncated,
            ECKSUM => ErrorKind::ChecksumMismatch,
            zfs::FROM_IVSET_GUID_MISSING | zfs::FROM_IVSET_GUID_MISMATCH => {
                ErrorKind::IvsetMismatch
            }
            libc::EACCES => ErrorKind::KeyUnavailable,
            libc::ENOTSUP
            | zfs::IOC_CMD_UNAVAIL
            | zfs::IOC_ARG_UNAVAIL
            | zfs::UNKNOWN_SEND_STREAM_FEATURE
            | zfs::CRYPTO_NOTSUP
            | zfs::STREAM_LARGE_MICROZAP => ErrorKind::NotSupported,
            libc::EINVAL
            | libc::ENAMETOOLONG
            | libc::ERANGE
            | zfs::BADPROP
            | zfs::WRONG_PARENT
            | zfs::SPILL_BLOCK_FLAG_MISSING
            | zfs::STREAM_LARGE_BLOCK_MISMATCH => ErrorKind::Invalid,
            libc::EIO => ErrorKind::Io,
            libc::EROFS => ErrorKind::ReadOnly,
            libc::EAGAIN => ErrorKind::Suspended,
            other => ErrorKind::Other(other),
        }
    }

    /// Its name in the headers, for those that ZFS returns on purpose.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            libc::ENOENT => "ENOENT",
            libc::ESRCH => "ESRCH",
            libc::EEXIST => "EEXIST",
            libc::EBUSY => "EBUSY",
            libc::EPERM => "EPERM",
            libc::ENOSPC => "ENOSPC",
            libc::EDQUOT => "EDQUOT",
            libc::ETXTBSY => "ETXTBSY",
            libc::ENODEV => "ENODEV",
            libc::EXDEV => "EXDEV",
            libc::EINTR => "EINTR",
            libc::EPIPE => "EPIPE",
            libc::EACCES => "EACCES",
            libc::ENOTSUP => "ENOTSUP",
            libc::EINVAL => "EINVAL",
            libc::ENAMETOOLONG => "ENAMETOOLONG",
            libc::ERANGE => "ERANGE",
            libc::EIO => "EIO",
            libc::EBADF => "EBADF",
            libc::ENOMEM => "ENOMEM",
            libc::ENXIO => "ENXIO",
            libc::EAGAIN => "EAGAIN",
            libc::EROFS => "EROFS",
            libc::E2BIG => "E2BIG",
            libc::EFBIG => "EFBIG",
            libc::ENOEXEC => "ENOEXEC",
            ECKSUM => "ECKSUM",
            zfs::IOC_CMD_UNAVAIL => "ZFS_ERR_IOC_CMD_UNAVAIL",
            zfs::IOC_ARG_UNAVAIL => "ZFS_ERR_IOC_ARG_UNAVAIL",
            zfs::WRONG_PARENT => "ZFS_ERR_WRONG_PARENT",
            zfs::FROM_IVSET_GUID_MISSING => "ZFS_ERR_FROM_IVSET_GUID_MISSING",
            zfs::FROM_IVSET_GUID_MISMATCH => "ZFS_ERR_FROM_IVSET_GUID_MISMATCH",
            zfs::SPILL_BLOCK_FLAG_MISSING => "ZFS_ERR_SPILL_BLOCK_FLAG_MISSING",
            zfs::UNKNOWN_SEND_STREAM_FEATURE => "ZFS_ERR_UNKNOWN_SEND_STREAM_FEATURE",
            zfs::BOOKMARK_SOURCE_NOT_ANCESTOR => "ZFS_ERR_BOOKMARK_SOURCE_NOT_ANCESTOR",
            zfs::STREAM_TRUNCATED => "ZFS_ERR_STREAM_TRUNCATED",
            zfs::STREAM_LARGE_BLOCK_MISMATCH => "ZFS_ERR_STREAM_LARGE_BLOCK_MISMATCH",
            zfs::BADPROP => "ZFS_ERR_BADPROP",
            zfs::RESUME_EXISTS => "ZFS_ERR_RESUME_EXISTS",
            zfs::CRYPTO_NOTSUP => "ZFS_ERR_CRYPTO_NOTSUP",
            zfs::STREAM_LARGE_MICROZAP => "ZFS_ERR_STREAM_LARGE_MICROZAP",
            _ => return None,
        })
    }

    /// The `errno` of this thread.
    pub(crate) fn last() -> Self {
        Self(
            std::io::Error::last_os_error()
                .raw_os_error()
                .unwrap_or_default(),
        )
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind(), self.name()) {
            (ErrorKind::Other(_), Some(name)) if self.0 < 1024 => {
                write!(f, "{} ({name})", system_text(self.0))
            }
            (ErrorKind::Other(number), _) if number < 1024 => f.write_str(&system_text(number)),
            (ErrorKind::Other(number), _) => write!(f, "unknown ZFS error {number}"),
            (kind, Some(name)) => write!(f, "{kind} ({name})"),
            (kind, None) => write!(f, "{kind}"),
        }
    }
}

/// The words of the C library, without its "(os error N)".
fn system_text(errno: i32) -> String {
    let mut text = std::io::Error::from_raw_os_error(errno).to_string();
    if let Some(end) = text.rfind(" (os error") {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use libzfs_sys::bindings;

    #[test]
    fn numbers_of_zfs_are_those_of_the_headers() {
        for (ours, theirs) in [
            (zfs::IOC_CMD_UNAVAIL, bindings::ZFS_ERR_IOC_CMD_UNAVAIL),
            (zfs::IOC_ARG_UNAVAIL, bindings::ZFS_ERR_IOC_ARG_UNAVAIL),
            (zfs::WRONG_PARENT, bindings::ZFS_ERR_WRONG_PARENT),
            (
                zfs::FROM_IVSET_GUID_MISSING,
                bindings::ZFS_ERR_FROM_IVSET_GUID_MISSING,
            ),
            (
                zfs::FROM_IVSET_GUID_MISMATCH,
                bindings::ZFS_ERR_FROM_IVSET_GUID_MISMATCH,
            ),
            (
                zfs::SPILL_BLOCK_FLAG_MISSING,
                bindings::ZFS_ERR_SPILL_BLOCK_FLAG_MISSING,
            ),
            (
                zfs::UNKNOWN_SEND_STREAM_FEATURE,
                bindings::ZFS_ERR_UNKNOWN_SEND_STREAM_FEATURE,
            ),
            (
                zfs::BOOKMARK_SOURCE_NOT_ANCESTOR,
                bindings::ZFS_ERR_BOOKMARK_SOURCE_NOT_ANCESTOR,
            ),
            (zfs::STREAM_TRUNCATED, bindings::ZFS_ERR_STREAM_TRUNCATED),
            (
                zfs::STREAM_LARGE_BLOCK_MISMATCH,
                bindings::ZFS_ERR_STREAM_LARGE_BLOCK_MISMATCH,
            ),
            (zfs::BADPROP, bindings::ZFS_ERR_BADPROP),
        ] {
            assert_eq!(ours, i32::try_from(theirs).unwrap());
        }
    }

    #[test]
    fn display_has_names_and_no_numbers() {
        for errno in [
            libc::ENOENT,
            libc::EBUSY,
            libc::ETXTBSY,
            libc::ENODEV,
            libc::EBADE,
            1035,
            1040,
            1047,
            libc::ENOMEM,
            libc::EMFILE,
        ] {
            let text = Errno(errno).to_string();
            assert!(
                !text.chars().any(|c| c.is_ascii_digit()),
                "{errno} reads as {text:?}"
            );
        }
        assert_eq!(
            Errno(libc::ETXTBSY).to_string(),
            "has been modified since the base of the stream (ETXTBSY)"
        );
    }

    #[test]
    fn unknown_number_of_zfs_is_told_as_such() {
        assert_eq!(Errno(1999).kind(), ErrorKind::Other(1999));
        assert_eq!(Errno(1999).to_string(), "unknown ZFS error 1999");
    }
}
