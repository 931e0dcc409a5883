//! Whether a worker that has not answered yet is at work or hangs.
//!
//! Most calls take milliseconds; a send, a scrub or a large destroy may take
//! days. So time alone says little, and progress is what counts:
//!
//! | rule | hung is a worker | for |
//! |---|---|---|
//! | quiet | that neither reads nor writes anything for [`Patience::quiet`] | every call |
//! | stuck | whose thread for the call moves nothing for [`Patience::stuck`] | calls with a pipe |
//! | short | that has not answered after [`Patience::short`] | calls that are small by nature |
//!
//! - "Reads or writes" is what the kernel counts for the process: image, pipes
//!   and all. An idle libzpool moves a little too, hence a floor. Time on the
//!   processor is no progress: a loop without end has plenty of it.
//! - The quiet rule sees the whole process; a call that hangs beside others
//!   that work is found by the second rule, or by the first once they end.
//! - While a pipe gives a call nothing to do (a send into a full pipe, a
//!   receive from an empty one that is still open) its clocks stand still: a
//!   slow peer is none of the worker's business. A receive with data waiting,
//!   or with the end of its data, has work; so has a send with room, or one
//!   whose reader has gone.
//! - A look counts for no more time than twice the distance between looks: a
//!   client that was stopped (Ctrl-Z, suspend) blames nobody when it goes on.
//! - Where the kernel counts nothing (no `/proc/PID/io`), the quiet rule is
//!   void and the short rule remains.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

use super::process::{Process, is_ready};
use super::worker::Patience as Limits;
use crate::protocol::Call;
use crate::wire::{Patience, WireError};

/// What an idle worker may move in a second, at most. Measured were 5 bytes; the
/// rest is for a transaction group that something in the background fills. A
/// worker that does what it was asked moves a hundred times as much.
const IDLE_BYTES_PER_SECOND: u64 = 4 << 10;

/// What kind of work a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Small by nature.
    Short,
    /// As large as the pool, or as what is destroyed.
    Long,
    /// Reads from its descriptor.
    Drains,
    /// Writes into its descriptor.
    Fills,
}

/// Name and kind of a call.
pub(super) fn describe(call: &Call) -> (&'static str, Work) {
    match call {
        Call::Tree { .. } => ("tree", Work::Long),
        Call::CreateFilesystem { .. } => ("create filesystem", Work::Short),
        Call::CreateVolume { .. } => ("create volume", Work::Short),
        Call::DestroyDataset { .. } => ("destroy dataset", Work::Long),
        Call::RenameDataset { .. } => ("rename dataset", Work::Short),
        Call::Clone { .. } => ("clone", Work::Short),
        Call::SetProperties { .. } => ("set properties", Work::Short),
        Call::Snapshot { .. } => ("snapshot", Work::Short),
        Call::DestroySnapshots { .. } => ("destroy snapshots", Work::Long),
        Call::RenameSnapshot { .. } => ("rename snapshot", Work::Short),
        Call::Bookmark { .. } => ("bookmark", Work::Short),
        Call::DestroyBookmarks { .. } => ("destroy bookmarks", Work::Short),
        Call::Hold { .. } => ("hold", Work::Short),
        Call::Release { .. } => ("release", Work::Short),
        Call::Holds { .. } => ("holds", Work::Short),
        Call::Rollback { .. } => ("rollback", Work::Long),
        Call::SendSize(_) => ("send size", Work::Long),
        Call::Send(_) => ("send", Work::Fills),
        Call::Receive(_) => ("receive", Work::Drains),
        Call::ReadToken { .. } => ("read token", Work::Short),
        Call::WriteVolume { .. } => ("write volume", Work::Drains),
        Call::ReadVolume { .. } => ("read volume", Work::Fills),
        Call::Scrub => ("scrub", Work::Long),
        Call::Space => ("space", Work::Short),
        Call::Export => ("export", Work::Long),
    }
}

/// What a hung worker did not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hang {
    pub rule: &'static str,
    pub after: Duration,
}

/// Looks at a worker while its client waits for it.
pub(super) struct Watch<'a> {
    process: &'a Process,
    work: Work,
    pipe: Option<&'a OwnedFd>,
    /// Known once the worker has taken the call.
    pub thread: Option<u32>,
    clocks: Clocks,
    seen: Instant,
    /// Set when patience has ended.
    pub hang: Option<Hang>,
}

impl<'a> Watch<'a> {
    pub fn new(
        process: &'a Process,
        work: Work,
        pipe: Option<&'a OwnedFd>,
        limits: Limits,
    ) -> Self {
        Self {
            process,
            work,
            pipe,
            thread: None,
            clocks: Clocks::new(limits),
            seen: Instant::now(),
            hang: None,
        }
    }

    /// Whether only the other end of the pipe can go on.
    fn is_held_up(&self) -> bool {
        // Until the call is taken, the pipe says nothing about it.
        let (Some(pipe), Some(_)) = (self.pipe, self.thread) else {
            return false;
        };
        match self.work {
            Work::Drains => !is_ready(pipe, PollFlags::IN),
            Work::Fills => !is_ready(pipe, PollFlags::OUT),
            Work::Short | Work::Long => false,
        }
    }

    fn look(&mut self) -> Option<Hang> {
        let now = Instant::now();
        let passed = now.duration_since(self.seen);
        self.seen = now;
        let moves_data = matches!(self.work, Work::Drains | Work::Fills);
        self.clocks.turn(Look {
            passed,
            held_up: self.is_held_up(),
            process_bytes: self.process.moved_bytes(),
            thread_bytes: self
                .thread
                .filter(|_| moves_data)
                .and_then(|thread| self.process.moved_bytes_of(thread)),
            short: self.work == Work::Short,
        })
    }
}

impl Patience for Watch<'_> {
    fn wait(&mut self, socket: BorrowedFd<'_>, events: PollFlags) -> Result<(), WireError> {
        let limit = Timespec::try_from(self.clocks.limits.look).unwrap_or_default();
        let mut sockets = [PollFd::from_borrowed_fd(socket.as_fd(), events)];
        match rustix::event::poll(&mut sockets, Some(&limit)) {
            Ok(0) => {}
            Ok(_) | Err(Errno::INTR) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
        self.hang = self.look();
        match self.hang {
            None => Ok(()),
            Some(_) => Err(WireError::GivenUp),
        }
    }
}

/// What one look saw.
#[derive(Debug, Clone, Copy)]
struct Look {
    /// Since the look before.
    passed: Duration,
    /// Only the other end of the pipe can go on.
    held_up: bool,
    /// Moved by the process since its start.
    process_bytes: Option<u64>,
    /// Moved by the thread of a call with a pipe.
    thread_bytes: Option<u64>,
    /// The call is small by nature.
    short: bool,
}

/// The rules, without a process: how long what did not happen.
#[derive(Debug)]
struct Clocks {
    limits: Limits,
    quiet: Duration,
    stuck: Duration,
    whole: Duration,
    process_bytes: Option<u64>,
    thread_bytes: Option<u64>,
}

impl Clocks {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            quiet: Duration::ZERO,
            stuck: Duration::ZERO,
            whole: Duration::ZERO,
            process_bytes: None,
            thread_bytes: None,
        }
    }

    fn turn(&mut self, look: Look) -> Option<Hang> {
        let passed = look.passed.min(2 * self.limits.look);
        self.whole += passed;
        self.quiet += passed;
        self.stuck += passed;
        if look.held_up || !self.is_quiet(look.process_bytes) {
            self.quiet = Duration::ZERO;
            self.process_bytes = look.process_bytes;
        }
        let moved = look.thread_bytes != self.thread_bytes || look.thread_bytes.is_none();
        if look.held_up || moved {
            self.stuck = Duration::ZERO;
            self.thread_bytes = look.thread_bytes;
        }
        let hang = |rule, after| Some(Hang { rule, after });
        if self.quiet >= self.limits.quiet {
            return hang("nothing was read or written", self.quiet);
        }
        if self.stuck >= self.limits.stuck {
            return hang("the stream did not move", self.stuck);
        }
        if look.short && self.whole >= self.limits.short {
            return hang("a small call did not end", self.whole);
        }
        None
    }

    /// Whether not more was moved since the clock was set than an idle pool
    /// moves.
    fn is_quiet(&self, bytes: Option<u64>) -> bool {
        let (Some(before), Some(now)) = (self.process_bytes, bytes) else {
            return false;
        };
        // Begun seconds count whole, so that a short look has a floor as well.
        now.wrapping_sub(before) <= (self.quiet.as_secs() + 1) * IDLE_BYTES_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        look: Duration::from_secs(1),
        quiet: Duration::from_secs(60),
        stuck: Duration::from_secs(600),
        short: Duration::from_secs(300),
    };

    const LOOK: Look = Look {
        passed: Duration::from_secs(1),
        held_up: false,
        process_bytes: Some(0),
        thread_bytes: None,
        short: false,
    };

    /// Seconds until a call counts as hung, if it does within a day.
    fn hung_after(mut look: impl FnMut(u64) -> Look) -> Option<u64> {
        let mut clocks = Clocks::new(LIMITS);
        (1..86_400).find(|second| clocks.turn(look(*second)).is_some())
    }

    #[test]
    fn a_worker_that_moves_nothing_is_hung_after_a_minute() {
        assert_eq!(hung_after(|_| LOOK), Some(61));
    }

    #[test]
    fn what_an_idle_pool_writes_is_no_progress() {
        let idle = |second| Look {
            process_bytes: Some(second * 1000),
            ..LOOK
        };
        assert_eq!(hung_after(idle), Some(61));
    }

    #[test]
    fn a_scrub_may_take_a_day() {
        let scrub = |second| Look {
            process_bytes: Some(second * 1_000_000),
            ..LOOK
        };
        assert_eq!(hung_after(scrub), None);
    }

    #[test]
    fn a_slow_peer_is_never_the_workers_fault() {
        let waits = |_| Look {
            held_up: true,
            thread_bytes: Some(312),
            ..LOOK
        };
        assert_eq!(hung_after(waits), None);
    }

    #[test]
    fn a_receive_that_stops_reading_while_others_work_is_stuck() {
        let others_work = |second| Look {
            process_bytes: Some(second * 1_000_000),
            thread_bytes: Some(312),
            ..LOOK
        };
        assert_eq!(hung_after(others_work), Some(601));
        let reads_now_and_then = |second| Look {
            thread_bytes: Some(second / 500),
            ..others_work(second)
        };
        assert_eq!(hung_after(reads_now_and_then), None);
    }

    #[test]
    fn a_small_call_has_an_end_even_if_the_process_is_busy() {
        let busy = |second| Look {
            process_bytes: Some(second * 1_000_000),
            short: true,
            ..LOOK
        };
        assert_eq!(hung_after(busy), Some(300));
    }

    #[test]
    fn time_in_which_the_client_was_stopped_does_not_count() {
        let woken = |_| Look {
            passed: Duration::from_secs(3600),
            ..LOOK
        };
        // Thirty looks, not one.
        assert_eq!(hung_after(woken), Some(31));
    }

    #[test]
    fn without_counters_only_small_calls_have_an_end() {
        let blind = |_| Look {
            process_bytes: None,
            ..LOOK
        };
        assert_eq!(hung_after(blind), None);
        let short = |second| Look {
            short: true,
            ..blind(second)
        };
        assert_eq!(hung_after(short), Some(300));
    }
}
