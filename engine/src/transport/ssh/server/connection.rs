//! One connection from its first byte to its last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use russh::keys::Algorithm;
use russh::server::{self, Config, Msg, RunningSession};
use russh::{
    ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect, Limits, MethodKind, MethodSet,
    Preferred, SshId, compression,
};
use std::borrow::Cow;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::guard::{Guard, Known, Start};
use super::{Server, ServerEvent};
use crate::transport::link::{
    INBOUND_CHUNK_BYTES_MAX, INBOUND_CHUNKS_MAX, Link, LinkError, OUTBOUND_CHUNKS_MAX,
};
use crate::transport::printable::printable_line;
use crate::transport::ssh::config::CIPHERS;
use crate::transport::ssh::session::send;
use crate::transport::ssh::socket::{Gate, LeashedSocket, adjust};
use crate::transport::ssh::{IDENTIFICATION, OWN_WINDOW_BYTES};

/// How long what was said last may take to be sent, and the farewell.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long a refused key waits for its answer: guessing keys is hopeless
/// anyhow, and honest clients try several.
const REJECTION: Duration = Duration::from_millis(50);

/// After a new key exchange at the latest, however little was sent.
const REKEY_INTERVAL: Duration = Duration::from_secs(3600);

/// Messages that may wait inside russh: beyond the gate, so that the session
/// never waits for them. The gate bounds the memory that they take.
const WAITING_MESSAGES_MAX: usize = 4096;

/// How much of a reason is told or shown, in characters.
const REASON_CHARS_MAX: usize = 400;

/// Serves the connection to its end, on this thread. Blocks.
pub(super) fn run(
    server: &Arc<Server>,
    stream: TcpStream,
    peer: SocketAddr,
    stranger: OwnedSemaphorePermit,
) {
    // It moves from the listener's runtime to this thread's.
    let moved = stream.into_std().and_then(|stream| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .thread_name("transfer")
            .enable_all()
            .build()?;
        Ok((stream, runtime))
    });
    let (stream, runtime) = match moved {
        Ok(moved) => moved,
        Err(error) => return server.tell(ServerEvent::NotAccepted { error }),
    };
    let event = runtime.block_on(async {
        match TcpStream::from_std(stream) {
            Ok(stream) => Box::pin(live(server, stream, peer, stranger)).await,
            Err(error) => ServerEvent::NotAccepted { error },
        }
    });
    // Work that hangs in ZFS keeps its own thread, and nobody waits for it.
    runtime.shutdown_background();
    server.tell(event);
}

fn config(server: &Server) -> Config {
    let options = &server.options;
    Config {
        server_id: SshId::Standard(Cow::Borrowed(IDENTIFICATION)),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: REJECTION,
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![server.host_key.0.clone()],
        limits: Limits::new(options.rekey_bytes, options.rekey_bytes, REKEY_INTERVAL),
        window_size: OWN_WINDOW_BYTES,
        maximum_packet_size: u32::try_from(INBOUND_CHUNK_BYTES_MAX)
            .expect("a constant of 256 KiB fits"),
        channel_buffer_size: WAITING_MESSAGES_MAX,
        preferred: Preferred {
            cipher: Cow::Borrowed(CIPHERS),
            key: Cow::Owned(
                Preferred::DEFAULT
                    .key
                    .iter()
                    .filter(|key| !matches!(key, Algorithm::Rsa { hash: None }))
                    .cloned()
                    .collect(),
            ),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        max_auth_attempts: options.attempts_max,
        // While ZFS takes nothing, nothing is read, answers to keepalives
        // included. The dead are found by what the helper misses when it reads,
        // and by writes that make no progress.
        inactivity_timeout: None,
        keepalive_interval: None,
        nodelay: true,
        ..Config::default()
    }
}

/// The connection's life; the event is its end.
async fn live(
    server: &Arc<Server>,
    stream: TcpStream,
    peer: SocketAddr,
    stranger: OwnedSemaphorePermit,
) -> ServerEvent {
    let deadline = Instant::now() + server.options.login_max;
    if let Err(error) = adjust(&stream, server.options.dscp) {
        return ServerEvent::NotAccepted { error };
    }
    let (socket, leash) = LeashedSocket::new(stream, server.options.keepalive.silence_max());
    let (start, started) = oneshot::channel();
    let gate = socket.gate();
    let (guard, known) = Guard::new(Arc::clone(server), start, gate.clone());
    let config = Arc::new(config(server));
    let greeted = timeout_at(deadline, server::run_stream(config, socket, guard)).await;
    let refused = |why: String| ServerEvent::Refused { peer, why };
    let mut session = match greeted {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => return refused(error.to_string()),
        Err(_) => return refused("it took too long to log in".to_owned()),
    };
    let start = match log_in(&mut session, started, deadline, &known).await {
        Ok(start) => start,
        Err(why) => return refused(why),
    };
    drop(stranger);
    let Start {
        key,
        channel,
        admission,
    } = start;
    server.tell(ServerEvent::Started {
        peer,
        key: key.shown(),
    });
    let (read, write) = channel.split();
    let (link, channel) = Channel::new(read, Arc::new(write), gate);
    let served = (server.service)(link, key).await;
    let why = served
        .err()
        .map(|text| printable_line(&text, REASON_CHARS_MAX));
    channel.close(why.as_deref()).await;
    let handle = session.handle();
    let farewell = async {
        let _ = handle
            .disconnect(Disconnect::ByApplication, String::new(), String::new())
            .await;
        let _ = session.await;
    };
    let _ = timeout(LAST_WORDS, farewell).await;
    drop((leash, admission));
    ServerEvent::Ended { peer, why }
}

/// Waits for a helper to be asked for.
async fn log_in(
    session: &mut RunningSession<Guard>,
    started: oneshot::Receiver<Start>,
    deadline: Instant,
    known: &Known,
) -> Result<Start, String> {
    let handle = session.handle();
    let ended = tokio::select! {
        biased;
        start = timeout_at(deadline, started) => match start {
            Ok(Ok(start)) => return Ok(start),
            // The session and with it the guard is gone.
            Ok(Err(_)) => None,
            Err(_) => Some("it took too long to log in".to_owned()),
        },
        ended = session => ended.err().map(|error| error.to_string()),
    };
    if ended.is_some() {
        let reason = "no helper was started in time".to_owned();
        let farewell = handle.disconnect(Disconnect::ByApplication, reason, String::new());
        let _ = timeout(LAST_WORDS, farewell).await;
    }
    let why = known.text().or(ended);
    Err(why.unwrap_or_else(|| "it went away before it asked for a helper".to_owned()))
}

/// The channel below a link.
struct Channel {
    write: Arc<ChannelWriteHalf<Msg>>,
    writer: JoinHandle<bool>,
    reader: JoinHandle<()>,
}

impl Channel {
    /// Spawns the tasks that serve the link.
    fn new(read: ChannelReadHalf, write: Arc<ChannelWriteHalf<Msg>>, gate: Gate) -> (Link, Self) {
        let (outbound, chunks) = mpsc::channel(OUTBOUND_CHUNKS_MAX);
        let (received, inbound) = mpsc::channel(INBOUND_CHUNKS_MAX);
        let (stop, stopped) = oneshot::channel();
        let writer = tokio::spawn(send(Arc::clone(&write), chunks, stopped));
        let reader = tokio::spawn(receive(read, received, stop, gate));
        let channel = Self {
            write,
            writer,
            reader,
        };
        (Link { inbound, outbound }, channel)
    }

    /// Once the link is dropped: what it said last, how the helper ended, and
    /// the end of the channel.
    async fn close(self, why: Option<&str>) {
        let Self {
            write,
            writer,
            reader,
        } = self;
        let last = async {
            let _ = writer.await;
            if let Some(why) = why {
                let why = Bytes::from(format!("error: {why}\n"));
                let _ = write.extended_data_bytes(1, why).await;
            }
            let _ = write.exit_status(u32::from(why.is_some())).await;
            let _ = write.close().await;
            let _ = reader.await;
        };
        let _ = timeout(LAST_WORDS, last).await;
    }
}

/// Passes chunks on until the channel ends. What nobody wants any more is
/// dropped, so that the session goes on and can be ended in good order.
async fn receive(
    mut read: ChannelReadHalf,
    received: mpsc::Sender<Result<Bytes, LinkError>>,
    stop: oneshot::Sender<()>,
    gate: Gate,
) {
    let mut received = Some(received);
    while let Some(message) = read.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                let bytes = data.len();
                if bytes > 0
                    && let Some(listener) = &received
                    && listener.send(Ok(data)).await.is_err()
                {
                    received = None;
                }
                gate.taken(bytes);
            }
            ChannelMsg::ExtendedData { data, .. } => gate.taken(data.len()),
            ChannelMsg::Eof => received = None,
            ChannelMsg::Close => break,
            _ => {}
        }
    }
    let _ = stop.send(());
    if let Some(listener) = received {
        let source = russh::Error::Disconnect.into();
        let lost = LinkError::ConnectionLost { source };
        let _ = listener.send(Err(lost)).await;
    }
}
