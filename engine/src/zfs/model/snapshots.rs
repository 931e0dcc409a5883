//! Snapshots: taken, destroyed, renamed and held, all of a call or none.

use std::collections::{BTreeMap, BTreeSet};

use super::machine::{Machine, Refusal, SnapshotNode};
use crate::hold::HoldTag;
use crate::name::{CreateTxg, DatasetName, Guid, ShortName, SnapshotName};
use crate::zfs::{ItemError, Scope, ZfsErrorKind};

/// A call goes to one pool.
pub(super) fn one_pool<'a>(
    mut datasets: impl Iterator<Item = &'a DatasetName>,
) -> Result<(), ZfsErrorKind> {
    let Some(first) = datasets.next() else {
        return Ok(());
    };
    match datasets.all(|dataset| dataset.pool() == first.pool()) {
        true => Ok(()),
        false => Err(ZfsErrorKind::CrossDevice),
    }
}

impl Machine {
    /// Looks at each name; whoever has a reason against it becomes an item.
    fn check_each(
        names: &BTreeSet<&SnapshotName>,
        check: impl Fn(&SnapshotName) -> Result<(), ZfsErrorKind>,
    ) -> Result<(), Refusal> {
        let refused = |name: &SnapshotName| {
            let kind = check(name).err()?;
            let name = name.to_string();
            Some(ItemError { name, kind })
        };
        Refusal::unless_empty(names.iter().filter_map(|name| refused(name)).collect())
    }

    /// All snapshots get one transaction group. The list travels as an nvlist
    /// of unique names, so one that is given twice counts once.
    pub(super) fn take_snapshots(&mut self, names: &[SnapshotName]) -> Result<(), Refusal> {
        let names: BTreeSet<_> = names.iter().collect();
        let Some(first) = names.first() else {
            return Ok(());
        };
        let pool = first.dataset.pool();
        let datasets: BTreeSet<_> = names.iter().map(|name| &name.dataset).collect();
        one_pool(datasets.iter().copied())?;
        if datasets.len() < names.len() {
            return Err(ZfsErrorKind::CrossDevice.into());
        }
        Self::check_each(&names, |name| {
            let node = self.dataset(&name.dataset)?;
            if self.is_incomplete(node.id) {
                return Err(ZfsErrorKind::Busy);
            }
            match node.snapshot(&name.short) {
                Some(_) => Err(ZfsErrorKind::Exists),
                None => Ok(()),
            }
        })?;
        let txg = self.next_txg(pool)?;
        for name in names {
            self.take_snapshot(name, txg)?;
        }
        Ok(())
    }

    fn take_snapshot(&mut self, name: &SnapshotName, txg: CreateTxg) -> Result<(), ZfsErrorKind> {
        let id = self.new_object();
        let guid = Guid(self.random.identity());
        let ivset = self.random.identity();
        let creation_seconds = self.clock_seconds;
        let node = self.dataset_mut(&name.dataset)?;
        let snapshot = SnapshotNode {
            id,
            short: name.short.clone(),
            guid,
            createtxg: txg,
            creation_seconds,
            content: node.head.clone(),
            ivset: node.encryption_root.map(|_| ivset),
            hold_tags: BTreeMap::new(),
        };
        node.snapshots.push(snapshot);
        Ok(())
    }

    pub(super) fn check_destroy(&self, snapshot: &SnapshotNode) -> Result<(), ZfsErrorKind> {
        if !snapshot.hold_tags.is_empty() || self.is_sending(snapshot.id) {
            return Err(ZfsErrorKind::Busy);
        }
        if self.has_clone(snapshot.id) {
            return Err(ZfsErrorKind::Exists);
        }
        Ok(())
    }

    pub(super) fn destroy_snapshots(&mut self, names: &[SnapshotName]) -> Result<(), Refusal> {
        let names: BTreeSet<_> = names.iter().collect();
        let Some(first) = names.first() else {
            return Ok(());
        };
        let pool = first.dataset.pool();
        one_pool(names.iter().map(|name| &name.dataset))?;
        Self::check_each(&names, |name| match self.snapshot(name) {
            Ok(snapshot) => self.check_destroy(snapshot),
            Err(_) => Ok(()),
        })?;
        for name in &names {
            if let Ok(node) = self.dataset_mut(&name.dataset) {
                node.snapshots.retain(|s| s.short != name.short);
            }
        }
        // What is missing is no error, be it the pool.
        if self.pools.contains_key(pool) {
            self.next_txg(pool)?;
        }
        Ok(())
    }

    /// Discards what was written after `to`, which has to be the newest.
    pub(super) fn rollback(&mut self, to: &SnapshotName) -> Result<(), ZfsErrorKind> {
        let target = self.snapshot(to)?.clone();
        let node = self.dataset_mut(&to.dataset)?;
        if node.snapshots.last().map(|newest| newest.id) != Some(target.id) {
            return Err(ZfsErrorKind::Exists);
        }
        if node
            .bookmarks
            .iter()
            .any(|mark| mark.createtxg > target.createtxg)
        {
            return Err(ZfsErrorKind::Exists);
        }
        node.head = target.content;
        self.next_txg(to.dataset.pool())?;
        Ok(())
    }

    pub(super) fn rename_snapshot(
        &mut self,
        from: &SnapshotName,
        to: &ShortName,
        scope: Scope,
    ) -> Result<(), Refusal> {
        self.snapshot(from)?;
        // zfs_rename, which renames recursively, finds nothing to do in that;
        // lzc_rename finds the name taken.
        if from.short == *to && scope == Scope::Recursive {
            return Ok(());
        }
        let affected: BTreeSet<_> = match scope {
            Scope::One => BTreeSet::from([from.dataset.clone()]),
            Scope::Recursive => self
                .within(&from.dataset)
                .filter(|(_, node)| node.snapshot(&from.short).is_some())
                .map(|(name, _)| name.clone())
                .collect(),
        };
        for name in &affected {
            if name.snapshot(to).is_err() {
                return Err(ZfsErrorKind::Invalid.into());
            }
            if self.dataset(name)?.snapshot(to).is_some() {
                return Err(ZfsErrorKind::Exists.into());
            }
        }
        for name in &affected {
            if let Some(snapshot) = self.dataset_mut(name)?.snapshot_mut(&from.short) {
                snapshot.short = to.clone();
            }
        }
        self.next_txg(from.dataset.pool())?;
        Ok(())
    }

    /// Puts a hold that ends with the process on all snapshots.
    pub(super) fn hold(&mut self, names: &[SnapshotName], tag: &HoldTag) -> Result<(), Refusal> {
        self.hold_kept(names, tag)?;
        self.temporary_tags.insert(tag.to_string());
        Ok(())
    }

    /// Puts a hold on all snapshots.
    pub(super) fn hold_kept(
        &mut self,
        names: &[SnapshotName],
        tag: &HoldTag,
    ) -> Result<(), Refusal> {
        let unique: BTreeSet<_> = names.iter().collect();
        one_pool(names.iter().map(|name| &name.dataset))?;
        Self::check_each(&unique, |name| {
            let tags = &self.snapshot(name)?.hold_tags;
            match tags.contains_key(tag.as_str()) {
                true => Err(ZfsErrorKind::Exists),
                false => Ok(()),
            }
        })?;
        let now = self.clock_seconds;
        for name in unique {
            let node = self.dataset_mut(&name.dataset)?;
            if let Some(snapshot) = node.snapshot_mut(&name.short) {
                snapshot.hold_tags.insert(tag.to_string(), now);
            }
        }
        Ok(())
    }

    /// Takes a hold away wherever it is on these.
    pub(super) fn release(&mut self, names: &[SnapshotName], tag: &HoldTag) -> Result<(), Refusal> {
        one_pool(names.iter().map(|name| &name.dataset))?;
        for name in names {
            if let Ok(node) = self.dataset_mut(&name.dataset)
                && let Some(snapshot) = node.snapshot_mut(&name.short)
            {
                snapshot.hold_tags.remove(tag.as_str());
            }
        }
        Ok(())
    }

    /// The holds on a snapshot, by tag.
    pub(super) fn holds(&self, name: &SnapshotName) -> Result<Vec<(String, u64)>, ZfsErrorKind> {
        let tags = &self.snapshot(name)?.hold_tags;
        Ok(tags
            .iter()
            .map(|(tag, since)| (tag.clone(), *since))
            .collect())
    }

    /// Ends a temporary hold on whatever the snapshots are called by now.
    /// Returns their names; none if the hold ended with a crash before.
    pub(super) fn end_hold(&mut self, tag: &str) -> Vec<SnapshotName> {
        let mut released = Vec::new();
        if self.temporary_tags.remove(tag) {
            for (dataset, node) in &mut self.datasets {
                for snapshot in &mut node.snapshots {
                    if snapshot.hold_tags.remove(tag).is_some() {
                        released.push(SnapshotName {
                            dataset: dataset.clone(),
                            short: snapshot.short.clone(),
                        });
                    }
                }
            }
        }
        released
    }
}
