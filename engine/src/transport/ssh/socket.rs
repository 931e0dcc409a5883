//! The TCP connection below the SSH client, on a leash.
//!
//! In the way of the data: the last step before the kernel. The SSH client runs
//! as a task of its own, and while it waits for the kernel to take bytes it
//! looks neither at its keepalive timer nor at whether anybody still wants it.
//! Both are therefore done here: a write that makes no progress for too long
//! fails, and so does everything once the [`Leash`] is dropped.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

use crate::transport::Dscp;

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
    first: FirstBytes,
    gate: Gate,
}

/// Stops the reading of a socket while too much of what came waits. Clones are
/// the same.
///
/// A full queue would stop the whole SSH session: answers and heartbeats, which
/// need no room in it, could not be sent. The other side has to read them, though,
/// and russh's client does not while its own socket takes nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    /// Signed, since what came may be taken before it is counted.
    bytes: i64,
    packets: i64,
    reader: Option<Waker>,
}

/// Bytes that may wait before the gate closes.
const WAITING_BYTES_MAX: i64 = 4 * 1024 * 1024;

/// Packets that may wait before the gate closes: tiny ones cost more than they
/// weigh.
const WAITING_PACKETS_MAX: i64 = 256;

impl Gate {
    /// A packet came.
    pub(super) fn came(&self, bytes: usize) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.packets += 1;
        waiting.bytes += i64::try_from(bytes).unwrap_or(i64::MAX);
    }

    /// A packet was taken.
    pub(super) fn taken(&self, bytes: usize) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.packets -= 1;
        waiting.bytes -= i64::try_from(bytes).unwrap_or(i64::MAX);
        if let Some(reader) = waiting.reader.take() {
            reader.wake();
        }
    }

    fn poll_open(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.bytes < WAITING_BYTES_MAX && waiting.packets < WAITING_PACKETS_MAX {
            return Poll::Ready(());
        }
        waiting.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The first bytes that came, which in SSH are the name of the other side's
/// program. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct FirstBytes(Arc<OnceLock<[u8; FIRST_BYTES]>>);

/// How many first bytes are kept.
const FIRST_BYTES: usize = 32;

impl FirstBytes {
    /// Whether the first bytes are these. A name that comes in pieces is not
    /// recognised.
    pub(super) fn are(&self, bytes: &[u8]) -> bool {
        self.0.get().is_some_and(|first| first.starts_with(bytes))
    }

    fn note(&self, bytes: &[u8]) {
        self.0.get_or_init(|| {
            let mut first = [0; FIRST_BYTES];
            let count = bytes.len().min(FIRST_BYTES);
            first[..count].copy_from_slice(&bytes[..count]);
            first
        });
    }
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

/// Bytes that wait in the kernel until TCP may send them. Those on their way are
/// not among them, so that a long way gets no less. What waits there, megabytes
/// otherwise, was compressed before anybody could know that the link is slow.
const UNSENT_BYTES_MAX: u32 = 256 * 1024;

/// Only a better queue: without it everything works.
fn keep_unsent_low(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, UNSENT_BYTES_MAX);
}

/// What both sides ask of a connection: that nothing waits for more to come, and
/// how the network is to treat what is sent.
///
/// # Errors
/// What the system says.
pub(super) fn adjust(stream: &TcpStream, dscp: Option<Dscp>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if let Some(dscp) = dscp {
        mark(stream, dscp).map_err(|error| {
            let text = format!("its packets cannot be marked {dscp}: {error}");
            io::Error::new(error.kind(), text)
        })?;
    }
    Ok(())
}

/// Has all packets from here on carry the code point.
fn mark(stream: &TcpStream, dscp: Dscp) -> io::Result<()> {
    let class = u32::from(dscp.traffic_class());
    let socket = socket2::SockRef::from(stream);
    match stream.local_addr()? {
        SocketAddr::V4(_) => socket.set_tos_v4(class),
        // A socket for both that speaks IPv4 sends as IPv4 has it.
        SocketAddr::V6(local) if local.ip().to_ipv4_mapped().is_some() => socket.set_tos_v4(class),
        SocketAddr::V6(_) => socket.set_tclass_v6(class),
    }
}

impl LeashedSocket {
    /// A stream whose writes fail after `stall_max` without progress.
    pub(super) fn new(stream: TcpStream, stall_max: Duration) -> (Self, Leash) {
        keep_unsent_low(&stream);
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
                first: FirstBytes::default(),
                gate: Gate::default(),
            },
            Leash(sender),
        )
    }

    /// To be asked once something has come.
    pub(super) fn first_bytes(&self) -> FirstBytes {
        self.first.clone()
    }

    /// For whoever counts what waits; open for ever if nobody does.
    pub(super) fn gate(&self) -> Gate {
        self.gate.clone()
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
        ready!(self.gate.poll_open(cx));
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(new) = buf.filled().get(before..)
            && !new.is_empty()
            && self.first.0.get().is_none()
        {
            self.first.note(new);
        }
        read
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn connected(stall_max: Duration) -> (LeashedSocket, Leash, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (far, _) = listener.accept().await.unwrap();
        let (socket, leash) = LeashedSocket::new(near, stall_max);
        (socket, leash, far)
    }

    async fn write_for_ever(socket: &mut LeashedSocket) -> io::Error {
        loop {
            if let Err(error) = socket.write_all(&[0; 64 * 1024]).await {
                return error;
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn no_megabytes_wait_in_the_kernel_to_be_sent() {
        let (socket, _leash, _far) = connected(Duration::from_secs(1)).await;
        let limit = socket2::SockRef::from(&socket.stream).tcp_notsent_lowat();
        assert_eq!(limit.unwrap(), UNSENT_BYTES_MAX);
    }

    #[tokio::test]
    async fn packets_are_marked_whatever_the_socket_speaks() {
        let dscp: Dscp = "le".parse().unwrap();
        let class = u32::from(dscp.traffic_class());
        for (listens, connects) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("[::1]:0", "::1"),
            ("[::]:0", "127.0.0.1"),
        ] {
            // A machine without IPv6 has only the first.
            let Ok(listener) = TcpListener::bind(listens).await else {
                assert_ne!(listens, "127.0.0.1:0");
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            let near = TcpStream::connect((connects, port)).await.unwrap();
            let (far, _) = listener.accept().await.unwrap();
            for stream in [&near, &far] {
                adjust(stream, None).unwrap();
                let socket = socket2::SockRef::from(stream);
                let marked = || match connects.contains(':') {
                    true => socket.tclass_v6().unwrap(),
                    false => socket.tos_v4().unwrap(),
                };
                assert_eq!(marked(), 0, "{listens}");
                adjust(stream, Some(dscp)).unwrap();
                assert_eq!(marked(), class, "{listens}");
            }
        }
    }

    #[tokio::test]
    async fn a_write_without_progress_fails_with_its_own_cause() {
        let stall_max = Duration::from_millis(100);
        let (mut socket, _leash, _far) = connected(stall_max).await;
        let error = write_for_ever(&mut socket).await;
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
        assert!(
            matches!(cause, Some(WriteStalled { stalled }) if *stalled == stall_max),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn slow_progress_is_progress() {
        let stall_max = Duration::from_secs(1);
        let (mut socket, _leash, mut far) = connected(stall_max).await;
        let started = Instant::now();
        let read_slowly = async {
            // Each read makes room again after a good part of the time allowed.
            let mut buffer = vec![0; 4 << 20];
            while started.elapsed() < stall_max * 4 {
                tokio::time::sleep(stall_max / 4).await;
                let _ = far.read(&mut buffer).await.unwrap();
            }
        };
        tokio::select! {
            error = write_for_ever(&mut socket) => panic!("{error}"),
            () = read_slowly => {}
        }
    }

    #[tokio::test]
    async fn dropping_the_leash_fails_a_waiting_read_and_a_waiting_write() {
        let (mut socket, leash, _far) = connected(Duration::from_secs(3600)).await;
        let mut byte = [0; 1];
        let (error, ()) = tokio::join!(socket.read(&mut byte), async { drop(leash) });
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);

        let (mut socket, leash, _far) = connected(Duration::from_secs(3600)).await;
        let (error, ()) = tokio::join!(write_for_ever(&mut socket), async { drop(leash) });
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }
}
