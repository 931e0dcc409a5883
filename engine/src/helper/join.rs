//! How another session of the same driver finds the helper of its first one.
//!
//! Every session of `sshd` starts a process of its own. The helper of the first
//! one listens on a socket in its state folder, under a name that follows from a
//! random token, and gives the token to its driver. The driver opens another
//! session and says the token first of all; the process that `sshd` started
//! there passes its standard input and output on through that socket, and stays
//! until they are not needed any more: `sshd` writes nothing to a command that
//! has ended.
//!
//! What comes over a session that has joined is part of the first conversation,
//! under the first helper's `--allow`. Who knows the token could speak there
//! anyway. The folder belongs to the account, and nobody else may enter it.
//!
//! # If it breaks
//!
//! A socket that a killed helper leaves is removed by the next one that offers
//! sessions. A process that has joined ends with the helper that it joined.

use std::collections::HashMap;
use std::fs::{DirBuilder, File};
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::protocol::join::{RECORD_BYTES, Token};
use crate::transport::bundle::LINKS_MAX;
use crate::transport::stdio::{self, Output};
use crate::transport::{Link, LinkError};

/// How long a process may take to hand its session over.
const HAND_OVER_MAX: Duration = Duration::from_secs(5);

/// Sockets of others that are looked at when one is made.
const OTHERS_MAX: usize = 256;

/// What is answered to the right token.
const WELCOME: u8 = 1;

/// Where a helper finds more sessions.
#[derive(Debug, Clone)]
pub enum Door {
    /// Behind `sshd`, where each is a process.
    Folder(JoinFolder),
    /// In this process, which has all of them.
    Hall(Hall),
}

impl Door {
    /// Bytes that one session carries in a round trip: the window that `sshd`
    /// grants, or what TCP buffers by default where the window is ours.
    pub(super) fn window_bytes(&self) -> u64 {
        match self {
            Self::Folder(_) => 2 << 20,
            Self::Hall(_) => 4 << 20,
        }
    }
}

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

/// Where sessions are handed over; one for all helpers of an account.
#[derive(Debug, Clone)]
pub struct JoinFolder(PathBuf);

impl JoinFolder {
    /// Below this state folder, which is created with the first socket.
    #[must_use]
    pub fn below(state: impl Into<PathBuf>) -> Self {
        Self(state.into().join("join"))
    }

    fn socket(&self, token: &Token) -> PathBuf {
        self.0.join(token.name())
    }

    /// Makes the folder, and sees that nobody else can enter it.
    fn prepare(&self) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)?;
        let found = std::fs::metadata(&self.0)?;
        let own = rustix::process::geteuid().as_raw();
        if found.uid() != own || found.mode() & 0o077 != 0 {
            let shown = self.0.display();
            return Err(io::Error::other(format!(
                "{shown} can be entered by other accounts"
            )));
        }
        Ok(())
    }

    /// Removes sockets that nobody listens on any more.
    fn sweep(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.0)?.take(OTHERS_MAX) {
            let entry = entry?;
            let abandoned = entry.file_type()?.is_socket()
                && BlockingStream::connect(entry.path())
                    .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
            if abandoned {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(())
    }
}

/// A session that has joined.
#[derive(Debug)]
pub(super) struct Joined {
    pub link: Link,
    pub rest: Remains,
}

/// What of a session that has joined is needed until its end: whoever handed it
/// over ends with this.
#[derive(Debug)]
pub(super) enum Remains {
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
pub(super) struct Desk {
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
        BlockingStream::connect(folder.socket(token)).map_err(|source| JoinError::Nobody {
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
    stream: &BlockingStream,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> (OwnedFd, OwnedFd, io::PipeWriter, io::PipeReader) {
        let (input, far_output) = io::pipe().unwrap();
        let (far_input, output) = io::pipe().unwrap();
        (input.into(), output.into(), far_output, far_input)
    }

    #[tokio::test]
    async fn a_session_is_handed_over_with_both_directions_and_let_go_at_the_end() {
        let state = tempfile::tempdir().unwrap();
        let folder = JoinFolder::below(state.path());
        let desk = Desk::open(&Door::Folder(folder.clone())).unwrap();
        let token = desk.token().clone();
        let (input, output, mut far_output, mut far_input) = ends();
        let joining = tokio::task::spawn_blocking(move || join(&folder, &token, input, output));
        let mut joined = desk.collect(1, HAND_OVER_MAX).await.unwrap();
        let Joined { mut link, rest } = joined.remove(0);
        io::Write::write_all(&mut far_output, b"there").unwrap();
        assert_eq!(link.inbound.recv().await.unwrap().unwrap(), "there");
        link.outbound.send("back".into()).await.unwrap();
        drop(link);
        drop(far_output);
        let (text, finished) = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            far_input.read_to_string(&mut text).unwrap();
            (text, rest.finish())
        })
        .await
        .unwrap();
        assert_eq!(text, "back");
        finished.unwrap();
        joining.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn another_token_finds_nobody_and_a_wrong_one_is_not_let_in() {
        let state = tempfile::tempdir().unwrap();
        let folder = JoinFolder::below(state.path());
        let desk = Desk::open(&Door::Folder(folder.clone())).unwrap();
        let socket = folder.socket(desk.token());
        let other = Token::new([3; Token::BYTES]);
        let (wrong_door, wrong_token) = tokio::task::spawn_blocking(move || {
            let (input, output, ..) = ends();
            let wrong_door = join(&folder, &other, input, output).unwrap_err();
            std::fs::hard_link(&socket, folder.socket(&other)).unwrap();
            let (input, output, ..) = ends();
            (
                wrong_door,
                join(&folder, &other, input, output).unwrap_err(),
            )
        })
        .await
        .unwrap();
        assert!(matches!(wrong_door, JoinError::Nobody { .. }));
        assert!(matches!(wrong_token, JoinError::Refused));
    }

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_is_removed_by_the_next_helper() {
        let state = tempfile::tempdir().unwrap();
        let folder = JoinFolder::below(state.path());
        let door = Door::Folder(folder.clone());
        let living = Desk::open(&door).unwrap();
        // As after a kill: closed, and still there.
        let dead = folder.0.join("dead");
        drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
        assert!(dead.exists());
        let next = Desk::open(&door).unwrap();
        assert!(!dead.exists());
        for desk in [&living, &next] {
            assert!(folder.socket(desk.token()).exists());
        }
        drop((living, next));
        assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_others_may_enter_is_not_used() {
        let state = tempfile::tempdir().unwrap();
        let folder = JoinFolder::below(state.path());
        folder.prepare().unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(&folder.0, open).unwrap();
        let error = folder.prepare().unwrap_err().to_string();
        assert!(error.contains("other accounts"), "{error}");
    }

    #[test]
    fn an_opening_is_told_by_its_first_bytes_and_nothing_beyond_is_read() {
        let token = Token::new([9; Token::BYTES]);
        let cases = [
            (token.record(), true),
            (token.record()[..20].to_vec(), false),
            (b"zfy\x89\r\n\x1a\nrest".to_vec(), false),
            (Vec::new(), false),
        ];
        for (bytes, joins) in cases {
            let (input, mut far) = io::pipe().unwrap();
            io::Write::write_all(&mut far, &bytes).unwrap();
            io::Write::write_all(&mut far, b"more").unwrap();
            drop(far);
            let input = OwnedFd::from(input);
            let seen = match opening(&input, HAND_OVER_MAX).unwrap() {
                Opening::Join(found) => {
                    assert!(joins && found == token);
                    bytes.clone()
                }
                Opening::Conversation(seen) => {
                    assert!(!joins, "{bytes:?}");
                    seen
                }
            };
            let mut rest = String::new();
            File::from(input).read_to_string(&mut rest).unwrap();
            assert_eq!(
                [&seen[..], rest.as_bytes()].concat(),
                [&bytes[..], b"more"].concat()
            );
        }
    }
}
