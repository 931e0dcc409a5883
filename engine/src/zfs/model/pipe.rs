//! The pipe of a send or a receive, waited on together with the death of the
//! process that runs it.
//!
//! A process that dies does not wait for its pipes. So nothing here blocks in
//! a read or write: it waits until the pipe is ready or the wake pipe is
//! closed, and moves only as much as a ready pipe takes or gives at once.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl};

use crate::zfs::ZfsErrorKind;

/// A pipe that is ready for writing takes as much without blocking, in bytes
/// (`PIPE_BUF` of Linux; one page).
const READY_BYTES: usize = 4096;

/// What an end of the pipe does when it is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    Waits,
    /// `O_NONBLOCK`.
    Refuses,
}

fn patience(fd: impl AsFd) -> Result<Patience, ZfsErrorKind> {
    let flags = fcntl_getfl(fd).map_err(|_| ZfsErrorKind::Io)?;
    Ok(match flags.contains(OFlags::NONBLOCK) {
        true => Patience::Refuses,
        false => Patience::Waits,
    })
}

/// Waits for `fd`. The process is dead if the other end of `wake` is closed.
fn wait(
    fd: impl AsFd,
    flags: PollFlags,
    wake: &PipeReader,
    patience: Patience,
) -> Result<(), ZfsErrorKind> {
    loop {
        let mut both = [PollFd::new(&fd, flags), PollFd::new(wake, PollFlags::IN)];
        let at_once = rustix::event::Timespec::default();
        let timeout = match patience {
            Patience::Waits => None,
            Patience::Refuses => Some(&at_once),
        };
        match poll(&mut both, timeout) {
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return Err(ZfsErrorKind::Io),
            Ok(_) if !both[1].revents().is_empty() => return Err(ZfsErrorKind::Unavailable),
            // A send into a full non-blocking pipe was seen to end like this.
            // A receive was not tried; it must fail in some way.
            Ok(0) => return Err(ZfsErrorKind::Interrupted),
            Ok(_) => return Ok(()),
        }
    }
}

fn reason(error: &io::Error) -> ZfsErrorKind {
    match error.kind() {
        // The kernel reports a closed read end as EINTR, never as EPIPE.
        io::ErrorKind::BrokenPipe => ZfsErrorKind::Interrupted,
        _ => ZfsErrorKind::Io,
    }
}

/// Write end.
#[derive(Debug)]
pub(super) struct Outlet {
    pipe: PipeWriter,
    wake: PipeReader,
    patience: Patience,
}

impl Outlet {
    pub(super) fn new(fd: OwnedFd, wake: PipeReader) -> Result<Self, ZfsErrorKind> {
        let patience = patience(&fd)?;
        let pipe = fd.into();
        Ok(Self {
            pipe,
            wake,
            patience,
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), ZfsErrorKind> {
        for mut piece in bytes.chunks(READY_BYTES) {
            while !piece.is_empty() {
                wait(&self.pipe, PollFlags::OUT, &self.wake, self.patience)?;
                match self.pipe.write(piece) {
                    Ok(count) => piece = &piece[count..],
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(reason(&error)),
                }
            }
        }
        Ok(())
    }
}

/// Read end.
#[derive(Debug)]
pub(super) struct Inlet {
    pipe: PipeReader,
    wake: PipeReader,
    patience: Patience,
}

impl Inlet {
    pub(super) fn new(fd: OwnedFd, wake: PipeReader) -> Result<Self, ZfsErrorKind> {
        let patience = patience(&fd)?;
        let pipe = fd.into();
        Ok(Self {
            pipe,
            wake,
            patience,
        })
    }

    /// Fills `bytes`, or finds the stream cut.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> Result<(), ZfsErrorKind> {
        let mut filled = 0;
        while filled < bytes.len() {
            wait(&self.pipe, PollFlags::IN, &self.wake, self.patience)?;
            match self.pipe.read(&mut bytes[filled..]) {
                Ok(0) => return Err(ZfsErrorKind::StreamTruncated),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(reason(&error)),
            }
        }
        Ok(())
    }
}
