//! A send: ZFS writes into a pipe, frames go to the connection.
//!
//! Two threads: one sits in `Zfs::send`, the other reads the pipe, verifies the
//! stream's own checksum, hashes, compresses and hands frames to the
//! connection, which may make it wait. A stream that turns out to be large gets
//! workers (`several`), where there are any: they hash and compress, and another
//! thread hands over the frames. The end frame is written only after ZFS
//! reported success and the stream was seen to be whole.

use std::io::{PipeReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::activity::Activity;
use super::crew::Died;
use super::workforce::{Workers, Workforce};
use crate::peer::wire::{Gone, WireWriter};
use crate::protocol::failure::{Abort, Failure};
use crate::protocol::pulse::WaitsFor;
use crate::stream::compress::Compression;
use crate::stream::frame::{Frame, Kind};
use crate::stream::outbound::{Block, Outbound};
use crate::stream::pool::Pool;
use crate::stream::scan::{ScanError, Scanner};
use crate::stream::tuner::{Spent, Tuner};
use crate::zfs::{SendRequest, Zfs, ZfsErrorKind};

mod several;

/// Bytes the kernel may hold between ZFS and us. The default of 64 KiB works;
/// more lets ZFS go on while a frame is hashed. Set while the pipe is empty.
pub(super) const PIPE_BYTES: usize = 1 << 20;

/// What to send and where to.
pub(super) struct Sending {
    pub zfs: Arc<dyn Zfs>,
    pub request: SendRequest,
    pub transfer: u64,
    pub compression: Compression,
    pub writer: WireWriter,
    /// Where frames are made.
    pub pool: Pool,
    /// What transfers of this session have learnt about levels.
    pub known: Arc<Mutex<Tuner>>,
    /// Set by the serve loop when the driver does not want the rest.
    pub cancelled: Arc<AtomicBool>,
    pub activity: Activity,
    /// How many are to hash and compress, and where they come from.
    pub workers: Workers,
    pub workforce: Workforce,
}

impl Sending {
    /// Runs to the end; blocks.
    ///
    /// # Errors
    /// [`Gone`] if the connection ended; then nobody is left to be told.
    pub fn run(self) -> Result<(), Gone> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outbound =
            Outbound::new(self.transfer, self.compression, &self.pool).knowing(known().clone());
        let streamed = self.stream(&mut outbound)?;
        *known() = outbound.known();
        let last = match streamed {
            Ok(()) => outbound.end(),
            Err(failure) => {
                let abort = serde_json::to_vec(&Abort { failure }).expect("plain data");
                Frame::stored(Kind::Abort, self.transfer, 0, &abort)
            }
        };
        self.writer.send_blocking(last)
    }

    fn stream(&self, outbound: &mut Outbound) -> Result<Result<(), Failure>, Gone> {
        let (reader, writer) = match pipe() {
            Ok(ends) => ends,
            Err(error) => return Ok(Err(Failure::Internal(format!("no pipe: {error}")))),
        };
        thread::scope(|scope| {
            let zfs = thread::Builder::new()
                .name("zfs-send".to_owned())
                .spawn_scoped(scope, || self.zfs.send(&self.request, writer.into()));
            let zfs = match zfs {
                Ok(thread) => thread,
                Err(error) => return Ok(Err(Failure::Internal(format!("no thread: {error}")))),
            };
            // Returning closes the read end, which ends a send that still runs.
            let mut scanner = Scanner::default();
            let forwarded = self.forward(reader, &mut scanner, outbound);
            let sent = zfs.join().unwrap_or_else(|_| {
                Err(crate::zfs::ZfsError::new(
                    "send",
                    &self.request.snapshot,
                    ZfsErrorKind::Other(0),
                ))
            });
            match (forwarded?, sent) {
                (Forwarded::Cancelled, _) => Ok(Err(Failure::GivenUp {
                    snapshot: self.request.snapshot.clone(),
                    reason: "the other side stopped it".to_owned(),
                })),
                // ZFS fails too then, since nobody reads any more.
                (Forwarded::Died(died), _) => Ok(Err(Failure::Internal(died.to_string()))),
                (_, Err(error)) => Ok(Err(error.into())),
                (Forwarded::Broken(error), Ok(())) => Ok(Err(Failure::Internal(format!(
                    "the pipe from ZFS failed: {error}"
                )))),
                (Forwarded::Damaged(error), Ok(())) => Ok(Err(self.damaged(&error))),
                (Forwarded::All, Ok(())) => {
                    let whole = scanner.finish().map(|_| ());
                    Ok(whole.map_err(|error| self.damaged(&error)))
                }
            }
        })
    }

    /// ZFS, or the memory in between, has damaged its own stream.
    fn damaged(&self, error: &ScanError) -> Failure {
        Failure::Stream {
            snapshot: self.request.snapshot.clone(),
            reason: format!("on the machine that sends: {error}"),
        }
    }

    fn forward(
        &self,
        mut pipe: PipeReader,
        scanner: &mut Scanner,
        outbound: &mut Outbound,
    ) -> Result<Forwarded, Gone> {
        let mut begun = Instant::now();
        let mut passed_bytes = 0;
        let mut alone = false;
        loop {
            if !alone && self.workforce.is_worth(passed_bytes) {
                alone = true;
                if let Some(hired) = self.workforce.hire(self.workers)
                    && let Some(forwarded) = self.by_several(&hired, &mut pipe, scanner, outbound)
                {
                    return forwarded;
                }
                begun = Instant::now();
            }
            self.activity.waits_for(WaitsFor::Zfs);
            let block = outbound.block();
            let (block, filled) = match self.next_block(&mut pipe, block) {
                Ok(block) => block,
                Err(end) => return Ok(end),
            };
            passed_bytes += filled as u64;
            let made = Instant::now();
            self.activity.waits_for(WaitsFor::Processor);
            if let Err(error) = scanner.check(block.filled(filled)) {
                return Ok(Forwarded::Damaged(error));
            }
            let frame = outbound.frame(block, filled);
            let coded = Instant::now();
            self.activity.waits_for(WaitsFor::OtherSide);
            self.writer.send_blocking(frame)?;
            let sent = Instant::now();
            outbound.learn(Spent {
                made: made - begun,
                coded: coded - made,
                waited: sent - coded,
            });
            begun = sent;
        }
    }

    /// What ZFS has written next, and how much of the block that is; or how the
    /// stream ends.
    fn next_block(
        &self,
        pipe: &mut PipeReader,
        mut block: Block,
    ) -> Result<(Block, usize), Forwarded> {
        match fill(pipe, block.space()) {
            Ok(0) => Err(Forwarded::All),
            Ok(_) if self.cancelled.load(Ordering::Relaxed) => Err(Forwarded::Cancelled),
            Ok(filled) => Ok((block, filled)),
            Err(error) => Err(Forwarded::Broken(error)),
        }
    }
}

enum Forwarded {
    All,
    Damaged(ScanError),
    Cancelled,
    Broken(std::io::Error),
    /// A worker has.
    Died(Died),
}

/// Reads until `block` is full or the stream ends.
fn fill(pipe: &mut PipeReader, block: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match pipe.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A pipe of [`PIPE_BYTES`], closed on exec at both ends: a copy of an end that
/// leaked into a child would keep the stream from ending.
pub(super) fn pipe() -> std::io::Result<(PipeReader, std::io::PipeWriter)> {
    let (reader, writer) = std::io::pipe()?;
    enlarge(&writer);
    Ok((reader, writer))
}

#[cfg(target_os = "linux")]
fn enlarge(writer: &std::io::PipeWriter) {
    // The limit for unprivileged users may be lower; the default size works.
    let _ = rustix::pipe::fcntl_setpipe_size(writer, PIPE_BYTES);
}

#[cfg(not(target_os = "linux"))]
fn enlarge(_writer: &std::io::PipeWriter) {}
