//! Peers that do not keep to the protocol, and drivers that go away.

use std::time::Duration;

use bytes::Bytes;

use super::super::transfer::{Ends, Manner, transfer};
use super::{PATIENCE, Silent, about, dataset, helper_link, machines, peer};
use crate::error::Family;
use crate::helper::Authorization;
use crate::helper::Workers;
use crate::name::{Guid, SnapshotName};
use crate::peer::{Peer, PeerCause, PeerError};
use crate::plan::{DatasetPlan, Step};
use crate::protocol::failure::{Abort, Failure};
use crate::protocol::message::{Reply, Request};
use crate::stream::compress::Compression;
use crate::stream::frame::{Frame, Kind};
use crate::stream::outbound::Outbound;
use crate::stream::pool::Pool;
use crate::stream::record::RECORD_BYTES;
use crate::transport::local;
use crate::zfs::model::{Faults, Model};
use crate::zfs::{DatasetKind, Landing, OnCut, ReceiveRequest, Scope, SendMode, Zfs};

/// The other side sends these bytes and then what `end` says.
async fn greet_something(bytes: &'static [u8], end: End) -> PeerError {
    let (near, far) = local::pair();
    if !bytes.is_empty() {
        far.outbound.send(Bytes::from_static(bytes)).await.unwrap();
    }
    let kept = match end {
        End::StaysOpen => Some(far),
        End::Closes => None,
    };
    let error = Peer::greet("elsewhere", near, &about(), Duration::from_millis(50))
        .await
        .unwrap_err();
    drop(kept);
    error
}

enum End {
    StaysOpen,
    Closes,
}

#[tokio::test]
async fn what_is_no_helper_is_told_from_a_silent_one_and_a_closed_one() {
    let error = greet_something(b"Last login: Monday\n", End::StaysOpen).await;
    assert_eq!(error.family(), Family::Protocol);
    assert!(error.to_string().contains("Last login"), "{error}");
    let error = greet_something(b"", End::StaysOpen).await;
    assert_eq!(error.family(), Family::Transient);
    assert!(error.to_string().contains("said nothing"), "{error}");
    let error = greet_something(b"", End::Closes).await;
    assert_eq!(error.family(), Family::Transient, "{error}");
}

/// A conversation with a real helper by hand, frame by frame.
struct ByHand {
    reader: crate::peer::wire::WireReader,
    writer: crate::peer::wire::WireWriter,
}

impl ByHand {
    async fn with(target: &Model, authorization: Authorization) -> Self {
        let link = helper_link(target, authorization);
        let (reader, writer, _) = crate::peer::wire::handshake(link, &about(), PATIENCE)
            .await
            .unwrap();
        Self { reader, writer }
    }

    async fn ask(&mut self, request: &Request) -> Reply {
        let text = serde_json::to_vec(request).unwrap();
        self.send(Frame::stored(Kind::Message, 0, 1, &text)).await;
        self.reply().await
    }

    async fn send(&self, frame: Frame) {
        self.writer.send(frame).await.unwrap();
    }

    async fn reply(&mut self) -> Reply {
        let frame = self.reader.next().await.unwrap().unwrap();
        serde_json::from_slice(frame.verified_payload().unwrap()).unwrap()
    }

    async fn receive(&mut self, to_guid: Guid) {
        let request = Request::Receive {
            request: ReceiveRequest {
                snapshot: SnapshotName::parse("backup/a@x").unwrap(),
                landing: Landing::Create,
                kind: DatasetKind::Filesystem,
                properties: Vec::new(),
                origin: None,
                on_cut: OnCut::Discard,
            },
            transfer: 7,
            to_guid,
            from_guid: None,
            workers: None,
        };
        assert_eq!(self.ask(&request).await, Reply::Ready);
    }
}

/// The stream of `tank/a@x`, and its guid.
fn recorded(source: &Model) -> (Vec<u8>, Guid) {
    let guid = source.by_hand().snapshot("tank/a@x").unwrap();
    let request = crate::zfs::SendRequest {
        snapshot: SnapshotName::parse("tank/a@x").unwrap(),
        base: None,
        mode: SendMode::Plain,
        resume: None,
    };
    let (mut reader, writer) = std::io::pipe().unwrap();
    let sender = source.clone();
    let thread = std::thread::spawn(move || sender.send(&request, writer.into()));
    let mut stream = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut stream).unwrap();
    thread.join().unwrap().unwrap();
    (stream, guid)
}

#[tokio::test]
async fn a_stream_that_is_not_what_was_agreed_is_refused_and_nothing_is_received() {
    let (source, target) = machines(&Faults::default());
    let (stream, guid) = recorded(&source);
    let frames = |transfer: u64| {
        let mut outbound = Outbound::new(transfer, Compression::Off, &Pool::default());
        let first = outbound.data(&stream[..400]);
        let second = outbound.data(&stream[400..]);
        (first, second, outbound.end())
    };
    let (first, second, end) = frames(7);
    let short_end = Outbound::new(7, Compression::Off, &Pool::default()).end();
    let mut damaged = second.clone().into_wire().to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let damaged = {
        let mut decoder = crate::stream::decoder::Decoder::default();
        decoder.push(Bytes::from(damaged));
        decoder.next_frame().unwrap().unwrap()
    };
    let (other_transfer, _, _) = frames(8);
    let rubbish = Frame::stored(Kind::Data, 7, 0, &[0x55; 1000]);
    let tiny = Frame::stored(Kind::Data, 7, 0, b"tiny");
    let cases: Vec<(&str, Guid, Vec<Frame>)> = vec![
        (
            "a damaged frame",
            guid,
            vec![first.clone(), damaged, end.clone()],
        ),
        ("a missing frame", guid, vec![first.clone(), end.clone()]),
        (
            "frames in another order",
            guid,
            vec![second.clone(), first.clone(), end.clone()],
        ),
        (
            "an end that does not fit",
            guid,
            vec![first.clone(), second.clone(), short_end],
        ),
        ("another transfer", guid, vec![other_transfer, end.clone()]),
        (
            "another snapshot",
            Guid(1),
            vec![first.clone(), second.clone(), end.clone()],
        ),
        ("no stream", guid, vec![rubbish, end.clone()]),
        ("less than a record", guid, vec![tiny, end.clone()]),
    ];
    let mut conversation = ByHand::with(&target, Authorization::everything()).await;
    for (what, to_guid, sent) in cases {
        conversation.receive(to_guid).await;
        for frame in sent {
            conversation.send(frame).await;
        }
        let reply = conversation.reply().await;
        assert!(
            matches!(reply, Reply::Failed(Failure::Stream { .. })),
            "{what}: {reply:?}"
        );
        assert!(
            target.by_hand().look("backup/a").is_none(),
            "{what} was received"
        );
    }
    // The same conversation takes the right stream.
    conversation.receive(guid).await;
    for frame in [first, second, end] {
        conversation.send(frame).await;
    }
    let reply = conversation.reply().await;
    assert!(matches!(reply, Reply::Received { .. }), "{reply:?}");
    assert!(target.by_hand().look("backup/a").is_some());
}

#[tokio::test]
async fn a_stream_that_was_damaged_before_it_was_framed_never_reaches_zfs_whole() {
    let (source, target) = machines(&Faults::default());
    let (stream, guid) = recorded(&source);
    let framed = |stream: &[u8]| {
        let mut outbound = Outbound::new(7, Compression::Off, &Pool::default());
        let mut frames: Vec<Frame> = stream
            .chunks(400)
            .map(|block| outbound.data(block))
            .collect();
        frames.push(outbound.end());
        frames
    };
    let mut damaged: Vec<(String, Vec<u8>)> = (RECORD_BYTES..stream.len())
        .step_by(101)
        .map(|at| {
            let mut bytes = stream.clone();
            bytes[at] ^= 4;
            (format!("a bit of byte {at}"), bytes)
        })
        .collect();
    damaged.push((
        "a cut".to_owned(),
        stream[..stream.len() - RECORD_BYTES].to_vec(),
    ));
    damaged.push(("a tail".to_owned(), [&stream[..], &[0; 8]].concat()));
    assert!(damaged.len() > 10, "{}", stream.len());
    let mut conversation = ByHand::with(&target, Authorization::everything()).await;
    for (what, bytes) in damaged {
        conversation.receive(guid).await;
        for frame in framed(&bytes) {
            conversation.send(frame).await;
        }
        let reply = conversation.reply().await;
        let Reply::Failed(Failure::Stream { reason, .. }) = reply else {
            panic!("{what}: {reply:?}");
        };
        assert!(reason.contains("the stream is damaged"), "{what}: {reason}");
        assert!(
            target.by_hand().look("backup/a").is_none(),
            "{what} was received"
        );
    }
}

#[tokio::test]
async fn a_conversation_that_is_closed_leaves_a_helper_that_ended_well() {
    let (_, target) = machines(&Faults::default());
    let (near, served) = super::served(&target, Authorization::everything());
    let peer = Peer::greet("target", near, &about(), PATIENCE).await;
    peer.unwrap().close().await.unwrap();
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_driver_that_goes_away_in_the_middle_leaves_nothing() {
    let (source, target) = machines(&Faults::default());
    let (stream, guid) = recorded(&source);
    let mut conversation = ByHand::with(&target, Authorization::everything()).await;
    conversation.receive(guid).await;
    let mut outbound = Outbound::new(7, Compression::Off, &Pool::default());
    conversation.send(outbound.data(&stream[..400])).await;
    drop(conversation);
    // The next conversation may receive the same dataset: nothing is busy.
    let mut next = ByHand::with(&target, Authorization::everything()).await;
    for _ in 0..100 {
        let root = dataset("backup/a");
        let listed = next
            .ask(&Request::Tree {
                root,
                scope: Scope::One,
            })
            .await;
        if matches!(listed, Reply::Datasets { exists: false, .. }) {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("a part of the stream stayed");
}

#[tokio::test]
async fn a_request_outside_of_what_is_allowed_is_refused_and_not_carried_out() {
    let (_, target) = machines(&Faults::default());
    let allowed = Authorization::only(vec![dataset("backup/in")]);
    let mut conversation = ByHand::with(&target, allowed).await;
    for request in [
        Request::Tree {
            root: dataset("backup"),
            scope: Scope::Recursive,
        },
        Request::CreateAncestors {
            dataset: dataset("backup/out/x"),
        },
        Request::Snapshot {
            names: vec![SnapshotName::parse("backup@x").unwrap()],
        },
    ] {
        let reply = conversation.ask(&request).await;
        assert!(
            matches!(reply, Reply::Failed(Failure::NotAllowed { .. })),
            "{request:?}: {reply:?}"
        );
    }
    let unknown = Frame::stored(Kind::Message, 0, 9, br#"{"format_disk":{}}"#);
    conversation.send(unknown).await;
    let reply = conversation.reply().await;
    assert!(
        matches!(reply, Reply::Failed(Failure::BadRequest(_))),
        "{reply:?}"
    );
    assert_eq!(
        target.by_hand().list().len(),
        1,
        "{:?}",
        target.by_hand().list()
    );
}

#[tokio::test(start_paused = true)]
async fn a_helper_that_hears_nothing_for_a_minute_ends() {
    let (_, target) = machines(&Faults::default());
    let mut conversation = ByHand::with(&target, Authorization::everything()).await;
    let begun = tokio::time::Instant::now();
    let end = conversation.reader.next().await;
    assert!(matches!(end, Ok(None) | Err(_)), "{end:?}");
    assert_eq!(begun.elapsed(), crate::peer::wire::SILENCE_MAX);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_keep_a_quiet_conversation_alive() {
    let (_, target) = machines(&Faults::default());
    let mut quiet = peer("target", &target).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let listed = quiet.tree(&dataset("backup"), Scope::One).await.unwrap();
    assert!(listed.is_some());
}

/// A source that takes requests, sends nothing, and stops when it is told to.
async fn stuck_source() -> Peer {
    let (near, far) = local::pair();
    tokio::spawn(async move {
        let greeted = crate::peer::wire::handshake(far, &about(), PATIENCE).await;
        let (mut reader, writer, _) = greeted.unwrap();
        while let Ok(Some(frame)) = reader.next().await {
            let request = frame.verified_payload().map(serde_json::from_slice);
            if matches!(request, Ok(Ok(Request::Cancel))) {
                let failure = Failure::Internal("it was cancelled".into());
                let text = serde_json::to_vec(&Abort { failure }).unwrap();
                let abort = Frame::stored(Kind::Abort, 1, 0, &text);
                writer.send(abort).await.unwrap();
            }
        }
    });
    Peer::greet("source", near, &about(), PATIENCE)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_transfer_whose_time_is_over_is_cut_and_the_target_stays_ready() {
    let (_, machine) = machines(&Faults::default());
    let mut source = stuck_source().await;
    let mut target = peer("target", &machine).await;
    let limit = Duration::from_millis(50);
    let begun = tokio::time::Instant::now();
    source.limit_transfers(Some(begun + limit));
    let plan = DatasetPlan {
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
    };
    let mut ends = Ends {
        source: &mut source,
        target: &mut target,
    };
    let observer = Silent;
    let manner = || Manner {
        compression: Compression::Off,
        workers: Workers::Auto,
        limiter: None,
        observer: &observer,
    };
    let sent = transfer(&mut ends, &plan, manner()).await;
    let error = sent.unwrap_err();
    assert!(matches!(*error.cause, PeerCause::OutOfTime), "{error}");
    assert_eq!(error.family(), Family::Transient);
    assert!(begun.elapsed() >= limit);
    // One that begins later is not even asked for.
    let sent = transfer(&mut ends, &plan, manner()).await;
    assert!(matches!(*sent.unwrap_err().cause, PeerCause::OutOfTime));
    let listed = target.tree(&dataset("backup"), Scope::Recursive).await;
    let listed = listed.unwrap().unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
}
