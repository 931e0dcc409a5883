//! Frames over a link, and the handshake that comes first.
//!
//! Used by both ends. Reading and writing are separate values, since a
//! transfer does both at once.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::Family;
use crate::helper::Workers;
use crate::protocol::hello::{self, About, Hello, HelloError};
use crate::protocol::pulse::Pulse;
use crate::stream::decoder::Decoder;
use crate::stream::frame::{Frame, FrameError, Kind};
use crate::transport::bundle::{self, Capacity};
use crate::transport::{Link, LinkError};

/// How often each side shows that it is alive.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
/// How long either side waits for any byte before it takes the other, or the
/// network, for dead. `sshd` may not notice for hours, and until the helper
/// ends its receive keeps the dataset busy.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long the reason may take to arrive of a connection that can be written
/// to no more.
const REASON_MAX: Duration = Duration::from_secs(5);

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The connection failed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// What came is no valid frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The handshake failed.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// Nothing came in time.
    #[error("the other side said nothing for {} s", waited.as_secs())]
    Silent {
        /// How long it was waited for.
        waited: Duration,
    },
    /// The other side closed the connection while an answer was due.
    #[error("the other side closed the connection")]
    Closed,
}

impl WireError {
    /// The exit-code family.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::Link(error) => match error.class() {
                crate::error::RetryClass::Transient => Family::Transient,
                crate::error::RetryClass::Operator => Family::Failed,
                crate::error::RetryClass::Bug => Family::Bug,
            },
            Self::Frame(FrameError::Truncated) | Self::Silent { .. } | Self::Closed => {
                Family::Transient
            }
            Self::Frame(_) | Self::Hello(_) => Family::Protocol,
        }
    }
}

/// The reading half.
#[derive(Debug)]
pub struct WireReader {
    inbound: mpsc::Receiver<Result<Bytes, LinkError>>,
    decoder: Decoder,
    life: Life,
    /// When anything came last, or was asked for.
    heard: Instant,
    /// What the last heartbeat said, and when it came.
    pulse: Option<(Instant, Option<Pulse>)>,
}

/// What is known of the other side's heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// It may have none.
    Unknown,
    /// Whoever has begun with heartbeats has to go on with them.
    OnceItBeats,
    /// This much silence means that it is dead.
    Expected(Duration),
}

/// The writing half. Clones write into the same connection.
#[derive(Debug, Clone)]
pub struct WireWriter {
    outbound: mpsc::Sender<Bytes>,
}

/// The other side is gone; the reading half knows why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is closed")]
pub struct Gone;

impl WireReader {
    /// The next frame; `None` after a clean end.
    ///
    /// Cancel-safe: a frame is either returned or still there.
    ///
    /// # Errors
    /// [`WireError`]; the conversation is over then.
    pub async fn next(&mut self) -> Result<Option<Frame>, WireError> {
        loop {
            while let Some(frame) = self.decoder.next_frame()? {
                if frame.header.kind != Kind::Heartbeat {
                    return Ok(Some(frame));
                }
                self.pulse = Some((Instant::now(), Pulse::of(&frame.header)));
                if self.life == Life::OnceItBeats {
                    self.expect_life(SILENCE_MAX);
                }
            }
            match self.chunk().await? {
                Some(chunk) => self.decoder.push(chunk?),
                None => {
                    self.decoder.finish()?;
                    return Ok(None);
                }
            }
        }
    }

    /// From now on a connection that brings nothing for this long, not even a
    /// part of a frame, is an error.
    pub fn expect_life(&mut self, silence_max: Duration) {
        self.life = Life::Expected(silence_max);
        self.begin_to_listen();
    }

    /// The same, with [`SILENCE_MAX`], as soon as a heartbeat has come: the
    /// other side may be of a version that sends none.
    pub fn expect_life_once_it_beats(&mut self) {
        self.life = Life::OnceItBeats;
    }

    /// From now on silence counts: nobody has listened for a while.
    pub fn begin_to_listen(&mut self) {
        self.heard = Instant::now();
    }

    /// From the next byte on, what comes is spread over these links as well.
    pub(crate) fn widen(&mut self, more: Vec<mpsc::Receiver<Result<Bytes, LinkError>>>) {
        let (_, none) = mpsc::channel(1);
        let first = std::mem::replace(&mut self.inbound, none);
        let mut links = vec![(self.decoder.take_rest(), first)];
        links.extend(more.into_iter().map(|link| (Bytes::new(), link)));
        self.inbound = bundle::gather(links);
    }

    /// What the last heartbeat said, if it is recent.
    #[must_use]
    pub fn pulse(&self) -> Option<Pulse> {
        let (when, pulse) = self.pulse?;
        pulse.filter(|_| when.elapsed() <= SILENCE_MAX)
    }

    /// When the last heartbeat came, and what it said; `None` before the first.
    pub(crate) fn last_beat(&self) -> Option<(Instant, Option<Pulse>)> {
        self.pulse
    }

    async fn chunk(&mut self) -> Result<Option<Result<Bytes, LinkError>>, WireError> {
        let received = match self.life {
            Life::Unknown | Life::OnceItBeats => self.inbound.recv().await,
            Life::Expected(waited) => timeout_at(self.heard + waited, self.inbound.recv())
                .await
                .map_err(|_| WireError::Silent { waited })?,
        };
        self.heard = Instant::now();
        Ok(received)
    }

    /// Why the connection ended, for a writer that found it closed: reads, and
    /// drops, what is left. Ends within seconds.
    pub async fn cause_of_end(&mut self) -> WireError {
        let reason = async {
            loop {
                match self.next().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return WireError::Closed,
                    Err(error) => return error,
                }
            }
        };
        timeout(REASON_MAX, reason)
            .await
            .unwrap_or(WireError::Closed)
    }
}

impl WireWriter {
    /// Writes into this queue.
    pub(crate) fn new(outbound: mpsc::Sender<Bytes>) -> Self {
        Self { outbound }
    }

    /// From the next byte on, what is sent is spread over these links as well:
    /// over all, or, if it is told what `each` carries, over as many as are
    /// needed. Returns how many are in use.
    ///
    /// No other clone of this writer may be in use: what it sent would be out of
    /// place.
    pub(crate) fn widen(
        &mut self,
        more: Vec<mpsc::Sender<Bytes>>,
        each: Option<Capacity>,
    ) -> watch::Receiver<usize> {
        let mut links = vec![self.outbound.clone()];
        links.extend(more);
        let (outbound, used) = bundle::spread(links, each);
        self.outbound = outbound;
        used
    }

    /// Sends a frame; waits while the connection is behind.
    ///
    /// # Errors
    /// [`Gone`] if nothing can be sent any more.
    pub async fn send(&self, frame: Frame) -> Result<(), Gone> {
        self.outbound
            .send(frame.into_wire())
            .await
            .map_err(|_| Gone)
    }

    /// A place in the queue, for a sender that waits for other things too.
    ///
    /// # Errors
    /// [`Gone`] if nothing can be sent any more.
    pub async fn reserve(&self) -> Result<mpsc::Permit<'_, Bytes>, Gone> {
        self.outbound.reserve().await.map_err(|_| Gone)
    }

    /// Sends a frame from a thread that may block.
    ///
    /// # Errors
    /// [`Gone`] if nothing can be sent any more.
    pub fn send_blocking(&self, frame: Frame) -> Result<(), Gone> {
        self.outbound
            .blocking_send(frame.into_wire())
            .map_err(|_| Gone)
    }

    /// Ends when nothing can be sent any more.
    pub async fn closed(&self) {
        self.outbound.closed().await;
    }

    /// Sends heartbeats until the connection ends or all other writers are
    /// gone; each says what `pulse` tells. A full queue needs none: what waits
    /// in it shows as much.
    pub fn beat(
        &self,
        pulse: impl Fn() -> Option<Pulse> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let weak = self.outbound.downgrade();
        async move {
            loop {
                tokio::time::sleep(HEARTBEAT_INTERVAL).await;
                let Some(outbound) = weak.upgrade() else {
                    return;
                };
                let beat = Pulse::frame(pulse()).into_wire();
                if let Err(mpsc::error::TrySendError::Closed(_)) = outbound.try_send(beat) {
                    return;
                }
            }
        }
    }
}

/// Greets the other side, reads its greeting, and returns both halves.
///
/// # Errors
/// [`WireError::Silent`] if no greeting comes within `patience`,
/// [`WireError::Hello`] if it is no helper or speaks another protocol.
pub async fn handshake(
    link: Link,
    about: &About,
    patience: Duration,
) -> Result<(WireReader, WireWriter, Hello), WireError> {
    let Link {
        mut inbound,
        outbound,
    } = link;
    let greeting = Bytes::from(hello::encode(about, Workers::usual()));
    // If this fails, the reading side knows why.
    let _ = outbound.send(greeting).await;
    let theirs = timeout(patience, read_hello(&mut inbound))
        .await
        .map_err(|_| WireError::Silent { waited: patience })??;
    let (hello, rest) = theirs;
    hello::agree(&hello)?;
    let mut decoder = Decoder::default();
    decoder.push(rest);
    Ok((
        WireReader {
            inbound,
            decoder,
            life: Life::Unknown,
            heard: Instant::now(),
            pulse: None,
        },
        WireWriter { outbound },
        hello,
    ))
}

async fn read_hello(
    inbound: &mut mpsc::Receiver<Result<Bytes, LinkError>>,
) -> Result<(Hello, Bytes), WireError> {
    let mut seen = Vec::new();
    loop {
        let chunk = inbound.recv().await.ok_or(WireError::Closed)??;
        seen.extend_from_slice(&chunk);
        if let Some((hello, length)) = hello::decode(&seen)? {
            return Ok((hello, Bytes::from(seen.split_off(length))));
        }
    }
}
