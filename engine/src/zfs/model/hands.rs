//! What an operator, another tool or an application does at the machine, and
//! what a test wants to see of it.
//!
//! Names are texts here, as one types them; a text that is no name is a
//! mistake of the test and panics.

use std::collections::BTreeMap;

use super::content::{Block, Content};
use super::datasets::Encrypting;
use super::log::Call;
use super::machine::{DatasetNode, Machine, ObjectId, Refusal};
use super::{BLOCK_BYTES_MAX, Model, refused};
use crate::name::{DatasetName, Guid, ShortName, SnapshotName};
use crate::zfs::{Dataset, DatasetKind, NewBookmark, Property, Scope, ZfsError, ZfsErrorKind};

/// The operator at a machine.
#[derive(Debug, Clone, Copy)]
pub struct Hands<'a> {
    model: &'a Model,
}

fn dataset(text: &str) -> DatasetName {
    DatasetName::parse(text).expect("the test names a dataset")
}

fn snapshot(text: &str) -> SnapshotName {
    SnapshotName::parse(text).expect("the test names a snapshot")
}

fn short(text: &str) -> ShortName {
    ShortName::parse(text).expect("the test gives a short name")
}

impl<'a> Hands<'a> {
    pub(super) fn new(model: &'a Model) -> Self {
        Self { model }
    }

    fn act<T>(
        self,
        operation: &'static str,
        object: &str,
        run: impl FnOnce(&mut Machine) -> Result<T, Refusal>,
    ) -> Result<T, ZfsError> {
        run(&mut self.model.lock())
            .map_err(|refusal| refused(&Call::by_hand(operation, object), refusal))
    }

    /// Sets the clock of the machine, in seconds since 1970.
    pub fn set_clock(self, seconds: u64) {
        self.model.lock().clock_seconds = seconds;
    }

    /// Adds an empty pool with its root dataset.
    ///
    /// # Errors
    /// `Exists` if there is one of that name.
    pub fn add_pool(self, name: &str, capacity_bytes: u64) -> Result<(), ZfsError> {
        let root = dataset(name);
        self.act("create the pool", name, |machine| {
            if machine.pools.contains_key(root.pool()) {
                return Err(ZfsErrorKind::Exists.into());
            }
            machine.add_pool(root.pool(), capacity_bytes);
            machine.create_dataset(&root, DatasetKind::Filesystem, Encrypting::AsParent)?;
            Ok(())
        })
    }

    /// Mounts a dataset.
    pub fn mount(self, name: &str, path: &str) {
        let mut machine = self.model.lock();
        machine.mounted.insert(path.into(), dataset(name));
    }

    /// Bytes that the data in a pool takes; 0 if there is no such pool.
    #[must_use]
    pub fn used_bytes(self, pool: &str) -> u64 {
        let machine = self.model.lock();
        machine
            .pools
            .get(pool)
            .map_or(0, |pool| pool.space.used_bytes())
    }

    /// Creates a file system (`zfs create`).
    ///
    /// # Errors
    /// `Exists`, `NotFound` without a parent, `KeyUnavailable`.
    pub fn create(self, name: &str) -> Result<(), ZfsError> {
        self.create_kind(name, DatasetKind::Filesystem, Encrypting::AsParent)
    }

    /// Creates a volume (`zfs create -V`).
    ///
    /// # Errors
    /// As for [`Self::create`].
    pub fn create_volume(self, name: &str) -> Result<(), ZfsError> {
        self.create_kind(name, DatasetKind::Volume, Encrypting::AsParent)
    }

    /// Creates a file system that is an encryption root, with its key loaded.
    ///
    /// # Errors
    /// As for [`Self::create`].
    pub fn create_encrypted(self, name: &str) -> Result<(), ZfsError> {
        self.create_kind(name, DatasetKind::Filesystem, Encrypting::Itself)?;
        self.load_key(name)
    }

    fn create_kind(
        self,
        name: &str,
        kind: DatasetKind,
        encrypting: Encrypting,
    ) -> Result<(), ZfsError> {
        self.act("create", name, |machine| {
            machine.create_dataset(&dataset(name), kind, encrypting)?;
            Ok(())
        })
    }

    /// Loads the key of an encryption root.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` if it is no encryption root.
    pub fn load_key(self, name: &str) -> Result<(), ZfsError> {
        self.act("load the key of", name, |machine| {
            let id = encryption_root(machine.dataset(&dataset(name))?)?;
            machine.keys_loaded.insert(id);
            Ok(())
        })
    }

    /// Unloads it.
    ///
    /// # Errors
    /// As for [`Self::load_key`].
    pub fn unload_key(self, name: &str) -> Result<(), ZfsError> {
        self.act("unload the key of", name, |machine| {
            let id = encryption_root(machine.dataset(&dataset(name))?)?;
            machine.keys_loaded.remove(&id);
            Ok(())
        })
    }

    /// Sets a local property. The value is not checked.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn set_property(self, name: &str, property: Property) -> Result<(), ZfsError> {
        self.act("set a property of", name, |machine| {
            let node = machine.dataset_mut(&dataset(name))?;
            node.settings.set_local(property);
            Ok(())
        })
    }

    /// Writes one block of a dataset.
    ///
    /// # Errors
    /// `NotFound`, `NoSpace`, `Busy` while the dataset comes into being,
    /// `KeyUnavailable`, `Invalid` above [`BLOCK_BYTES_MAX`].
    pub fn write(self, name: &str, block: u64, bytes: &[u8]) -> Result<(), ZfsError> {
        if bytes.len() > BLOCK_BYTES_MAX {
            let call = Call::by_hand("write to", name);
            return Err(refused(&call, ZfsErrorKind::Invalid.into()));
        }
        self.put("write to", name, block, Some(bytes))
    }

    /// Frees one block of a dataset. That is a change even if it was free.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub fn discard(self, name: &str, block: u64) -> Result<(), ZfsError> {
        self.put("free a block of", name, block, None)
    }

    fn put(
        self,
        operation: &'static str,
        name: &str,
        block: u64,
        bytes: Option<&[u8]>,
    ) -> Result<(), ZfsError> {
        let name = dataset(name);
        self.act(operation, name.as_str(), |machine| {
            let node = machine.dataset(&name)?;
            if machine.is_incomplete(node.id) {
                return Err(ZfsErrorKind::Busy.into());
            }
            if !machine.is_readable(node) {
                return Err(ZfsErrorKind::KeyUnavailable.into());
            }
            let space = &machine.pool(name.pool())?.space;
            let data = bytes.map(|bytes| space.store(bytes)).transpose()?;
            let birth = machine.next_txg(name.pool())?;
            let head = &mut machine.dataset_mut(&name)?.head;
            head.put(block, Block { birth, data });
            Ok(())
        })
    }

    /// Takes a snapshot and returns its guid.
    ///
    /// # Errors
    /// As for [`Zfs::snapshot`](crate::zfs::Zfs::snapshot).
    pub fn snapshot(self, name: &str) -> Result<Guid, ZfsError> {
        let snapshot = snapshot(name);
        self.act("take a snapshot", name, |machine| {
            machine.take_snapshots(std::slice::from_ref(&snapshot))?;
            Ok(machine.snapshot(&snapshot)?.guid)
        })
    }

    /// Destroys one snapshot.
    ///
    /// # Errors
    /// `NotFound`, and as for
    /// [`Zfs::destroy_snapshots`](crate::zfs::Zfs::destroy_snapshots).
    pub fn destroy_snapshot(self, name: &str) -> Result<(), ZfsError> {
        let snapshot = snapshot(name);
        self.act("destroy", name, |machine| {
            machine.snapshot(&snapshot)?;
            machine.destroy_snapshots(std::slice::from_ref(&snapshot))
        })
    }

    /// Renames one snapshot.
    ///
    /// # Errors
    /// As for [`Zfs::rename_snapshot`](crate::zfs::Zfs::rename_snapshot).
    pub fn rename_snapshot(self, from: &str, to: &str) -> Result<(), ZfsError> {
        self.act("rename", from, |machine| {
            machine.rename_snapshot(&snapshot(from), &short(to), Scope::One)
        })
    }

    /// Makes a bookmark of a snapshot.
    ///
    /// # Errors
    /// `NotFound`, `Exists`.
    pub fn bookmark(self, from: &str, name: &str) -> Result<(), ZfsError> {
        let mark = NewBookmark {
            of: snapshot(from),
            short: short(name),
        };
        self.act("bookmark", from, |machine| {
            machine.make_bookmarks(std::slice::from_ref(&mark))
        })
    }

    /// Holds a snapshot until [`Self::release`], whatever becomes of processes.
    ///
    /// # Errors
    /// `NotFound`, `Exists` if it has the tag.
    pub fn hold(self, name: &str, tag: &str) -> Result<(), ZfsError> {
        self.tags(name, "hold", |tags| match tags.insert(tag.to_owned(), 0) {
            None => Ok(()),
            Some(_) => Err(ZfsErrorKind::Exists),
        })
    }

    /// Takes a hold away.
    ///
    /// # Errors
    /// `NotFound` if the snapshot or the tag is missing.
    pub fn release(self, name: &str, tag: &str) -> Result<(), ZfsError> {
        self.tags(name, "release", |tags| match tags.remove(tag) {
            Some(_) => Ok(()),
            None => Err(ZfsErrorKind::NotFound),
        })
    }

    fn tags(
        self,
        name: &str,
        operation: &'static str,
        change: impl FnOnce(&mut BTreeMap<String, u64>) -> Result<(), ZfsErrorKind>,
    ) -> Result<(), ZfsError> {
        let snapshot = snapshot(name);
        self.act(operation, name, |machine| {
            let node = machine.dataset_mut(&snapshot.dataset)?;
            let held = node
                .snapshot_mut(&snapshot.short)
                .ok_or(ZfsErrorKind::NotFound)?;
            Ok(change(&mut held.hold_tags)?)
        })
    }

    /// Puts a dataset back to one of its snapshots (`zfs rollback -r`): later
    /// snapshots and bookmarks are destroyed.
    ///
    /// # Errors
    /// `NotFound`; `Busy` or `Exists` if a later snapshot cannot go, or a
    /// receive builds on it. Then nothing has changed.
    pub fn rollback(self, name: &str) -> Result<(), ZfsError> {
        let name = snapshot(name);
        self.act("roll back to", &name.to_string(), |machine| {
            let target = machine.snapshot(&name)?.clone();
            let node = machine.dataset(&name.dataset)?;
            let later = node.snapshots.iter();
            for snapshot in later.filter(|s| s.createtxg > target.createtxg) {
                machine.check_destroy(snapshot)?;
            }
            let node = machine.dataset_mut(&name.dataset)?;
            node.snapshots.retain(|s| s.createtxg <= target.createtxg);
            node.bookmarks.retain(|b| b.createtxg <= target.createtxg);
            Ok(machine.rollback(&name)?)
        })
    }

    /// Gives up what a cut receive left (`zfs receive -A`): a dataset that was
    /// to come into being goes with it.
    ///
    /// # Errors
    /// `NotFound` if there is nothing left to give up.
    pub fn abort_receive(self, name: &str) -> Result<(), ZfsError> {
        let name = dataset(name);
        self.act("give up the receive into", name.as_str(), |machine| {
            let left = machine.dataset(&name)?.partial.as_ref();
            let left = left.ok_or(ZfsErrorKind::NotFound)?;
            let token = left.arrived.describe().token;
            Ok(machine.discard_partial(&name, &token)?)
        })
    }

    /// Clones a snapshot to a new dataset of the same pool.
    ///
    /// # Errors
    /// `NotFound`, `Exists`, `CrossDevice` for another pool.
    pub fn clone_snapshot(self, from: &str, to: &str) -> Result<(), ZfsError> {
        let (from, to) = (snapshot(from), dataset(to));
        self.act("clone", &from.to_string(), |machine| {
            let origin = machine.snapshot(&from)?.clone();
            let source = machine.dataset(&from.dataset)?;
            let (kind, encryption_root) = (source.kind, source.encryption_root);
            if from.dataset.pool() != to.pool() {
                return Err(ZfsErrorKind::CrossDevice.into());
            }
            machine.create_dataset(&to, kind, Encrypting::Itself)?;
            let clone = machine.dataset_mut(&to)?;
            clone.encryption_root = encryption_root;
            clone.origin = Some(origin.id);
            clone.head = origin.content;
            Ok(())
        })
    }

    /// Destroys a dataset and everything below it (`zfs destroy -r`).
    ///
    /// # Errors
    /// `NotFound`, `Busy` if something of it is held or under way, `Exists` if
    /// a clone outside depends on it.
    pub fn destroy(self, name: &str) -> Result<(), ZfsError> {
        let root = dataset(name);
        self.act("destroy", name, |machine| {
            machine.dataset(&root)?;
            for (_, node) in machine.within(&root) {
                // What a cut receive left goes with its dataset.
                if machine.is_receiving(node.id) {
                    return Err(ZfsErrorKind::Busy.into());
                }
                for snapshot in &node.snapshots {
                    if !snapshot.hold_tags.is_empty() || machine.is_sending(snapshot.id) {
                        return Err(ZfsErrorKind::Busy.into());
                    }
                    let mut others = machine.datasets.iter().filter(|(n, _)| !n.is_within(&root));
                    if others.any(|(_, other)| other.origin == Some(snapshot.id)) {
                        return Err(ZfsErrorKind::Exists.into());
                    }
                }
            }
            machine.datasets.retain(|name, _| !name.is_within(&root));
            machine.next_txg(root.pool())?;
            Ok(())
        })
    }

    /// Renames a dataset with everything below it.
    ///
    /// # Errors
    /// `NotFound`, `Exists`, `CrossDevice` for another pool, `Invalid` below
    /// itself, for the root of a pool or if a name gets too long.
    pub fn rename(self, from: &str, to: &str) -> Result<(), ZfsError> {
        let (from, to) = (dataset(from), dataset(to));
        self.act("rename", from.as_str(), |machine| {
            Ok(machine.rename_dataset(&from, &to)?)
        })
    }

    /// The dataset as the trait lists it; `None` if it does not exist.
    #[must_use]
    pub fn look(self, name: &str) -> Option<Dataset> {
        let mut tree = self.model.lock().tree(&dataset(name), Scope::One)?;
        tree.pop()
    }

    /// Blocks of a dataset (`tank/a`) or snapshot (`tank/a@s`) by number;
    /// `None` if it does not exist.
    #[must_use]
    pub fn content(self, name: &str) -> Option<BTreeMap<u64, Vec<u8>>> {
        self.read(name, |content| {
            let blocks = content.data_blocks();
            blocks.map(|(n, bytes)| (n, bytes.to_vec())).collect()
        })
    }

    /// Equal for equal content of a dataset or snapshot; `None` if it does not
    /// exist.
    #[must_use]
    pub fn digest(self, name: &str) -> Option<blake3::Hash> {
        self.read(name, Content::digest)
    }

    fn read<T>(self, name: &str, read: impl FnOnce(&Content) -> T) -> Option<T> {
        let machine = self.model.lock();
        let content = match name.contains('@') {
            true => &machine.snapshot(&snapshot(name)).ok()?.content,
            false => &machine.dataset(&dataset(name)).ok()?.head,
        };
        Some(read(content))
    }

    /// Every dataset, each followed by its snapshots and bookmarks.
    #[must_use]
    pub fn list(self) -> Vec<String> {
        let machine = self.model.lock();
        let mut names = Vec::new();
        for (name, node) in &machine.datasets {
            names.push(name.to_string());
            let snapshots = node.snapshots.iter();
            names.extend(snapshots.map(|s| format!("{name}@{}", s.short)));
            let bookmarks = node.bookmarks.iter();
            names.extend(bookmarks.map(|b| format!("{name}#{}", b.short)));
        }
        names
    }

    /// Tags of the holds on a snapshot, temporary ones included; none if it
    /// does not exist.
    #[must_use]
    pub fn holds(self, name: &str) -> Vec<String> {
        let machine = self.model.lock();
        let snapshot = machine.snapshot(&snapshot(name));
        snapshot.map_or_else(|_| Vec::new(), |s| s.hold_tags.keys().cloned().collect())
    }
}

fn encryption_root(node: &DatasetNode) -> Result<ObjectId, ZfsErrorKind> {
    match node.encryption_root {
        Some(root) if root == node.id => Ok(root),
        _ => Err(ZfsErrorKind::Invalid),
    }
}
