//! Ordered, reliable bytes between this process and a helper process.
//!
//! In the way of the data this is the middle: frames go in as chunks on one
//! side and come out, cut differently, on the other. A [`Link`] is all that the
//! rest of the engine sees of it; what carries the bytes is one of
//!
//! * [`ssh`]: a command started on another host by a stock `sshd`;
//! * [`stdio`]: the standard input and output of this process, which is what
//!   that command uses to answer;
//! * [`local`]: two ends in one process;
//! * [`bundle`]: several of these as one.
//!
//! Left to others: frames, messages, checksums, the handshake and its time
//! limit. A link that ends without an error says only that the other side
//! closed it in good order. Whether everything was said is for the protocol to
//! know: a dropped connection reaches a remote process as an ordinary end of
//! its input.

pub mod bundle;
mod dscp;
mod link;
pub mod local;
mod printable;
pub mod ssh;
pub mod stdio;

pub use dscp::{Dscp, NoDscp};
pub use link::{
    INBOUND_CHUNK_BYTES_MAX, INBOUND_CHUNKS_MAX, Link, LinkError, OUTBOUND_CHUNKS_MAX, RemoteEnd,
    Reopen, Reopening,
};

/// What is shown of bytes that a remote command wrote, for fuzzers.
#[cfg(feature = "fuzzing")]
pub(crate) fn shown(data: &[u8]) -> [String; 2] {
    let mut tail = printable::StderrTail::default();
    for piece in data.chunks(1000) {
        tail.push(piece);
    }
    let text = String::from_utf8_lossy(data);
    let line = printable::printable_line(&text, 64);
    assert!(!line.contains('\n'), "{line:?}");
    [tail.text(), line]
}
