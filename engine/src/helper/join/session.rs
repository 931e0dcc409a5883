//! The other side: a session that looks for the helper of the first one.

use std::fs::File;
use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use bytes::BytesMut;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::{HAND_OVER_MAX, JoinFolder, WELCOME};
use crate::protocol::join::{RECORD_BYTES, Token};
use crate::transport::Link;

/// Why a session could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// There is no helper with that token, or it is not ours.
    #[error("no helper of this account waits for this session in {}: {source}", folder.display())]
    Nobody {
        /// Where it was looked for.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The helper did not take it.
    #[error("the helper did not take this session")]
    Refused,
    /// Reading or handing over failed.
    #[error("the session could not be handed over: {0}")]
    Io(#[from] io::Error),
}

/// What a session begins with.
#[derive(Debug)]
pub enum Opening {
    /// It wants to join another one.
    Join(Token),
    /// A conversation, of which these bytes were read.
    Conversation(Vec<u8>),
}

/// Reads as much of `input` as tells what it is; nothing beyond a request to
/// join. Blocks for at most `patience`.
///
/// # Errors
/// If it cannot be read. An input that is silent is a conversation, whose
/// handshake has its own limit.
pub fn opening(input: &OwnedFd, patience: Duration) -> io::Result<Opening> {
    let until = std::time::Instant::now() + patience;
    let mut input = File::from(input.try_clone()?);
    let mut seen = Vec::with_capacity(RECORD_BYTES);
    loop {
        if let Some(token) = Token::read(&seen) {
            return Ok(Opening::Join(token));
        }
        if !Token::may_follow(&seen) {
            return Ok(Opening::Conversation(seen));
        }
        let left = until.saturating_duration_since(std::time::Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        if poll(&mut [PollFd::new(&input, PollFlags::IN)], Some(&left))? == 0 {
            return Ok(Opening::Conversation(seen));
        }
        let mut part = [0; RECORD_BYTES];
        let wanted = RECORD_BYTES - seen.len();
        match input.read(&mut part[..wanted])? {
            0 => return Ok(Opening::Conversation(seen)),
            count => seen.extend_from_slice(&part[..count]),
        }
    }
}

/// The same for a link, which begins with what was read again if it is a
/// conversation. Has to be called inside a tokio runtime, which carries it on.
pub async fn opening_of(link: Link, patience: Duration) -> (Option<Token>, Link) {
    let Link {
        mut inbound,
        outbound,
    } = link;
    let until = Instant::now() + patience;
    let mut seen = BytesMut::new();
    let mut token = None;
    let mut last = None;
    while token.is_none() && last.is_none() && Token::may_follow(&seen) {
        match timeout_at(until, inbound.recv()).await {
            Ok(Some(Ok(chunk))) => seen.extend_from_slice(&chunk),
            Ok(Some(Err(error))) => last = Some(error),
            // The handshake finds out.
            Ok(None) | Err(_) => break,
        }
        token = Token::read(&seen);
    }
    if token.is_some() {
        return (token, Link { inbound, outbound });
    }
    let (received, replayed) = mpsc::channel(1);
    tokio::spawn(async move {
        let first = (!seen.is_empty()).then(|| Ok(seen.freeze()));
        for item in first.into_iter().chain(last.map(Err)) {
            if received.send(item).await.is_err() {
                return;
            }
        }
        loop {
            let item = tokio::select! {
                item = inbound.recv() => item,
                () = received.closed() => return,
            };
            let Some(item) = item else { return };
            if received.send(item).await.is_err() {
                return;
            }
        }
    });
    let link = Link {
        inbound: replayed,
        outbound,
    };
    (None, link)
}

/// Hands this session to the helper that has given out the token, and waits
/// until it is not needed any more. Blocks.
///
/// # Errors
/// [`JoinError`].
pub fn join(
    folder: &JoinFolder,
    token: &Token,
    input: OwnedFd,
    output: OwnedFd,
) -> Result<(), JoinError> {
    let mut stream =
        UnixStream::connect(folder.socket(token)).map_err(|source| JoinError::Nobody {
            folder: folder.0.clone(),
            source,
        })?;
    send_ends(&stream, token, &input, &output)?;
    drop((input, output));
    let mut answer = [0; 1];
    stream.set_read_timeout(Some(HAND_OVER_MAX))?;
    match stream.read(&mut answer) {
        Ok(1) if answer == [WELCOME] => {}
        _ => return Err(JoinError::Refused),
    }
    stream.set_read_timeout(None)?;
    // Nothing more is said; the end is that of the helper.
    let _ = stream.read(&mut answer)?;
    Ok(())
}

fn send_ends(
    stream: &UnixStream,
    token: &Token,
    input: &OwnedFd,
    output: &OwnedFd,
) -> io::Result<()> {
    let ends = [input.as_fd(), output.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&ends)) {
        return Err(io::Error::other("no room for two descriptors"));
    }
    let sent = rustix::net::sendmsg(
        stream,
        &[IoSlice::new(token.bytes())],
        &mut control,
        SendFlags::empty(),
    )?;
    match sent == Token::BYTES {
        true => Ok(()),
        false => Err(io::ErrorKind::WriteZero.into()),
    }
}
