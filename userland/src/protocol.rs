//! What client and worker say to each other.
//!
//! One control socket per worker. The client opens every call by passing one
//! end of a fresh socket pair over it; on that pair travels one [`Call`], with
//! at most one descriptor, and [`Taken`] and one [`Outcome`] back. So calls run side by side
//! and none can be mistaken for another. Messages are JSON behind a length;
//! both ends come from the same build, so there is no version to negotiate
//! beyond [`PROTOCOL`].
//!
//! Names are text here: the worker has ZFS check them, as the ioctl layer does
//! in a kernel.

use serde::{Deserialize, Serialize};

/// Number of this protocol; a worker of another build is refused by it.
pub const PROTOCOL: u32 = 1;
/// Longest message in bytes: a tree with some hundred thousand snapshots.
pub const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// A value of a property as the DSL stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PropertyValue {
    /// Number and index properties (`readonly=on` is 1).
    Number(u64),
    /// Text properties and all user properties.
    Text(String),
}

/// A property and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Property {
    /// Its name, as zfsprops(7) spells it.
    pub name: String,
    /// Its value.
    pub value: PropertyValue,
}

/// What kind of dataset it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A file system (`DMU_OST_ZFS`).
    Filesystem,
    /// A volume (`DMU_OST_ZVOL`).
    Volume,
}

/// A snapshot, or the snapshot that a bookmark remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// The part of its name after `@` or `#`.
    pub short: String,
    /// The guid of the snapshot.
    pub guid: u64,
    /// The createtxg of the snapshot.
    pub createtxg: u64,
    /// When it was taken: seconds since 1970, UTC.
    pub creation_seconds: u64,
    /// Of a snapshot: bytes written between the one before and this one.
    pub written_bytes: u64,
    /// Of a snapshot: number of holds.
    pub holds: u64,
    /// Of a snapshot: number of clones.
    pub clones: u64,
    /// Identity of the encrypted blocks (`ivsetguid`); 0 if there are none.
    #[serde(default)]
    pub ivset: u64,
}

/// Encryption of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// The dataset whose key unlocks this one.
    pub root: String,
    /// True if the key is loaded.
    pub key_loaded: bool,
}

/// One dataset of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// Its full name.
    pub name: String,
    /// File system or volume.
    pub kind: Kind,
    /// Identity of the head.
    pub guid: u64,
    /// Bytes written since the newest snapshot.
    pub written_bytes: u64,
    /// Logical size of a volume in bytes; 0 for a file system.
    pub volume_bytes: u64,
    /// Name of the snapshot it was cloned from.
    pub origin: Option<String>,
    /// Set if it is encrypted.
    pub encryption: Option<Encryption>,
    /// Token of a partial receive into it, in the form `zfs send -t` takes.
    pub resume_token: Option<String>,
    /// Properties set on the dataset itself, locally or received, that may be
    /// set elsewhere too (neither read-only nor set-once), by name.
    pub properties: Vec<Property>,
    /// Oldest first (by createtxg), without hidden ones (`%recv`).
    pub snapshots: Vec<Point>,
    /// Oldest first (by createtxg).
    pub bookmarks: Vec<Point>,
}

/// Whether descendants are meant too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The dataset alone.
    One,
    /// The dataset and all its descendants.
    Recursive,
}

/// What an incremental stream starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// A snapshot, by full name: of the same dataset, or a clone's origin.
    Snapshot(String),
    /// A bookmark, by full name (`fs#mark`).
    Bookmark(String),
}

/// Where a resumed stream goes on, as a resume token has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumePoint {
    /// Object number.
    pub object: u64,
    /// Offset in the object, bytes.
    pub offset: u64,
}

/// Which blocks are put into a stream, and in which form; the same flags as
/// `lzc_send`'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendFlags {
    /// `LZC_SEND_FLAG_EMBED_DATA`.
    pub embed_data: bool,
    /// `LZC_SEND_FLAG_LARGE_BLOCK`.
    pub large_block: bool,
    /// `LZC_SEND_FLAG_COMPRESS`.
    pub compress: bool,
    /// `LZC_SEND_FLAG_RAW`.
    pub raw: bool,
}

/// One stream to produce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendRequest {
    /// What is sent, by full name.
    pub snapshot: String,
    /// Where it starts; `None` for a full stream.
    pub base: Option<Base>,
    /// Form of the blocks.
    pub flags: SendFlags,
    /// Set to go on with a stream that was cut.
    pub resume: Option<ResumePoint>,
}

/// What the worker is asked. A call that carries a descriptor says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// The dataset and perhaps what is below it, parents before children.
    /// Answer: [`Answer::Tree`], `None` if `root` does not exist.
    Tree {
        /// Where to begin.
        root: String,
        /// How deep.
        scope: Scope,
    },
    /// Creates an empty file system whose parent exists, one that a kernel can
    /// mount. Answer: `Done`.
    CreateFilesystem {
        /// Its name.
        name: String,
        /// Local properties.
        properties: Vec<Property>,
    },
    /// Creates an empty volume whose parent exists. Answer: `Done`.
    CreateVolume {
        /// Its name.
        name: String,
        /// Size in bytes; a multiple of the block size.
        bytes: u64,
        /// Block size in bytes.
        block_bytes: u64,
        /// Local properties.
        properties: Vec<Property>,
    },
    /// Destroys a dataset without snapshots and children, or the partial state
    /// `fs/%recv` of a receive. Answer: `Done`.
    DestroyDataset {
        /// Which.
        name: String,
    },
    /// Renames a dataset. Answer: `Done`.
    RenameDataset {
        /// Its name.
        from: String,
        /// Its new name, in the same pool.
        to: String,
    },
    /// Clones a snapshot. Answer: `Done`.
    Clone {
        /// The snapshot.
        origin: String,
        /// The new dataset.
        name: String,
    },
    /// Sets local properties. Answer: `Done`.
    SetProperties {
        /// Which dataset.
        dataset: String,
        /// What to set.
        properties: Vec<Property>,
    },
    /// Takes snapshots in one transaction group, all or none. Answer: `Done`.
    Snapshot {
        /// Full names.
        names: Vec<String>,
    },
    /// Destroys snapshots, all or none; missing ones are no error. `Done`.
    DestroySnapshots {
        /// Full names.
        names: Vec<String>,
    },
    /// Renames a snapshot, in descendants that have it too. Answer: `Done`.
    RenameSnapshot {
        /// The topmost dataset.
        dataset: String,
        /// Short name.
        from: String,
        /// New short name.
        to: String,
        /// Whether descendants follow.
        scope: Scope,
    },
    /// Makes bookmarks, all or none. Answer: `Done`.
    Bookmark {
        /// Pairs: snapshot (or bookmark) and new bookmark, by full names.
        marks: Vec<(String, String)>,
    },
    /// Destroys bookmarks; missing ones are no error. Answer: `Done`.
    DestroyBookmarks {
        /// Full names.
        names: Vec<String>,
    },
    /// Holds snapshots. A `temporary` hold ends with the worker, at the latest
    /// when the pool is imported next. Answer: `Done`.
    Hold {
        /// Full names.
        names: Vec<String>,
        /// The tag.
        tag: String,
        /// Whether it ends with the worker.
        temporary: bool,
    },
    /// Releases holds; missing ones are no error. Answer: `Done`.
    Release {
        /// Full names.
        names: Vec<String>,
        /// The tag.
        tag: String,
    },
    /// The holds of one snapshot. Answer: [`Answer::Holds`].
    Holds {
        /// Full name.
        snapshot: String,
    },
    /// Rolls a dataset back to its newest snapshot. Answer: `Done`.
    Rollback {
        /// Which dataset.
        dataset: String,
        /// The snapshot that is expected to be the newest, by full name.
        to: String,
    },
    /// Estimated size of a stream. Answer: [`Answer::Bytes`].
    SendSize(SendRequest),
    /// Writes a stream into the descriptor that comes with it, the write end
    /// of a pipe. Answer: `Done`. Closing the read end ends it with `EINTR`.
    Send(SendRequest),
    /// Receives a stream from the descriptor that comes with it, the read end
    /// of a pipe, without its first record. Never forced. Answer:
    /// [`Answer::Received`].
    Receive(ReceiveRequest),
    /// Decodes a resume token. Answer: [`Answer::Token`].
    ReadToken {
        /// As `receive_resume_token` shows it.
        token: String,
    },
    /// Overwrites a volume with what the descriptor gives, up to its end. Blocks
    /// that hold the same already are left alone. Answer: [`Answer::Bytes`];
    /// more than fits is `ENOSPC` before the surplus is written.
    WriteVolume {
        /// Which.
        name: String,
        /// Where to begin, bytes; a multiple of the block size.
        offset: u64,
    },
    /// Writes the content of a volume, or of a snapshot of one, into the
    /// descriptor. Answer: [`Answer::Bytes`].
    ReadVolume {
        /// `pool/volume` or `pool/volume@snapshot`.
        name: String,
        /// Where to begin, bytes; from there to the end.
        offset: u64,
    },
    /// Reads every block of the pool and verifies it. Answer:
    /// [`Answer::Checked`].
    Scrub,
    /// Space of the pool. Answer: [`Answer::Space`].
    Space,
    /// Exports the pool and ends the worker. Answer: `Done`, after which the
    /// image is as safe as an exported pool.
    Export,
}

/// One stream to take in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiveRequest {
    /// The snapshot that exists afterwards, by full name.
    pub snapshot: String,
    /// The first record of the stream, 312 bytes.
    pub begin: Vec<u8>,
    /// For a clone: the origin on this side, by full name.
    pub origin: Option<String>,
    /// Keep what arrived if the stream is cut, and go on with such a state.
    pub resumable: bool,
    /// Properties to store as received values.
    pub received: Vec<Property>,
    /// Properties to set locally.
    pub local: Vec<Property>,
}

/// The worker's first word on every call, before its [`Outcome`]: which of its
/// threads carries it out. The client watches that thread's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Its number in the system (`gettid`).
    pub thread: u32,
}

/// What a resume token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Name of the snapshot that was being sent, as the sender called it.
    pub to_name: String,
    /// Its guid.
    pub to_guid: u64,
    /// Guid of the base, if the stream is incremental.
    pub from_guid: Option<u64>,
    /// Where to go on.
    pub resume: ResumePoint,
    /// Bytes received so far.
    pub received_bytes: u64,
    /// Form of the blocks.
    pub flags: SendFlags,
}

/// What a scrub found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Bytes examined.
    pub examined_bytes: u64,
    /// Bytes repaired.
    pub repaired_bytes: u64,
    /// Errors that could not be repaired.
    pub errors: u64,
}

/// A successful answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It was done.
    Done,
    /// A tree.
    Tree(Option<Vec<Dataset>>),
    /// A number of bytes.
    Bytes(u64),
    /// The holds of a snapshot: tag and time (seconds since 1970).
    Holds(Vec<(String, u64)>),
    /// A stream was received; these properties were not taken (name, errno).
    Received(Vec<(String, i32)>),
    /// A resume token.
    Token(Token),
    /// A scrub has ended.
    Checked(Checked),
    /// Space in bytes.
    Space {
        /// Size of the pool.
        total_bytes: u64,
        /// Allocated.
        allocated_bytes: u64,
    },
}

/// A call that failed inside ZFS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The reason, as errno; OpenZFS' own numbers above 1024 included.
    pub errno: i32,
    /// Per-object reasons, where ZFS gave them: name and errno.
    pub items: Vec<(String, i32)>,
    /// More words, or empty.
    pub detail: String,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done.
    Answer(Answer),
    /// Not done.
    Fault(Fault),
}

/// The first message on the control socket, from the client. The locked image
/// file comes with it as a descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// [`PROTOCOL`] of the client.
    pub protocol: u32,
    /// The pool's name.
    pub pool: String,
    /// Absolute path of the image file.
    pub image: String,
    /// What to do with it.
    pub opening: Opening,
}

/// What a worker does with its image first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opening {
    /// Makes a new pool in the file, which has its final size. Whatever the
    /// file held is lost: the client has made sure that it is new.
    Create,
    /// Imports the pool that is there.
    Import,
    /// Imports it after a worker has died of importing it: should the accounts
    /// of destroyed datasets not add up, what is left over is written off. That
    /// is space, never content.
    ImportAndWriteOff,
}

/// The worker's answer to [`Start`]: the pool is there, or why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Started {
    /// Calls may come.
    Ready {
        /// Version of libzpool, as its headers had it at build time.
        version: String,
        /// Guid of the pool.
        pool_guid: u64,
    },
    /// The pool cannot be used.
    Refused(StartFault),
}

/// Why a worker could not open its image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum StartFault {
    /// The worker is of another build.
    #[error("the worker speaks protocol {0}")]
    Protocol(u32),
    /// There is no pool in the file.
    #[error("the file holds no pool")]
    NotAPool,
    /// The pool has another name.
    #[error("the file holds the pool `{0}`")]
    OtherName(String),
    /// The pool uses features that this libzpool does not know.
    #[error("the pool is of a newer OpenZFS than the libzpool here")]
    NewerPool,
    /// The file is too small for a pool, or was cut.
    #[error("the file is too small, or was cut short")]
    TooSmall,
    /// Anything else, as errno.
    #[error("errno {errno} while trying to {step}")]
    Errno {
        /// What was tried.
        step: String,
        /// Why it failed.
        errno: i32,
    },
}
