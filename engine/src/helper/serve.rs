//! The helper's loop: one request after another until the connection ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::activity::Activity;
use super::authorization::Authorization;
use super::claim::{Claim, ClaimFolder};
use super::holds::Newest;
use super::join::{Desk, Door, Remains};
use super::receiving::Receiving;
use super::requests::{self, Context};
use super::sending::Sending;
use super::sessions::Beating;
use super::workforce::{Workers, Workforce};
use crate::peer::wire::{self, Gone, WireError, WireReader, WireWriter};
use crate::protocol::failure::Failure;
use crate::protocol::hello::About;
use crate::protocol::message::{Reply, Request};
use crate::protocol::pulse::WaitsFor;
use crate::stream::frame::{Frame, FrameError, Kind};
use crate::stream::pool::Pool;
use crate::stream::tuner::Tuner;
use crate::transport::Link;
use crate::zfs::{Hold, Zfs};

/// Frames that wait between the connection and the thread that decodes them;
/// with the one being decoded and the one kept back, 4 MiB. Workers have what
/// they are at besides.
const FRAMES_WAITING_MAX: usize = 2;

/// Whose copies a helper may tell of: the datasets it was started for, on the
/// node that it calls itself.
#[derive(Debug, Clone, Copy)]
pub struct Reach<'a> {
    /// The datasets.
    pub authorization: &'a Authorization,
    /// The node.
    pub node: &'a str,
}

/// Where a helper keeps the state of services. Names and text come from the
/// other side: the keeper checks them, and refuses a service whose copy on
/// this node lies outside of `reach`.
pub trait StateKeeper: Send + Sync {
    /// Stores the state of a resource, unless a newer one is there.
    ///
    /// # Errors
    /// The reason, as a sentence.
    fn put(&self, service: &str, rid: &str, state: &str, reach: Reach<'_>) -> Result<(), String>;

    /// The state of a resource, if there is one.
    ///
    /// # Errors
    /// The reason, as a sentence.
    fn get(&self, service: &str, rid: &str, reach: Reach<'_>) -> Result<Option<String>, String>;
}

/// What a helper works with.
#[derive(Clone)]
pub struct Helper {
    /// ZFS of this machine.
    pub zfs: Arc<dyn Zfs>,
    /// What requests may name.
    pub authorization: Authorization,
    /// Where states go, if this helper keeps any.
    pub states: Option<Arc<dyn StateKeeper>>,
    /// Where destinations are claimed. `None` if no other helper can reach
    /// them: a claim has nobody to keep out then.
    pub claims: Option<ClaimFolder>,
    /// Where more sessions of its driver find it. `None`: nowhere.
    pub door: Option<Door>,
    /// What it says about itself.
    pub about: About,
    /// How long it waits for the greeting.
    pub patience: Duration,
    /// Where large transfers get more workers from.
    pub workforce: Workforce,
}

/// Serves one connection to its end.
///
/// A transfer that runs when the connection ends is given up: the part that came
/// may be kept, the snapshot does not exist. Holds are released. Work that hangs
/// in ZFS is left to its thread, and the session ends all the same: then ZFS
/// keeps the dataset busy, and the claim is kept as well.
///
/// # Errors
/// [`WireError`] if the connection failed or the driver broke the protocol.
pub async fn serve(link: Link, helper: Helper) -> Result<(), WireError> {
    serve_watched(link, helper, Activity::default()).await
}

/// The same, for a driver in this process: `activity` shows it what the
/// session's time goes into.
///
/// # Errors
/// As [`serve`].
pub async fn serve_watched(
    link: Link,
    helper: Helper,
    activity: Activity,
) -> Result<(), WireError> {
    let (mut reader, writer, driver) =
        wire::handshake(link, &helper.about, helper.patience).await?;
    reader.expect_life(wire::SILENCE_MAX);
    let beating = Beating::start(&writer, &activity);
    let mut session = Session {
        helper,
        reader,
        writer,
        holds: Vec::new(),
        claims: Vec::new(),
        newest: Newest::default(),
        driver: driver.about.node,
        early: None,
        answering: 0,
        activity,
        pool: Pool::default(),
        known: Arc::default(),
        beating,
        desk: None,
        joined: Vec::new(),
    };
    loop {
        let frame = match session.early.take() {
            Some(frame) => frame,
            None => match session.reader.next().await? {
                Some(frame) => frame,
                None => return session.end().await,
            },
        };
        match session.turn(&frame).await {
            Ok(()) => {}
            Err(Turn::Broken(error)) => return Err(error),
            Err(Turn::Gone) => return Err(session.reader.cause_of_end().await),
        }
    }
}

/// How serving a request can end the session.
pub(super) enum Turn {
    Broken(WireError),
    Gone,
}

impl From<WireError> for Turn {
    fn from(error: WireError) -> Self {
        Self::Broken(error)
    }
}

impl From<FrameError> for Turn {
    fn from(error: FrameError) -> Self {
        Self::Broken(error.into())
    }
}

impl From<Gone> for Turn {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

pub(super) struct Session {
    pub(super) helper: Helper,
    pub(super) reader: WireReader,
    pub(super) writer: WireWriter,
    holds: Vec<Box<dyn Hold>>,
    /// The destinations of this session; a receive keeps them until it ends.
    claims: Vec<Arc<Claim>>,
    /// Where bases are looked for first.
    newest: Newest,
    /// What the driver's machine calls itself.
    driver: String,
    /// A request that came while a send was just ending.
    early: Option<Frame>,
    /// Number of the request that is being answered.
    answering: u64,
    /// For heartbeats.
    pub(super) activity: Activity,
    /// Of all its transfers.
    pool: Pool,
    /// What they have learnt about levels of compression, for the next one.
    known: Arc<Mutex<Tuner>>,
    pub(super) beating: Beating,
    /// Where more sessions arrive, if they were offered.
    pub(super) desk: Option<Desk>,
    /// What is left to do for those that have joined.
    pub(super) joined: Vec<Remains>,
}

impl Session {
    async fn turn(&mut self, frame: &Frame) -> Result<(), Turn> {
        if frame.header.kind != Kind::Message {
            return Err(FrameError::Unexpected(frame.header.kind).into());
        }
        self.answering = frame.header.sequence;
        let payload = frame.verified_payload()?;
        let request: Request = match serde_json::from_slice(payload) {
            Ok(request) => request,
            Err(error) => return self.refuse(Failure::BadRequest(error.to_string())).await,
        };
        if let Err(failure) = self.helper.authorization.check(&request) {
            return self.refuse(failure).await;
        }
        match request {
            // The send it was meant for has already ended.
            Request::Cancel => Ok(()),
            Request::OfferSessions => self.offer_sessions().await,
            Request::Widen { count, sparing } => self.widen(count, sparing).await,
            Request::Send {
                request,
                transfer,
                compression,
                workers,
            } => {
                let cancelled = Arc::new(AtomicBool::new(false));
                let sending = Sending {
                    zfs: Arc::clone(&self.helper.zfs),
                    request,
                    transfer,
                    compression,
                    writer: self.writer.clone(),
                    pool: self.pool.clone(),
                    known: Arc::clone(&self.known),
                    cancelled: Arc::clone(&cancelled),
                    activity: self.activity.clone(),
                    workers: Workers::asked(workers),
                    workforce: self.helper.workforce.clone(),
                };
                let sent = self.send(sending, &cancelled).await;
                self.activity.rests();
                sent
            }
            Request::Receive {
                request,
                transfer,
                to_guid,
                from_guid,
                workers,
            } => {
                let (queue, frames) = mpsc::channel(FRAMES_WAITING_MAX);
                let zfs = Arc::clone(&self.helper.zfs);
                let receiving = Receiving {
                    zfs,
                    request,
                    transfer,
                    to_guid,
                    from_guid,
                    frames,
                    pool: self.pool.clone(),
                    activity: self.activity.clone(),
                    workers: Workers::asked(workers),
                    workforce: self.helper.workforce.clone(),
                };
                let received = self.receive(receiving, queue).await;
                self.activity.rests();
                received
            }
            other => {
                self.activity.waits_for(WaitsFor::Zfs);
                let answered = self.short(other).await;
                self.activity.rests();
                answered
            }
        }
    }

    pub(super) async fn refuse(&self, failure: Failure) -> Result<(), Turn> {
        self.reply(&Reply::Failed(failure)).await
    }

    pub(super) async fn reply(&self, reply: &Reply) -> Result<(), Turn> {
        let text = serde_json::to_vec(reply).expect("replies are plain data");
        Ok(self
            .writer
            .send(Frame::stored(Kind::Message, 0, self.answering, &text))
            .await?)
    }

    /// A request that is answered from a blocking thread. If the driver goes
    /// away meanwhile the session ends, and the thread when ZFS lets it.
    async fn short(&mut self, request: Request) -> Result<(), Turn> {
        let helper = self.helper.clone();
        let mut holds = std::mem::take(&mut self.holds);
        let mut claims = self.claims.clone();
        let mut newest = std::mem::take(&mut self.newest);
        let driver = self.driver.clone();
        let mut work = spawn_blocking(move || {
            let context = Context {
                zfs: &*helper.zfs,
                authorization: &helper.authorization,
                states: helper.states.as_deref(),
                node: &helper.about.node,
                folder: helper.claims.as_ref(),
                driver: &driver,
                claims: &mut claims,
                holds: &mut holds,
                newest: &mut newest,
            };
            let replies = requests::carry_out(request, context);
            (replies, holds, claims, newest)
        });
        let done = loop {
            tokio::select! {
                done = &mut work => break done,
                frame = self.reader.next(), if self.early.is_none() => match frame? {
                    Some(frame) => self.early = Some(frame),
                    None => return Err(WireError::Closed.into()),
                },
                () = self.writer.closed() => return Err(Turn::Gone),
            }
        };
        let replies = match done {
            Ok((replies, holds, claims, newest)) => {
                self.holds = holds;
                self.claims = claims;
                self.newest = newest;
                replies
            }
            Err(error) => vec![Reply::Failed(Failure::Internal(error.to_string()))],
        };
        for reply in &replies {
            self.reply(reply).await?;
        }
        Ok(())
    }

    /// Runs a send; meanwhile only a cancel may come. The driver knows of the
    /// end as soon as the end frame is out, so its next request may come a
    /// moment before the sending thread has ended: that one waits its turn.
    async fn send(&mut self, sending: Sending, cancelled: &AtomicBool) -> Result<(), Turn> {
        let mut work = spawn_blocking(move || sending.run());
        loop {
            tokio::select! {
                sent = &mut work => return match sent {
                    Ok(sent) => Ok(sent?),
                    Err(error) => self.refuse(Failure::Internal(error.to_string())).await,
                },
                frame = self.reader.next(), if self.early.is_none() => match frame {
                    Ok(Some(frame)) if is_cancel(&frame) => {
                        cancelled.store(true, Ordering::Relaxed);
                    }
                    Ok(Some(frame)) => self.early = Some(frame),
                    Ok(None) => {
                        cancelled.store(true, Ordering::Relaxed);
                        return Err(WireError::Closed.into());
                    }
                    Err(error) => {
                        cancelled.store(true, Ordering::Relaxed);
                        return Err(error.into());
                    }
                },
                () = self.writer.closed() => {
                    cancelled.store(true, Ordering::Relaxed);
                    return Err(Turn::Gone);
                }
            }
        }
    }

    /// Runs a receive: passes frames on until the end or abort frame has come
    /// and the answer is out, in whichever order. Once the receiving threads
    /// have ended, what still comes is dropped.
    async fn receive(
        &mut self,
        receiving: Receiving,
        queue: mpsc::Sender<Frame>,
    ) -> Result<(), Turn> {
        // The driver may be gone before ZFS has let go of the dataset.
        let claims = self.claims.clone();
        let mut work = spawn_blocking(move || {
            let _claims = claims;
            receiving.run()
        });
        self.reply(&Reply::Ready).await?;
        let mut queue = Some(queue);
        let mut waiting: Option<Frame> = None;
        let mut ended = false;
        let mut answered = false;
        while !(ended && answered) {
            let queued = queue.clone();
            let place = async move {
                match queued {
                    Some(queue) => queue.reserve_owned().await.ok(),
                    None => None,
                }
            };
            tokio::select! {
                reply = &mut work, if !answered => {
                    answered = true;
                    queue = None;
                    waiting = None;
                    let reply = reply.unwrap_or_else(|error| {
                        Reply::Failed(Failure::Internal(error.to_string()))
                    });
                    self.reply(&reply).await?;
                }
                permit = place, if waiting.is_some() => {
                    match (permit, waiting.take()) {
                        (Some(permit), Some(frame)) => drop(permit.send(frame)),
                        // The threads have ended; their answer comes next.
                        _ => queue = None,
                    }
                    if ended {
                        queue = None;
                    }
                }
                frame = self.reader.next(), if waiting.is_none() && !ended => {
                    // Any error drops the queue, and with it the receive.
                    let frame = frame?.ok_or(WireError::Closed)?;
                    match frame.header.kind {
                        Kind::Message => {
                            return Err(FrameError::Unexpected(Kind::Message).into());
                        }
                        Kind::End | Kind::Abort => ended = true,
                        Kind::Data | Kind::Heartbeat => {}
                    }
                    if queue.is_some() {
                        waiting = Some(frame);
                    }
                }
                // Noticed by the next heartbeat, while ZFS takes nothing and
                // nothing is read.
                () = self.writer.closed() => return Err(Turn::Gone),
            }
        }
        Ok(())
    }
}

fn is_cancel(frame: &Frame) -> bool {
    frame.header.kind == Kind::Message
        && frame
            .verified_payload()
            .is_ok_and(|payload| matches!(serde_json::from_slice(payload), Ok(Request::Cancel)))
}
