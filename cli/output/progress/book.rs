//! What a run has to send, what it sends, and what it has sent: from the
//! engine's events, with the time of each. Knows no clock and draws nothing.

use std::time::Duration;

use engine::event::{Event, WaitingFor};
use engine::name::{DatasetName, SnapshotName};

use super::pace::{Bytes, Pace, Rate};

/// All transfers of a run.
#[derive(Debug, Default)]
pub struct Book {
    places: Vec<Place>,
    running: Vec<Transfer>,
    /// Those that ended well.
    done: usize,
    /// Of all transfers, also those that failed.
    pace: Option<Pace>,
}

/// Where a plan's streams go.
#[derive(Debug)]
struct Place {
    peer: String,
    root: DatasetName,
    /// What has not begun.
    transfers_left: usize,
    bytes_left: u64,
}

/// One that runs.
#[derive(Debug)]
struct Transfer {
    peer: String,
    snapshot: SnapshotName,
    target: SnapshotName,
    estimated_bytes: u64,
    pace: Pace,
}

/// A transfer that runs, or the whole run, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// What it is about.
    pub subject: Subject,
    /// What has been moved.
    pub moved: Bytes,
    /// What it will have been in the end; zero if nobody knows.
    pub estimated_bytes: u64,
    /// The rate of the last moments.
    pub rate: Rate,
    /// The rate since it began.
    pub average: Rate,
    /// When it will be done, if it goes on like this.
    pub left: Option<Duration>,
    /// What it has been waiting for lately.
    pub waiting_for: Option<WaitingFor>,
    /// How long it has been going on.
    pub age: Duration,
}

/// What a [`View`] is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// One transfer.
    Transfer {
        /// Who receives.
        peer: String,
        /// What is sent.
        snapshot: SnapshotName,
        /// What it becomes.
        target: SnapshotName,
    },
    /// All of the run.
    Run {
        /// Transfers that are done.
        done: usize,
        /// All that are known of.
        transfers: usize,
    },
}

impl Book {
    /// Takes an event that happened at this time. True if it is about
    /// transfers.
    pub fn event(&mut self, event: &Event, now: Duration) -> bool {
        match event {
            Event::TransfersPlanned {
                peer,
                root,
                transfers,
                estimated_bytes,
            } => {
                self.pace.get_or_insert_with(|| Pace::begin(now));
                // What an earlier plan for the place had left is in this one.
                self.places
                    .retain(|place| place.peer != *peer || place.root != *root);
                self.places.push(Place {
                    peer: peer.clone(),
                    root: root.clone(),
                    transfers_left: *transfers,
                    bytes_left: *estimated_bytes,
                });
            }
            Event::TransferStarted {
                peer,
                snapshot,
                target,
                estimated_bytes,
                ..
            } => {
                self.end(peer, target);
                if let Some(place) = self.place(peer, target) {
                    place.transfers_left = place.transfers_left.saturating_sub(1);
                    place.bytes_left = place.bytes_left.saturating_sub(*estimated_bytes);
                }
                self.pace.get_or_insert_with(|| Pace::begin(now));
                self.running.push(Transfer {
                    peer: peer.clone(),
                    snapshot: snapshot.clone(),
                    target: target.clone(),
                    estimated_bytes: *estimated_bytes,
                    pace: Pace::begin(now),
                });
            }
            Event::Progress {
                peer,
                target,
                raw_bytes,
                wire_bytes,
                waited,
                ..
            } => {
                let bytes = Bytes {
                    raw: *raw_bytes,
                    wire: *wire_bytes,
                };
                self.moved((peer, target), bytes, now);
                if let Some(transfer) = self.find(peer, target) {
                    transfer.pace.note_waits(now, *waited);
                }
            }
            Event::TransferDone {
                peer,
                target,
                raw_bytes,
                wire_bytes,
                ..
            } => {
                let bytes = Bytes {
                    raw: *raw_bytes,
                    wire: *wire_bytes,
                };
                self.moved((peer, target), bytes, now);
                if self.end(peer, target) {
                    self.done += 1;
                }
            }
            Event::TransferCut { peer, target, .. } => {
                self.end(peer, target);
                // Whoever tries again plans again.
                if let Some(place) = self.place(peer, target) {
                    place.transfers_left = 0;
                    place.bytes_left = 0;
                }
            }
            _ => return false,
        }
        true
    }

    /// True while nothing runs and nothing is due to.
    pub fn rests(&self) -> bool {
        self.running.is_empty() && self.places.iter().all(|place| place.transfers_left == 0)
    }

    /// The transfers that run, in the order in which they began.
    pub fn running(&self, now: Duration) -> Vec<View> {
        self.running.iter().map(|one| one.view(now)).collect()
    }

    /// The one of these names, if it runs.
    pub fn one(&self, peer: &str, target: &SnapshotName, now: Duration) -> Option<View> {
        let found = self.running.iter().find(|one| one.is(peer, target));
        found.map(|one| one.view(now))
    }

    /// The whole run, once something is known of it.
    pub fn total(&self, now: Duration) -> Option<View> {
        let pace = self.pace.as_ref()?;
        let moved = pace.moved();
        let running = self.running.iter().map(Transfer::bytes_left);
        let due = self.places.iter().map(|place| place.bytes_left);
        let left = running.chain(due).fold(0, u64::saturating_add);
        let due: usize = self.places.iter().map(|place| place.transfers_left).sum();
        Some(View {
            subject: Subject::Run {
                done: self.done,
                transfers: self.done + self.running.len() + due,
            },
            moved,
            estimated_bytes: moved.raw.saturating_add(left),
            rate: pace.rate(now),
            average: pace.average(now),
            left: (left > 0).then(|| pace.time_for(left, now)).flatten(),
            waiting_for: None,
            age: pace.age(now),
        })
    }

    fn find(&mut self, peer: &str, target: &SnapshotName) -> Option<&mut Transfer> {
        self.running.iter_mut().find(|one| one.is(peer, target))
    }

    fn place(&mut self, peer: &str, target: &SnapshotName) -> Option<&mut Place> {
        let places = self.places.iter_mut();
        places
            .filter(|place| place.peer == peer && target.dataset.is_within(&place.root))
            .max_by_key(|place| place.root.as_str().len())
    }

    fn moved(&mut self, (peer, target): (&str, &SnapshotName), bytes: Bytes, now: Duration) {
        let Some(transfer) = self.find(peer, target) else {
            return;
        };
        let before = transfer.pace.moved();
        transfer.pace.note(now, bytes);
        if let Some(pace) = &mut self.pace {
            let all = pace.moved();
            let raw = all.raw + bytes.raw.saturating_sub(before.raw);
            let wire = all.wire + bytes.wire.saturating_sub(before.wire);
            pace.note(now, Bytes { raw, wire });
        }
    }

    /// True if it was running.
    fn end(&mut self, peer: &str, target: &SnapshotName) -> bool {
        let before = self.running.len();
        self.running.retain(|one| !one.is(peer, target));
        self.running.len() < before
    }
}

impl Transfer {
    fn is(&self, peer: &str, target: &SnapshotName) -> bool {
        self.peer == peer && self.target == *target
    }

    /// By the estimate, which may be too low.
    fn bytes_left(&self) -> u64 {
        self.estimated_bytes.saturating_sub(self.pace.moved().raw)
    }

    fn view(&self, now: Duration) -> View {
        let moved = self.pace.moved();
        let left = self.bytes_left();
        View {
            subject: Subject::Transfer {
                peer: self.peer.clone(),
                snapshot: self.snapshot.clone(),
                target: self.target.clone(),
            },
            moved,
            estimated_bytes: match self.estimated_bytes {
                0 => 0,
                estimated => estimated.max(moved.raw),
            },
            rate: self.pace.rate(now),
            average: self.pace.average(now),
            left: (left > 0).then(|| self.pace.time_for(left, now)).flatten(),
            waiting_for: self.pace.waiting_for(),
            age: self.pace.age(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::event::Waited;
    use engine::name::Guid;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn planned(peer: &str, root: &str, transfers: usize, mib: u64) -> Event {
        Event::TransfersPlanned {
            peer: peer.to_owned(),
            root: DatasetName::parse(root).unwrap(),
            transfers,
            estimated_bytes: mib * MIB,
        }
    }

    fn snapshot(dataset: &str) -> SnapshotName {
        SnapshotName::parse(&format!("{dataset}@s")).unwrap()
    }

    fn started(peer: &str, target: &str, mib: u64) -> Event {
        Event::TransferStarted {
            peer: peer.to_owned(),
            snapshot: snapshot("tank/a"),
            target: snapshot(target),
            base: None,
            estimated_bytes: mib * MIB,
            resumed_bytes: None,
        }
    }

    fn progress(peer: &str, target: &str, mib: u64) -> Event {
        let mut waited = Waited::default();
        waited.add(WaitingFor::Connection, Duration::from_secs(mib));
        Event::Progress {
            peer: peer.to_owned(),
            snapshot: snapshot("tank/a"),
            target: snapshot(target),
            raw_bytes: mib * MIB,
            wire_bytes: mib * MIB / 4,
            waited,
        }
    }

    fn done(peer: &str, target: &str, mib: u64) -> Event {
        Event::TransferDone {
            peer: peer.to_owned(),
            snapshot: snapshot("tank/a"),
            target: snapshot(target),
            guid: Guid(1),
            raw_bytes: mib * MIB,
            wire_bytes: mib * MIB / 4,
            came_to: None,
            milliseconds: 1,
        }
    }

    fn cut(peer: &str, target: &str) -> Event {
        Event::TransferCut {
            peer: peer.to_owned(),
            snapshot: snapshot("tank/a"),
            target: snapshot(target),
        }
    }

    /// MiB moved and estimated, transfers done and known, of the run.
    fn sums(book: &Book, now: u64) -> (u64, u64, usize, usize) {
        let total = book.total(at(now)).unwrap();
        let Subject::Run { done, transfers } = total.subject else {
            panic!("{total:?}")
        };
        let mib = |bytes| bytes / MIB;
        (
            mib(total.moved.raw),
            mib(total.estimated_bytes),
            done,
            transfers,
        )
    }

    #[test]
    fn a_run_is_the_sum_of_what_is_done_what_runs_and_what_is_due() {
        let mut book = Book::default();
        assert!(book.rests() && book.total(at(0)).is_none());
        book.event(&planned("n2", "backup/a", 2, 30), at(0));
        book.event(&planned("n3", "backup/a", 1, 5), at(0));
        assert!(!book.rests());
        assert_eq!(sums(&book, 0), (0, 35, 0, 3));
        book.event(&started("n2", "backup/a", 10), at(0));
        book.event(&started("n3", "backup/a", 5), at(0));
        for second in 1..=4 {
            book.event(&progress("n2", "backup/a", second), at(second));
            book.event(&progress("n3", "backup/a", second), at(second));
        }
        assert_eq!(sums(&book, 4), (8, 35, 0, 3));
        let total = book.total(at(4)).unwrap();
        assert_eq!((total.rate.raw, total.rate.wire), (2 * MIB, MIB / 2));
        assert_eq!(total.left, Some(at(14)));
        let one = book.one("n2", &snapshot("backup/a"), at(4)).unwrap();
        assert_eq!((one.rate.raw, one.left), (MIB, Some(at(6))));
        assert_eq!(one.waiting_for, Some(WaitingFor::Connection));
        assert_eq!(book.running(at(4)).len(), 2);
        // The first turns out to be shorter than estimated.
        book.event(&done("n2", "backup/a", 6), at(6));
        book.event(&done("n3", "backup/a", 5), at(6));
        assert_eq!(sums(&book, 6), (11, 31, 2, 3));
        assert!(!book.rests());
        book.event(&started("n2", "backup/a/x", 20), at(7));
        book.event(&done("n2", "backup/a/x", 22), at(9));
        assert_eq!(sums(&book, 9), (33, 33, 3, 3));
        assert!(book.rests());
    }

    #[test]
    fn an_estimate_that_was_too_low_is_what_came() {
        let mut book = Book::default();
        book.event(&planned("n2", "backup/a", 1, 2), at(0));
        book.event(&started("n2", "backup/a", 2), at(0));
        book.event(&progress("n2", "backup/a", 3), at(3));
        let one = book.one("n2", &snapshot("backup/a"), at(3)).unwrap();
        assert_eq!((one.moved.raw, one.estimated_bytes), (3 * MIB, 3 * MIB));
        assert_eq!(one.left, None);
        // Nothing is made up where there is no estimate.
        book.event(&started("n2", "backup/b", 0), at(4));
        book.event(&progress("n2", "backup/b", 3), at(6));
        let one = book.one("n2", &snapshot("backup/b"), at(6)).unwrap();
        assert_eq!((one.estimated_bytes, one.left), (0, None));
    }

    #[test]
    fn a_transfer_that_was_cut_counts_with_what_it_moved_and_its_plan_with_nothing() {
        let mut book = Book::default();
        book.event(&planned("n2", "backup/a", 2, 30), at(0));
        book.event(&started("n2", "backup/a", 10), at(0));
        book.event(&progress("n2", "backup/a", 4), at(4));
        book.event(&cut("n2", "backup/a"), at(5));
        assert!(book.rests());
        assert_eq!(sums(&book, 5), (4, 4, 0, 0));
        // What is tried again is planned again, and less is left of it.
        book.event(&planned("n2", "backup/a", 2, 27), at(9));
        book.event(&started("n2", "backup/a", 7), at(9));
        assert_eq!(sums(&book, 9), (4, 31, 0, 2));
    }

    #[test]
    fn what_nobody_announced_is_shown_all_the_same() {
        let mut book = Book::default();
        book.event(&progress("n2", "backup/a", 4), at(0));
        assert!(book.total(at(0)).is_none());
        book.event(&started("n2", "backup/a", 10), at(1));
        book.event(&progress("n2", "backup/a", 4), at(2));
        assert_eq!(sums(&book, 2), (4, 10, 0, 1));
    }
}
