//! Where sessions arrive: beside the helper of the first one.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Door, HAND_OVER_MAX, JoinError, WELCOME};
use crate::protocol::join::Token;
use crate::transport::bundle::LINKS_MAX;
use crate::transport::stdio::{self, Output};
use crate::transport::{Link, LinkError};

/// The helpers of one process that wait for sessions. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Hall(Arc<Mutex<Waiting>>);

/// By [`Token::name`].
type Waiting = HashMap<String, mpsc::Sender<Joined>>;

impl Hall {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a session over to the helper that has given out the token, and
    /// waits until it is not needed any more.
    ///
    /// # Errors
    /// [`JoinError::Refused`].
    pub async fn join(&self, token: &Token, link: Link) -> Result<(), JoinError> {
        let desk = self.waiting().get(&token.name()).cloned();
        let desk = desk.ok_or(JoinError::Refused)?;
        let (remains, over) = oneshot::channel();
        let rest = Remains::Task { _over: remains };
        let handed = desk.send(Joined { link, rest }).await;
        handed.map_err(|_| JoinError::Refused)?;
        drop(desk);
        // Dropped, never used: the end of the helper.
        let _ = over.await;
        Ok(())
    }
}

/// A session that has joined.
#[derive(Debug)]
pub(in super::super) struct Joined {
    pub link: Link,
    pub rest: Remains,
}

/// What of a session that has joined is needed until its end: whoever handed it
/// over ends with this.
#[derive(Debug)]
pub(in super::super) enum Remains {
    /// It was a process.
    Process { output: Output, _its: UnixStream },
    /// It is a connection of this process.
    Task { _over: oneshot::Sender<()> },
}

impl Remains {
    /// Waits until everything is written, which begins when the link is dropped.
    /// Blocks.
    pub fn finish(self) -> Result<(), LinkError> {
        match self {
            Self::Process { output, .. } => output.finish(),
            Self::Task { .. } => Ok(()),
        }
    }
}

/// Where sessions arrive that know the token; nobody else does.
#[derive(Debug)]
pub(in super::super) struct Desk {
    token: Token,
    arrived: mpsc::Receiver<Joined>,
    place: Place,
}

/// Where it can be found.
#[derive(Debug)]
enum Place {
    Socket {
        path: PathBuf,
        listening: AbortHandle,
    },
    Hall(Hall),
}

impl Drop for Desk {
    fn drop(&mut self) {
        match &self.place {
            Place::Socket { path, listening } => {
                listening.abort();
                let _ = std::fs::remove_file(path);
            }
            Place::Hall(hall) => drop(hall.waiting().remove(&self.token.name())),
        }
    }
}

impl Desk {
    /// Has to be called inside a tokio runtime.
    pub fn open(door: &Door) -> io::Result<Self> {
        let token = Token::new(random()?);
        let (arrivals, arrived) = mpsc::channel(LINKS_MAX);
        let place = match door {
            Door::Folder(folder) => {
                folder.prepare()?;
                folder.sweep()?;
                let path = folder.socket(&token);
                let listener = UnixListener::bind(&path)?;
                let listening = tokio::spawn(receive(listener, token.clone(), arrivals));
                Place::Socket {
                    path,
                    listening: listening.abort_handle(),
                }
            }
            Door::Hall(hall) => {
                hall.waiting().insert(token.name(), arrivals);
                Place::Hall(hall.clone())
            }
        };
        Ok(Self {
            token,
            arrived,
            place,
        })
    }

    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Waits until that many have joined. `None` if they do not come in time.
    pub async fn collect(mut self, count: usize, patience: Duration) -> Option<Vec<Joined>> {
        let until = Instant::now() + patience;
        let mut all = Vec::new();
        while all.len() < count {
            all.push(timeout_at(until, self.arrived.recv()).await.ok()??);
        }
        Some(all)
    }
}

/// Bytes that nobody can guess.
fn random() -> io::Result<[u8; Token::BYTES]> {
    let mut bytes = [0; Token::BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

async fn receive(listener: UnixListener, token: Token, arrivals: mpsc::Sender<Joined>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        // One that says nothing, or the wrong thing, is dropped.
        let arrival = timeout(HAND_OVER_MAX, take_over(stream, &token)).await;
        if let Ok(Ok(Some(joined))) = arrival
            && arrivals.send(joined).await.is_err()
        {
            return;
        }
    }
}

async fn take_over(mut stream: UnixStream, token: &Token) -> io::Result<Option<Joined>> {
    let (said, ends) = stream
        .async_io(Interest::READABLE, || read_ends(&stream))
        .await?;
    let (true, Some([input, output])) = (token.is(&said), ends) else {
        return Ok(None);
    };
    let (link, output) = stdio::over(input, output)?;
    stream.write_all(&[WELCOME]).await?;
    let rest = Remains::Process {
        output,
        _its: stream,
    };
    Ok(Some(Joined { link, rest }))
}

type Ends = [OwnedFd; 2];

/// What came with the descriptors, and the descriptors, if it was two of them.
fn read_ends(stream: &UnixStream) -> io::Result<([u8; Token::BYTES], Option<Ends>)> {
    let mut said = [0; Token::BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::net::recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut said)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut ends = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            ends.extend(descriptors);
        }
    }
    if got.bytes != said.len() {
        said = [0; Token::BYTES];
    }
    Ok((said, ends.try_into().ok()))
}
