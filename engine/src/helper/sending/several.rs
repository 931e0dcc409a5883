//! The part of a send that several workers hash and compress.
//!
//! The thread that reads the pipe verifies the stream's own checksum and hands
//! blocks to the workers; another one takes them in order, numbers them and
//! hands them to the connection. So a source that is slow for a moment keeps
//! back no frame that is ready, and neither does a slow connection keep the pipe
//! from being read, as long as there is room.

use std::io::PipeReader;
use std::sync::atomic::Ordering;
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use super::{Forwarded, Sending};
use crate::helper::crew::{self, Dealer, Died, Taker};
use crate::helper::workforce::Hired;
use crate::peer::wire::Gone;
use crate::protocol::pulse::WaitsFor;
use crate::stream::levels::Levels;
use crate::stream::outbound::{Apart, Block, Coded, Coder, Numbers, Outbound, Uncoded};
use crate::stream::overlap::{Measured, Overlap};
use crate::stream::pool::Pool;
use crate::stream::scan::Scanner;

/// A block, and how long a worker had it.
type Worked = (Coded, Duration);

/// Why frames are handed over no more before the end.
enum Stop {
    Gone,
    Died(Died),
    Cancelled,
}

impl Sending {
    /// Forwards the rest of the stream. `None` if there were no threads to be
    /// had: nothing has happened then.
    pub(super) fn by_several(
        &self,
        hired: &Hired,
        pipe: &mut PipeReader,
        scanner: &mut Scanner,
        outbound: &mut Outbound,
    ) -> Option<Result<Forwarded, Gone>> {
        let Apart {
            levels,
            numbers,
            pool,
        } = outbound.apart();
        let workers = (0..hired.count()).map(|_| {
            let mut coder = Coder::new(pool);
            move |block: Uncoded| -> Worked {
                hired.begins();
                let begun = Instant::now();
                (coder.code(block), begun.elapsed())
            }
        });
        let overlap = Overlap::of(hired.count());
        thread::scope(|scope| {
            let (dealer, taker) = crew::start(scope, workers.collect()).ok()?;
            let handing = Builder::new()
                .name("transfer-out".to_owned())
                .spawn_scoped(scope, move || {
                    self.hand_over(taker, overlap, levels, numbers)
                })
                .ok()?;
            let read = self.read(pipe, scanner, dealer, levels, pool);
            let handed = handing.join().unwrap_or(Err(Stop::Died(Died)));
            Some(match handed {
                Ok(()) => Ok(read),
                Err(Stop::Gone) => Err(Gone),
                Err(Stop::Died(died)) => Ok(Forwarded::Died(died)),
                Err(Stop::Cancelled) => Ok(Forwarded::Cancelled),
            })
        })
    }

    /// From the pipe to the workers. Returning lets them finish what they have.
    fn read(
        &self,
        pipe: &mut PipeReader,
        scanner: &mut Scanner,
        mut dealer: Dealer<Uncoded>,
        levels: &Levels,
        pool: &Pool,
    ) -> Forwarded {
        loop {
            let (block, filled) = match self.next_block(pipe, Block::of(pool)) {
                Ok(block) => block,
                Err(end) => return end,
            };
            if let Err(error) = scanner.check(block.filled(filled)) {
                return Forwarded::Damaged(error);
            }
            let block = Uncoded {
                block,
                filled,
                level: levels.next(),
            };
            if dealer.deal(block).is_err() {
                // Whoever hands frames over knows why.
                return Forwarded::Cancelled;
            }
        }
    }

    /// From the workers to the connection.
    fn hand_over(
        &self,
        mut taker: Taker<Worked>,
        mut overlap: Overlap,
        levels: &Levels,
        numbers: &mut Numbers,
    ) -> Result<(), Stop> {
        let mut left = Instant::now();
        loop {
            let taken = taker.take(|under_way| {
                self.activity.waits_for(match under_way {
                    0 => WaitsFor::Zfs,
                    _ => WaitsFor::Processor,
                });
            });
            let Some((coded, worked)) = taken.map_err(Stop::Died)? else {
                return Ok(());
            };
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(Stop::Cancelled);
            }
            let outcome = coded.outcome;
            let frame = numbers.frame(coded);
            let ready = Instant::now();
            self.activity.waits_for(WaitsFor::OtherSide);
            self.writer
                .send_blocking(frame)
                .map_err(|Gone| Stop::Gone)?;
            let sent = Instant::now();
            let spent = overlap.spent(Measured {
                worked,
                waited: sent - ready,
                passed: sent - left,
            });
            levels.learn(outcome, spent);
            left = sent;
        }
    }
}
