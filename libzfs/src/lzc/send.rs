//! Sending: the kernel writes a stream into a pipe.

use std::ffi::CString;
use std::os::fd::BorrowedFd;

use libzfs_sys::bindings::{
    LZC_SEND_FLAG_COMPRESS, LZC_SEND_FLAG_EMBED_DATA, LZC_SEND_FLAG_LARGE_BLOCK, LZC_SEND_FLAG_RAW,
    lzc_send_flags,
};

use super::{Core, name, optional, pipe_number};
use crate::error::{Error, Operation};
use crate::signals::SignalsBlocked;

/// How blocks are put into the stream (zfs-send(8)). A chain of streams must
/// keep the flags of its first one: a changed `large_block` has lost data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SendFlags {
    /// `-e`: tiny blocks inside their block pointers.
    pub embed_data: bool,
    /// `-L`: blocks over 128 KiB whole.
    pub large_block: bool,
    /// `-c`: blocks as they are compressed on disk.
    pub compress: bool,
    /// `-w`: encrypted blocks as they are on disk. `zfs send -w` sets the other
    /// three too; the kernel implies what it needs.
    pub raw: bool,
    /// `-S`: the state of a partial receive. OpenZFS only.
    pub saved: bool,
}

/// Bit of `zfs send -S`. Written out: illumos' headers do not have it.
const SEND_FLAG_SAVED: lzc_send_flags = 1 << 4;

impl SendFlags {
    fn bits(self) -> lzc_send_flags {
        [
            (self.embed_data, LZC_SEND_FLAG_EMBED_DATA),
            (self.large_block, LZC_SEND_FLAG_LARGE_BLOCK),
            (self.compress, LZC_SEND_FLAG_COMPRESS),
            (self.raw, LZC_SEND_FLAG_RAW),
            (self.saved, SEND_FLAG_SAVED),
        ]
        .into_iter()
        .filter(|&(set, _)| set)
        .fold(0, |bits, (_, bit)| bits | bit)
    }
}

/// One stream to produce.
#[derive(Debug, Clone, Copy)]
pub struct SendRequest<'a> {
    /// `dataset@snapshot`
    pub snapshot: &'a str,
    /// Where the stream starts: an earlier `dataset@snapshot` or
    /// `dataset#bookmark` of the same dataset, or the origin of a clone.
    /// `None` for a full stream.
    pub from: Option<&'a str>,
    /// Block form.
    pub flags: SendFlags,
}

/// Where a cut stream goes on, out of a resume token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumePoint {
    /// Object number.
    pub object: u64,
    /// Offset in that object, in bytes.
    pub offset_bytes: u64,
}

/// The names of a request, for C.
struct Names {
    snapshot: CString,
    from: Option<CString>,
}

impl Names {
    fn new(operation: Operation, request: &SendRequest<'_>) -> Result<Self, Error> {
        Ok(Self {
            snapshot: name(operation, request.snapshot)?,
            from: request.from.map(|from| name(operation, from)).transpose()?,
        })
    }
}

impl Core {
    /// Writes one stream into `pipe` and returns when all of it was taken.
    /// Blocks the thread; another one drains the pipe. The end of the stream is
    /// no proof of success, the result of this call is. Changes nothing.
    /// Source: `lzc_send`.
    ///
    /// `pipe` must be the write end of a pipe (not a file or socket), blocking,
    /// with `O_CLOEXEC` on both ends: a child with a copy of an end keeps the
    /// other side waiting. Resize it only while it is empty.
    ///
    /// Signals are blocked in the thread meanwhile. To cancel, close the read
    /// end: the call then returns `Interrupted` (EINTR, or EPIPE if nothing was
    /// written yet) and no SIGPIPE is left behind. A receiver that failed must have its end closed for the
    /// same reason: otherwise this call waits for ever.
    ///
    /// # Errors
    /// `Interrupted`, `NotFound` (also for a missing bookmark), `CrossDevice`
    /// (`from` is no ancestor), `KeyUnavailable` (not raw, key not loaded),
    /// `Permission`, `Invalid`, `Io`.
    pub fn send(&self, request: &SendRequest<'_>, pipe: BorrowedFd<'_>) -> Result<(), Error> {
        let operation = Operation::Send;
        let fd = pipe_number(operation, request.snapshot, pipe)?;
        let names = Names::new(operation, request)?;
        let rc = {
            let _blocked = SignalsBlocked::new();
            // SAFETY: names and descriptor live until the call returns.
            unsafe {
                (self.api.core.lzc_send)(
                    names.snapshot.as_ptr(),
                    optional(names.from.as_ref()),
                    fd,
                    request.flags.bits(),
                )
            }
        };
        sent(rc, operation, request)
    }

    /// Like [`Self::send`], but goes on at `point`. Everything in the request
    /// comes from a resume token ([`crate::ResumeToken`]) that the caller has
    /// compared with its own plan: a token is foreign input.
    /// Source: `lzc_send_resume`.
    ///
    /// # Errors
    /// See [`Self::send`].
    pub fn send_resume(
        &self,
        request: &SendRequest<'_>,
        point: ResumePoint,
        pipe: BorrowedFd<'_>,
    ) -> Result<(), Error> {
        let operation = Operation::ResumeSend;
        let fd = pipe_number(operation, request.snapshot, pipe)?;
        let names = Names::new(operation, request)?;
        let rc = {
            let _blocked = SignalsBlocked::new();
            // SAFETY: names and descriptor live until the call returns.
            unsafe {
                (self.api.core.lzc_send_resume)(
                    names.snapshot.as_ptr(),
                    optional(names.from.as_ref()),
                    fd,
                    request.flags.bits(),
                    point.object,
                    point.offset_bytes,
                )
            }
        };
        sent(rc, operation, request)
    }

    /// Estimated size of the stream in bytes; the real one may be some percent
    /// larger or smaller. Source: `lzc_send_space`.
    ///
    /// # Errors
    /// `NotFound`, `CrossDevice`.
    pub fn send_space(&self, request: &SendRequest<'_>) -> Result<u64, Error> {
        let operation = Operation::EstimateSend;
        let names = Names::new(operation, request)?;
        let mut bytes = 0;
        // SAFETY: the names live until the call returns; the answer is written
        // to `bytes`.
        let rc = unsafe {
            (self.api.core.lzc_send_space)(
                names.snapshot.as_ptr(),
                optional(names.from.as_ref()),
                request.flags.bits(),
                &mut bytes,
            )
        };
        sent(rc, operation, request).map(|()| bytes)
    }
}

fn sent(rc: i32, operation: Operation, request: &SendRequest<'_>) -> Result<(), Error> {
    if rc == 0 {
        Ok(())
    } else {
        Err(Error::errno(operation, request.snapshot, rc))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libzfs_sys::bindings::LZC_SEND_FLAG_SAVED;

    #[test]
    fn each_flag_is_its_own_bit() {
        assert_eq!(SendFlags::default().bits(), 0);
        let all = SendFlags {
            embed_data: true,
            large_block: true,
            compress: true,
            raw: true,
            saved: true,
        };
        assert_eq!(all.bits(), 0b11111);
        assert_eq!(SEND_FLAG_SAVED, LZC_SEND_FLAG_SAVED);
        let compressed = SendFlags {
            compress: true,
            ..SendFlags::default()
        };
        assert_eq!(compressed.bits(), LZC_SEND_FLAG_COMPRESS);
    }
}
