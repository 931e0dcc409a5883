//! Several threads that work on the blocks of one transfer, and keep their order.
//!
//! Blocks are dealt to the workers in turn, and their results are taken in the
//! same turn: so they come in order, and nothing has to be sorted. Of N workers
//! N + 1 blocks are under way at most, from the deal to the take; who deals more
//! waits. A worker that panics is an error in the place of its result. When the
//! dealer is dropped the workers finish what they have; when the taker is
//! dropped they end with the block that they are at.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{Builder, Scope};

/// A worker has panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a worker of the transfer has panicked")]
pub(super) struct Died;

/// Nobody takes results any more, or a worker has died; whoever takes knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Over;

/// Blocks that one worker may have: of N + 1 two are its turn.
const OF_ONE_WORKER_MAX: usize = 2;

/// Gives workers their blocks.
pub(super) struct Dealer<J> {
    workers: Vec<SyncSender<J>>,
    next: usize,
    /// Has one entry for each block under way.
    places: SyncSender<()>,
    under_way: Arc<AtomicUsize>,
}

impl<J> Dealer<J> {
    /// Waits for room, and hands over the next block.
    pub(super) fn deal(&mut self, block: J) -> Result<(), Over> {
        self.places.send(()).map_err(|_| Over)?;
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let worker = &self.workers[self.next];
        self.next = (self.next + 1) % self.workers.len();
        worker.send(block).map_err(|_| Over)
    }

    /// True if a block would not have to wait.
    pub(super) fn has_room(&self) -> bool {
        self.under_way() <= self.workers.len()
    }

    /// Blocks that are with the workers.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }
}

/// Takes what workers made of their blocks.
pub(super) struct Taker<R> {
    workers: Vec<Receiver<Result<R, Died>>>,
    next: usize,
    places: Receiver<()>,
    under_way: Arc<AtomicUsize>,
}

impl<R> Taker<R> {
    /// The next result; `None` if the dealer is gone and all have been taken. If
    /// it is not there yet, `waits` is told how many blocks are under way.
    pub(super) fn take(&mut self, waits: impl FnOnce(usize)) -> Result<Option<R>, Died> {
        let worker = &self.workers[self.next];
        let result = match worker.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                waits(self.under_way.load(Ordering::Relaxed));
                worker.recv().ok()
            }
        };
        let Some(result) = result else {
            return Ok(None);
        };
        self.next = (self.next + 1) % self.workers.len();
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        // The place that this block was dealt with.
        let _ = self.places.try_recv();
        result.map(Some)
    }
}

/// Starts a thread for each of `workers`.
///
/// # Errors
/// If there are no threads to be had; those that have begun end.
pub(super) fn start<'scope, J, R, W>(
    scope: &'scope Scope<'scope, '_>,
    workers: Vec<W>,
) -> io::Result<(Dealer<J>, Taker<R>)>
where
    W: FnMut(J) -> R + Send + 'scope,
    J: Send + 'scope,
    R: Send + 'scope,
{
    let (place, places) = sync_channel(workers.len() + 1);
    let under_way = Arc::new(AtomicUsize::new(0));
    let mut dealer = Dealer {
        workers: Vec::with_capacity(workers.len()),
        next: 0,
        places: place,
        under_way: Arc::clone(&under_way),
    };
    let mut taker = Taker {
        workers: Vec::with_capacity(workers.len()),
        next: 0,
        places,
        under_way,
    };
    for (n, mut work) in workers.into_iter().enumerate() {
        let (deal, blocks) = sync_channel::<J>(OF_ONE_WORKER_MAX);
        let (give, results) = sync_channel(OF_ONE_WORKER_MAX);
        dealer.workers.push(deal);
        taker.workers.push(results);
        Builder::new()
            .name(format!("transfer-{}", n + 1))
            .spawn_scoped(scope, move || {
                while let Ok(block) = blocks.recv() {
                    // Whatever it left half done is not used any more.
                    let result = catch_unwind(AssertUnwindSafe(|| work(block)));
                    let died = result.is_err();
                    if give.send(result.map_err(|_| Died)).is_err() || died {
                        return;
                    }
                }
            })?;
    }
    Ok((dealer, taker))
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_blocks_whoever_is_faster() {
        for count in [1, 2, 3, 4] {
            thread::scope(|scope| {
                let workers = (0..count).map(|n| {
                    move |block: u32| {
                        let steps = if n == 0 { 100_000 } else { 1 };
                        block + (0..steps).fold(block, |sum, _| std::hint::black_box(sum))
                    }
                });
                let (mut dealer, mut taker) = start(scope, workers.collect()).unwrap();
                let taken = scope.spawn(move || {
                    let mut taken = Vec::new();
                    while let Some(result) = taker.take(|_| ()).unwrap() {
                        taken.push(result);
                    }
                    taken
                });
                for block in 0..500 {
                    dealer.deal(block).unwrap();
                }
                drop(dealer);
                let expected: Vec<u32> = (0..500).map(|block| block * 2).collect();
                assert_eq!(taken.join().unwrap(), expected);
            });
        }
    }

    #[test]
    fn all_work_at_the_same_time() {
        let together = Barrier::new(4);
        thread::scope(|scope| {
            let workers = (0..4)
                .map(|_| {
                    |()| {
                        together.wait();
                    }
                })
                .collect();
            let (mut dealer, mut taker) = start(scope, workers).unwrap();
            for _ in 0..4 {
                dealer.deal(()).unwrap();
            }
            for _ in 0..4 {
                assert_eq!(taker.take(|_| ()), Ok(Some(())));
            }
        });
    }

    #[test]
    fn no_more_blocks_are_under_way_than_workers_and_one() {
        thread::scope(|scope| {
            let workers = vec![|block: u32| block; 3];
            let (mut dealer, mut taker) = start(scope, workers).unwrap();
            let mut dealt = 0;
            while dealer.has_room() {
                dealer.deal(dealt).unwrap();
                dealt += 1;
            }
            assert_eq!((dealt, dealer.under_way()), (4, 4));
            // Results that nobody has taken count as well.
            assert!(dealer.places.try_send(()).is_err());
            assert_eq!(taker.take(|_| ()), Ok(Some(0)));
            assert!(dealer.has_room());
            dealer.deal(4).unwrap();
            assert!(!dealer.has_room());
        });
    }

    #[test]
    fn a_worker_that_panics_is_an_error_in_its_place() {
        thread::scope(|scope| {
            let workers = vec![
                |block: u32| {
                    assert_ne!(block, 5, "this is the panic that is tested");
                    block
                };
                3
            ];
            let (mut dealer, mut taker) = start(scope, workers).unwrap();
            let dealing = scope.spawn(move || {
                let mut block = 0;
                while dealer.deal(block).is_ok() {
                    block += 1;
                }
            });
            for block in 0..5 {
                assert_eq!(taker.take(|_| ()), Ok(Some(block)));
            }
            assert_eq!(taker.take(|_| ()), Err(Died));
            drop(taker);
            dealing.join().unwrap();
        });
    }

    #[test]
    fn a_dealer_that_waits_for_room_is_told_when_nobody_takes_any_more() {
        thread::scope(|scope| {
            let (mut dealer, taker) = start(scope, vec![|block: u32| block; 2]).unwrap();
            while dealer.has_room() {
                dealer.deal(0).unwrap();
            }
            let waiting = scope.spawn(move || dealer.deal(1));
            drop::<Taker<u32>>(taker);
            assert_eq!(waiting.join().unwrap(), Err(Over));
        });
    }

    #[test]
    fn what_was_dealt_is_finished_when_the_dealer_is_gone() {
        thread::scope(|scope| {
            let (mut dealer, mut taker) = start(scope, vec![|block: u32| block; 4]).unwrap();
            for block in 0..5 {
                dealer.deal(block).unwrap();
            }
            drop(dealer);
            for block in 0..5 {
                assert_eq!(taker.take(|_| ()), Ok(Some(block)));
            }
            assert_eq!(taker.take(|_| ()), Ok(None));
        });
    }
}
