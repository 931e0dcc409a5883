//! A conversation with a helper: who it is with, requests, replies, its end.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::error::{PeerCause, PeerError};
use super::sessions::More;
use super::stall::{Limits, Stalled};
use super::wire::{self, Gone, WireError, WireReader, WireWriter};
use crate::helper::Activity;
use crate::protocol::hello::About;
use crate::protocol::message::{Reply, Request};
use crate::stream::frame::{Frame, Kind};
use crate::transport::Link;

/// A helper, in this process or on another machine, greeted and ready.
#[derive(Debug)]
pub struct Peer {
    /// Its name in messages: its host, or this node's name.
    pub name: String,
    /// What it says about itself.
    pub about: About,
    /// Workers of a large transfer there; `None`: it may be told no number.
    pub(crate) workers: Option<u8>,
    /// It may be told to leave connections unused.
    pub(super) spares: bool,
    pub(crate) reader: WireReader,
    pub(crate) writer: WireWriter,
    requests: u64,
    transfers: u64,
    pub(crate) limits: Limits,
    /// It has not answered in time: nobody knows what it still says.
    lost: Option<(Stalled, Duration)>,
    /// What its time goes into, where its helper is in this process.
    pub(crate) activity: Option<Activity>,
    /// Its helper is in this process: there is no connection to wait for.
    pub(crate) here: bool,
    heartbeat: JoinHandle<()>,
    pub(super) more: Option<More>,
    /// How many of its connections what is sent to it goes over.
    pub(super) in_use: Option<watch::Receiver<usize>>,
    /// What this side says of itself, and how long it waits for an answer to it.
    pub(super) greeting: (About, Duration),
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}

impl Peer {
    /// Greets the helper at the other end of `link`.
    ///
    /// # Errors
    /// [`PeerError`] with a [`WireError`] if there is no helper, it says
    /// nothing for `patience`, or no protocol version is common.
    pub async fn greet(
        name: &str,
        link: Link,
        about: &About,
        patience: Duration,
    ) -> Result<Self, PeerError> {
        let (mut reader, writer, hello) = wire::handshake(link, about, patience)
            .await
            .map_err(|error| PeerError::new(name, error))?;
        reader.expect_life_once_it_beats();
        let heartbeat = tokio::spawn(writer.beat(|| None));
        Ok(Self {
            name: name.to_owned(),
            about: hello.about,
            workers: hello.workers,
            spares: hello.spares,
            reader,
            writer,
            requests: 0,
            transfers: 0,
            limits: Limits::default(),
            lost: None,
            activity: None,
            here: false,
            heartbeat,
            more: None,
            in_use: None,
            greeting: (about.clone(), patience),
        })
    }

    /// Its helper is in this process, and `activity` is what that shows of its
    /// session: see [`serve_watched`](crate::helper::serve_watched).
    pub fn watch(&mut self, activity: Activity) {
        self.activity = Some(activity);
        self.here = true;
    }

    /// Cuts a transfer from this peer that still runs then, or begins later.
    /// Both sides stay ready for the next request, and what arrived is kept.
    pub fn limit_transfers(&mut self, until: Option<Instant>) {
        self.limits.transfers_until = until;
    }

    /// Gives up a transfer in which nothing moves, and a question that is not
    /// answered, for this long; `None`: never.
    pub fn limit_stalls(&mut self, stall_max: Option<Duration>) {
        self.limits.stall_max = stall_max;
    }

    /// Ends the conversation, and waits until the helper has ended as well. One
    /// that takes longer than some seconds is left to itself.
    ///
    /// # Errors
    /// [`PeerError`] if it did not end cleanly.
    pub async fn close(mut self) -> Result<(), PeerError> {
        self.heartbeat.abort();
        let (gone, _) = mpsc::channel(1);
        // The last writer goes, and with it our side of the connection.
        self.writer = WireWriter::new(gone);
        match self.reader.cause_of_end().await {
            WireError::Closed => Ok(()),
            error => Err(self.broken(error)),
        }
    }

    /// Once this has ended, no heartbeat is on its way into the queue.
    pub(super) async fn stop_beating(&mut self) {
        self.heartbeat.abort();
        let _ = (&mut self.heartbeat).await;
    }

    pub(super) fn begin_beating(&mut self) {
        self.heartbeat = tokio::spawn(self.writer.beat(|| None));
    }

    /// From now on nothing is asked of it: it has kept silent for too long.
    pub(crate) fn give_up(&mut self, why: Stalled, waited: Duration) -> PeerError {
        self.lost = Some((why, waited));
        PeerError::new(&self.name, PeerCause::Stalled { why, waited })
    }

    /// A number for the next transfer of this session.
    pub(crate) fn next_transfer(&mut self) -> u64 {
        self.transfers += 1;
        self.transfers
    }

    pub(super) async fn order(&mut self, request: &Request) -> Result<(), PeerError> {
        match self.ask(request).await? {
            Reply::Done => Ok(()),
            _ => Err(self.confused("a plain confirmation was due")),
        }
    }

    pub(super) async fn ask(&mut self, request: &Request) -> Result<Reply, PeerError> {
        self.request(request).await?;
        self.reply().await
    }

    /// Asks one question after the other without waiting for the answers, which
    /// come in the same order. They are all waited for, also if one is a
    /// failure: of several, the first is the error.
    pub(super) async fn ask_each(&mut self, requests: &[Request]) -> Result<Vec<Reply>, PeerError> {
        if let Some((why, waited)) = self.lost {
            return Err(self.give_up(why, waited));
        }
        self.reader.begin_to_listen();
        let frames: Vec<Frame> = requests.iter().map(|one| self.numbered(one)).collect();
        let writer = self.writer.clone();
        let asked = async {
            for frame in frames {
                // Whoever waits for the answers hears why.
                if writer.send(frame).await.is_err() {
                    break;
                }
            }
            std::future::pending::<Infallible>().await
        };
        let answered = async {
            let mut replies = Vec::with_capacity(requests.len());
            let mut failed = None;
            for _ in requests {
                match self.reply().await {
                    Ok(reply) => replies.push(reply),
                    Err(error) if error.failure().is_some() => {
                        failed.get_or_insert(error);
                    }
                    Err(error) => return Err(error),
                }
            }
            failed.map_or(Ok(replies), Err)
        };
        tokio::select! {
            answered = answered => answered,
            never = asked => match never {},
        }
    }

    /// A request as a frame, with the next number.
    fn numbered(&mut self, request: &Request) -> Frame {
        self.requests += 1;
        let text = serde_json::to_vec(request).expect("requests are plain data");
        Frame::stored(Kind::Message, 0, self.requests, &text)
    }

    /// Sends a request without waiting for the answer.
    pub(crate) async fn request(&mut self, request: &Request) -> Result<(), PeerError> {
        if let Some((why, waited)) = self.lost {
            return Err(self.give_up(why, waited));
        }
        self.reader.begin_to_listen();
        let frame = self.numbered(request);
        // A peer that reads nothing keeps its question waiting as one does that
        // does not answer.
        let sent = match self.limits.stall_max {
            None => self.writer.send(frame).await,
            Some(waited) => match timeout(waited, self.writer.send(frame)).await {
                Ok(sent) => sent,
                Err(_) => return Err(self.give_up(Stalled::Unknown, waited)),
            },
        };
        match sent {
            Ok(()) => Ok(()),
            Err(Gone) => {
                let cause = self.reader.cause_of_end().await;
                Err(self.broken(cause))
            }
        }
    }

    /// The next reply; a failure comes as an error.
    pub(crate) async fn reply(&mut self) -> Result<Reply, PeerError> {
        let came = match self.limits.stall_max {
            None => self.reader.next().await,
            Some(waited) => match timeout(waited, self.reader.next()).await {
                Ok(came) => came,
                Err(_) => {
                    let why = Stalled::while_answering(self.reader.pulse());
                    return Err(self.give_up(why, waited));
                }
            },
        };
        match came {
            Ok(Some(frame)) => self.read_reply(&frame),
            Ok(None) => Err(self.broken(WireError::Closed)),
            Err(error) => Err(self.broken(error)),
        }
    }

    /// Reads a frame that has to be a reply.
    pub(crate) fn read_reply(&self, frame: &Frame) -> Result<Reply, PeerError> {
        if frame.header.kind != Kind::Message {
            return Err(self.confused("a reply was due, stream data came"));
        }
        let payload = frame
            .verified_payload()
            .map_err(|error| self.broken(WireError::Frame(error)))?;
        match serde_json::from_slice(payload).map(Reply::made_printable) {
            Ok(Reply::Failed(failure)) => Err(PeerError::new(&self.name, failure)),
            Ok(reply) => Ok(reply),
            Err(_) => Err(self.confused("the reply is unknown or malformed")),
        }
    }

    pub(crate) fn broken(&self, error: WireError) -> PeerError {
        PeerError::new(&self.name, error)
    }

    pub(crate) fn confused(&self, what: &'static str) -> PeerError {
        PeerError::new(&self.name, PeerCause::Confused(what))
    }
}
