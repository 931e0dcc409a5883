//! More sessions for a conversation: how a helper takes them in.

use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::activity::Activity;
use super::join::Desk;
use super::serve::{Session, Turn};
use crate::peer::wire::{WireError, WireWriter};
use crate::protocol::failure::Failure;
use crate::protocol::message::{Reply, Request};
use crate::stream::frame::{FrameError, Kind};
use crate::transport::bundle::{self, Capacity, LINKS_MAX};

/// How long sessions that the driver has opened may take to join.
const JOIN_MAX: Duration = Duration::from_secs(10);

/// How long what was said last may take to get out over sessions that joined.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// Heartbeats, until this is dropped.
#[derive(Debug)]
pub(super) struct Beating(JoinHandle<()>);

impl Beating {
    pub fn start(writer: &WireWriter, activity: &Activity) -> Self {
        let told = activity.clone();
        Self(tokio::spawn(writer.beat(move || told.pulse())))
    }

    /// Once this has ended, no heartbeat is on its way into the queue.
    async fn stop(&mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

impl Drop for Beating {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Session {
    /// Lets more sessions of this driver come.
    pub(super) async fn offer_sessions(&mut self) -> Result<(), Turn> {
        let Some(door) = &self.helper.door else {
            return self.no_sessions("it has nowhere to take them in").await;
        };
        if !self.joined.is_empty() {
            return self.no_sessions("it has taken in some already").await;
        }
        match Desk::open(door) {
            Ok(desk) => {
                let offer = Reply::Sessions {
                    token: desk.token().clone(),
                    window_bytes: door.window_bytes(),
                };
                self.desk = Some(desk);
                self.reply(&offer).await
            }
            Err(error) => self.no_sessions(&error.to_string()).await,
        }
    }

    /// Takes in those that have joined. From the answer on what this side says
    /// is spread over all of them; what the driver says is as soon as it says so.
    pub(super) async fn widen(&mut self, count: usize, sparing: bool) -> Result<(), Turn> {
        let Some(desk) = self.desk.take().filter(|_| (1..LINKS_MAX).contains(&count)) else {
            let text = "not that many sessions were offered".to_owned();
            return self.refuse(Failure::BadRequest(text)).await;
        };
        let joined = tokio::select! {
            joined = desk.collect(count, JOIN_MAX) => joined,
            // Nothing is due: it is gone, or out of step.
            frame = self.reader.next() => return Err(match frame? {
                Some(frame) => FrameError::Unexpected(frame.header.kind).into(),
                None => WireError::Closed.into(),
            }),
            () = self.writer.closed() => return Err(Turn::Gone),
        };
        let Some(joined) = joined else {
            return self.no_sessions("not all of them came in time").await;
        };
        let (links, rests) = joined.into_iter().map(|one| (one.link, one.rest)).unzip();
        let (inbounds, outbounds) = bundle::halves(links);
        self.joined = rests;
        self.beating.stop().await;
        let answered = Instant::now();
        self.reply(&Reply::Done).await?;
        let frame = self.reader.next().await?.ok_or(WireError::Closed)?;
        let round_trip = answered.elapsed();
        let payload = frame.verified_payload()?;
        let widened = frame.header.kind == Kind::Message
            && matches!(serde_json::from_slice(payload), Ok(Request::Widened));
        if !widened {
            return Err(FrameError::Unexpected(frame.header.kind).into());
        }
        let door = self.helper.door.as_ref().filter(|_| sparing);
        let each = door.map(|door| Capacity {
            window_bytes: door.window_bytes(),
            round_trip,
        });
        self.reader.widen(inbounds);
        let _ = self.writer.widen(outbounds, each);
        self.beating = Beating::start(&self.writer, &self.activity);
        Ok(())
    }

    async fn no_sessions(&self, reason: &str) -> Result<(), Turn> {
        let reason = reason.to_owned();
        self.refuse(Failure::NoSessions { reason }).await
    }

    /// The conversation has ended well. What was said last may be on its way
    /// over sessions that joined, and their processes wait for us.
    pub(super) async fn end(mut self) -> Result<(), WireError> {
        let joined = std::mem::take(&mut self.joined);
        drop(self);
        for rest in joined {
            let finished = spawn_blocking(move || rest.finish());
            if let Ok(Ok(written)) = timeout(LAST_WORDS, finished).await {
                written?;
            }
        }
        Ok(())
    }
}
