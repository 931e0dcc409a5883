//! What travels and how: the requests of send and receive, and what a cut one
//! leaves behind.

use serde::{Deserialize, Serialize};

use super::{DatasetKind, Property, ZfsErrorKind};
use crate::name::{Guid, ShortName, SnapshotName};

/// What an incremental stream starts from, on the sending side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// A snapshot of the same dataset (or the origin of a clone).
    Snapshot(SnapshotName),
    /// A bookmark of the same dataset, by its short name.
    Bookmark(ShortName),
}

/// How blocks are put into a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SendMode {
    /// Blocks as they are compressed on disk, large blocks whole
    /// (`zfs send -Lc`). Always the same set: changing `-L` between two streams
    /// of one chain has lost data in the past. Tiny blocks are not embedded
    /// (`-e`): a target that encrypts refuses such a stream as a whole
    /// (`dmu_recv_begin_check`).
    Plain,
    /// Encrypted blocks as they are on disk (`zfs send -w`): the target needs
    /// no key and cannot read them.
    Raw,
}

/// Form of the blocks in a stream, beside its [`SendMode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockForm {
    /// Tiny blocks are embedded (`-e`).
    pub embed_data: bool,
    /// Large blocks are whole (`-L`).
    pub large_block: bool,
    /// Blocks are as they are compressed on disk (`-c`).
    pub compress: bool,
}

impl BlockForm {
    /// What the engine asks for: see [`SendMode::Plain`].
    pub const USUAL: Self = Self {
        embed_data: false,
        large_block: true,
        compress: true,
    };
}

/// Where a cut stream goes on, and the form its first part had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumePoint {
    /// Object number.
    pub object: u64,
    /// Offset in that object, bytes.
    pub offset_bytes: u64,
    /// The rest has to have the same form.
    pub form: BlockForm,
}

/// One stream to produce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendRequest {
    /// What is sent.
    pub snapshot: SnapshotName,
    /// Where the stream starts; `None` for a full stream.
    pub base: Option<Base>,
    /// Block form.
    pub mode: SendMode,
    /// Set to go on with a stream that was cut. Snapshot, base and mode have to
    /// be those of that stream: the caller compares guids.
    #[serde(default)]
    pub resume: Option<ResumePoint>,
}

impl SendRequest {
    /// The form of the blocks.
    #[must_use]
    pub fn form(&self) -> BlockForm {
        self.resume.map_or(BlockForm::USUAL, |point| point.form)
    }
}

/// What a new dataset gets besides the received properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Landing {
    /// The dataset is created by this receive: `canmount=noauto` for a file
    /// system, so that it never mounts over something of the target machine.
    Create,
    /// The dataset exists and keeps its local properties.
    Existing,
}

/// What becomes of the data of a stream that does not reach its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnCut {
    /// It is dropped, and a new dataset with it.
    #[default]
    Discard,
    /// It stays, as [`super::Dataset::partial`] of the dataset, for a stream
    /// that goes on from there; that stream must ask for `Keep` too. Until it
    /// is complete nothing else can be received there, the base cannot be
    /// destroyed, and a new dataset is visible without a snapshot.
    Keep,
}

/// One stream to take in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiveRequest {
    /// The snapshot that exists afterwards.
    pub snapshot: SnapshotName,
    /// Whether the dataset comes into being.
    pub landing: Landing,
    /// What kind of dataset arrives (local properties depend on it).
    pub kind: DatasetKind,
    /// Properties to store as received values.
    pub properties: Vec<Property>,
    /// For an incremental stream that creates a dataset: the base, by its name
    /// here. The dataset becomes a clone of it.
    #[serde(default)]
    pub origin: Option<SnapshotName>,
    /// What stays if the stream is cut.
    #[serde(default)]
    pub on_cut: OnCut,
}

/// A property that the receiving side did not take. The data was received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PropertyRefusal {
    /// Which property.
    pub name: String,
    /// Why.
    pub kind: ZfsErrorKind,
}

/// What a cut receive left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialReceive {
    /// The resume token, as `zfs send -t` takes it.
    pub token: String,
    /// What it says; `None` if it cannot be read, or is of a stream that the
    /// engine does not produce (redacted, or sent from partial state itself).
    pub content: Option<PartialContent>,
}

/// What a resume token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialContent {
    /// The snapshot that was being received.
    pub to_guid: Guid,
    /// Its name where it was sent from, when the stream began: to be shown, and
    /// weighed beside guids, never to be followed. `None` if that is no name.
    #[serde(default)]
    pub to_name: Option<SnapshotName>,
    /// The base of its stream; `None` for a full one.
    pub from_guid: Option<Guid>,
    /// Block form.
    pub mode: SendMode,
    /// Where the rest of the stream begins.
    pub resume: ResumePoint,
    /// Bytes of the stream that have arrived.
    pub received_bytes: u64,
}
