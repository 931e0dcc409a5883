//! The ground of a claim: where it works, and the moves it makes there.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::thread;

use super::{Failed, Fixture, Outcome, PoolNames};
use crate::hold::HoldTag;
use crate::name::{DatasetName, ShortName, SnapshotName};
use crate::stream::record::{BeginRecord, RECORD_BYTES};
use crate::zfs::{
    Base, Dataset, DatasetKind, Hold, Landing, OnCut, PropertyRefusal, ReceiveRequest, Scope,
    SendMode, SendRequest, Snapshot, Zfs, ZfsError,
};

/// Size of the volumes, bytes.
pub const VOLUME_BYTES: u64 = 4 << 20;
/// What is written into them at a time, bytes: far more than a pipe holds, so
/// that no stream of it ends without its other side.
pub const CONTENT_BYTES: usize = 1 << 20;

const NAME: &str = "zferry-conformance";

/// An empty dataset in each of two pools.
pub struct Ground<'a> {
    pub(super) fixture: &'a dyn Fixture,
    pub(super) zfs: Arc<dyn Zfs>,
    here: DatasetName,
    there: DatasetName,
}

/// Incompressible, and another for each seed.
pub(super) fn content(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; CONTENT_BYTES];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

pub(super) fn short(text: &str) -> Result<ShortName, Failed> {
    Ok(ShortName::parse(text)?)
}

pub(super) fn at(dataset: &DatasetName, text: &str) -> Result<SnapshotName, Failed> {
    Ok(dataset.snapshot(&short(text)?)?)
}

impl<'a> Ground<'a> {
    /// Holds snapshots until the value is dropped, by a tag of its own.
    pub(super) fn hold(&self, names: &[SnapshotName]) -> Result<Box<dyn Hold>, ZfsError> {
        self.zfs.hold(names, &HoldTag::for_run("conformance"))
    }

    pub(super) fn prepare(fixture: &'a dyn Fixture, pools: &PoolNames) -> Result<Self, Failed> {
        let root = |pool: &DatasetName| DatasetName::parse(&format!("{pool}/{NAME}"));
        let ground = Self {
            fixture,
            zfs: fixture.zfs(),
            here: root(&pools.here)?,
            there: root(&pools.there)?,
        };
        // A claim that was cut may have left something.
        ground.clear()?;
        for root in [&ground.here, &ground.there] {
            let child = DatasetName::parse(&format!("{root}/x"))?;
            ground.zfs.create_ancestors(&child)?;
        }
        Ok(ground)
    }

    pub(super) fn clear(&self) -> Outcome {
        self.fixture.destroy(&self.here)?;
        self.fixture.destroy(&self.there)
    }

    /// A name in the first pool.
    pub(super) fn here(&self, rest: &str) -> Result<DatasetName, Failed> {
        Ok(DatasetName::parse(&format!("{}/{rest}", self.here))?)
    }

    /// A name in the second pool.
    pub(super) fn there(&self, rest: &str) -> Result<DatasetName, Failed> {
        Ok(DatasetName::parse(&format!("{}/{rest}", self.there))?)
    }

    /// An empty file system in the first pool.
    pub(super) fn filesystem(&self, rest: &str) -> Result<DatasetName, Failed> {
        let name = self.here(rest)?;
        let child = DatasetName::parse(&format!("{name}/x"))?;
        self.zfs.create_ancestors(&child)?;
        Ok(name)
    }

    /// A volume in the first pool with content number `seed`.
    pub(super) fn volume(&self, rest: &str, seed: u64) -> Result<DatasetName, Failed> {
        let name = self.here(rest)?;
        self.fixture.create_volume(&name)?;
        self.write(&name, seed)?;
        Ok(name)
    }

    pub(super) fn write(&self, volume: &DatasetName, seed: u64) -> Outcome {
        self.fixture.write(volume, &content(seed))
    }

    /// The snapshot has content number `seed`.
    pub(super) fn ensure_content(&self, snapshot: &SnapshotName, seed: u64) -> Outcome {
        match self.fixture.read(snapshot, CONTENT_BYTES)? == content(seed) {
            true => Ok(()),
            false => Err(Failed(format!("{snapshot} has other content"))),
        }
    }

    pub(super) fn snapshot(&self, dataset: &DatasetName, short: &str) -> Result<Snapshot, Failed> {
        let name = at(dataset, short)?;
        self.zfs.snapshot(std::slice::from_ref(&name))?;
        self.listed_snapshot(&name)
    }

    /// The dataset, which has to exist.
    pub(super) fn look(&self, name: &DatasetName) -> Result<Dataset, Failed> {
        let tree = self.zfs.tree(name, Scope::One)?;
        let found = tree.and_then(|mut tree| tree.pop());
        found.ok_or_else(|| Failed(format!("{name} is not listed")))
    }

    pub(super) fn exists(&self, name: &DatasetName) -> Result<bool, Failed> {
        Ok(self.zfs.tree(name, Scope::One)?.is_some())
    }

    pub(super) fn listed_snapshot(&self, name: &SnapshotName) -> Result<Snapshot, Failed> {
        let dataset = self.look(&name.dataset)?;
        let found = dataset.snapshot_by_name(&name.short).cloned();
        found.ok_or_else(|| Failed(format!("{name} is not listed")))
    }

    /// Short names of the snapshots, oldest first.
    pub(super) fn snapshots(&self, name: &DatasetName) -> Result<Vec<String>, Failed> {
        let snapshots = self.look(name)?.snapshots;
        Ok(snapshots.into_iter().map(|s| s.short.into()).collect())
    }

    /// Sends `to` and receives it as `into`, over one pipe, as the engine does.
    pub(super) fn transfer(&self, send: &SendRequest, receive: &ReceiveRequest) -> Outcome {
        let (mut reader, writer) = io::pipe()?;
        thread::scope(|scope| {
            let sender = scope.spawn(|| self.zfs.send(send, writer.into()));
            let mut begin = [0; RECORD_BYTES];
            let received: Outcome = match reader.read_exact(&mut begin) {
                // The sender says why there is no stream.
                Err(_) => Ok(()),
                Ok(()) => BeginRecord::parse(&begin)
                    .map_err(Failed::from)
                    .and_then(|begin| {
                        let received = self.zfs.receive(receive, &begin, reader.into());
                        Ok(received.map(drop)?)
                    }),
            };
            received?;
            Ok(joined(sender.join())??)
        })
    }

    /// The whole stream, in memory.
    pub(super) fn stream(&self, request: &SendRequest) -> Result<Vec<u8>, Failed> {
        let (bytes, sent) = self.attempt(request)?;
        sent?;
        Ok(bytes)
    }

    /// What a send wrote, and how it ended.
    pub(super) fn attempt(
        &self,
        request: &SendRequest,
    ) -> Result<(Vec<u8>, Result<(), ZfsError>), Failed> {
        let (mut reader, writer) = io::pipe()?;
        thread::scope(|scope| {
            let sender = scope.spawn(|| self.zfs.send(request, writer.into()));
            let mut bytes = Vec::new();
            let read = reader.read_to_end(&mut bytes);
            let sent = joined(sender.join())?;
            read?;
            Ok((bytes, sent))
        })
    }

    /// Receives a stream out of memory; the outer error is no answer of ZFS.
    pub(super) fn feed(
        &self,
        request: &ReceiveRequest,
        bytes: &[u8],
    ) -> Result<Result<Vec<PropertyRefusal>, ZfsError>, Failed> {
        let (begin, rest) = begin_of(bytes)?;
        let (reader, mut writer) = io::pipe()?;
        thread::scope(|scope| {
            // A refused stream closes the pipe, whatever is left of it.
            scope.spawn(move || writer.write_all(rest).ok());
            Ok(self.zfs.receive(request, &begin, reader.into()))
        })
    }

    /// Receives all but the last record (END) while `during` runs: by then the
    /// receive has begun, for a pipe cannot hold the rest.
    pub(super) fn feed_around<T>(
        &self,
        request: &ReceiveRequest,
        bytes: &[u8],
        during: impl FnOnce() -> Result<T, Failed>,
    ) -> Result<(T, Result<(), ZfsError>), Failed> {
        let (begin, rest) = begin_of(bytes)?;
        let keep = rest.len().saturating_sub(RECORD_BYTES);
        let (most, end) = rest.split_at(keep);
        let (reader, mut writer) = io::pipe()?;
        thread::scope(|scope| {
            let receiver = scope.spawn(move || self.zfs.receive(request, &begin, reader.into()));
            let fed = writer.write_all(most);
            let seen = during();
            // It may be over already, which its answer tells.
            let _ = writer.write_all(end);
            drop(writer);
            let received = joined(receiver.join())?;
            match fed {
                Ok(()) => Ok((seen?, received.map(drop))),
                Err(_) => Err(Failed(format!("the receive ended early: {received:?}"))),
            }
        })
    }
}

pub(super) fn joined<T>(result: thread::Result<T>) -> Result<T, Failed> {
    result.map_err(|_| Failed("the backend panicked".to_owned()))
}

fn begin_of(bytes: &[u8]) -> Result<(BeginRecord, &[u8]), Failed> {
    let (begin, rest) = bytes
        .split_first_chunk()
        .ok_or_else(|| Failed(format!("a stream of {} bytes", bytes.len())))?;
    Ok((BeginRecord::parse(begin)?, rest))
}

pub(super) fn full(snapshot: &SnapshotName) -> SendRequest {
    SendRequest {
        snapshot: snapshot.clone(),
        base: None,
        mode: SendMode::Plain,
        resume: None,
    }
}

pub(super) fn since(base: &SnapshotName, snapshot: &SnapshotName) -> SendRequest {
    SendRequest {
        base: Some(Base::Snapshot(base.clone())),
        ..full(snapshot)
    }
}

/// A volume that is received as a new one.
pub(super) fn new(snapshot: &SnapshotName) -> ReceiveRequest {
    ReceiveRequest {
        snapshot: snapshot.clone(),
        landing: Landing::Create,
        kind: DatasetKind::Volume,
        properties: Vec::new(),
        origin: None,
        on_cut: OnCut::Discard,
    }
}

/// The next snapshot of one that exists.
pub(super) fn next(snapshot: &SnapshotName) -> ReceiveRequest {
    ReceiveRequest {
        landing: Landing::Existing,
        ..new(snapshot)
    }
}

/// The same, and what arrives stays if it is cut.
pub(super) fn keep(request: ReceiveRequest) -> ReceiveRequest {
    ReceiveRequest {
        on_cut: OnCut::Keep,
        ..request
    }
}

/// A volume with two snapshots here, of which the first is there too.
pub(super) struct Pair {
    pub(super) source: DatasetName,
    pub(super) target: DatasetName,
    /// Both on the source; content 1 and 2.
    pub(super) first: SnapshotName,
    pub(super) second: SnapshotName,
    /// The first, on the target.
    pub(super) there: SnapshotName,
    /// The second, where it will be.
    pub(super) wanted: SnapshotName,
}

impl Ground<'_> {
    pub(super) fn pair(&self) -> Result<Pair, Failed> {
        let source = self.volume("source", 1)?;
        let target = self.there("target")?;
        self.snapshot(&source, "first")?;
        let pair = Pair {
            first: at(&source, "first")?,
            second: at(&source, "second")?,
            there: at(&target, "first")?,
            wanted: at(&target, "second")?,
            source,
            target,
        };
        self.transfer(&full(&pair.first), &new(&pair.there))?;
        self.write(&pair.source, 2)?;
        self.snapshot(&pair.source, "second")?;
        Ok(pair)
    }
}
