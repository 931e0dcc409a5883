//! What a transfer does with its time, and how far it is: for whoever watches.
//!
//! The driver knows whether it waits for the source's next frame or for room
//! towards the target. What stands behind that, a helper of this process shows
//! exactly ([`Activity`]); one of another machine tells with each heartbeat what
//! it waits for at that moment, which is a sample every ten seconds. Where
//! neither says anything the side is all that is claimed.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::transfer::{Ends, Moved};
use crate::event::{Event, Observer, Waited, WaitingFor};
use crate::helper::{Activity, Spent};
use crate::name::SnapshotName;
use crate::peer::Peer;
use crate::peer::wire::{HEARTBEAT_INTERVAL, SILENCE_MAX};
use crate::plan::DatasetPlan;
use crate::protocol::pulse::{Pulse, WaitsFor};

/// How often a transfer tells of itself while no frame comes: what watches it
/// shows a stall within a moment, and nothing else is kept busy by it.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// A source that sends heartbeats and has sent none for this long had no room
/// for one: one that is due while its queue is full is left out. A target's
/// queue has room, since it says little else.
const BEAT_MISSED: Duration = HEARTBEAT_INTERVAL
    .saturating_mul(3)
    .checked_div(2)
    .expect("not zero");

/// On what the driver waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// The source's next frame.
    Frame,
    /// That the bandwidth limit lets a frame pass.
    Limit,
    /// Room towards the target, or its answer.
    Room,
}

/// Watches one transfer.
pub(super) struct Meter<'a> {
    observer: &'a dyn Observer,
    peer: String,
    snapshot: SnapshotName,
    target: SnapshotName,
    waited: Waited,
    /// Until when the time is accounted for.
    counted: Instant,
    told: Instant,
    sending: End,
    receiving: End,
}

impl<'a> Meter<'a> {
    /// Begins with a transfer.
    pub(super) fn new(ends: &Ends<'_>, plan: &DatasetPlan, observer: &'a dyn Observer) -> Self {
        let now = Instant::now();
        Self {
            observer,
            peer: ends.target.name.clone(),
            snapshot: plan.snapshot.clone(),
            target: plan.target.clone(),
            waited: Waited::default(),
            counted: now,
            told: now,
            sending: End::new(ends.source, now),
            receiving: End::new(ends.target, now),
        }
    }

    /// The driver has waited for this since it waited last.
    pub(super) fn waited(&mut self, wait: Wait, ends: &mut Ends<'_>) {
        self.sending.listen(ends.source);
        self.receiving.listen(ends.target);
        self.count(wait);
        ends.target.tell_width(self.observer);
    }

    fn count(&mut self, wait: Wait) {
        let now = Instant::now();
        let time = now - self.counted;
        self.counted = now;
        let (sent, received) = (self.sending.spent(), self.receiving.spent());
        match wait {
            Wait::Frame => self
                .sending
                .attribute(time, sent, SENDING, &mut self.waited),
            Wait::Limit => self.waited.add(WaitingFor::Limit, time),
            Wait::Room => {
                let waited = &mut self.waited;
                self.receiving.attribute(time, received, RECEIVING, waited);
            }
        }
    }

    /// Tells how far it is.
    pub(super) fn tell(&mut self, moved: &Moved) {
        self.told = Instant::now();
        self.observer.event(&Event::Progress {
            peer: self.peer.clone(),
            snapshot: self.snapshot.clone(),
            target: self.target.clone(),
            raw_bytes: moved.raw_bytes,
            wire_bytes: moved.wire_bytes,
            waited: self.waited,
        });
    }

    /// Ends when it should tell again.
    pub(super) fn due(&self) -> impl Future<Output = ()> + use<> {
        sleep_until(self.told + TELL_INTERVAL)
    }

    /// Waits for `work`, for which the target has to do something, and tells
    /// meanwhile how far it is.
    pub(super) async fn watch<T>(&mut self, moved: &Moved, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            let done = tokio::select! {
                biased;
                done = &mut work => Some(done),
                () = self.due() => None,
            };
            self.count(Wait::Room);
            match done {
                Some(done) => return done,
                None => self.tell(moved),
            }
        }
    }
}

/// What it is called what one of the ends waits for.
#[derive(Clone, Copy)]
struct Names {
    zfs: WaitingFor,
    processor: WaitingFor,
    unknown: WaitingFor,
    is_sender: bool,
}

const SENDING: Names = Names {
    zfs: WaitingFor::SourceZfs,
    processor: WaitingFor::SourceProcessor,
    unknown: WaitingFor::Source,
    is_sender: true,
};

const RECEIVING: Names = Names {
    zfs: WaitingFor::TargetZfs,
    processor: WaitingFor::TargetProcessor,
    unknown: WaitingFor::Target,
    is_sender: false,
};

/// What is known of one end.
enum End {
    /// Its helper is in this process.
    Here { activity: Activity, before: Spent },
    /// It is elsewhere, or `here` and not to be looked into.
    There { beats: Beats, here: bool },
}

impl End {
    fn new(peer: &Peer, now: Instant) -> Self {
        match &peer.activity {
            Some(activity) => Self::Here {
                activity: activity.clone(),
                before: activity.spent(),
            },
            None => Self::There {
                beats: Beats::since(now),
                here: peer.here,
            },
        }
    }

    fn listen(&mut self, peer: &Peer) {
        if let Self::There { beats, .. } = self {
            beats.note(peer.reader.last_beat());
        }
    }

    /// What a helper of this process did since this was asked last.
    fn spent(&mut self) -> Spent {
        let Self::Here { activity, before } = self else {
            return Spent::default();
        };
        let now = activity.spent();
        let spent = now.since(before);
        *before = now;
        spent
    }

    /// Divides `time`, in which the driver waited for this end and its helper
    /// did what `spent` says, among what it went into.
    fn attribute(&self, time: Duration, spent: Spent, names: Names, waited: &mut Waited) {
        match self {
            Self::Here { .. } => {
                let busy = spent.zfs + spent.processor;
                if busy.is_zero() {
                    waited.add(names.unknown, time);
                } else {
                    let zfs = time.mul_f64(spent.zfs.div_duration_f64(busy)).min(time);
                    waited.add(names.zfs, zfs);
                    waited.add(names.processor, time - zfs);
                }
            }
            Self::There { beats, here } => {
                let missed = names.is_sender && beats.are_missed(Instant::now());
                let said = if missed {
                    Some(WaitsFor::OtherSide)
                } else {
                    beats.said()
                };
                let what = match said {
                    Some(WaitsFor::Zfs) => names.zfs,
                    Some(WaitsFor::Processor) => names.processor,
                    // Both wait for each other.
                    Some(WaitsFor::OtherSide) if !here => WaitingFor::Connection,
                    Some(WaitsFor::OtherSide) | None => names.unknown,
                };
                waited.add(what, time);
            }
        }
    }
}

/// What the heartbeats of a transfer have said lately.
struct Beats {
    begun: Instant,
    /// When one came last, whatever it said, and whenever.
    last: Option<Instant>,
    recent: VecDeque<(Instant, WaitsFor)>,
}

impl Beats {
    fn since(begun: Instant) -> Self {
        Self {
            begun,
            last: None,
            recent: VecDeque::new(),
        }
    }

    fn note(&mut self, beat: Option<(Instant, Option<Pulse>)>) {
        let Some((came, pulse)) = beat else { return };
        if self.last == Some(came) {
            return;
        }
        self.last = Some(came);
        // Of an earlier transfer.
        if came < self.begun {
            return;
        }
        while (self.recent.front()).is_some_and(|(then, _)| came - *then >= SILENCE_MAX) {
            self.recent.pop_front();
        }
        if let Some(pulse) = pulse {
            self.recent.push_back((came, pulse.waits_for));
        }
    }

    /// There were beats, and they do not come any more.
    fn are_missed(&self, now: Instant) -> bool {
        let last = self.last.map(|last| last.max(self.begun));
        last.is_some_and(|last| now - last >= BEAT_MISSED)
    }

    /// What more than half of the beats of a minute have said.
    fn said(&self) -> Option<WaitsFor> {
        let mut said: Vec<_> = self.recent.iter().map(|(_, said)| *said).collect();
        said.sort_unstable();
        let middle = *said.get(said.len() / 2)?;
        let same = said.iter().filter(|said| **said == middle).count();
        (same * 2 > said.len()).then_some(middle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn beat(at: Instant, waits_for: WaitsFor) -> Option<(Instant, Option<Pulse>)> {
        let since = Duration::ZERO;
        Some((at, Some(Pulse { waits_for, since })))
    }

    #[test]
    fn nothing_is_claimed_of_a_helper_that_has_said_nothing_of_this_transfer() {
        let begun = Instant::now();
        let mut beats = Beats::since(begun);
        assert_eq!(beats.said(), None);
        assert!(!beats.are_missed(begun + seconds(100)));
        beats.note(beat(begun - seconds(1), WaitsFor::Zfs));
        assert_eq!(beats.said(), None);
        beats.note(Some((begun + seconds(5), None)));
        assert_eq!(beats.said(), None);
    }

    #[test]
    fn the_majority_of_the_last_minutes_beats_counts() {
        let begun = Instant::now();
        let mut beats = Beats::since(begun);
        let mut said = |second, whom| {
            let at = begun + seconds(second);
            beats.note(beat(at, whom));
            // Once, however often it is looked at.
            beats.note(beat(at, whom));
            beats.said()
        };
        assert_eq!(said(10, WaitsFor::Zfs), Some(WaitsFor::Zfs));
        assert_eq!(said(20, WaitsFor::Processor), None);
        assert_eq!(said(30, WaitsFor::Processor), Some(WaitsFor::Processor));
        for second in [40, 50, 60] {
            said(second, WaitsFor::OtherSide);
        }
        assert_eq!(said(70, WaitsFor::OtherSide), Some(WaitsFor::OtherSide));
        // The first ones are forgotten.
        assert_eq!(said(90, WaitsFor::Zfs), Some(WaitsFor::OtherSide));
    }

    #[test]
    fn a_helper_that_has_no_room_for_its_heartbeats_waits_for_the_connection() {
        let begun = Instant::now();
        let mut beats = Beats::since(begun);
        beats.note(beat(begun - seconds(9), WaitsFor::Zfs));
        assert!(!beats.are_missed(begun + seconds(14)));
        assert!(beats.are_missed(begun + seconds(15)));
        beats.note(beat(begun + seconds(16), WaitsFor::Zfs));
        assert!(!beats.are_missed(begun + seconds(17)));
        assert_eq!(beats.said(), Some(WaitsFor::Zfs));
    }

    #[test]
    fn the_time_of_a_helper_here_is_divided_as_it_spent_it() {
        let here = End::Here {
            activity: Activity::default(),
            before: Spent::default(),
        };
        let mut waited = Waited::default();
        let spent = Spent {
            other_side: seconds(9),
            zfs: seconds(3),
            processor: seconds(1),
        };
        here.attribute(seconds(8), spent, SENDING, &mut waited);
        assert_eq!(waited.on(WaitingFor::SourceZfs), seconds(6));
        assert_eq!(waited.on(WaitingFor::SourceProcessor), seconds(2));
        here.attribute(seconds(1), Spent::default(), RECEIVING, &mut waited);
        assert_eq!(waited.on(WaitingFor::Target), seconds(1));
        assert_eq!(waited.on(WaitingFor::Connection), Duration::ZERO);
    }
}
