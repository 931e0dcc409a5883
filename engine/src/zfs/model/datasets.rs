//! Listing datasets and bringing them into being.

use super::content::Content;
use super::machine::{DatasetNode, Machine, ObjectId, WRONG_PARENT};
use super::properties::{CANMOUNT_OFF, Settings};
use crate::name::{CreateTxg, DatasetName, Guid, Ivset, SnapshotName};
use crate::zfs::{
    Bookmark, Dataset, DatasetKind, Encryption, PartialReceive, Property, PropertyValue, Scope,
    Snapshot, ZfsErrorKind,
};

/// Where a new dataset has its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encrypting {
    /// Like the dataset above: encrypted with it, or not at all.
    AsParent,
    /// It is an encryption root; its key is not loaded.
    Itself,
}

impl Machine {
    pub(super) fn tree(&self, root: &DatasetName, scope: Scope) -> Option<Vec<Dataset>> {
        let top = self.datasets.get(root)?;
        Some(match scope {
            Scope::One => vec![self.describe(root, top)],
            Scope::Recursive => {
                let mut found: Vec<_> = self.within(root).collect();
                // `a/b` comes right after `a`, before `a-b`: siblings in order,
                // each followed by what lies below it.
                found.sort_by(|(a, _), (b, _)| a.as_str().split('/').cmp(b.as_str().split('/')));
                let found = found.into_iter();
                found
                    .map(|(name, node)| self.describe(name, node))
                    .collect()
            }
        })
    }

    fn describe(&self, name: &DatasetName, node: &DatasetNode) -> Dataset {
        let origin = node.origin.and_then(|id| self.snapshot_of(id));
        Dataset {
            name: name.clone(),
            kind: node.kind,
            guid: node.guid,
            written_bytes: node.head.written_bytes(self.newest_txg(node)),
            origin: origin.map(|(dataset, _, snapshot)| SnapshotName {
                dataset: dataset.clone(),
                short: snapshot.short.clone(),
            }),
            encryption: node.encryption_root.and_then(|root| {
                Some(Encryption {
                    root: self.name_of(root)?.clone(),
                    key_loaded: self.keys_loaded.contains(&root),
                })
            }),
            partial: self.part(node),
            properties: node.settings.list(),
            snapshots: node
                .snapshots
                .iter()
                .enumerate()
                .map(|(n, snapshot)| Snapshot {
                    short: snapshot.short.clone(),
                    guid: snapshot.guid,
                    createtxg: snapshot.createtxg,
                    creation_seconds: snapshot.creation_seconds,
                    written_bytes: snapshot.content.written_bytes(self.txg_before(node, n)),
                    holds: snapshot.hold_tags.len() as u64,
                    clones: self.clones(snapshot.id),
                    ivset: snapshot.ivset.map(Ivset),
                })
                .collect(),
            bookmarks: node
                .bookmarks
                .iter()
                .map(|bookmark| Bookmark {
                    short: bookmark.short.clone(),
                    guid: bookmark.guid,
                    createtxg: bookmark.createtxg,
                    ivset: bookmark.ivset.map(Ivset),
                })
                .collect(),
        }
    }

    /// What has arrived of a stream: of one that was cut, or of one under way
    /// that may stay when it is cut.
    fn part(&self, node: &DatasetNode) -> Option<PartialReceive> {
        if let Some(left) = &node.partial {
            return Some(left.arrived.describe());
        }
        let running = self.receiving_into(node.id)?.kept.as_ref()?;
        Some(running.copy().describe())
    }

    /// From when on a change counts as written: the newest snapshot, for a
    /// clone without one its origin, or the beginning.
    fn newest_txg(&self, node: &DatasetNode) -> CreateTxg {
        self.txg_before(node, node.snapshots.len())
    }

    /// The same for the snapshot with number `n`: the one before it.
    fn txg_before(&self, node: &DatasetNode, n: usize) -> CreateTxg {
        let origin = || Some(self.snapshot_of(node.origin?)?.2.createtxg);
        match n.checked_sub(1).and_then(|n| node.snapshots.get(n)) {
            Some(snapshot) => snapshot.createtxg,
            None => origin().unwrap_or(CreateTxg(0)),
        }
    }

    /// Ancestors of `dataset` that do not exist, topmost first.
    pub(super) fn missing_ancestors(
        &self,
        dataset: &DatasetName,
    ) -> Result<Vec<DatasetName>, ZfsErrorKind> {
        self.pool(dataset.pool())?;
        let ancestors = dataset.ancestors();
        Ok(ancestors
            .filter(|name| !self.datasets.contains_key(name))
            .collect())
    }

    /// One step of `zfs create -p`.
    pub(super) fn create_ancestor(&mut self, name: &DatasetName) -> Result<(), ZfsErrorKind> {
        self.create_dataset(name, DatasetKind::Filesystem, Encrypting::AsParent)?;
        let canmount = Property {
            name: "canmount".to_owned(),
            value: PropertyValue::Number(CANMOUNT_OFF),
        };
        self.dataset_mut(name)?.settings.set_local(canmount);
        Ok(())
    }

    /// Where a new dataset may be put: its parent, `None` at the top of a pool.
    pub(super) fn check_place(
        &self,
        name: &DatasetName,
    ) -> Result<Option<&DatasetNode>, ZfsErrorKind> {
        self.pool(name.pool())?;
        if self.datasets.contains_key(name) {
            return Err(ZfsErrorKind::Exists);
        }
        let Some(parent) = name.parent() else {
            return Ok(None);
        };
        let parent = self.dataset(&parent)?;
        if parent.kind == DatasetKind::Volume {
            return Err(WRONG_PARENT);
        }
        if self.is_incomplete(parent.id) {
            return Err(ZfsErrorKind::Busy);
        }
        Ok(Some(parent))
    }

    /// Renames a dataset with everything below it.
    pub(super) fn rename_dataset(
        &mut self,
        from: &DatasetName,
        to: &DatasetName,
    ) -> Result<(), ZfsErrorKind> {
        self.dataset(from)?;
        if from.pool() != to.pool() {
            return Err(ZfsErrorKind::CrossDevice);
        }
        self.check_place(to)?;
        if to.is_within(from) || from.parent().is_none() {
            return Err(ZfsErrorKind::Invalid);
        }
        let moved: Result<Vec<_>, _> = self
            .within(from)
            .map(|(name, _)| Ok((name.clone(), name.rebase(from, to)?)))
            .collect();
        let moved = moved.map_err(|_: crate::name::NameError| ZfsErrorKind::Invalid)?;
        for (old, new) in moved {
            if let Some(node) = self.datasets.remove(&old) {
                self.datasets.insert(new, node);
            }
        }
        self.next_txg(from.pool())?;
        Ok(())
    }

    /// Destroys a dataset without snapshots and children. What a cut receive
    /// left goes with it.
    pub(super) fn destroy_dataset(&mut self, name: &DatasetName) -> Result<(), ZfsErrorKind> {
        let node = self.dataset(name)?;
        if !node.snapshots.is_empty() || self.is_receiving(node.id) {
            return Err(ZfsErrorKind::Busy);
        }
        if self.within(name).count() > 1 {
            return Err(ZfsErrorKind::Exists);
        }
        self.datasets.remove(name);
        self.next_txg(name.pool())?;
        Ok(())
    }

    /// Gives up what a cut receive left, if it is that; a dataset that was to
    /// come into being goes with it.
    pub(super) fn discard_partial(
        &mut self,
        name: &DatasetName,
        token: &str,
    ) -> Result<(), ZfsErrorKind> {
        let node = self.dataset(name)?;
        let left = node.partial.as_ref().ok_or(ZfsErrorKind::NotFound)?;
        if left.arrived.describe().token != token || self.is_receiving(node.id) {
            return Err(ZfsErrorKind::Busy);
        }
        if left.branch.is_none() {
            return self.destroy_dataset(name);
        }
        self.dataset_mut(name)?.partial = None;
        self.next_txg(name.pool())?;
        Ok(())
    }

    /// Creates an empty dataset.
    pub(super) fn create_dataset(
        &mut self,
        name: &DatasetName,
        kind: DatasetKind,
        encrypting: Encrypting,
    ) -> Result<ObjectId, ZfsErrorKind> {
        let inherited = self.check_place(name)?.and_then(|p| p.encryption_root);
        let locked = inherited.is_some_and(|root| !self.keys_loaded.contains(&root));
        if locked && encrypting == Encrypting::AsParent {
            return Err(ZfsErrorKind::KeyUnavailable);
        }
        let id = self.new_object();
        let encryption_root = match encrypting {
            Encrypting::AsParent => inherited,
            Encrypting::Itself => Some(id),
        };
        let guid = Guid(self.random.identity());
        let created = self.next_txg(name.pool())?;
        let node = DatasetNode {
            id,
            kind,
            guid,
            head: Content::empty(created),
            origin: None,
            encryption_root,
            settings: Settings::default(),
            snapshots: Vec::new(),
            bookmarks: Vec::new(),
            partial: None,
        };
        self.datasets.insert(name.clone(), node);
        Ok(id)
    }

    /// The key is there, or none is needed.
    pub(super) fn is_readable(&self, node: &DatasetNode) -> bool {
        node.encryption_root
            .is_none_or(|root| self.keys_loaded.contains(&root))
    }
}
