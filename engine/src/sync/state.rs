//! What is known about the copies of one resource: the state file.
//!
//! The driver records each success and each trouble per target, writes the
//! state here and delivers the same text to the peers, whose helpers merge it
//! into their copy. [`super::status`] reads it. Nothing decides about data
//! from this file: bases are matched by the guids that ZFS reports; the file
//! is for status, for people, and for noticing a broken chain early.
//!
//! One file per service and resource, `STATE/SERVICE/sync.1.json`; one JSON
//! object, `"version": 1`. Guids are strings, because they use all 64 bits and
//! many JSON readers keep 53; all other numbers stay below 2^53. Unknown
//! fields are ignored, an unknown version is not.
//!
//! Order: each record about a target carries a sequence number, higher than
//! all that the writer knew of. Of two records about a target the one with
//! the higher number wins, then the one with the later snapshot. Numbers,
//! not clocks, because after a failover the writers are two machines. So that
//! numbers order the writes of both, a sender merges what its peers have
//! before it records.

mod keeper;
mod legacy;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::config::{NodeName, Rid, ServiceName, TargetKind};
use super::moment::UtcSeconds;
use crate::name::{DatasetName, Guid};

pub use legacy::{legacy_line, write_legacy};
pub use store::{StateError, StateStore, Written};

/// The version this program writes and reads.
pub const STATE_VERSION: u32 = 1;

/// Largest state file in bytes, 16 MiB: room for some 80 000 datasets, counted
/// once for each target.
pub const STATE_BYTES_MAX: usize = 16 << 20;

/// Largest number in a state file: what every JSON reader keeps exactly.
pub const NUMBER_MAX: u64 = 1 << 53;

/// Longest message of a trouble in bytes; longer ones are cut.
pub const MESSAGE_BYTES_MAX: usize = 4096;

/// Everything known about one resource: one entry per target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceState {
    version: u32,
    /// The service.
    pub service: ServiceName,
    /// The resource.
    pub rid: Rid,
    targets: Vec<TargetState>,
}

/// The last that was recorded about one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetState {
    /// Which target, and who recorded it.
    #[serde(flatten)]
    pub of: TargetOf,
    /// Order of the records about this resource.
    pub sequence: u64,
    /// The last success, also if trouble came later.
    pub synced: Option<Synced>,
    /// Set if the last run failed for this target.
    pub trouble: Option<Trouble>,
}

/// A target, seen from its sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetOf {
    /// The node that keeps the copy (the sender itself for a local target).
    pub node: NodeName,
    /// Its group.
    pub kind: TargetKind,
    /// The node that sent.
    pub sender: NodeName,
}

/// A successful run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synced {
    /// The dataset on the target.
    pub dst: DatasetName,
    /// Guid of the root dataset's snapshot: the identity of this state.
    #[serde(with = "guid_text")]
    pub guid: Guid,
    /// The snapshot of every dataset of the tree, the root among them.
    pub datasets: Vec<DatasetSnapshot>,
    /// When the snapshot was taken, by the sender's clock: the age of the data.
    pub created: UtcSeconds,
    /// When the target had committed it, by the sender's clock.
    pub received: UtcSeconds,
    /// Full or incremental.
    pub mode: Mode,
    /// Bytes that went over the wire.
    pub wire_bytes: u64,
    /// Bytes of the streams, before compression on the way.
    pub stream_bytes: u64,
    /// How long the run took for this target, in milliseconds.
    pub duration_ms: u64,
}

/// One dataset of a synced tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetSnapshot {
    /// The dataset, as it is called on the target.
    pub dataset: DatasetName,
    /// Guid of its snapshot.
    #[serde(with = "guid_text")]
    pub guid: Guid,
}

/// How a run transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Everything.
    Full,
    /// The difference to the base.
    Incremental,
}

/// Why the last run failed for a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What kind of trouble.
    pub kind: TroubleKind,
    /// For people: what happened, and what to do.
    pub message: String,
    /// When it was first seen.
    pub since: UtcSeconds,
}

/// Kinds of [`Trouble`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// The two sides share no base: a full synchronization is needed.
    BrokenChain,
    /// The target has data or snapshots that the source does not know.
    Diverged,
    /// Anything else; the next run tries again.
    Failed,
}

/// What a merge did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merge {
    /// Targets whose entry came from the other state.
    pub taken: Vec<NodeName>,
    /// Targets whose entry stayed, because the other's was older.
    pub kept: Vec<NodeName>,
}

/// Why a text is no state of the resource it should be about.
#[derive(Debug, thiserror::Error)]
pub enum StateFault {
    /// Nothing in it.
    #[error("it is empty")]
    Empty,
    /// More than [`STATE_BYTES_MAX`].
    #[error("it is larger than {STATE_BYTES_MAX} bytes")]
    TooLarge,
    /// No JSON, cut off, or not what a state consists of.
    #[error("it is cut off or damaged")]
    Damaged(#[source] serde_json::Error),
    /// Written by a newer program.
    #[error("it has version {found}, and this program knows version {STATE_VERSION}")]
    Version {
        /// The version in the file.
        found: u64,
    },
    /// About something else.
    #[error("it is about {service} {rid}")]
    OtherResource {
        /// The service in the file.
        service: ServiceName,
        /// The resource in the file.
        rid: Rid,
    },
    /// Two entries for one target.
    #[error("it has two entries for node {0}")]
    DuplicateTarget(NodeName),
    /// A number that no run produces.
    #[error("its {0} is larger than 2^53")]
    NumberTooLarge(&'static str),
}

impl ResourceState {
    /// A state without any entry.
    #[must_use]
    pub fn new(service: ServiceName, rid: Rid) -> Self {
        Self {
            version: STATE_VERSION,
            service,
            rid,
            targets: Vec::new(),
        }
    }

    /// The entries, ordered by node.
    #[must_use]
    pub fn targets(&self) -> &[TargetState] {
        &self.targets
    }

    /// The entry of one target.
    #[must_use]
    pub fn target(&self, node: &NodeName) -> Option<&TargetState> {
        self.targets.iter().find(|target| target.of.node == *node)
    }

    /// The entry that was recorded last: its sender is the node that sends.
    #[must_use]
    pub fn newest(&self) -> Option<&TargetState> {
        self.targets.iter().max_by_key(|target| target.order())
    }

    /// Records a success; an earlier trouble of this target is over.
    pub fn record_synced(&mut self, of: TargetOf, synced: Synced) {
        self.record(TargetState {
            of,
            sequence: self.next_sequence(),
            synced: Some(synced),
            trouble: None,
        });
    }

    /// Records that a run failed for a target; its last success stays. Trouble
    /// of the same kind as before keeps the time it was first seen. A message
    /// longer than [`MESSAGE_BYTES_MAX`] is cut.
    pub fn record_trouble(&mut self, of: TargetOf, mut trouble: Trouble) {
        let before = self.target(&of.node);
        if let Some(known) = before.and_then(|target| target.trouble.as_ref())
            && known.kind == trouble.kind
        {
            trouble.since = trouble.since.min(known.since);
        }
        if trouble.message.len() > MESSAGE_BYTES_MAX {
            let end = (0..=MESSAGE_BYTES_MAX)
                .rev()
                .find(|&end| trouble.message.is_char_boundary(end));
            trouble.message.truncate(end.unwrap_or(0));
        }
        let synced = before.and_then(|target| target.synced.clone());
        self.record(TargetState {
            of,
            sequence: self.next_sequence(),
            synced,
            trouble: Some(trouble),
        });
    }

    /// Takes every entry of `other` that is newer than ours.
    ///
    /// # Errors
    /// [`StateFault::OtherResource`].
    pub fn merge(&mut self, other: &Self) -> Result<Merge, StateFault> {
        if (&self.service, &self.rid) != (&other.service, &other.rid) {
            return Err(StateFault::OtherResource {
                service: other.service.clone(),
                rid: other.rid.clone(),
            });
        }
        let mut merge = Merge::default();
        for theirs in &other.targets {
            let ours = self.target(&theirs.of.node);
            if ours.is_none_or(|ours| ours.order() < theirs.order()) {
                merge.taken.push(theirs.of.node.clone());
                self.record(theirs.clone());
            } else if ours.is_some_and(|ours| ours.order() > theirs.order()) {
                merge.kept.push(theirs.of.node.clone());
            }
        }
        Ok(merge)
    }

    /// What a peer tells of this resource; checked in full.
    ///
    /// # Errors
    /// [`StateFault`]; [`StateFault::OtherResource`] if the peer answers for
    /// another service or resource.
    pub fn of_peer(text: &[u8], service: &ServiceName, rid: &Rid) -> Result<Self, StateFault> {
        let state = Self::from_json(text)?;
        if (&state.service, &state.rid) == (service, rid) {
            return Ok(state);
        }
        Err(StateFault::OtherResource {
            service: state.service,
            rid: state.rid,
        })
    }

    /// The text that is written and delivered to peers.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self)
            .expect("a state has string keys only and its types always serialize");
        text.push(b'\n');
        text
    }

    /// Reads a state, from a file or from a peer, checking all of it.
    ///
    /// # Errors
    /// [`StateFault`], but never [`StateFault::OtherResource`]: compare
    /// `service` and `rid`, or use [`ResourceState::merge`].
    pub fn from_json(text: &[u8]) -> Result<Self, StateFault> {
        /// The one field that every version has.
        #[derive(Deserialize)]
        struct Versioned {
            version: u64,
        }
        if text.len() > STATE_BYTES_MAX {
            return Err(StateFault::TooLarge);
        }
        if text.trim_ascii().is_empty() {
            return Err(StateFault::Empty);
        }
        let Versioned { version } = serde_json::from_slice(text).map_err(StateFault::Damaged)?;
        if version != u64::from(STATE_VERSION) {
            return Err(StateFault::Version { found: version });
        }
        let mut state: Self = serde_json::from_slice(text).map_err(StateFault::Damaged)?;
        state.check()?;
        state.targets.sort_by(|a, b| a.of.node.cmp(&b.of.node));
        Ok(state)
    }

    fn check(&self) -> Result<(), StateFault> {
        let mut nodes = BTreeSet::new();
        for target in &self.targets {
            if !nodes.insert(&target.of.node) {
                return Err(StateFault::DuplicateTarget(target.of.node.clone()));
            }
            for (name, number) in target.numbers() {
                if number > NUMBER_MAX {
                    return Err(StateFault::NumberTooLarge(name));
                }
            }
        }
        Ok(())
    }

    /// One more than everything recorded so far.
    fn next_sequence(&self) -> u64 {
        let last = self.targets.iter().map(|target| target.sequence).max();
        // At the limit, which no sequence of real runs reaches, the time of
        // the snapshot decides.
        last.map_or(1, |last| NUMBER_MAX.min(last + 1))
    }

    fn record(&mut self, entry: TargetState) {
        let place = self
            .targets
            .binary_search_by(|target| target.of.node.cmp(&entry.of.node));
        match place {
            Ok(at) => self.targets[at] = entry,
            Err(at) => self.targets.insert(at, entry),
        }
    }
}

impl TargetState {
    /// What orders two records about one target.
    fn order(&self) -> (u64, Option<UtcSeconds>, Option<UtcSeconds>) {
        let synced = self.synced.as_ref();
        (
            self.sequence,
            synced.map(|synced| synced.created),
            synced.map(|synced| synced.received),
        )
    }

    fn numbers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let synced = self.synced.iter().flat_map(|synced| {
            [
                ("created", synced.created.0),
                ("received", synced.received.0),
                ("wire_bytes", synced.wire_bytes),
                ("stream_bytes", synced.stream_bytes),
                ("duration_ms", synced.duration_ms),
            ]
        });
        let since = self
            .trouble
            .iter()
            .map(|trouble| ("since", trouble.since.0));
        std::iter::once(("sequence", self.sequence))
            .chain(synced)
            .chain(since)
    }
}

impl Synced {
    /// Bytes of the streams per second; `None` for a run without duration.
    #[must_use]
    pub fn bytes_per_second(&self) -> Option<u64> {
        let bytes = u128::from(self.stream_bytes) * 1000;
        let speed = bytes.checked_div(u128::from(self.duration_ms))?;
        Some(u64::try_from(speed).unwrap_or(u64::MAX))
    }
}

/// Guids as decimal strings.
mod guid_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::name::Guid;

    pub(super) fn serialize<S: Serializer>(guid: &Guid, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(guid)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Guid, D::Error> {
        let text = String::deserialize(from)?;
        text.parse()
            .map(Guid)
            .map_err(|_| D::Error::custom("a guid is not a decimal number of 64 bits"))
    }
}
