//! A receive: frames come from the connection, ZFS reads from a pipe.
//!
//! Two threads again: one checks and decodes frames and writes the pipe, the
//! other sits in `Zfs::receive`. In a stream that turns out to be large workers
//! decode (`several`), where there are any. Every record of the stream is
//! bounded and its checksum verified before its block is written, and the last
//! block is kept back until the end frame has confirmed the stream as a whole:
//! ZFS sees neither a damaged record nor the end of a stream that is not
//! complete. The answer is what ZFS says.

use std::io::{PipeWriter, Write};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use super::activity::Activity;
use super::sending::pipe;
use super::workforce::{Workers, Workforce};
use crate::name::Guid;
use crate::protocol::failure::{Abort, Failure};
use crate::protocol::message::Reply;
use crate::protocol::pulse::WaitsFor;
use crate::stream::frame::{Frame, Kind};
use crate::stream::inbound::Inbound;
use crate::stream::pool::Pool;
use crate::stream::record::{BeginRecord, RECORD_BYTES};
use crate::stream::scan::{Scanner, feature_names, pool_features};
use crate::zfs::{DatasetKind, PropertyRefusal, ReceiveRequest, Zfs, ZfsError, ZfsErrorKind};

mod several;

/// What to receive.
pub(super) struct Receiving {
    pub zfs: Arc<dyn Zfs>,
    pub request: ReceiveRequest,
    pub transfer: u64,
    pub to_guid: Guid,
    pub from_guid: Option<Guid>,
    /// Data, end and abort frames. If it closes before an end or abort frame
    /// came, the connection is gone.
    pub frames: mpsc::Receiver<Frame>,
    /// Where what was compressed is unpacked.
    pub pool: Pool,
    pub activity: Activity,
    /// How many are to verify and unpack, and where they come from.
    pub workers: Workers,
    pub workforce: Workforce,
}

/// Why the stream ended before its end.
enum Stop {
    /// This is the reason to report.
    Failure(Failure),
    /// ZFS closed its end of the pipe; it will say why.
    ZfsStopped,
}

/// What feeding a stream to ZFS works on.
struct Feeding<'a> {
    pipe: &'a mut PipeWriter,
    /// The block that is held back.
    kept: &'a mut Bytes,
    inbound: &'a mut Inbound,
    scanner: &'a mut Scanner,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Receiving {
    /// Runs to the end; blocks. Success means that ZFS has the snapshot.
    pub fn run(mut self) -> Reply {
        match self.receive() {
            Ok(reply) => reply,
            Err(failure) => Reply::Failed(failure),
        }
    }

    fn receive(&mut self) -> Result<Reply, Failure> {
        let mut inbound = Inbound::new(self.transfer, &self.pool)
            .map_err(|error| Failure::Internal(format!("no zstd context: {error}")))?;
        let first = self.next_frame()?;
        let first = inbound.data(&first).map_err(|error| self.damaged(&error))?;
        let begin = self.check_begin(&first)?;
        let mut scanner = Scanner::default();
        self.scan(&mut scanner, &first)?;
        let (reader, writer) =
            pipe().map_err(|error| Failure::Internal(format!("no pipe: {error}")))?;
        let features = begin.features;
        let zfs = Arc::clone(&self.zfs);
        let request = self.request.clone();
        thread::scope(|scope| {
            let zfs = thread::Builder::new()
                .name("zfs-receive".to_owned())
                .spawn_scoped(scope, move || zfs.receive(&request, &begin, reader.into()))
                .map_err(|error| Failure::Internal(format!("no thread: {error}")))?;
            // Feeding owns the write end, so ZFS sees the end when it returns.
            let fed = self.feed(
                writer,
                first.slice(RECORD_BYTES..),
                &mut inbound,
                &mut scanner,
            );
            self.activity.waits_for(WaitsFor::Zfs);
            let received: Result<Vec<PropertyRefusal>, ZfsError> =
                zfs.join().unwrap_or_else(|_| {
                    let snapshot = &self.request.snapshot;
                    Err(ZfsError::new("receive", snapshot, ZfsErrorKind::Other(0)))
                });
            match (fed, received) {
                // A stream that was cut short makes ZFS fail too; the reason
                // is why it was cut.
                (Err(Stop::Failure(failure)), _) => Err(failure),
                (_, Err(error)) if error.kind == ZfsErrorKind::NotSupported => {
                    Err(Failure::Unsupported {
                        snapshot: self.request.snapshot.clone(),
                        stream: feature_names(features),
                        pool_features: needed(features),
                        error: Box::new(error),
                    })
                }
                (_, Err(error)) => Err(error.into()),
                (Ok(raw_bytes), Ok(refused)) => Ok(Reply::Received { raw_bytes, refused }),
                (Err(Stop::ZfsStopped), Ok(_)) => Err(Failure::Stream {
                    snapshot: self.request.snapshot.clone(),
                    reason: "there is data after the end of the ZFS stream".to_owned(),
                }),
            }
        })
    }

    /// Writes the stream into the pipe, always one block behind.
    fn feed(
        &mut self,
        mut pipe: PipeWriter,
        first: Bytes,
        inbound: &mut Inbound,
        scanner: &mut Scanner,
    ) -> Result<u64, Stop> {
        let mut passed_bytes = first.len() as u64;
        let mut kept = first;
        let mut alone = false;
        loop {
            if !alone && self.workforce.is_worth(passed_bytes) {
                alone = true;
                if let Some(hired) = self.workforce.hire(self.workers) {
                    let feeding = Feeding {
                        pipe: &mut pipe,
                        kept: &mut kept,
                        inbound,
                        scanner,
                    };
                    if let Some(fed) = self.by_several(&hired, feeding) {
                        return fed;
                    }
                }
            }
            let frame = self.next_frame()?;
            if frame.header.kind == Kind::End {
                let end = inbound.end(&frame).map_err(|error| self.damaged(&error))?;
                scanner.finish().map_err(|error| self.damaged(&error))?;
                self.write(&mut pipe, &kept)?;
                return Ok(end.raw_bytes);
            }
            let block = inbound.data(&frame).map_err(|error| self.damaged(&error))?;
            self.scan(scanner, &block)?;
            self.write(&mut pipe, &kept)?;
            passed_bytes += block.len() as u64;
            kept = block;
        }
    }

    /// The next data or end frame; an abort frame comes as a failure.
    fn next_frame(&mut self) -> Result<Frame, Failure> {
        self.activity.waits_for(WaitsFor::OtherSide);
        let frame = self.frames.blocking_recv();
        self.activity.waits_for(WaitsFor::Processor);
        self.not_given_up(frame)
    }

    /// The same, of what has come; `None` if that is nothing.
    fn waiting_frame(&mut self) -> Option<Result<Frame, Failure>> {
        let frame = match self.frames.try_recv() {
            Ok(frame) => Some(frame),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => return None,
        };
        Some(self.not_given_up(frame))
    }

    fn not_given_up(&self, frame: Option<Frame>) -> Result<Frame, Failure> {
        let given_up = |reason: String| Failure::GivenUp {
            snapshot: self.request.snapshot.clone(),
            reason,
        };
        let Some(frame) = frame else {
            return Err(given_up("the connection ended".to_owned()));
        };
        if frame.header.kind != Kind::Abort {
            return Ok(frame);
        }
        let reason = frame
            .verified_payload()
            .ok()
            .and_then(|payload| serde_json::from_slice::<Abort>(payload).ok())
            .map_or_else(
                || "no reason given".to_owned(),
                |abort| abort.failure.to_string(),
            );
        Err(given_up(reason))
    }

    /// Reads the BEGIN record and compares it with what was agreed.
    fn check_begin(&self, first: &Bytes) -> Result<BeginRecord, Failure> {
        let wrong = |reason: String| Failure::Stream {
            snapshot: self.request.snapshot.clone(),
            reason,
        };
        let bytes: &[u8; RECORD_BYTES] = first
            .get(..RECORD_BYTES)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| wrong("it is shorter than one record".to_owned()))?;
        let begin = BeginRecord::parse(bytes).map_err(|error| wrong(error.to_string()))?;
        if begin.to_guid != self.to_guid {
            return Err(wrong(format!(
                "it carries snapshot {}, not {}",
                begin.to_guid, self.to_guid
            )));
        }
        if begin.from_guid != self.from_guid {
            let text = |guid: Option<Guid>| {
                guid.map_or_else(|| "nothing".to_owned(), |guid| guid.to_string())
            };
            return Err(wrong(format!(
                "it starts from {}, not {}",
                text(begin.from_guid),
                text(self.from_guid)
            )));
        }
        if begin.kind != self.request.kind {
            let kind = match begin.kind {
                DatasetKind::Filesystem => "a file system",
                DatasetKind::Volume => "a volume",
            };
            return Err(wrong(format!("it carries {kind}")));
        }
        Ok(begin)
    }

    fn scan(&self, scanner: &mut Scanner, block: &[u8]) -> Result<(), Failure> {
        scanner.check(block).map_err(|error| self.damaged(&error))
    }

    fn write(&self, pipe: &mut PipeWriter, bytes: &[u8]) -> Result<(), Stop> {
        self.activity.waits_for(WaitsFor::Zfs);
        pipe.write_all(bytes).map_err(|_| Stop::ZfsStopped)
    }

    fn damaged(&self, error: &dyn std::error::Error) -> Failure {
        Failure::Stream {
            snapshot: self.request.snapshot.clone(),
            reason: error.to_string(),
        }
    }
}

/// What a pool needs for such a stream, by name.
fn needed(features: u64) -> Vec<String> {
    let names = pool_features(features).into_iter();
    names.map(str::to_owned).collect()
}
