//! What the engine asks of ZFS: the trait [`Zfs`] and the plain data it speaks.
//!
//! Backends carry it out: `kernel` through libzfs and libzfs_core, `userland`
//! in files, without a kernel module; `Pools` has both, and `conformance` says
//! what they have to have in common. Only the helper calls a backend; planner and driver see the data types alone. All
//! calls block; whoever calls them is on a thread that may wait.
//!
//! Nothing here is forced. There is no way through this trait to receive over
//! data that the caller did not look at: a receive that would destroy
//! something fails and the caller decides.

use std::os::fd::OwnedFd;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::hold::HoldTag;
use crate::name::{BookmarkName, CreateTxg, DatasetName, Guid, Ivset, ShortName, SnapshotName};
use crate::stream::record::BeginRecord;

mod absent;
mod by_name;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
pub mod kernel;
mod left;
#[cfg(any(test, feature = "model"))]
pub mod model;
mod mounted;
mod pools;
mod transfer;
pub mod userland;

pub use absent::Absent;
pub(crate) use by_name::ByName;
pub use error::{ItemError, ZfsError, ZfsErrorKind};
pub use pools::Pools;
pub use transfer::{
    Base, BlockForm, Landing, OnCut, PartialContent, PartialReceive, PropertyRefusal,
    ReceiveRequest, ResumePoint, SendMode, SendRequest,
};

/// One dataset, or it and everything below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The dataset alone.
    One,
    /// The dataset and all its descendants.
    Recursive,
}

/// What kind of dataset it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatasetKind {
    /// A file system.
    Filesystem,
    /// A volume (block device).
    Volume,
}

/// A snapshot as its dataset lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The part of its name after `@`.
    pub short: ShortName,
    /// Its identity.
    pub guid: Guid,
    /// Its place in the order of this pool.
    pub createtxg: CreateTxg,
    /// When it was taken: seconds since 1970, UTC, by the clock of the machine
    /// that took it. Preserved by send and receive.
    pub creation_seconds: u64,
    /// Bytes written between the snapshot before and this one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub written_bytes: u64,
    /// Number of holds: a snapshot with any cannot be destroyed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub holds: u64,
    /// Number of clones: a snapshot with any cannot be destroyed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub clones: u64,
    /// Identity of its encrypted blocks; `None` without encryption, and for a
    /// snapshot that is older than that property (ZFS 0.8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ivset: Option<Ivset>,
}

/// Most snapshots have nothing to tell there, and listings are long.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A bookmark: the identity of a snapshot that may be gone, usable as a base
/// on the sending side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bookmark {
    /// The part of its name after `#`.
    pub short: ShortName,
    /// The guid of the snapshot it was made from.
    pub guid: Guid,
    /// The createtxg of that snapshot.
    pub createtxg: CreateTxg,
    /// The ivset guid of that snapshot; `None` also in a pool without the
    /// feature `bookmark_v2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ivset: Option<Ivset>,
}

/// A bookmark that is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewBookmark {
    /// The snapshot it stands for.
    pub of: SnapshotName,
    /// Its short name; it belongs to the same dataset.
    pub short: ShortName,
}

/// Value of a property in the form that receive takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PropertyValue {
    /// Number and index properties (`readonly=on` is 1).
    Number(u64),
    /// Text properties and all user properties.
    Text(String),
}

/// A property that was set on the dataset itself, locally or by a receive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Property {
    /// Its name, as zfsprops(7) spells it.
    pub name: String,
    /// Its value.
    pub value: PropertyValue,
}

/// Encryption of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// The dataset whose key unlocks this one.
    pub root: DatasetName,
    /// True if the key is loaded.
    pub key_loaded: bool,
}

/// Everything the planner wants to know about one dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// Where it is.
    pub name: DatasetName,
    /// File system or volume.
    pub kind: DatasetKind,
    /// Identity of the head. Unlike a snapshot's it is not preserved by send
    /// and receive: equal guids mean the very same dataset.
    pub guid: Guid,
    /// Bytes written since the newest snapshot (property `written`).
    pub written_bytes: u64,
    /// The snapshot it was cloned from, if any.
    pub origin: Option<SnapshotName>,
    /// Set if the dataset is encrypted.
    pub encryption: Option<Encryption>,
    /// What a receive that was cut left here, to be resumed.
    pub partial: Option<PartialReceive>,
    /// Properties set here (not inherited, not read-only), by name.
    pub properties: Vec<Property>,
    /// Snapshots, oldest first (by createtxg).
    pub snapshots: Vec<Snapshot>,
    /// Bookmarks, oldest first (by createtxg).
    pub bookmarks: Vec<Bookmark>,
}

impl Dataset {
    /// The snapshot with this guid.
    #[must_use]
    pub fn snapshot_by_guid(&self, guid: Guid) -> Option<&Snapshot> {
        self.snapshots.iter().find(|snapshot| snapshot.guid == guid)
    }

    /// The snapshot with this short name.
    #[must_use]
    pub fn snapshot_by_name(&self, short: &ShortName) -> Option<&Snapshot> {
        self.snapshots
            .iter()
            .find(|snapshot| snapshot.short == *short)
    }
}

/// Keeps snapshots from being destroyed. Dropping it releases them; the kernel
/// does the same if the process dies.
pub trait Hold: Send + Sync {}

/// ZFS, as far as replication needs it.
///
/// Each call is one atomic operation of ZFS unless its text says otherwise: a
/// crash leaves either the state before or the state after.
pub trait Zfs: Send + Sync {
    /// The dataset `root`, first, and with [`Scope::Recursive`] everything
    /// below it, in the order of names (parents before children). `None` if
    /// `root` does not exist. Reads only; not atomic against other processes.
    ///
    /// # Errors
    /// Any [`ZfsErrorKind`] but `NotFound`.
    fn tree(&self, root: &DatasetName, scope: Scope) -> Result<Option<Vec<Dataset>>, ZfsError>;

    /// The guids that snapshots of these names have now, in their order; `None`
    /// for one that does not exist. Reads only; not atomic against other
    /// processes. Unless something better is known, what they are snapshots of is
    /// listed, each dataset once if its snapshots follow one another.
    ///
    /// # Errors
    /// Any [`ZfsErrorKind`] but `NotFound`.
    fn snapshot_guids(&self, names: &[SnapshotName]) -> Result<Vec<Option<Guid>>, ZfsError> {
        let mut guids = Vec::with_capacity(names.len());
        for of_one in names.chunk_by(|one, next| one.dataset == next.dataset) {
            let listed = self.tree(&of_one[0].dataset, Scope::One)?;
            let dataset = listed.as_ref().and_then(|tree| tree.first());
            guids.extend(of_one.iter().map(|name| {
                let found = dataset?.snapshot_by_name(&name.short)?;
                Some(found.guid)
            }));
        }
        Ok(guids)
    }

    /// Creates the missing ancestors of `dataset`, as file systems that do not
    /// mount by themselves (`zfs create -p` with `canmount=off`), and returns
    /// their names. One transaction each, topmost first.
    ///
    /// # Errors
    /// `NotFound` if the pool does not exist.
    fn create_ancestors(&self, dataset: &DatasetName) -> Result<Vec<DatasetName>, ZfsError>;

    /// Takes all snapshots in one transaction group; they must be in one pool
    /// and of different datasets (`lzc_snapshot`).
    ///
    /// # Errors
    /// With one entry per snapshot that could not be taken; then none was.
    fn snapshot(&self, names: &[SnapshotName]) -> Result<(), ZfsError>;

    /// Destroys all of them or none (`lzc_destroy_snaps`). Missing ones are
    /// no error.
    ///
    /// # Errors
    /// `Busy` if one is held or being sent, `Exists` if one has a clone.
    fn destroy_snapshots(&self, names: &[SnapshotName]) -> Result<(), ZfsError>;

    /// Renames a snapshot, recursively in all descendants that have it, in one
    /// transaction (`zfs_rename`). Guid, holds and clones stay.
    ///
    /// # Errors
    /// `Exists` if the new name is taken somewhere, `NotFound` if the snapshot
    /// of the topmost dataset is missing; nothing was renamed then.
    fn rename_snapshot(
        &self,
        from: &SnapshotName,
        to: &ShortName,
        scope: Scope,
    ) -> Result<(), ZfsError>;

    /// Renames a dataset within its pool, with everything below it, in one
    /// transaction (`zfs_rename`). Guids, snapshots and holds stay. What is
    /// mounted moves with it, never by force.
    ///
    /// # Errors
    /// `NotFound` (the dataset, or the parent of the new name), `Exists` if the
    /// new name is taken, `Busy` if it is in use, `CrossDevice` for another
    /// pool, `Invalid` for the root of a pool; nothing was renamed then.
    fn rename_dataset(&self, from: &DatasetName, to: &DatasetName) -> Result<(), ZfsError>;

    /// Destroys a dataset that has neither snapshots nor children, with its
    /// bookmarks and with what a cut receive left in it (`lzc_destroy`). A file
    /// system is unmounted before, not by force.
    ///
    /// # Errors
    /// `NotFound`, `Busy` if it has snapshots or is in use, `Exists` if it has
    /// children.
    fn destroy_dataset(&self, name: &DatasetName) -> Result<(), ZfsError>;

    /// Gives up what a cut receive left in `dataset` (`zfs receive -A`), if
    /// that is still what `token` says: the state beside the dataset, or the
    /// dataset itself if it was to come into being and has nothing else in it.
    /// Snapshots, the head and properties of a dataset that was there before
    /// stay as they are. The comparison comes first; no receive can begin in
    /// between unnoticed, since one that runs keeps its state busy.
    ///
    /// # Errors
    /// `NotFound` if nothing is left there, `Busy` if it is something else by
    /// now, or a receive is running; nothing has changed then.
    fn discard_partial(&self, dataset: &DatasetName, token: &str) -> Result<(), ZfsError>;

    /// The datasets right below `parent`, without what they hold.
    ///
    /// # Errors
    /// `NotFound`.
    fn children(&self, parent: &DatasetName) -> Result<Vec<DatasetName>, ZfsError> {
        let tree = self.tree(parent, Scope::Recursive)?;
        let tree = tree.ok_or_else(|| ZfsError::new("list", parent, ZfsErrorKind::NotFound))?;
        let names = tree.into_iter().map(|dataset| dataset.name);
        Ok(names
            .filter(|name| name.parent().as_ref() == Some(parent))
            .collect())
    }

    /// Bytes that can still be written below `dataset` (property `available`;
    /// in user space what its pool has left, without quotas).
    ///
    /// # Errors
    /// `NotFound`.
    fn available_bytes(&self, dataset: &DatasetName) -> Result<u64, ZfsError>;

    /// Makes bookmarks: each of a snapshot of its own dataset, all in one
    /// transaction or none (`lzc_bookmark`). A bookmark keeps the identity of
    /// a base without keeping its data.
    ///
    /// # Errors
    /// `Exists` if a name is taken, `NotFound` if a snapshot is missing,
    /// `Invalid` if they are in two pools, `NotSupported` if the pool has no bookmarks.
    fn bookmark(&self, marks: &[NewBookmark]) -> Result<(), ZfsError>;

    /// Destroys bookmarks (`lzc_destroy_bookmarks`). Missing ones are no error.
    ///
    /// # Errors
    /// With one entry per bookmark that could not be destroyed.
    fn destroy_bookmarks(&self, names: &[BookmarkName]) -> Result<(), ZfsError>;

    /// Holds the snapshots until the returned value is dropped or this process
    /// ends, however it ends (`lzc_hold` with a cleanup fd). A hold belongs to
    /// the snapshot, whatever it is called meanwhile. The tag is one that was
    /// never used before ([`HoldTag::for_run`]).
    ///
    /// # Errors
    /// `NotFound` if one is missing; then none is held.
    fn hold(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<Box<dyn Hold>, ZfsError>;

    /// Holds the snapshots until [`Self::release`], through crashes and reboots
    /// (`lzc_hold`). All in one transaction.
    ///
    /// # Errors
    /// `NotFound` if one is missing, `Exists` if one has the tag; none is held
    /// then. A crash on the way back from `NotFound` leaves those that are there
    /// held.
    fn hold_kept(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<(), ZfsError>;

    /// Releases a hold on all of them, in one transaction (`lzc_release`).
    /// Snapshots that are missing or do not have it are no error.
    ///
    /// # Errors
    /// `CrossDevice` if they are in two pools.
    fn release(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<(), ZfsError>;

    /// The holds on a snapshot by tag, whoever placed them, each with the time
    /// of that: seconds since 1970 (`lzc_get_holds`).
    ///
    /// # Errors
    /// `NotFound`.
    fn holds(&self, snapshot: &SnapshotName) -> Result<Vec<(String, u64)>, ZfsError>;

    /// Discards what was written to a dataset after `to`, its newest snapshot
    /// (`lzc_rollback_to`).
    ///
    /// # Errors
    /// `NotFound`, `Exists` if it is not the newest one or a bookmark of a
    /// newer one is there, `Busy`; nothing has changed then.
    fn rollback(&self, to: &SnapshotName) -> Result<(), ZfsError>;

    /// The dataset that is mounted at `path`, an absolute path of this machine,
    /// or `None` if no dataset is mounted at exactly this place.
    ///
    /// # Errors
    /// `NotSupported` where it cannot be known: pools in files are mounted
    /// nowhere.
    fn dataset_mounted_at(&self, path: &Path) -> Result<Option<DatasetName>, ZfsError> {
        Err(ZfsError {
            detail: "pools in files are mounted nowhere; name the dataset".to_owned(),
            ..mounted::failed(path, ZfsErrorKind::NotSupported)
        })
    }

    /// Estimated size of the stream in bytes (`lzc_send_space`).
    ///
    /// # Errors
    /// `NotFound`, `CrossDevice` for a base that is no ancestor.
    fn send_size(&self, request: &SendRequest) -> Result<u64, ZfsError>;

    /// Writes the stream into `into`, the write end of a pipe, and returns when
    /// all of it was taken (`lzc_send`, `lzc_send_resume`). Closing the read end
    /// ends it.
    ///
    /// # Errors
    /// `Interrupted` if the reader went away, `NotFound`, `CrossDevice` for a
    /// base that is no ancestor, `KeyUnavailable`.
    fn send(&self, request: &SendRequest, into: OwnedFd) -> Result<(), ZfsError>;

    /// Receives one stream: `begin` is its first record, already read, and
    /// `from` the read end of a pipe with the rest. Never forced, never
    /// mounted. On success the snapshot exists with the guid that `begin`
    /// names. On failure, or if the process dies, it does not; what of its data
    /// stays is for [`ReceiveRequest::on_cut`] to say
    /// (`lzc_receive_with_cmdprops`).
    ///
    /// # Errors
    /// `Modified` if the target changed since the base, `NoSuchBase`, `Exists`,
    /// `NotFound` (no parent, or an increment for a missing dataset), `Busy`
    /// (another receive or what one left), `StreamTruncated`,
    /// `ChecksumMismatch`, `NoSpace`, `Quota`, `Invalid` (damaged, or the
    /// target got a snapshot meanwhile).
    fn receive(
        &self,
        request: &ReceiveRequest,
        begin: &BeginRecord,
        from: OwnedFd,
    ) -> Result<Vec<PropertyRefusal>, ZfsError>;
}
