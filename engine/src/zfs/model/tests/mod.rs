//! Claims about the model: that it behaves as ZFS was seen to behave.

use std::io::{self, Read, Write};
use std::thread;

use super::*;
use crate::stream::record::RECORD_BYTES;
use crate::zfs::{Base, DatasetKind, Landing, OnCut, SendMode};

mod conformance;
mod faults;
mod history;
mod partial;
mod receive;
mod send;
mod snapshots;

const POOL_BYTES: u64 = 64 << 20;
/// More than a pipe holds (64 KiB), so that a transfer of it cannot end
/// without its other side.
const LARGE_BYTES: usize = 1 << 20;

fn dataset(name: &str) -> DatasetName {
    DatasetName::parse(name).unwrap()
}

fn snapshot(name: &str) -> SnapshotName {
    SnapshotName::parse(name).unwrap()
}

fn snapshots(names: &[&str]) -> Vec<SnapshotName> {
    names.iter().map(|name| snapshot(name)).collect()
}

fn short(name: &str) -> ShortName {
    ShortName::parse(name).unwrap()
}

/// A machine with an empty pool.
fn machine(seed: u64, pool: &str) -> Model {
    let model = Model::new(seed);
    model.by_hand().add_pool(pool, POOL_BYTES).unwrap();
    model
}

/// `tank/a` with one block and the snapshot `s1`, and a machine with the empty
/// pool `safe`.
fn pair() -> (Model, Model) {
    let source = machine(1, "tank");
    let hands = source.by_hand();
    hands.create("tank/a").unwrap();
    hands.write("tank/a", 0, b"first").unwrap();
    hands.snapshot("tank/a@s1").unwrap();
    (source, machine(2, "safe"))
}

/// The pair after the first full stream, with `s2` on the source: one block
/// changed, one new.
fn pair_with_update() -> (Model, Model) {
    let (source, target) = pair();
    transfer(&source, &full("tank/a@s1"), &target, &new("safe/a@s1")).unwrap();
    let hands = source.by_hand();
    hands.write("tank/a", 0, b"second").unwrap();
    hands.write("tank/a", 7, b"more").unwrap();
    hands.snapshot("tank/a@s2").unwrap();
    (source, target)
}

fn full(name: &str) -> SendRequest {
    SendRequest {
        snapshot: snapshot(name),
        base: None,
        mode: SendMode::Plain,
        resume: None,
    }
}

fn since(base: &str, name: &str) -> SendRequest {
    SendRequest {
        base: Some(Base::Snapshot(snapshot(base))),
        ..full(name)
    }
}

fn raw(request: SendRequest) -> SendRequest {
    SendRequest {
        mode: SendMode::Raw,
        ..request
    }
}

fn new(name: &str) -> ReceiveRequest {
    ReceiveRequest {
        snapshot: snapshot(name),
        landing: Landing::Create,
        kind: DatasetKind::Filesystem,
        properties: Vec::new(),
        origin: None,
        on_cut: OnCut::Discard,
    }
}

fn next(name: &str) -> ReceiveRequest {
    ReceiveRequest {
        landing: Landing::Existing,
        ..new(name)
    }
}

/// The whole stream.
fn stream(source: &Model, request: &SendRequest) -> Result<Vec<u8>, ZfsErrorKind> {
    let (mut reader, writer) = io::pipe().unwrap();
    thread::scope(|scope| {
        let sender = scope.spawn(|| source.send(request, writer.into()));
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        sender.join().unwrap().map_err(|error| error.kind)?;
        Ok(bytes)
    })
}

/// Receives what `bytes` holds after the BEGIN record.
fn feed(
    target: &Model,
    request: &ReceiveRequest,
    bytes: &[u8],
) -> Result<Vec<PropertyRefusal>, ZfsErrorKind> {
    let (begin, rest) = begin_of(bytes);
    let (reader, mut writer) = io::pipe().unwrap();
    thread::scope(|scope| {
        // A refused stream closes the pipe: what happens to the writer is not
        // the claim.
        scope.spawn(move || writer.write_all(rest).ok());
        let received = target.receive(request, &begin, reader.into());
        received.map_err(|error| error.kind)
    })
}

fn begin_of(bytes: &[u8]) -> (BeginRecord, &[u8]) {
    let (begin, rest) = bytes.split_first_chunk().unwrap();
    (BeginRecord::parse(begin).unwrap(), rest)
}

/// Send and receive over one pipe; the reason of the receive comes first, for
/// it is the cause of a failed send.
fn transfer(
    source: &Model,
    send: &SendRequest,
    target: &Model,
    receive: &ReceiveRequest,
) -> Result<(), ZfsErrorKind> {
    let (mut reader, writer) = io::pipe().unwrap();
    thread::scope(|scope| {
        let sender = scope.spawn(|| source.send(send, writer.into()));
        let mut begin = [0; RECORD_BYTES];
        let received = match reader.read_exact(&mut begin) {
            Ok(()) => {
                let begin = BeginRecord::parse(&begin).unwrap();
                target.receive(receive, &begin, reader.into()).map(drop)
            }
            // The sender says why there is no stream.
            Err(_) => Ok(()),
        };
        let sent = sender.join().unwrap();
        received.and(sent).map_err(|error| error.kind)
    })
}

fn kind<T>(result: Result<T, ZfsError>) -> ZfsErrorKind {
    match result {
        Ok(_) => panic!("this must fail"),
        Err(error) => error.kind,
    }
}
