//! What happens while it happens.
//!
//! The engine never prints. It tells an [`Observer`] what it is about to do and
//! what came of it; the command line turns that into lines, bars or JSON.

use std::time::Duration;

use serde::Serialize;

use crate::name::{DatasetName, Guid, SnapshotName};
use crate::plan::DiscardReason;
use crate::stream::compress::Compression;
use crate::zfs::PropertyRefusal;

/// Takes events. Called from the driver's task: must not block.
pub trait Observer: Send + Sync {
    /// One event.
    fn event(&self, event: &Event);
}

/// What a transfer waits for, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitingFor {
    /// The source's ZFS: the next bytes of the stream.
    SourceZfs,
    /// The source's processor, which checks, hashes and compresses.
    SourceProcessor,
    /// The source or the way from it; which of the two is not known.
    Source,
    /// The bandwidth limit: it could go faster.
    Limit,
    /// The connection between the two machines.
    Connection,
    /// The target or the way to it; which of the two is not known.
    Target,
    /// The target's processor, which unpacks and checks.
    TargetProcessor,
    /// The target's ZFS: that it takes what came.
    TargetZfs,
}

impl WaitingFor {
    /// All of them, in the order of the data's way.
    pub const ALL: [Self; 8] = [
        Self::SourceZfs,
        Self::SourceProcessor,
        Self::Source,
        Self::Limit,
        Self::Connection,
        Self::Target,
        Self::TargetProcessor,
        Self::TargetZfs,
    ];
}

/// What the time of a transfer went into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waited([Duration; WaitingFor::ALL.len()]);

impl Waited {
    /// So much more time for this.
    pub fn add(&mut self, what: WaitingFor, time: Duration) {
        self.0[what as usize] += time;
    }

    /// The time that went into this.
    #[must_use]
    pub fn on(&self, what: WaitingFor) -> Duration {
        self.0[what as usize]
    }

    /// What has come on top since it was `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut later = *self;
        for (part, before) in later.0.iter_mut().zip(earlier.0) {
            *part = part.saturating_sub(before);
        }
        later
    }

    /// What took most of the time, if any was taken.
    #[must_use]
    pub fn most(&self) -> Option<WaitingFor> {
        let most = WaitingFor::ALL
            .into_iter()
            .max_by_key(|what| self.on(*what))?;
        (!self.on(most).is_zero()).then_some(most)
    }
}

/// Something that happened or is about to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A helper answered.
    Connected {
        /// The peer's name.
        peer: String,
        /// Its program and version.
        program: String,
        /// The name it gives itself.
        node: String,
    },
    /// A conversation goes over several connections from now on.
    Widened {
        /// With whom.
        peer: String,
        /// How many.
        connections: usize,
        /// How long an answer took.
        round_trip_milliseconds: u64,
    },
    /// So many of the connections of a conversation are in use from now on: more
    /// would not carry more.
    ConnectionsInUse {
        /// With whom.
        peer: String,
        /// How many of them what is sent there goes over.
        connections: usize,
    },
    /// Large transfers have so many workers, if as many are free.
    Workers {
        /// At whom.
        peer: String,
        /// How many were asked for, or are chosen there.
        workers: usize,
    },
    /// Several transfers are under way at the same time from now on.
    AtOnce {
        /// To whom.
        peer: String,
        /// How many at most.
        at_once: usize,
    },
    /// A step begins that changes or moves something.
    Step {
        /// On which peer.
        peer: String,
        /// What would do the same: a command of zfs(8), or a sentence.
        command: String,
    },
    /// A state file was written.
    StateWritten {
        /// On which peer.
        peer: String,
        /// Of what: the service and its resource.
        resource: String,
        /// The file, where it is one of this machine.
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<std::path::PathBuf>,
        /// The snapshot that it says the targets have, if this run brought one.
        #[serde(skip_serializing_if = "Option::is_none")]
        guid: Option<Guid>,
    },
    /// What is to be sent to one place is known.
    TransfersPlanned {
        /// The peer that receives.
        peer: String,
        /// The dataset that all of it goes into.
        root: DatasetName,
        /// Transfers that there will be.
        transfers: usize,
        /// Estimated bytes of all their streams, or of what is left of them.
        estimated_bytes: u64,
    },
    /// A transfer begins.
    TransferStarted {
        /// The peer that receives.
        peer: String,
        /// What is sent.
        snapshot: SnapshotName,
        /// What it becomes.
        target: SnapshotName,
        /// Where the stream starts; `None` for a full one.
        base: Option<String>,
        /// Estimated bytes of the stream, or of what is left of it.
        estimated_bytes: u64,
        /// Bytes of the same stream that had arrived when it was cut; `None` if
        /// it begins now.
        resumed_bytes: Option<u64>,
    },
    /// How far a running transfer is: with each frame, and every second while
    /// none comes.
    Progress {
        /// The peer that receives.
        peer: String,
        /// What is sent.
        snapshot: SnapshotName,
        /// What it becomes.
        target: SnapshotName,
        /// Bytes of the ZFS stream so far.
        raw_bytes: u64,
        /// Bytes on the wire so far.
        wire_bytes: u64,
        /// What its time went into so far.
        #[serde(skip)]
        waited: Waited,
    },
    /// A transfer ended without success. Why, the run's result says.
    TransferCut {
        /// The peer that should have received.
        peer: String,
        /// What was sent.
        snapshot: SnapshotName,
        /// What it was to become.
        target: SnapshotName,
    },
    /// A transfer ended well: the target's ZFS has the snapshot.
    TransferDone {
        /// The peer that received.
        peer: String,
        /// What was sent.
        snapshot: SnapshotName,
        /// What it became.
        target: SnapshotName,
        /// Its guid, equal on both sides.
        guid: Guid,
        /// Bytes of the ZFS stream.
        raw_bytes: u64,
        /// Bytes on the wire.
        wire_bytes: u64,
        /// The compression that was chosen in the end, if that was left to the
        /// source.
        #[serde(skip_serializing_if = "Option::is_none")]
        came_to: Option<Compression>,
        /// Time from request to answer.
        milliseconds: u64,
    },
    /// The target has this state already.
    UpToDate {
        /// What need not be sent.
        snapshot: SnapshotName,
        /// What it is on the target.
        target: SnapshotName,
    },
    /// A descendant of the source has no such snapshot.
    SkippedWithoutSnapshot {
        /// The dataset.
        dataset: DatasetName,
    },
    /// The target has a dataset that the source does not have (any more).
    OnlyOnTarget {
        /// The dataset.
        dataset: DatasetName,
    },
    /// A snapshot in between is left out: the target has another one of its name.
    NameTaken {
        /// The snapshot on the source.
        snapshot: SnapshotName,
    },
    /// A clone was sent as an independent dataset.
    CloneSentWhole {
        /// The clone.
        dataset: DatasetName,
        /// Its origin on the source.
        origin: SnapshotName,
    },
    /// Properties that the target did not take.
    PropertiesRefused {
        /// The dataset on the target.
        dataset: DatasetName,
        /// Which, and why.
        refused: Vec<PropertyRefusal>,
    },
    /// A dataset of the target was rolled back to the base, as was allowed.
    RolledBack {
        /// On which peer.
        peer: String,
        /// To what.
        to: SnapshotName,
        /// Bytes that had been written since, and are lost.
        lost_bytes: u64,
        /// Snapshots that had been taken since, and were destroyed.
        snapshots: Vec<SnapshotName>,
    },
    /// Something failed that may go better, and is tried again after a while.
    Retrying {
        /// The peer or node it is about.
        peer: String,
        /// What happened.
        error: String,
        /// How often in a row it has failed by now.
        attempt: u32,
        /// How long it is waited before the next attempt.
        wait_ms: u64,
    },
    /// What a cut receive had left was given up: see
    /// [`Discard`](crate::plan::Discard).
    PartialDiscarded {
        /// On which peer.
        peer: String,
        /// The dataset.
        dataset: DatasetName,
        /// The snapshot that was being received, if it is known.
        to_guid: Option<Guid>,
        /// Bytes that had arrived.
        received_bytes: u64,
        /// Why.
        reason: DiscardReason,
    },
    /// Something worth knowing that changes nothing.
    Notice {
        /// On which peer.
        peer: String,
        /// One sentence.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_most_of_the_time_lately_is_not_what_took_most_of_it_ever() {
        let mut waited = Waited::default();
        assert_eq!(waited.most(), None);
        waited.add(WaitingFor::TargetZfs, Duration::from_secs(60));
        let early = waited;
        waited.add(WaitingFor::Connection, Duration::from_secs(5));
        waited.add(WaitingFor::TargetZfs, Duration::from_secs(4));
        assert_eq!(waited.most(), Some(WaitingFor::TargetZfs));
        assert_eq!(waited.since(&early).most(), Some(WaitingFor::Connection));
        let mut all = WaitingFor::ALL.map(|what| what as usize).to_vec();
        all.dedup();
        assert_eq!(all, (0..WaitingFor::ALL.len()).collect::<Vec<_>>());
    }
}
