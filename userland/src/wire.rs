//! Messages and descriptors over Unix sockets.
//!
//! A message is its length (four bytes, little endian) and as much JSON. At
//! most one descriptor comes with it, bound to its first byte. Nothing here
//! blocks: where a socket is not ready, the [`Patience`] of the caller decides
//! how long to wait; the worker waits for ever, the client watches meanwhile.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::protocol::MESSAGE_BYTES_MAX;

/// Bytes of the length before a message.
const LENGTH_BYTES: usize = 4;
/// Memory is taken in such steps while a message arrives, so that a length
/// alone costs nothing.
const READ_BYTES: usize = 64 << 10;

/// A conversation that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The other side has gone.
    #[error("the other side closed the connection")]
    Closed,
    /// The caller's patience has ended.
    #[error("no answer in time")]
    GivenUp,
    /// A message above the limit.
    #[error("a message of {0} bytes; at most {MESSAGE_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// A message that is none.
    #[error("a message that cannot be read")]
    Garbled(#[from] serde_json::Error),
    /// The system refused.
    #[error("the socket failed")]
    Io(#[from] Errno),
}

/// How long to wait for a socket.
pub trait Patience {
    /// Returns when `socket` may be ready for `events`; early returns are fine.
    ///
    /// # Errors
    /// [`WireError::GivenUp`] to end the conversation.
    fn wait(&mut self, socket: BorrowedFd<'_>, events: PollFlags) -> Result<(), WireError>;
}

/// Waits for ever.
#[derive(Debug, Clone, Copy)]
pub struct Forever;

impl Patience for Forever {
    fn wait(&mut self, socket: BorrowedFd<'_>, events: PollFlags) -> Result<(), WireError> {
        match rustix::event::poll(&mut [PollFd::from_borrowed_fd(socket, events)], None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Writes a message and the descriptor that belongs to it.
///
/// # Errors
/// [`WireError`]; part of the message may have been written.
pub fn send<T: Serialize>(
    socket: impl AsFd,
    message: &T,
    descriptor: Option<BorrowedFd<'_>>,
    patience: &mut dyn Patience,
) -> Result<(), WireError> {
    let socket = socket.as_fd();
    let mut bytes = vec![0; LENGTH_BYTES];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - LENGTH_BYTES;
    if length > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLong(length));
    }
    let length = u32::try_from(length).expect("the limit of a message fits");
    bytes[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());

    let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
    let mut sent = 0;
    while sent < bytes.len() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if sent == 0 && !descriptors.is_empty() {
            let fits = ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
            assert!(fits, "the space is made for one descriptor");
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let rest = [IoSlice::new(&bytes[sent..])];
        match rustix::net::sendmsg(socket, &rest, &mut ancillary, flags) {
            Ok(count) => sent += count,
            Err(Errno::AGAIN) => patience.wait(socket, PollFlags::OUT)?,
            Err(Errno::INTR) => {}
            Err(Errno::PIPE | Errno::CONNRESET) => return Err(WireError::Closed),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Reads a message and the descriptor that came with it.
///
/// # Errors
/// [`WireError`]; [`WireError::Closed`] also for an end within a message.
pub fn receive<T: DeserializeOwned>(
    socket: impl AsFd,
    patience: &mut dyn Patience,
) -> Result<(T, Option<OwnedFd>), WireError> {
    let socket = socket.as_fd();
    let mut descriptor = None;
    let mut length = [0; LENGTH_BYTES];
    fill(socket, &mut length, &mut descriptor, patience)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLong(length));
    }
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let had = bytes.len();
        bytes.resize(length.min(had + READ_BYTES), 0);
        fill(socket, &mut bytes[had..], &mut descriptor, patience)?;
    }
    Ok((serde_json::from_slice(&bytes)?, descriptor))
}

/// Reads until `room` is full.
fn fill(
    socket: BorrowedFd<'_>,
    mut room: &mut [u8],
    descriptor: &mut Option<OwnedFd>,
    patience: &mut dyn Patience,
) -> Result<(), WireError> {
    while !room.is_empty() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let result =
            rustix::net::recvmsg(socket, &mut [IoSliceMut::new(room)], &mut ancillary, flags);
        match result {
            Ok(message) if message.bytes == 0 => return Err(WireError::Closed),
            Ok(message) => {
                for part in ancillary.drain() {
                    if let RecvAncillaryMessage::ScmRights(mut rights) = part {
                        *descriptor = rights.next().or(descriptor.take());
                    }
                }
                room = &mut room[message.bytes..];
            }
            Err(Errno::AGAIN) => patience.wait(socket, PollFlags::IN)?,
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Err(WireError::Closed),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;
    use crate::protocol::{Call, Outcome};

    struct Never;

    impl Patience for Never {
        fn wait(&mut self, _: BorrowedFd<'_>, _: PollFlags) -> Result<(), WireError> {
            Err(WireError::GivenUp)
        }
    }

    #[test]
    fn a_message_and_its_descriptor_arrive_together() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        send(&here, &Call::Scrub, Some(writer.as_fd()), &mut Forever).unwrap();
        drop(writer);
        send(&here, &Call::Space, None, &mut Forever).unwrap();

        let (call, descriptor) = receive::<Call>(&there, &mut Forever).unwrap();
        assert_eq!(call, Call::Scrub);
        let mut passed = std::fs::File::from(descriptor.unwrap());
        passed.write_all(b"through").unwrap();
        drop(passed);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");

        let (call, descriptor) = receive::<Call>(&there, &mut Forever).unwrap();
        assert_eq!(call, Call::Space);
        assert!(descriptor.is_none());
    }

    #[test]
    fn a_message_larger_than_the_socket_holds_arrives_whole() {
        let (here, there) = UnixStream::pair().unwrap();
        let names: Vec<String> = (0..100_000).map(|n| format!("tank/a@{n}")).collect();
        let call = Call::Snapshot { names };
        let sent = call.clone();
        let sender = thread::spawn(move || send(&here, &sent, None, &mut Forever));
        let (arrived, _) = receive::<Call>(&there, &mut Forever).unwrap();
        assert!(arrived == call);
        sender.join().unwrap().unwrap();
    }

    #[test]
    fn nobody_waits_without_patience() {
        let (here, there) = UnixStream::pair().unwrap();
        let silence = receive::<Outcome>(&there, &mut Never);
        assert!(matches!(silence, Err(WireError::GivenUp)));
        let names = vec!["x".repeat(8 << 20)];
        let full = send(&here, &Call::Snapshot { names }, None, &mut Never);
        assert!(matches!(full, Err(WireError::GivenUp)));
    }

    #[test]
    fn an_end_at_any_place_is_closed_and_a_length_above_the_limit_is_refused() {
        for cut in 0..4 {
            let (mut here, there) = UnixStream::pair().unwrap();
            here.write_all(&[9, 0, 0, 0, b'"'][..cut]).unwrap();
            drop(here);
            let end = receive::<Call>(&there, &mut Forever);
            assert!(matches!(end, Err(WireError::Closed)), "cut at {cut}");
        }
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(&[0xff; 4]).unwrap();
        let long = receive::<Call>(&there, &mut Forever);
        assert!(matches!(long, Err(WireError::TooLong(_))));
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(&[2, 0, 0, 0, b'{', b'{']).unwrap();
        let garbled = receive::<Call>(&there, &mut Forever);
        assert!(matches!(garbled, Err(WireError::Garbled(_))));
    }
}
