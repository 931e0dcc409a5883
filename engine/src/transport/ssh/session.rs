//! From the channel of a running command to a [`Link`]: two tasks, one for
//! each direction, and the verdict on how the command ended.
//!
//! In the way of the data: chunks become SSH packets here and packets become
//! chunks. It leaves connecting to `mod` and encryption to the SSH client.

use std::sync::Arc;

use bytes::Bytes;
use russh::client::{Handle, Msg};
use russh::{ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect, Sig};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Duration;

use super::client::{Cause, Client};
use super::socket::Leash;
use crate::transport::link::{INBOUND_CHUNKS_MAX, Link, LinkError, OUTBOUND_CHUNKS_MAX, RemoteEnd};
use crate::transport::printable::{StderrTail, printable_line};

/// The most that is handed to the SSH client in one call, in bytes. It cuts
/// this again to what the server accepts, 32 KiB for `sshd`.
const PACKET_BYTES_MAX: usize = 256 * 1024;

/// What a shell answers if it does not find the command.
const EXIT_CODE_NOT_FOUND: u32 = 127;

/// How long the server may take to accept our farewell after a clean end.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// The longest signal name that is kept, in characters.
const SIGNAL_CHARS_MAX: usize = 32;

/// A command that was started on the other host.
pub(super) struct Running {
    pub(super) handle: Handle<Client>,
    pub(super) leash: Leash,
    pub(super) cause: Cause,
    pub(super) command: String,
    pub(super) read: ChannelReadHalf,
    pub(super) write: ChannelWriteHalf<Msg>,
}

impl Running {
    /// The link, and what serves it until it has ended.
    pub(super) fn into_link(self) -> (Link, impl Future<Output = ()>) {
        let Self {
            handle,
            leash,
            cause,
            command,
            read,
            write,
        } = self;
        let (outbound, chunks) = mpsc::channel(OUTBOUND_CHUNKS_MAX);
        let (received, inbound) = mpsc::channel(INBOUND_CHUNKS_MAX);
        let (stop, stopped) = oneshot::channel();
        let writer = tokio::spawn(send(Arc::new(write), chunks, stopped));
        let reader = Reader {
            read,
            received,
            stop,
            writer,
            cause,
            command,
            end: End::default(),
        };
        let served = async move {
            let clean = reader.run().await;
            if clean {
                let _ = handle.disconnect(Disconnect::ByApplication, "", "en").await;
                let _ = tokio::time::timeout(FAREWELL_MAX, handle).await;
            }
            drop(leash);
        };
        (Link { inbound, outbound }, served)
    }
}

/// Sends chunks until there are no more, or until the other direction says
/// stop. Returns whether something was left unsent. Closes `outbound` when it
/// ends.
pub(super) async fn send<S: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static>(
    write: Arc<ChannelWriteHalf<S>>,
    mut chunks: mpsc::Receiver<Bytes>,
    mut stopped: oneshot::Receiver<()>,
) -> bool {
    loop {
        let chunk = tokio::select! {
            biased;
            _ = &mut stopped => {
                chunks.close();
                return chunks.try_recv().is_ok();
            }
            chunk = chunks.recv() => chunk,
        };
        let Some(mut chunk) = chunk else { break };
        while !chunk.is_empty() {
            let packet = chunk.split_to(chunk.len().min(PACKET_BYTES_MAX));
            tokio::select! {
                // Cut off in the middle of a packet only to end the channel.
                _ = &mut stopped => return true,
                sent = write.data_bytes(packet) => if sent.is_err() { return true },
            }
        }
    }
    tokio::select! {
        _ = &mut stopped => {}
        // It fails only if the connection is gone, which the reader reports.
        _ = write.eof() => {}
    }
    false
}

/// What is known about the end of the command.
#[derive(Debug, Default)]
struct End {
    status: Option<RemoteEnd>,
    /// The server closed the channel: no data is missing.
    closed: bool,
    stderr: StderrTail,
}

struct Reader {
    read: ChannelReadHalf,
    received: mpsc::Sender<Result<Bytes, LinkError>>,
    /// Dropped or used: the writer ends.
    stop: oneshot::Sender<()>,
    writer: JoinHandle<bool>,
    cause: Cause,
    command: String,
    end: End,
}

impl Reader {
    /// Receives until the channel ends or nobody listens. Returns whether the
    /// connection still works, so that a farewell is worth while.
    async fn run(mut self) -> bool {
        while !self.end.closed {
            let message = tokio::select! {
                message = self.read.wait() => message,
                () = self.received.closed() => return false,
            };
            let Some(message) = message else { break };
            if let Some(chunk) = self.end.take_in(message)
                && self.received.send(Ok(chunk)).await.is_err()
            {
                return false;
            }
        }
        let _ = self.stop.send(());
        let unsent = self.writer.await.unwrap_or(true);
        if let Some(error) = self.end.verdict(unsent, &self.cause, self.command) {
            let _ = self.received.send(Err(error)).await;
        }
        self.end.closed
    }
}

impl End {
    /// Notes what a message says about the end; returns data to pass on.
    fn take_in(&mut self, message: ChannelMsg) -> Option<Bytes> {
        match message {
            ChannelMsg::Data { data } if !data.is_empty() => return Some(data),
            ChannelMsg::ExtendedData { data, ext: 1 } => self.stderr.push(&data),
            ChannelMsg::ExitStatus { exit_status } => {
                self.status.get_or_insert(RemoteEnd::Code(exit_status));
            }
            ChannelMsg::ExitSignal { signal_name, .. } => {
                let name = match signal_name {
                    Sig::Custom(name) => printable_line(&name, SIGNAL_CHARS_MAX),
                    known => format!("{known:?}"),
                };
                self.status.get_or_insert(RemoteEnd::Signal(name));
            }
            ChannelMsg::Close => self.closed = true,
            _ => {}
        }
        None
    }

    /// What to tell the reader of the link, if the end was not a clean one.
    fn verdict(&self, unsent: bool, cause: &Cause, command: String) -> Option<LinkError> {
        let stderr = self.stderr.text();
        match &self.status {
            Some(RemoteEnd::Code(0)) if self.closed && unsent => {
                Some(LinkError::EndedEarly { stderr })
            }
            Some(RemoteEnd::Code(0)) if self.closed => None,
            Some(RemoteEnd::Code(EXIT_CODE_NOT_FOUND)) => {
                Some(LinkError::HelperNotFound { command, stderr })
            }
            Some(end) if *end != RemoteEnd::Code(0) => Some(LinkError::RemoteFailed {
                end: end.clone(),
                stderr,
            }),
            None if self.closed => Some(LinkError::NoExitCode { stderr }),
            // Even after a code of 0 the data may be incomplete.
            _ => Some(cause.take()),
        }
    }
}
