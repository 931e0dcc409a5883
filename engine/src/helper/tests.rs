//! Large transfers, by one worker and by several: nobody can tell but by the
//! time that it takes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::activity::Activity;
use super::receiving::Receiving;
use super::sending::Sending;
use super::workforce::{Workers, Workforce};
use crate::name::{Guid, SnapshotName};
use crate::peer::wire::{Gone, WireWriter};
use crate::protocol::failure::{Abort, Failure};
use crate::protocol::message::Reply;
use crate::stream::compress::Compression;
use crate::stream::decoder::Decoder;
use crate::stream::frame::{DATA_BYTES_MAX, Frame, HEADER_BYTES, Kind};
use crate::stream::pool::Pool;
use crate::zfs::model::{Model, Random};
use crate::zfs::{
    DatasetKind, Landing, OnCut, PartialContent, ReceiveRequest, SendMode, SendRequest,
};

const POOL_BYTES: u64 = 64 << 20;

/// Workers for any stream, however small.
fn crew_of(count: usize) -> (Workers, Workforce) {
    (Workers::Exactly(count), Workforce::apart(count - 1, 0))
}

fn snapshot(name: &str) -> SnapshotName {
    SnapshotName::parse(name).unwrap()
}

/// A source with `tank/a@x` of some MiB, by turns text and noise.
fn source(seed: u64) -> (Model, Guid) {
    let mut random = Random::new(seed);
    let model = Model::new(1);
    let hands = model.by_hand();
    hands.add_pool("tank", POOL_BYTES).unwrap();
    hands.create("tank/a").unwrap();
    for block in 0..36 {
        let length = usize::try_from(random.below(300_000)).unwrap();
        let bytes: Vec<u8> = match block % 3 {
            0 => (0..length)
                .map(|_| random.number().to_le_bytes()[0])
                .collect(),
            _ => format!("a word of block {block} ")
                .bytes()
                .cycle()
                .take(length)
                .collect(),
        };
        hands.write("tank/a", block, &bytes).unwrap();
    }
    let guid = hands.snapshot("tank/a@x").unwrap();
    (model, guid)
}

fn target() -> Model {
    let model = Model::new(2);
    model.by_hand().add_pool("backup", POOL_BYTES).unwrap();
    model
}

/// A send, what it writes to, and what stops it.
fn sending(
    source: &Model,
    compression: Compression,
    (workers, workforce): (Workers, Workforce),
) -> (Sending, mpsc::Receiver<Bytes>, Arc<AtomicBool>) {
    let (outbound, wire) = mpsc::channel(1);
    let cancelled = Arc::new(AtomicBool::new(false));
    let sending = Sending {
        zfs: Arc::new(source.clone()),
        request: SendRequest {
            snapshot: snapshot("tank/a@x"),
            base: None,
            mode: SendMode::Plain,
            resume: None,
        },
        transfer: 7,
        compression,
        writer: WireWriter::new(outbound),
        pool: Pool::default(),
        known: Arc::new(Mutex::default()),
        cancelled: Arc::clone(&cancelled),
        activity: Activity::default(),
        workers,
        workforce,
    };
    (sending, wire, cancelled)
}

fn sent(source: &Model, compression: Compression, crew: (Workers, Workforce)) -> Vec<Bytes> {
    let (sending, mut wire, _) = sending(source, compression, crew);
    let sender = thread::spawn(|| sending.run());
    let mut all = Vec::new();
    while let Some(frame) = wire.blocking_recv() {
        all.push(frame);
    }
    sender.join().unwrap().unwrap();
    all
}

fn frame(wire: &Bytes) -> Frame {
    let mut decoder = Decoder::default();
    decoder.push(wire.clone());
    decoder.next_frame().unwrap().unwrap()
}

fn frames(source: &Model) -> Vec<Frame> {
    let wire = sent(source, Compression::Level(1), crew_of(1));
    wire.iter().map(frame).collect()
}

/// The same frame with another byte in its payload.
fn damaged(whole: &Frame) -> Frame {
    let mut bytes = whole.clone().into_wire().to_vec();
    bytes[HEADER_BYTES + whole.payload().len() / 2] ^= 0x41;
    frame(&Bytes::from(bytes))
}

/// What came of a receive: the answer, and what is kept.
fn received(
    frames: &[Frame],
    guid: Guid,
    (workers, workforce): (Workers, Workforce),
) -> (Reply, Option<PartialContent>, Model) {
    let target = target();
    let (queue, waiting) = mpsc::channel(2);
    let receiving = Receiving {
        zfs: Arc::new(target.clone()),
        request: ReceiveRequest {
            snapshot: snapshot("backup/a@x"),
            landing: Landing::Create,
            kind: DatasetKind::Filesystem,
            properties: Vec::new(),
            origin: None,
            on_cut: OnCut::Keep,
        },
        transfer: 7,
        to_guid: guid,
        from_guid: None,
        frames: waiting,
        pool: Pool::default(),
        activity: Activity::default(),
        workers,
        workforce,
    };
    let receiver = thread::spawn(|| receiving.run());
    for frame in frames {
        // It may have ended by itself.
        if queue.blocking_send(frame.clone()).is_err() {
            break;
        }
    }
    drop(queue);
    let reply = receiver.join().unwrap();
    let there = target.by_hand().look("backup/a");
    let kept = there.and_then(|there| there.partial?.content);
    (reply, kept, target)
}

#[test]
fn what_travels_is_the_same_however_many_workers_there_are() {
    for seed in 1..=2 {
        let (source, _) = source(seed);
        for compression in [
            Compression::Off,
            Compression::Level(1),
            Compression::Level(-5),
        ] {
            let alone = sent(&source, compression, crew_of(1));
            assert!(alone.len() > 4, "{} frames", alone.len());
            for workers in [2, 4, 8] {
                let together = sent(&source, compression, crew_of(workers));
                assert!(alone == together, "{compression:?}, {workers}, seed {seed}");
            }
        }
    }
}

#[test]
fn what_was_compressed_as_it_pays_arrives_however_many_workers_there_are() {
    let (source, guid) = source(4);
    for (there, here) in [(1, 4), (4, 1), (2, 8)] {
        let wire = sent(&source, Compression::Adaptive, crew_of(there));
        let frames: Vec<Frame> = wire.iter().map(frame).collect();
        let (reply, kept, target) = received(&frames, guid, crew_of(here));
        assert!(matches!(reply, Reply::Received { .. }), "{reply:?}");
        assert_eq!(kept, None);
        let digest = |model: &Model, name| model.by_hand().digest(name).unwrap();
        assert_eq!(digest(&source, "tank/a"), digest(&target, "backup/a"));
    }
}

/// One worker and several come to the same answer, and keep the same.
fn ends_alike(frames: &[Frame], guid: Guid, what: &str) -> (Failure, Option<PartialContent>) {
    let (reply, kept, _) = received(frames, guid, crew_of(1));
    let (by_several, kept_by_several, target) = received(frames, guid, crew_of(4));
    assert_eq!(by_several, reply, "{what}");
    assert_eq!(kept_by_several, kept, "{what}");
    let there = target.by_hand().look("backup/a");
    assert!(
        there.is_none_or(|there| there.snapshots.is_empty()),
        "{what}"
    );
    match reply {
        Reply::Failed(failure) => (failure, kept),
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn a_damaged_block_is_refused_and_nothing_from_the_one_before_it_on_reaches_zfs() {
    let (source, guid) = source(5);
    let whole = frames(&source);
    for at in 0..whole.len() - 1 {
        let mut frames = whole.clone();
        frames[at] = damaged(&frames[at]);
        let (failure, kept) = ends_alike(&frames, guid, &format!("frame {at}"));
        let Failure::Stream { reason, .. } = &failure else {
            panic!("frame {at}: {failure:?}")
        };
        assert!(reason.contains(&format!("frame {at} ")), "{reason}");
        let before: usize = whole[..at.saturating_sub(1)]
            .iter()
            .map(|frame| frame.header.raw_bytes)
            .sum();
        let kept = kept.map_or(0, |kept| kept.received_bytes);
        assert!(
            kept <= before as u64,
            "{kept} bytes of {before} at frame {at}"
        );
    }
}

#[test]
fn a_missing_doubled_or_exchanged_frame_is_refused_and_so_is_a_wrong_end() {
    let (source, guid) = source(6);
    let whole = frames(&source);
    let last = whole.len() - 1;
    let mut cases = Vec::new();
    for at in [1, last - 2] {
        let mut missing = whole.clone();
        missing.remove(at);
        let mut doubled = whole.clone();
        doubled.insert(at, whole[at].clone());
        let mut exchanged = whole.clone();
        exchanged.swap(at, at + 1);
        cases.extend([
            (missing, "missing"),
            (doubled, "doubled"),
            (exchanged, "exchanged"),
        ]);
    }
    let mut end = whole.clone();
    end[last] = damaged(&end[last]);
    cases.push((end, "a wrong end"));
    let mut early = whole.clone();
    early.remove(last - 1);
    cases.push((early, "an end too soon"));
    for (frames, what) in cases {
        let (failure, _) = ends_alike(&frames, guid, what);
        assert!(
            matches!(failure, Failure::Stream { .. }),
            "{what}: {failure:?}"
        );
    }
}

#[test]
fn a_connection_that_ends_or_a_sender_that_gives_up_keeps_what_one_worker_would_keep() {
    let (source, guid) = source(7);
    let whole = frames(&source);
    let abort = serde_json::to_vec(&Abort {
        failure: Failure::Internal("tested".to_owned()),
    });
    let abort = Frame::stored(Kind::Abort, 7, 0, &abort.unwrap());
    for at in (0..whole.len()).step_by(2) {
        let mut frames = whole[..at].to_vec();
        let (cut, _) = ends_alike(&frames, guid, "a connection that ends");
        assert!(matches!(cut, Failure::GivenUp { .. }), "{cut:?}");
        frames.push(abort.clone());
        let (aborted, _) = ends_alike(&frames, guid, "a sender that gives up");
        assert!(matches!(aborted, Failure::GivenUp { .. }), "{aborted:?}");
    }
}

#[test]
fn a_worker_that_panics_is_a_failure_of_the_transfer() {
    let (source, guid) = source(8);
    let whole = frames(&source);
    for at in [1, 2, 4] {
        let force = Workforce::apart(3, 0).that_stumbles(at);
        let crew = || (Workers::Exactly(4), force.clone());
        let wire = sent(&source, Compression::Level(1), crew());
        let last = frame(wire.last().unwrap());
        assert_eq!(last.header.kind, Kind::Abort);
        let abort: Abort = serde_json::from_slice(last.verified_payload().unwrap()).unwrap();
        assert!(matches!(abort.failure, Failure::Internal(_)), "{abort:?}");
        let (reply, _, _) = received(&whole, guid, crew());
        assert!(
            matches!(reply, Reply::Failed(Failure::Internal(_))),
            "{reply:?}"
        );
        assert_eq!(force.free(), 3);
    }
}

#[test]
fn a_connection_that_is_lost_ends_all_threads_of_a_send() {
    let (source, _) = source(9);
    for taken in 0..6 {
        let (workers, force) = crew_of(4);
        let (sending, mut wire, _) =
            sending(&source, Compression::Level(1), (workers, force.clone()));
        let sender = thread::spawn(|| sending.run());
        for _ in 0..taken {
            wire.blocking_recv().unwrap();
        }
        drop(wire);
        assert_eq!(sender.join().unwrap(), Err(Gone));
        assert_eq!(force.free(), 3);
    }
}

#[test]
fn a_send_that_is_cancelled_stops_in_the_middle_and_says_so() {
    let (source, _) = source(10);
    let whole = frames(&source).len();
    for workers in [1, 4] {
        let (workers, force) = crew_of(workers);
        let (sending, mut wire, cancelled) =
            sending(&source, Compression::Level(1), (workers, force.clone()));
        let sender = thread::spawn(|| sending.run());
        wire.blocking_recv().unwrap();
        cancelled.store(true, Ordering::Relaxed);
        let mut rest = Vec::new();
        while let Some(bytes) = wire.blocking_recv() {
            rest.push(frame(&bytes));
        }
        sender.join().unwrap().unwrap();
        let last = rest.last().unwrap();
        assert_eq!(last.header.kind, Kind::Abort);
        assert!(rest.len() < whole - 2, "{} of {whole} frames", rest.len());
        let abort: Abort = serde_json::from_slice(last.verified_payload().unwrap()).unwrap();
        assert!(
            matches!(abort.failure, Failure::GivenUp { .. }),
            "{abort:?}"
        );
    }
}

#[test]
fn a_send_has_no_more_buffers_than_its_workers_and_its_two_ends() {
    let (source, _) = source(11);
    let pool = Pool::default();
    let (sending, mut wire, _) = sending(&source, Compression::Off, crew_of(2));
    let sending = Sending {
        pool: pool.clone(),
        ..sending
    };
    let sender = thread::spawn(|| sending.run());
    let mut slow = 0u64;
    while let Some(frame) = wire.blocking_recv() {
        assert!(frame.len() <= HEADER_BYTES + DATA_BYTES_MAX);
        // Slower than whoever reads and codes.
        slow += (0..3)
            .map(|_| u64::from(blake3::hash(&frame).as_bytes()[0]))
            .sum::<u64>();
    }
    assert!(slow > 0);
    sender.join().unwrap().unwrap();
    // Three are with the workers; one each is being read, handed over, in the
    // queue, and with us.
    assert!(pool.idle_buffers() <= 7, "{pool:?}");
}

#[test]
fn a_small_stream_stays_with_one_worker_and_a_large_one_gives_its_crew_back() {
    let (source, _) = source(12);
    let force = Workforce::apart(3, 1 << 30).that_stumbles(1);
    let crew = (Workers::Exactly(4), force);
    let wire = sent(&source, Compression::Level(1), crew);
    // Nobody stumbled: there was no crew.
    assert_eq!(frame(wire.last().unwrap()).header.kind, Kind::End);
    let force = Workforce::apart(3, 2 << 20);
    let after = sent(
        &source,
        Compression::Level(1),
        (Workers::Exactly(4), force.clone()),
    );
    assert_eq!(after, wire);
    assert_eq!(force.free(), 3);
}
