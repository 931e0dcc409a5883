//! Datasets: one, or a tree of them.

use std::collections::HashSet;

use libzfs_sys::bindings::{ZFS_TYPE_FILESYSTEM, ZFS_TYPE_VOLUME};

use super::object::Object;
use super::snapshot::{Snapshot, snapshots_of};
use super::walk::{Ground, Walk};
use super::{Handle, with_handle};
use crate::errno::ErrorKind;
use crate::error::{Error, Operation};
use crate::mounts::mounted_datasets;
use crate::nvlist::{NvError, NvListRef};
use crate::property::{Property, PropertyValue, read_properties};

/// What kind of dataset it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatasetKind {
    /// A file system.
    Filesystem,
    /// A volume (block device).
    Volume,
}

impl DatasetKind {
    pub(super) fn bit(self) -> libzfs_sys::bindings::zfs_type_t {
        match self {
            Self::Filesystem => ZFS_TYPE_FILESYSTEM,
            Self::Volume => ZFS_TYPE_VOLUME,
        }
    }
}

/// How far down a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The dataset alone.
    One,
    /// All descendants.
    All,
}

/// Whether the key of an encrypted dataset is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStatus {
    /// It is.
    Available,
    /// It is not: only raw streams can be sent and received.
    Unavailable,
}

/// Encryption of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// The dataset whose key unlocks this one.
    pub root: String,
    /// Whether that key is loaded.
    pub key: KeyStatus,
}

/// One dataset, as the kernel reported it in one ioctl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Its name.
    pub name: String,
    /// File system or volume.
    pub kind: DatasetKind,
    /// Identity of the head; not preserved by send and receive.
    pub guid: u64,
    /// The transaction group it was created in.
    pub createtxg: u64,
    /// Bytes written since the most recent snapshot (`written`).
    pub written_bytes: u64,
    /// Bytes of the dataset and everything below it (`used`).
    pub used_bytes: u64,
    /// Bytes the dataset itself refers to (`referenced`).
    pub referenced_bytes: u64,
    /// Bytes that can still be written (`available`).
    pub available_bytes: u64,
    /// The snapshot it was cloned from, if any.
    pub origin: Option<String>,
    /// Set if it is encrypted.
    pub encryption: Option<Encryption>,
    /// Whether it is mounted. Always false for volumes.
    pub mounted: bool,
    /// True while a new dataset is being received: it has no usable contents.
    pub inconsistent: bool,
    /// Token of a receive that was cut and can be resumed.
    pub receive_resume_token: Option<String>,
    /// Everything the kernel reports, with source, by name: native properties
    /// that are set somewhere, statistics (source [`crate::PropertySource::None`]) and
    /// user properties. Native properties at their default may be missing.
    pub properties: Vec<Property>,
}

/// A dataset of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is.
    pub dataset: Dataset,
    /// Its snapshots, oldest first (by createtxg).
    pub snapshots: Vec<Snapshot>,
}

impl Dataset {
    /// The property of this name.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties
            .binary_search_by(|property| property.name.as_str().cmp(name))
            .ok()
            .map(|index| &self.properties[index])
    }
}

impl Handle {
    /// The dataset of this name. Source: `zfs_open`.
    ///
    /// # Errors
    /// `NotFound`, `Permission`, `Io`, `Invalid` (not the name of a file system
    /// or volume).
    pub fn dataset(&self, name: &str) -> Result<Dataset, Error> {
        let object = self.open_dataset(name)?;
        self.read(&object, &mounted_datasets())
    }

    /// Names of the datasets right below one, sorted. One ioctl for each.
    /// Source: `zfs_iter_filesystems`.
    ///
    /// # Errors
    /// `NotFound`, `Permission`, `Io`, `Invalid`.
    pub fn children(&self, parent: &str) -> Result<Vec<String>, Error> {
        let children = self.open_dataset(parent)?.children()?;
        Ok(children.iter().map(Object::name).collect())
    }

    /// The received values of a dataset, also those that a local value hides.
    /// Source: `zfs_get_recvd_props`.
    ///
    /// # Errors
    /// `NotFound`, `Permission`, `Io`.
    pub fn received_properties(&self, dataset: &str) -> Result<Vec<Property>, Error> {
        let object = self.open_dataset(dataset)?;
        let Some(list) = object.received_properties() else {
            return Err(self.last_error(Operation::ReadReceivedProperties, dataset));
        };
        read_properties(list, dataset)
            .map_err(|error| Error::new(Operation::ReadReceivedProperties, dataset, error))
    }

    pub(super) fn open_dataset(&self, name: &str) -> Result<Object<'_>, Error> {
        Object::open(self, name, ZFS_TYPE_FILESYSTEM | ZFS_TYPE_VOLUME)
    }
}

/// What `each` makes of `root` and, with [`Depth::All`], of everything below it:
/// parents before children, siblings in the order of names; `None` if `root` does
/// not exist. Of large trees up to `threads` threads list parts, and call `each`
/// with handles of their own. Not atomic against others; datasets that go away
/// meanwhile, and those of which `each` makes nothing, are left out. One ioctl per
/// dataset and snapshot, one more for each list of them. Source:
/// `zfs_iter_filesystems`, `zfs_iter_snapshots`.
///
/// # Errors
/// `Permission`, `Io`, `Invalid`; what `each` returns.
pub fn list<T: Send, E: From<Error> + Send>(
    root: &str,
    depth: Depth,
    threads: usize,
    each: impl Fn(&Handle, Listed) -> Result<Option<T>, E> + Sync,
) -> Result<Option<Vec<T>>, E> {
    let mounted = mounted_datasets();
    let (mounted, each) = (&mounted, &each);
    with_handle(|handle| {
        let view = View {
            handle,
            mounted,
            each,
        };
        let what = (root, depth == Depth::All);
        Walk::run(&view, what, threads.max(1), |walk: &Walk<T, E>| {
            // Without a handle the others do this part.
            let _ = with_handle(|handle| {
                walk.go_on(&View {
                    handle,
                    mounted,
                    each,
                });
                Ok::<_, Error>(())
            });
        })
    })
}

/// What one thread sees of a tree that is listed.
struct View<'v, F> {
    handle: &'v Handle,
    mounted: &'v HashSet<String>,
    each: &'v F,
}

impl<'v, T, E, F> Ground for View<'v, F>
where
    E: From<Error>,
    F: Fn(&Handle, Listed) -> Result<Option<T>, E>,
{
    type Node = Object<'v>;
    type Found = T;
    type Error = E;

    fn open(&self, name: &str) -> Result<Option<Object<'v>>, E> {
        Ok(unless_gone(self.handle.open_dataset(name))?)
    }

    fn name(&self, node: &Object<'v>) -> String {
        node.name()
    }

    fn look(&self, node: &Object<'v>) -> Result<Option<T>, E> {
        let Some(snapshots) = unless_gone(snapshots_of(node))? else {
            return Ok(None);
        };
        let dataset = self.handle.read(node, self.mounted)?;
        (self.each)(self.handle, Listed { dataset, snapshots })
    }

    fn children(&self, node: &Object<'v>) -> Result<Vec<Object<'v>>, E> {
        Ok(unless_gone(node.children())?.unwrap_or_default())
    }
}

fn unless_gone<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// `keystatus` of the kernel (`zfs_keystatus_t`); 0 is no encryption.
const KEY_AVAILABLE: u64 = 2;

impl Handle {
    fn read(&self, object: &Object<'_>, mounted: &HashSet<String>) -> Result<Dataset, Error> {
        let name = object.name();
        let properties = object
            .properties()
            .map_or(Ok(Vec::new()), |list| read_properties(list, &name))
            .map_err(|error| Error::new(Operation::Open, &name, error))?;
        let find = |wanted: &str| {
            properties
                .iter()
                .find(|property| property.name == wanted)
                .map(|property| &property.value)
        };
        let number = |wanted: &str| match find(wanted) {
            Some(PropertyValue::Number(number)) => *number,
            _ => 0,
        };
        let text = |wanted: &str| match find(wanted) {
            Some(PropertyValue::Text(text)) if !text.is_empty() => Some(text.clone()),
            _ => None,
        };
        let encryption = text("encryptionroot").map(|root| Encryption {
            root,
            key: if number("keystatus") == KEY_AVAILABLE {
                KeyStatus::Available
            } else {
                KeyStatus::Unavailable
            },
        });
        Ok(Dataset {
            kind: if object.kind() == ZFS_TYPE_VOLUME {
                DatasetKind::Volume
            } else {
                DatasetKind::Filesystem
            },
            guid: number("guid"),
            createtxg: number("createtxg"),
            written_bytes: number("written"),
            used_bytes: number("used"),
            referenced_bytes: number("referenced"),
            available_bytes: number("available"),
            origin: text("origin"),
            encryption,
            mounted: mounted.contains(&name),
            // Not among what is reported by name.
            inconsistent: self.number_of(object, self.property_number("inconsistent")) != 0,
            receive_resume_token: text("receive_resume_token"),
            name,
            properties,
        })
    }
}

/// The number of a property in what the kernel reported, or 0.
pub(super) fn reported_number(list: NvListRef<'_>, name: &str) -> Result<u64, NvError> {
    let entry = list.get(name)?;
    Ok(entry
        .and_then(|entry| entry.get("value")?.as_u64())
        .unwrap_or(0))
}
