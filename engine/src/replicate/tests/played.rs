//! Sides of a transfer that only play: blocks come and are taken at times that
//! the test gives, by a clock that stands while anybody is busy.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{PATIENCE, about};
use crate::name::{Guid, SnapshotName};
use crate::peer::Peer;
use crate::peer::wire::handshake;
use crate::plan::{DatasetPlan, Step};
use crate::protocol::message::{Reply, Request};
use crate::protocol::pulse::{Pulse, WaitsFor};
use crate::stream::compress::Compression;
use crate::stream::frame::{Frame, Kind};
use crate::stream::outbound::Outbound;
use crate::stream::pool::Pool;
use crate::transport::local;
use crate::zfs::{DatasetKind, SendMode};

/// What a side does.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// What each block takes it.
    pub gap: Duration,
    /// What its heartbeats say.
    pub says: Option<WaitsFor>,
}

impl Part {
    /// It does its part at once.
    pub(super) const QUICK: Self = Self {
        gap: Duration::ZERO,
        says: Some(WaitsFor::OtherSide),
    };

    /// It takes so long for each block, and says that it is for this.
    pub(super) fn slow(gap: Duration, says: WaitsFor) -> Self {
        let says = Some(says);
        Self { gap, says }
    }

    fn beat(self) -> impl Fn() -> Option<Pulse> + Send + 'static {
        move || {
            let since = Duration::ZERO;
            self.says.map(|waits_for| Pulse { waits_for, since })
        }
    }
}

/// A source that sends `blocks` blocks of so many bytes for every transfer.
pub(super) async fn source(blocks: usize, bytes: usize, part: Part) -> Peer {
    let (near, far) = local::pair();
    tokio::spawn(async move {
        let greeted = handshake(far, &about(), PATIENCE).await;
        let (mut reader, writer, _) = greeted.unwrap();
        tokio::spawn(writer.beat(part.beat()));
        while let Ok(Some(frame)) = reader.next().await {
            let request = frame.verified_payload().map(serde_json::from_slice);
            let Ok(Ok(Request::Send { transfer, .. })) = request else {
                continue;
            };
            let mut outbound = Outbound::new(transfer, Compression::Off, &Pool::default());
            for _ in 0..blocks {
                sleep(part.gap).await;
                let block = outbound.block();
                let frame = outbound.frame(block, bytes);
                if writer.send(frame).await.is_err() {
                    return;
                }
            }
            let _ = writer.send(outbound.end()).await;
        }
    });
    let greeted = Peer::greet("source", near, &about(), PATIENCE).await;
    greeted.unwrap()
}

/// When blocks came, and how many bytes each was on the wire.
pub(super) type Arrivals = Arc<Mutex<Vec<(Instant, usize)>>>;

/// A target that takes everything, and what came to it.
pub(super) async fn target(part: Part) -> (Peer, Arrivals) {
    let (near, far) = local::pair();
    let arrivals = Arrivals::default();
    let seen = Arc::clone(&arrivals);
    tokio::spawn(async move {
        let greeted = handshake(far, &about(), PATIENCE).await;
        let (mut reader, writer, _) = greeted.unwrap();
        tokio::spawn(writer.beat(part.beat()));
        let mut raw_bytes = 0;
        while let Ok(Some(frame)) = reader.next().await {
            let reply = match frame.header.kind {
                Kind::Message => {
                    raw_bytes = 0;
                    Reply::Ready
                }
                Kind::End => Reply::Received {
                    raw_bytes,
                    refused: Vec::new(),
                },
                _ => {
                    raw_bytes += frame.header.raw_bytes as u64;
                    let came = (Instant::now(), frame.wire_bytes());
                    seen.lock().unwrap().push(came);
                    sleep(part.gap).await;
                    continue;
                }
            };
            let text = serde_json::to_vec(&reply).unwrap();
            let reply = Frame::stored(Kind::Message, 0, 0, &text);
            writer.send(reply).await.unwrap();
        }
    });
    let greeted = Peer::greet("target", near, &about(), PATIENCE).await;
    (greeted.unwrap(), arrivals)
}

/// What is replicated.
pub(super) fn plan() -> DatasetPlan {
    DatasetPlan {
        snapshot: SnapshotName::parse("tank/a@x").unwrap(),
        guid: Guid(7),
        ivset: None,
        creation_seconds: 0,
        target: SnapshotName::parse("backup/a@x").unwrap(),
        kind: DatasetKind::Filesystem,
        discard: None,
        clearing: None,
        before: Vec::new(),
        step: Step::Full,
        mode: SendMode::Plain,
        properties: Vec::new(),
        clone_of: None,
    }
}
