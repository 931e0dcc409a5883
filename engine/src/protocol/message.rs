//! Requests and replies.
//!
//! JSON, one message a frame, bounded. A request or field that the helper does
//! not know is answered with [`Failure::BadRequest`]; it is never ignored,
//! since an ignored restriction would be a surprise.

use serde::{Deserialize, Serialize};

use super::failure::Failure;
use crate::hold::{Held, HoldTag};
use crate::name::{BookmarkName, DatasetName, Guid, ShortName, SnapshotName};
use crate::protocol::join::Token;
use crate::stream::compress::Compression;
use crate::zfs::{Dataset, NewBookmark, PropertyRefusal, ReceiveRequest, Scope, SendRequest};

/// Most snapshots and bookmarks in one part of a listing: keeps a message well
/// below the bound of a frame (about 150 bytes each).
pub const LISTING_PART_ENTRIES: usize = 20_000;
/// Longest path in a request in bytes, the limit of the systems themselves.
pub const PATH_BYTES_MAX: usize = 4096;
/// Longest resume token in bytes, as ZFS keeps them (`ZAP_MAXVALUELEN`).
pub const TOKEN_BYTES_MAX: usize = 8192;
/// Most names in one request; a recursive snapshot of a very large tree fits.
pub const NAMES_MAX: usize = 50_000;

/// What the driver asks of a helper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// List a dataset or a tree. Answer: [`Reply::Datasets`] parts.
    Tree {
        /// Where to begin.
        root: DatasetName,
        /// How deep.
        scope: Scope,
    },
    /// Create missing ancestors. Answer: [`Reply::Created`].
    CreateAncestors {
        /// The dataset whose ancestors are needed.
        dataset: DatasetName,
    },
    /// Take snapshots in one transaction. Answer: [`Reply::Done`].
    Snapshot {
        /// All of them.
        names: Vec<SnapshotName>,
    },
    /// Destroy snapshots, all or none. Each is destroyed only if it still has
    /// the given guid. Answer: [`Reply::Done`].
    DestroySnapshots {
        /// Which, and who they have to be.
        snapshots: Vec<(SnapshotName, Guid)>,
    },
    /// Rename a snapshot. Answer: [`Reply::Done`].
    RenameSnapshot {
        /// The snapshot (of the topmost dataset).
        from: SnapshotName,
        /// Its new short name.
        to: ShortName,
        /// Whether descendants follow.
        scope: Scope,
    },
    /// Discard what was written to a dataset after its newest snapshot, which
    /// has to be this one, by name and guid. Answer: [`Reply::Done`].
    Rollback {
        /// What it is rolled back to.
        to: SnapshotName,
        /// Who that has to be.
        guid: Guid,
    },
    /// Rename a dataset with everything below it, if it still has this guid.
    /// Answer: [`Reply::Done`].
    RenameDataset {
        /// The dataset.
        from: DatasetName,
        /// Who it has to be.
        guid: Guid,
        /// Its new name.
        to: DatasetName,
    },
    /// Name the old copies of a dataset ([`crate::copies`]). Answer:
    /// [`Reply::Created`], with their names.
    OldCopies {
        /// What they are copies of.
        of: DatasetName,
    },
    /// Destroy a copy of a dataset ([`crate::copies`]) with everything in it:
    /// an old one, or a new one that holds nothing but these snapshots.
    /// Answer: [`Reply::Done`].
    DestroyCopy {
        /// What it is a copy of.
        of: DatasetName,
        /// The copy.
        copy: DatasetName,
        /// The only snapshots that a new copy may have.
        ours: Vec<ShortName>,
    },
    /// Give up what a cut receive left in a dataset, if it still is what this
    /// token says. Answer: [`Reply::Done`].
    DiscardPartial {
        /// The dataset.
        dataset: DatasetName,
        /// The resume token that was listed.
        token: String,
    },
    /// Bytes that can still be written. Answer: [`Reply::Size`].
    Available {
        /// Where: the deepest of its ancestors that exists counts.
        dataset: DatasetName,
    },
    /// Make bookmarks in one transaction. Answer: [`Reply::Done`].
    Bookmark {
        /// All of them.
        marks: Vec<NewBookmark>,
    },
    /// Destroy bookmarks. Answer: [`Reply::Done`].
    DestroyBookmarks {
        /// Which.
        names: Vec<BookmarkName>,
    },
    /// Hold snapshots until [`Request::Release`] or the end of the session.
    /// Answer: [`Reply::Done`].
    Hold {
        /// Which.
        names: Vec<SnapshotName>,
    },
    /// Hold snapshots of these datasets, by guid, until [`Request::Release`] or
    /// the end of the session: what streams go onto. Answer: [`Reply::Done`].
    HoldBases {
        /// Dataset and guid of each.
        bases: Vec<(DatasetName, Guid)>,
    },
    /// Release everything this session holds. Answer: [`Reply::Done`].
    Release,
    /// Say who holds snapshots. Answer: [`Reply::Holds`] parts.
    Holds {
        /// The dataset.
        root: DatasetName,
        /// Whether its descendants are meant too.
        scope: Scope,
    },
    /// Hold snapshots until [`Request::ReleaseKept`], through the end of the
    /// session and of the machine; those that have the tag already stay as they
    /// are. Each has to have the given guid. Answer: [`Reply::Done`].
    HoldKept {
        /// Which, and who they have to be.
        snapshots: Vec<(SnapshotName, Guid)>,
        /// The tag.
        tag: HoldTag,
    },
    /// Release a hold on snapshots that still have the given guids; those that
    /// are gone or not held are no error. Answer: [`Reply::Done`].
    ReleaseKept {
        /// Which, and who they have to be.
        snapshots: Vec<(SnapshotName, Guid)>,
        /// The tag.
        tag: HoldTag,
    },
    /// Say which dataset is mounted at a path. Answer: [`Reply::Mounted`].
    MountedAt {
        /// An absolute path of the helper's machine.
        path: String,
    },
    /// Estimate a stream. Answer: [`Reply::Size`].
    SendSize {
        /// The stream.
        request: SendRequest,
    },
    /// Produce a stream. Answer: data frames and an end or abort frame.
    Send {
        /// The stream.
        request: SendRequest,
        /// Number of the transfer.
        transfer: u64,
        /// How to code it.
        compression: Compression,
        /// How many workers are to hash and compress; `None`: as many as the helper
        /// thinks fit. It takes no more than it has. Only helpers that say in
        /// their hello that they know of workers may be told of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workers: Option<usize>,
    },
    /// Stop the running send; the helper answers with its abort frame (or the
    /// end frame that was already on the way), and nothing else.
    Cancel,
    /// Take a stream in. Answer: [`Reply::Ready`]; then the driver sends data
    /// frames and an end or abort frame, and the helper answers
    /// [`Reply::Received`] or a failure, at any moment.
    Receive {
        /// What arrives where.
        request: ReceiveRequest,
        /// Number of the transfer.
        transfer: u64,
        /// The snapshot that has to arrive.
        to_guid: Guid,
        /// The snapshot the stream has to start from.
        from_guid: Option<Guid>,
        /// How many workers are to verify and unpack; `None`: as many as the helper
        /// thinks fit. It takes no more than it has. Only helpers that say in
        /// their hello that they know of workers may be told of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workers: Option<usize>,
    },
    /// Wait for more sessions of this driver. Answer: [`Reply::Sessions`], or
    /// [`Failure::NoSessions`].
    OfferSessions,
    /// Take these sessions into the conversation once they have joined. Answer:
    /// [`Reply::Done`], or [`Failure::NoSessions`]. After `Done` the helper's
    /// bytes are spread over all sessions, and the driver's are after
    /// [`Request::Widened`], which is what it says next.
    Widen {
        /// How many, besides the first.
        count: usize,
        /// The helper is to leave those unused without which it says as much. Only
        /// helpers that say in their hello that they can may be told to.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        sparing: bool,
    },
    /// From here on the driver's bytes are spread over all sessions. No answer.
    Widened,
    /// Keep other drivers from this destination until the session ends.
    /// Answer: [`Reply::Done`], or [`Failure::Claimed`].
    Claim {
        /// The destination.
        dataset: DatasetName,
        /// Whether everything below it is meant too.
        scope: Scope,
        /// What for, for whoever comes second: "sync of web sync#1".
        purpose: String,
    },
    /// Store the state of a resource. Answer: [`Reply::Done`].
    PutState {
        /// The service.
        service: String,
        /// The resource.
        rid: String,
        /// The dataset on this side that the state is about; it has to be
        /// allowed.
        dataset: DatasetName,
        /// The state file's content.
        state: String,
    },
    /// Give the state of a resource. Answer: [`Reply::State`].
    GetState {
        /// The service.
        service: String,
        /// The resource.
        rid: String,
    },
}

/// What a helper answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// A part of a listing, in order.
    Datasets {
        /// Datasets; one that has very many snapshots comes in several parts,
        /// each with the next of them.
        part: Vec<Dataset>,
        /// True if more parts follow.
        more: bool,
        /// False if the root does not exist.
        exists: bool,
    },
    /// The ancestors that were created, or the copies that there are.
    Created {
        /// Topmost first.
        datasets: Vec<DatasetName>,
    },
    /// Estimated stream size.
    Size {
        /// In bytes.
        bytes: u64,
    },
    /// What is mounted at a path.
    Mounted {
        /// The dataset, if it is one.
        dataset: Option<DatasetName>,
    },
    /// It was done.
    Done,
    /// A part of the holds, in the order of datasets and snapshots.
    Holds {
        /// Who holds what.
        part: Vec<Held>,
        /// True if more parts follow.
        more: bool,
    },
    /// A state.
    State {
        /// The state file's content, if there is one.
        state: Option<String>,
    },
    /// More sessions may join.
    Sessions {
        /// What they have to know.
        token: Token,
        /// Bytes that one of them carries in a round trip, as far as is known.
        window_bytes: u64,
    },
    /// The helper is ready for data frames.
    Ready,
    /// ZFS has received the stream: the snapshot exists.
    Received {
        /// Bytes of the stream.
        raw_bytes: u64,
        /// Properties that were not taken.
        refused: Vec<PropertyRefusal>,
    },
    /// It was not done.
    Failed(Failure),
}

impl Reply {
    /// The same reply, safe to show: what a helper says in words may hold
    /// anything, also sequences that a terminal would obey.
    #[must_use]
    pub fn made_printable(self) -> Self {
        match self {
            Self::Failed(failure) => Self::Failed(failure.made_printable()),
            Self::Received { .. } | Self::Holds { .. } => printable(self),
            other => other,
        }
    }
}

/// Escapes control characters in every text of a message.
pub(super) fn printable<T: Serialize + serde::de::DeserializeOwned>(message: T) -> T {
    fn escape(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) if text.contains(char::is_control) => {
                let shown = |c: char| match c.is_control() {
                    true => c.escape_default().to_string(),
                    false => c.to_string(),
                };
                *text = text.chars().map(shown).collect();
            }
            serde_json::Value::Array(values) => values.iter_mut().for_each(escape),
            serde_json::Value::Object(fields) => fields.values_mut().for_each(escape),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(&message).expect("messages are plain data");
    escape(&mut value);
    // Only free texts can hold control characters: names were checked.
    serde_json::from_value(value).unwrap_or(message)
}

#[cfg(test)]
mod tests;
