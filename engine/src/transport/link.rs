//! The two ends of a connection to a helper, and how a connection fails.
//!
//! In the way of the data: the seam between the engine's threads and whatever
//! carries the bytes. It leaves the carrying to `ssh`, `stdio` and `local`.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::error::RetryClass;

/// Chunks that may wait to be sent. A chunk is normally one frame of 1 MiB, so
/// that a stalled peer holds 4 MiB plus the one being written; fewer would let
/// the link idle while the next frame is hashed.
pub const OUTBOUND_CHUNKS_MAX: usize = 4;

/// Chunks received that may wait to be read. At [`INBOUND_CHUNK_BYTES_MAX`]
/// each they hold 4 MiB.
pub const INBOUND_CHUNKS_MAX: usize = 16;

/// The largest chunk that `ssh` and `stdio` deliver, in bytes: the largest SSH
/// packet that OpenSSH agrees to, and few enough reads of a pipe per frame.
pub const INBOUND_CHUNK_BYTES_MAX: usize = 256 * 1024;

/// One ordered, reliable byte connection to a helper process.
///
/// Tasks await on the two channels, plain threads use `blocking_send` and
/// `blocking_recv`; the runtime on which the link was made has to be running
/// meanwhile. Boundaries of chunks carry no meaning.
///
/// `inbound` has to be read for as long as the link is used. A full `inbound`
/// holds up the whole connection, answers to the other side's keepalives
/// included. Dropping it ends the connection at once, because nobody could
/// learn any more how it ends, and closes `outbound`.
///
/// Dropping `outbound`, with all its clones, sends the end of file after
/// everything queued. Whoever needs to know that it arrived drops `outbound`,
/// and then reads `inbound` to its end.
#[derive(Debug)]
pub struct Link {
    /// Chunks received, none empty. Ends without a word after a clean end of
    /// the connection; any other end is its last item, an error.
    pub inbound: mpsc::Receiver<Result<Bytes, LinkError>>,
    /// Chunks to send, of any size. Closed when nothing can be sent any more;
    /// the reason is then the last item of `inbound`.
    pub outbound: mpsc::Sender<Bytes>,
}

/// Opens one more connection to where another one leads.
pub trait Reopen: Send + Sync {
    /// Opens it.
    fn reopen(&self) -> Reopening<'_>;
}

/// A connection that is being opened.
pub type Reopening<'a> =
    Pin<Box<dyn Future<Output = Result<Link, Box<dyn Error + Send + Sync>>> + Send + 'a>>;

/// How a remote process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteEnd {
    /// It exited with this code.
    Code(u32),
    /// This signal ended it: the name without `SIG`.
    Signal(String),
}

impl std::fmt::Display for RemoteEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(name) => write!(f, "was killed by SIG{name}"),
        }
    }
}

/// Why a link ended other than cleanly. Text that came from the other side is
/// bounded and has its control characters escaped.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The connection broke, or what came over it is not SSH any more.
    #[error("the connection was lost")]
    ConnectionLost {
        /// What the socket or the SSH client says.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The other host answers nothing, not even keepalives.
    #[error("the other host has been silent for {silent:?}")]
    KeepaliveTimeout {
        /// How long it was given to answer.
        silent: Duration,
    },
    /// The other host accepts no more bytes although some were waiting.
    #[error("the other host has accepted no bytes for {stalled:?}")]
    WriteStalled {
        /// How long it was given to accept one.
        stalled: Duration,
    },
    /// The SSH server ended the connection and gave a reason.
    #[error("the ssh server disconnected: {reason} ({message})")]
    Disconnected {
        /// The reason code's name.
        reason: String,
        /// The server's text.
        message: String,
    },
    /// The command does not exist on the other host (exit code 127).
    #[error("the other host does not have the command {command:?}{}", Said(stderr))]
    HelperNotFound {
        /// The command that was to be run.
        command: String,
        /// The last lines of its standard error.
        stderr: String,
    },
    /// The command failed.
    #[error("the remote command {end}{}", Said(stderr))]
    RemoteFailed {
        /// Its exit code or signal.
        end: RemoteEnd,
        /// The last lines of its standard error.
        stderr: String,
    },
    /// The command exited with code 0 while bytes were still waiting for it.
    #[error(
        "the remote command ended before it had read everything{}",
        Said(stderr)
    )]
    EndedEarly {
        /// The last lines of its standard error.
        stderr: String,
    },
    /// The server closed the channel and did not say how the command ended.
    #[error("the remote command ended without an exit code{}", Said(stderr))]
    NoExitCode {
        /// The last lines of its standard error.
        stderr: String,
    },
    /// The standard input of this process cannot be read.
    #[error("standard input cannot be read")]
    Read {
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The standard output of this process cannot be written.
    #[error("standard output cannot be written")]
    Write {
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The other end of a link inside this process is gone.
    #[error("the other end of the link is gone")]
    PeerGone,
    /// The connections of one conversation do not make a whole.
    #[error("the connections do not fit together: {0}")]
    Bundle(&'static str),
}

impl LinkError {
    /// Whether running the same again may help.
    #[must_use]
    pub fn class(&self) -> RetryClass {
        match self {
            Self::ConnectionLost { .. }
            | Self::KeepaliveTimeout { .. }
            | Self::WriteStalled { .. }
            | Self::Disconnected { .. }
            | Self::EndedEarly { .. }
            | Self::NoExitCode { .. }
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::PeerGone
            | Self::Bundle(_) => RetryClass::Transient,
            // A host that shuts down, or runs out of memory, kills; a helper
            // that exits with a code had a reason of its own.
            Self::RemoteFailed {
                end: RemoteEnd::Signal(_),
                ..
            } => RetryClass::Transient,
            Self::RemoteFailed {
                end: RemoteEnd::Code(_),
                ..
            }
            | Self::HelperNotFound { .. } => RetryClass::Operator,
        }
    }
}

/// What a remote command wrote to standard error, as the end of a sentence.
struct Said<'a>(&'a String);

impl std::fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(f, "; it said: {}", self.0)
        }
    }
}
