//! Which transfer goes when, and over which conversations.
//!
//! A small transfer spends its time waiting: for answers, and for ZFS to commit.
//! So several of them are under way at the same time, each between helpers of
//! its own, and their waits overlap. A large one fills the way by itself: those
//! go one after the other, over the conversations that the run began with.
//!
//! A dataset comes after the one above it on the target, which has to exist by
//! then. After an error nothing more is begun; what is under way is completed,
//! since cutting it would only make more to resume.

use std::collections::HashMap;

use futures_util::StreamExt;
use futures_util::future::{join, join_all};
use futures_util::stream::FuturesUnordered;

use super::error::ReplicateError;
use super::run::{DatasetReport, Report};
use super::transfer::Moved;
use super::transfers::{Transfers, base_in_use};
use crate::event::{Event, Observer};
use crate::name::DatasetName;
use crate::peer::Peer;
use crate::plan::{DatasetPlan, Step, TreePlan};

/// A dataset whose streams are estimated at no more than this is small, bytes.
const SMALL_BYTES: u64 = 8 << 20;

/// So many small datasets pay for one more pair of conversations.
const SMALL_PER_PAIR: usize = 4;

/// Where a dataset of the plan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    UnderWay,
    Done,
}

/// The order of transfers.
#[derive(Debug)]
struct Queue {
    states: Vec<State>,
    /// What has to be there before.
    above: Vec<Option<usize>>,
    small: Vec<bool>,
    /// Nothing before this waits.
    first: usize,
}

impl Queue {
    /// For these datasets of the target, with the bytes that they are estimated
    /// at.
    fn new(datasets: &[(&DatasetName, u64)]) -> Self {
        let places: HashMap<&DatasetName, usize> = datasets
            .iter()
            .enumerate()
            .map(|(n, (name, _))| (*name, n))
            .collect();
        let above = |name: &DatasetName| {
            let ancestors: Vec<DatasetName> = name.ancestors().collect();
            let mut nearest_first = ancestors.iter().rev();
            nearest_first.find_map(|name| places.get(name).copied())
        };
        Self {
            states: vec![State::Waiting; datasets.len()],
            above: datasets.iter().map(|(name, _)| above(name)).collect(),
            small: datasets
                .iter()
                .map(|(_, bytes)| *bytes <= SMALL_BYTES)
                .collect(),
            first: 0,
        }
    }

    /// The next dataset that may begin, if there is one.
    fn next(&mut self, only_small: bool) -> Option<usize> {
        while self
            .states
            .get(self.first)
            .is_some_and(|state| *state != State::Waiting)
        {
            self.first += 1;
        }
        let next = (self.first..self.states.len()).find(|&n| {
            let is_ready = self.above[n].is_none_or(|above| self.states[above] == State::Done);
            self.states[n] == State::Waiting && is_ready && (self.small[n] || !only_small)
        })?;
        self.states[next] = State::UnderWay;
        Some(next)
    }

    fn done(&mut self, n: usize) {
        self.states[n] = State::Done;
    }

    fn count_done(&self) -> usize {
        let done = |state: &&State| **state == State::Done;
        self.states.iter().filter(done).count()
    }
}

impl Transfers<'_> {
    /// All of them, in an order that fits. The report is in that of the plan.
    pub(super) async fn transfer_all(&mut self, plan: &TreePlan) -> Result<Report, ReplicateError> {
        let mut more = self.more_pairs(plan).await;
        let estimates = std::mem::take(&mut self.estimates);
        let brought = self.bring_all(plan, &estimates, &mut more).await;
        self.estimates = estimates;
        let moved = brought?;
        // Their helpers have nothing left to do: how they end does not matter.
        join_all(
            more.into_iter()
                .flat_map(|(source, target)| [source.close(), target.close()]),
        )
        .await;
        let report = |(n, moved): (usize, Option<Moved>)| -> DatasetReport {
            self.report(n, &plan.datasets[n], moved.unwrap_or_default())
        };
        Ok(Report {
            datasets: moved.into_iter().enumerate().map(report).collect(),
            ..Report::default()
        })
    }

    /// More conversations for small datasets, as far as they can be had.
    async fn more_pairs(&self, plan: &TreePlan) -> Vec<(Peer, Peer)> {
        let is_small = |n: usize| self.estimated_bytes(n) <= SMALL_BYTES;
        let datasets = plan.datasets.iter().enumerate();
        let small = datasets.filter(|(n, step)| step.step != Step::UpToDate && is_small(*n));
        let most = self.source.at_once().min(self.target.at_once());
        let wanted = (small.count() / SMALL_PER_PAIR).min(most).saturating_sub(1);
        let opening = (0..wanted).map(|_| async {
            let source = self.source.again(self.observer);
            let (source, target) = join(source, self.target.again(self.observer)).await;
            Some((source?, target?))
        });
        let pairs: Vec<_> = join_all(opening).await.into_iter().flatten().collect();
        if !pairs.is_empty() {
            let peer = self.target.name.clone();
            let at_once = pairs.len() + 1;
            self.observer.event(&Event::AtOnce { peer, at_once });
        }
        pairs
    }

    fn estimated_bytes(&self, n: usize) -> u64 {
        self.estimates.get(n).into_iter().flatten().sum()
    }

    async fn bring_all(
        &mut self,
        plan: &TreePlan,
        estimates: &[Vec<u64>],
        more: &mut [(Peer, Peer)],
    ) -> Result<Vec<Option<Moved>>, ReplicateError> {
        let bytes = |n: usize| estimates.get(n).into_iter().flatten().sum();
        let datasets = plan.datasets.iter().enumerate();
        let datasets: Vec<_> = datasets
            .map(|(n, step)| (&step.target.dataset, bytes(n)))
            .collect();
        let mut queue = Queue::new(&datasets);
        let mut moved: Vec<Option<Moved>> = vec![None; plan.datasets.len()];
        let (compression, workers, observer) = (self.compression, self.workers, self.observer);
        let limiter = self.limiter.clone();
        let mut pairs: Vec<Transfers<'_>> = more
            .iter_mut()
            .map(|(source, target)| Transfers {
                source,
                target,
                compression,
                workers,
                limiter: limiter.clone(),
                observer,
                estimates: Vec::new(),
            })
            .collect();
        pairs.push(Transfers {
            source: self.source,
            target: self.target,
            compression,
            workers,
            limiter: limiter.clone(),
            observer,
            estimates: Vec::new(),
        });
        // Large ones go over the last pair, which is asked first.
        let last = pairs.len() - 1;
        let pairs = pairs.iter_mut().enumerate();
        let mut idle: Vec<_> = pairs.map(|(n, pair)| (n < last, pair)).collect();
        let mut under_way = FuturesUnordered::new();
        let mut failed = None;
        loop {
            let mut waiting = Vec::new();
            while let Some((only_small, pair)) = idle.pop() {
                let next = match failed {
                    None => queue.next(only_small),
                    Some(_) => None,
                };
                let Some(n) = next else {
                    waiting.push((only_small, pair));
                    continue;
                };
                let step = &plan.datasets[n];
                if step.step == Step::UpToDate {
                    observer.event(&Event::UpToDate {
                        snapshot: step.snapshot.clone(),
                        target: step.target.clone(),
                    });
                    queue.done(n);
                    idle.push((only_small, pair));
                    // What waited for it may begin now.
                    idle.append(&mut waiting);
                    continue;
                }
                let estimates = estimates.get(n).map_or(&[][..], Vec::as_slice);
                under_way.push(async move {
                    let brought = pair.bring(step, estimates).await;
                    (n, brought, (only_small, pair))
                });
            }
            idle = waiting;
            let Some((n, brought, pair)) = under_way.next().await else {
                break;
            };
            idle.push(pair);
            match brought {
                Ok(now) => {
                    queue.done(n);
                    moved[n] = Some(now);
                }
                Err(error) => {
                    if failed.is_none() {
                        tell_rest(observer, &error, under_way.len());
                        failed = Some(error);
                    }
                }
            }
        }
        match failed {
            None => Ok(moved),
            Some(error) => Err(error.after(queue.count_done(), plan.datasets.len())),
        }
    }

    /// Brings one dataset over, by as many streams as lead there.
    async fn bring(
        &mut self,
        step: &DatasetPlan,
        estimates: &[u64],
    ) -> Result<Moved, ReplicateError> {
        if let Some(clearing) = &step.clearing {
            self.roll_back(clearing).await?;
        }
        let mut moved = Moved::default();
        for (hop, stream) in step.streams().enumerate() {
            if let (true, Some(base)) = (hop > 0, base_in_use(stream)) {
                self.hold_bases(vec![base]).await?;
            }
            let estimated_bytes = estimates.get(hop).copied().unwrap_or_default();
            let now = self.transfer_one(stream, estimated_bytes).await;
            let now = now.map_err(|cause| ReplicateError::Transfer {
                snapshot: stream.snapshot.clone(),
                target: stream.target.clone(),
                done: 0,
                of: 0,
                cause: Box::new(cause),
            })?;
            moved.add(now);
        }
        Ok(moved)
    }
}

/// After an error, what is under way is completed, which may take its time.
fn tell_rest(observer: &dyn Observer, error: &ReplicateError, under_way: usize) {
    if let (ReplicateError::Transfer { cause, .. }, 1..) = (error, under_way) {
        observer.event(&Event::Notice {
            peer: cause.peer.clone(),
            text: format!("{error}; transfers that are under way ({under_way}) are completed"),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(datasets: &[(&str, u64)]) -> Queue {
        let parse = |(name, bytes): &(&str, u64)| (DatasetName::parse(name).unwrap(), *bytes);
        let datasets: Vec<_> = datasets.iter().map(parse).collect();
        let datasets: Vec<_> = datasets
            .iter()
            .map(|(name, bytes)| (name, *bytes))
            .collect();
        Queue::new(&datasets)
    }

    #[test]
    fn a_dataset_waits_for_the_one_above_it_and_its_siblings_do_not() {
        let mut queue = queue(&[("b/a", 1), ("b/a/x/y", 1), ("b/a/x/y/z", 1), ("b/a/w", 1)]);
        assert_eq!((queue.next(true), queue.next(true)), (Some(0), None));
        queue.done(0);
        assert_eq!((queue.next(true), queue.next(true)), (Some(1), Some(3)));
        assert_eq!(queue.next(false), None);
        queue.done(3);
        assert_eq!(queue.next(false), None);
        queue.done(1);
        assert_eq!(queue.next(true), Some(2));
        queue.done(2);
        assert_eq!((queue.next(false), queue.count_done()), (None, 4));
    }

    #[test]
    fn large_datasets_go_over_the_first_pair_alone() {
        let large = SMALL_BYTES + 1;
        let mut queue = queue(&[("b/a", large), ("b/c", large), ("b/d", SMALL_BYTES)]);
        assert_eq!(queue.next(true), Some(2));
        assert_eq!(queue.next(true), None);
        assert_eq!((queue.next(false), queue.next(false)), (Some(0), Some(1)));
    }

    #[test]
    fn a_name_that_only_begins_like_another_is_not_below_it() {
        let mut queue = queue(&[("b/a", 1), ("b/ab", 1)]);
        assert_eq!((queue.next(true), queue.next(true)), (Some(0), Some(1)));
    }
}
