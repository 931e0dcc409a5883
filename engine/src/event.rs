//! What happens while it happens.
//!
//! The engine never prints. It tells an [`Observer`] what it is about to do and
//! what came of it; the command line turns that into lines, bars or JSON.

use serde::Serialize;

use crate::name::{DatasetName, Guid, SnapshotName};
use crate::plan::DiscardReason;
use crate::zfs::PropertyRefusal;

/// Takes events. Called from the driver's task: must not block.
pub trait Observer: Send + Sync {
    /// One event.
    fn event(&self, event: &Event);
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
    /// A transfer begins.
    TransferStarted {
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
    /// Bytes so far of the running transfer. At most one per frame.
    Progress {
        /// Bytes of the ZFS stream.
        raw_bytes: u64,
        /// Bytes on the wire.
        wire_bytes: u64,
    },
    /// A transfer ended well: the target's ZFS has the snapshot.
    TransferDone {
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
