//! The snapshots of one dataset.

use libzfs_sys::bindings::{ZFS_TYPE_SNAPSHOT, zfs_prop_t};

use super::Handle;
use super::dataset::reported_number;
use super::object::{Object, SnapshotDetail};
use crate::error::{Error, Operation};
use crate::nvlist::{NvError, NvListRef};

/// A snapshot's name and identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotId {
    /// The part of its name after `@`.
    pub name: String,
    /// Its identity, preserved by send and receive.
    pub guid: u64,
    /// The transaction group it was taken in: its place in the order of this
    /// pool. Not preserved.
    pub createtxg: u64,
}

/// A snapshot with what the kernel reports about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Name and identity.
    pub id: SnapshotId,
    /// When it was taken: seconds since 1970, UTC. Preserved by send and
    /// receive.
    pub creation_seconds: u64,
    /// Number of holds.
    pub holds: u64,
    /// Number of clones, as far as this process may see them.
    pub clones: u64,
    /// Bytes that only it refers to.
    pub used_bytes: u64,
    /// Bytes it refers to.
    pub referenced_bytes: u64,
    /// Bytes written between the snapshot before and this one.
    pub written_bytes: u64,
    /// Identity of the encrypted data, equal on both sides of raw streams;
    /// `None` without encryption.
    pub ivset_guid: Option<u64>,
    /// Marked for destruction with its last hold or clone.
    pub defer_destroy: bool,
}

impl Handle {
    /// Names and identities of all snapshots of `dataset`, oldest first (by
    /// createtxg). One ioctl per snapshot. Source: `zfs_iter_snapshots`, simple.
    ///
    /// # Errors
    /// `NotFound`, `Permission`, `Io`.
    pub fn snapshot_ids(&self, dataset: &str) -> Result<Vec<SnapshotId>, Error> {
        let object = self.open_dataset(dataset)?;
        let numbers = IdProperties {
            guid: self.property_number("guid"),
            createtxg: self.property_number("createtxg"),
        };
        let mut ids = Vec::new();
        object.snapshots(SnapshotDetail::Identity, &mut |snapshot| {
            ids.push(SnapshotId {
                name: short_name(&snapshot.name()),
                guid: self.number_of(&snapshot, numbers.guid),
                createtxg: self.number_of(&snapshot, numbers.createtxg),
            });
        })?;
        ids.sort_by_key(|id| id.createtxg);
        Ok(ids)
    }

    /// The guid of one snapshot. One ioctl, which opens nothing of its dataset.
    /// Source: `zfs_open`.
    ///
    /// # Errors
    /// `NotFound`, `Permission`, `Io`, `Invalid` (not the name of a snapshot).
    pub fn snapshot_guid(&self, snapshot: &str) -> Result<u64, Error> {
        let object = Object::open(self, snapshot, ZFS_TYPE_SNAPSHOT)?;
        let list = object.properties();
        list.map_or(Ok(0), |list| reported_number(list, "guid"))
            .map_err(|error| Error::new(Operation::Open, snapshot, error))
    }

    /// All snapshots of `dataset` with their statistics, oldest first (by
    /// createtxg). One ioctl per snapshot, about a fifth dearer than
    /// [`Self::snapshot_ids`]. Source: `zfs_iter_snapshots`.
    ///
    /// # Errors
    /// `NotFound`, `Permission`, `Io`.
    pub fn snapshots(&self, dataset: &str) -> Result<Vec<Snapshot>, Error> {
        snapshots_of(&self.open_dataset(dataset)?)
    }
}

/// The snapshots of an open dataset, as in [`Handle::snapshots`].
pub(super) fn snapshots_of(object: &Object<'_>) -> Result<Vec<Snapshot>, Error> {
    let mut read_all: Result<Vec<Snapshot>, NvError> = Ok(Vec::new());
    object.snapshots(SnapshotDetail::Statistics, &mut |snapshot| {
        if let Ok(snapshots) = &mut read_all {
            match read(&snapshot) {
                Ok(snapshot) => snapshots.push(snapshot),
                Err(error) => read_all = Err(error),
            }
        }
    })?;
    let mut snapshots =
        read_all.map_err(|error| Error::new(Operation::ListSnapshots, &object.name(), error))?;
    snapshots.sort_by_key(|snapshot| snapshot.id.createtxg);
    Ok(snapshots)
}

/// Numbers of the two properties that a simple snapshot has.
struct IdProperties {
    guid: zfs_prop_t,
    createtxg: zfs_prop_t,
}

fn short_name(full: &str) -> String {
    full.split_once('@')
        .map_or(full, |(_, short)| short)
        .to_owned()
}

fn read(object: &Object<'_>) -> Result<Snapshot, NvError> {
    let list = object.properties();
    let number = |name: &str| list.map_or(Ok(0), |list| reported_number(list, name));
    Ok(Snapshot {
        id: SnapshotId {
            name: short_name(&object.name()),
            guid: number("guid")?,
            createtxg: number("createtxg")?,
        },
        creation_seconds: number("creation")?,
        holds: number("userrefs")?,
        clones: list.map_or(Ok(0), clones)?,
        used_bytes: number("used")?,
        referenced_bytes: number("referenced")?,
        written_bytes: number("written")?,
        ivset_guid: Some(number("ivsetguid")?).filter(|&guid| guid != 0),
        defer_destroy: number("defer_destroy")? != 0,
    })
}

/// The kernel lists them by name (`get_clones_stat`).
fn clones(list: NvListRef<'_>) -> Result<u64, NvError> {
    let names = list
        .get("clones")?
        .and_then(|entry| Some(entry.get("value")?.as_list()?.len() as u64));
    Ok(names.unwrap_or(0))
}
