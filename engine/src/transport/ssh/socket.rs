//! The TCP connection below the SSH client, on a leash.
//!
//! In the way of the data: the last step before the kernel. The SSH client runs
//! as a task of its own, and while it waits for the kernel to take bytes it
//! looks neither at its keepalive timer nor at whether anybody still wants it.
//! Both are therefore done here: a write that makes no progress for too long
//! fails, and so does everything once the [`Leash`] is dropped.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

/// Dropping it ends the connection, whatever the SSH client is doing.
#[derive(Debug)]
pub(super) struct Leash(
    #[expect(dead_code, reason = "only its end matters")] oneshot::Sender<Infallible>,
);

/// A TCP stream that gives up.
#[derive(Debug)]
pub(super) struct LeashedSocket {
    stream: TcpStream,
    leash: oneshot::Receiver<Infallible>,
    let_go: bool,
    stall_max: Duration,
    /// Whether a write is waiting, and for how much longer it may.
    stalled: bool,
    patience: Pin<Box<Sleep>>,
}

/// The cause inside the [`io::Error`] of a write that made no progress.
#[derive(Debug, thiserror::Error)]
#[error("no bytes were accepted for {stalled:?}")]
pub(super) struct WriteStalled {
    pub(super) stalled: Duration,
}

/// The cause inside the [`io::Error`] once the leash is dropped.
#[derive(Debug, thiserror::Error)]
#[error("the connection is no longer wanted")]
struct LetGo;

impl LeashedSocket {
    /// A stream whose writes fail after `stall_max` without progress.
    pub(super) fn new(stream: TcpStream, stall_max: Duration) -> (Self, Leash) {
        let (sender, leash) = oneshot::channel();
        let patience = Box::pin(tokio::time::sleep(stall_max));
        (
            Self {
                stream,
                leash,
                let_go: false,
                stall_max,
                stalled: false,
                patience,
            },
            Leash(sender),
        )
    }

    fn check_leash(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.let_go && Pin::new(&mut self.leash).poll(cx).is_ready() {
            self.let_go = true;
        }
        if self.let_go {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, LetGo));
        }
        Ok(())
    }

    /// Passes on the result of a write, and fails one that waits too long.
    fn watch<T>(&mut self, cx: &mut Context<'_>, result: Poll<T>) -> Poll<Result<T, io::Error>> {
        if let Poll::Ready(value) = result {
            self.stalled = false;
            return Poll::Ready(Ok(value));
        }
        if !self.stalled {
            self.stalled = true;
            self.patience
                .as_mut()
                .reset(Instant::now() + self.stall_max);
        }
        ready!(self.patience.as_mut().poll(cx));
        let stalled = self.stall_max;
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            WriteStalled { stalled },
        )))
    }
}

impl AsyncRead for LeashedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_leash(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for LeashedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_leash(cx)?;
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, result).map(Result::flatten)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_leash(cx)?;
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, result).map(Result::flatten)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The client shuts down after every end and reports a failure in place
        // of the reason for which it ended, which is what matters.
        let _ = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        Poll::Ready(Ok(()))
    }
}
