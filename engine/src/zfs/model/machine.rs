//! One machine: its pools, its datasets, and what is under way on it.
//!
//! Everything here happens under one lock, which is what makes each operation
//! atomic. The operations themselves are in the modules beside this one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::PipeWriter;
use std::path::PathBuf;
use std::sync::Arc;

use super::content::{Content, Space};
use super::log::Logged;
use super::properties::Settings;
use super::random::Random;
use super::receive::{Arrival, Arrived};
use crate::name::{CreateTxg, DatasetName, Guid, ShortName, SnapshotName};
use crate::zfs::{DatasetKind, ItemError, ZfsErrorKind};

/// `ZFS_ERR_WRONG_PARENT`, as backends report it: a volume cannot have children.
pub(super) const WRONG_PARENT: ZfsErrorKind = ZfsErrorKind::Invalid;

/// Clock of a new machine, seconds since 1970 (November 2023): tests that care
/// set it.
const CLOCK_START_SECONDS: u64 = 1_700_000_000;

/// Why an operation did nothing.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) kind: ZfsErrorKind,
    pub(super) items: Vec<ItemError>,
}

impl From<ZfsErrorKind> for Refusal {
    fn from(kind: ZfsErrorKind) -> Self {
        Self {
            kind,
            items: Vec::new(),
        }
    }
}

impl Refusal {
    /// Refuses if one of several objects has a reason. As a whole the
    /// operation then fails for the reason of the first.
    pub(super) fn unless_empty(items: Vec<ItemError>) -> Result<(), Self> {
        match items.first().map(|item| item.kind) {
            None => Ok(()),
            Some(kind) => Err(Self { kind, items }),
        }
    }
}

/// Never used twice on a machine, unlike names (renamed) and guids (a machine
/// that replicates to itself has each twice).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ObjectId(pub(super) u64);

#[derive(Debug)]
pub(super) struct Pool {
    pub(super) space: Arc<Space>,
    txg: CreateTxg,
}

#[derive(Debug, Clone)]
pub(super) struct SnapshotNode {
    pub(super) id: ObjectId,
    pub(super) short: ShortName,
    pub(super) guid: Guid,
    pub(super) createtxg: CreateTxg,
    pub(super) creation_seconds: u64,
    pub(super) content: Content,
    /// Names the encryption of the blocks; `None` without encryption.
    pub(super) ivset: Option<u64>,
    /// With the time of each, seconds since 1970.
    pub(super) hold_tags: BTreeMap<String, u64>,
}

#[derive(Debug, Clone)]
pub(super) struct BookmarkNode {
    pub(super) short: ShortName,
    pub(super) guid: Guid,
    pub(super) createtxg: CreateTxg,
    pub(super) ivset: Option<u64>,
}

#[derive(Debug)]
pub(super) struct DatasetNode {
    pub(super) id: ObjectId,
    pub(super) kind: DatasetKind,
    pub(super) guid: Guid,
    pub(super) head: Content,
    /// The snapshot it is a clone of.
    pub(super) origin: Option<ObjectId>,
    /// The dataset that keeps the key, itself or one above.
    pub(super) encryption_root: Option<ObjectId>,
    pub(super) settings: Settings,
    /// Oldest first.
    pub(super) snapshots: Vec<SnapshotNode>,
    /// Oldest first.
    pub(super) bookmarks: Vec<BookmarkNode>,
    /// What a receive into it left that was cut.
    pub(super) partial: Option<Partial>,
}

impl DatasetNode {
    pub(super) fn snapshot(&self, short: &ShortName) -> Option<&SnapshotNode> {
        self.snapshots.iter().find(|s| s.short == *short)
    }

    pub(super) fn snapshot_mut(&mut self, short: &ShortName) -> Option<&mut SnapshotNode> {
        self.snapshots.iter_mut().find(|s| s.short == *short)
    }
}

/// What a send or receive under way keeps busy.
#[derive(Debug)]
pub(super) enum Transfer {
    /// This snapshot is read.
    Sending(ObjectId),
    /// A dataset gets a snapshot.
    Receiving(Receiving),
}

/// A receive under way.
#[derive(Debug, Clone)]
pub(super) struct Receiving {
    pub(super) dataset: ObjectId,
    /// The newest snapshot of the dataset, on which the further one is built
    /// beside it. `None` if the dataset comes into being; until the end it is
    /// visible and empty.
    pub(super) branch: Option<ObjectId>,
    /// What has arrived, if that is to stay when the stream is cut.
    pub(super) kept: Option<Arrival>,
}

/// What a cut receive left, and what it is built on, as in [`Receiving`].
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) arrived: Arrived,
    pub(super) branch: Option<ObjectId>,
}

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) random: Random,
    pub(super) clock_seconds: u64,
    pub(super) pools: BTreeMap<String, Pool>,
    pub(super) datasets: BTreeMap<DatasetName, DatasetNode>,
    /// Root datasets of encryption whose key is loaded.
    pub(super) keys_loaded: BTreeSet<ObjectId>,
    /// Tags of the holds that end with the process.
    pub(super) temporary_tags: BTreeSet<String>,
    /// Sends and receives under way. Dropping the pipe end wakes them.
    pub(super) transfers: BTreeMap<ObjectId, (Transfer, PipeWriter)>,
    /// How many threads are inside a transfer, crashed ones included.
    pub(super) threads_inside: usize,
    /// The process is dead: no call of the trait is served.
    pub(super) crashed: bool,
    /// What is mounted where.
    pub(super) mounted: BTreeMap<PathBuf, DatasetName>,
    pub(super) log: Vec<Logged>,
    objects: u64,
}

impl Machine {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            clock_seconds: CLOCK_START_SECONDS,
            pools: BTreeMap::new(),
            datasets: BTreeMap::new(),
            keys_loaded: BTreeSet::new(),
            temporary_tags: BTreeSet::new(),
            transfers: BTreeMap::new(),
            threads_inside: 0,
            crashed: false,
            mounted: BTreeMap::new(),
            log: Vec::new(),
            objects: 0,
        }
    }

    pub(super) fn new_object(&mut self) -> ObjectId {
        self.objects += 1;
        ObjectId(self.objects)
    }

    pub(super) fn add_pool(&mut self, name: &str, capacity_bytes: u64) {
        // Pools are of different age, so that comparing the transaction groups
        // of two of them gives a wrong answer in tests as well.
        let txg = CreateTxg(4 + self.random.below(10_000));
        let space = Space::new(capacity_bytes);
        self.pools.insert(name.to_owned(), Pool { space, txg });
    }

    pub(super) fn pool(&self, name: &str) -> Result<&Pool, ZfsErrorKind> {
        self.pools.get(name).ok_or(ZfsErrorKind::NotFound)
    }

    /// Begins the next transaction group of a pool that is known to exist.
    pub(super) fn next_txg(&mut self, pool: &str) -> Result<CreateTxg, ZfsErrorKind> {
        let pool = self.pools.get_mut(pool).ok_or(ZfsErrorKind::NotFound)?;
        pool.txg.0 += 1;
        Ok(pool.txg)
    }

    pub(super) fn dataset(&self, name: &DatasetName) -> Result<&DatasetNode, ZfsErrorKind> {
        self.datasets.get(name).ok_or(ZfsErrorKind::NotFound)
    }

    pub(super) fn dataset_mut(
        &mut self,
        name: &DatasetName,
    ) -> Result<&mut DatasetNode, ZfsErrorKind> {
        self.datasets.get_mut(name).ok_or(ZfsErrorKind::NotFound)
    }

    pub(super) fn snapshot(&self, name: &SnapshotName) -> Result<&SnapshotNode, ZfsErrorKind> {
        self.dataset(&name.dataset)?
            .snapshot(&name.short)
            .ok_or(ZfsErrorKind::NotFound)
    }

    /// Where the dataset is now, if it still is.
    pub(super) fn name_of(&self, id: ObjectId) -> Option<&DatasetName> {
        let mut datasets = self.datasets.iter();
        datasets.find_map(|(name, node)| (node.id == id).then_some(name))
    }

    /// The dataset and snapshot that have this object, wherever they are now.
    pub(super) fn snapshot_of(
        &self,
        id: ObjectId,
    ) -> Option<(&DatasetName, &DatasetNode, &SnapshotNode)> {
        self.datasets.iter().find_map(|(name, node)| {
            let snapshot = node.snapshots.iter().find(|s| s.id == id)?;
            Some((name, node, snapshot))
        })
    }

    pub(super) fn within<'a>(
        &'a self,
        root: &'a DatasetName,
    ) -> impl Iterator<Item = (&'a DatasetName, &'a DatasetNode)> {
        self.datasets
            .iter()
            .filter(move |(name, _)| name.is_within(root))
    }

    fn running(&self) -> impl Iterator<Item = &Transfer> {
        self.transfers.values().map(|(transfer, _)| transfer)
    }

    pub(super) fn is_sending(&self, snapshot: ObjectId) -> bool {
        self.running()
            .any(|t| matches!(t, Transfer::Sending(id) if *id == snapshot))
    }

    fn receiving(&self) -> impl Iterator<Item = &Receiving> {
        self.running().filter_map(|transfer| match transfer {
            Transfer::Sending(_) => None,
            Transfer::Receiving(receiving) => Some(receiving),
        })
    }

    fn partials(&self) -> impl Iterator<Item = (ObjectId, &Partial)> {
        let nodes = self.datasets.values();
        nodes.filter_map(|node| Some((node.id, node.partial.as_ref()?)))
    }

    /// The receive into it that is under way.
    pub(super) fn receiving_into(&self, dataset: ObjectId) -> Option<&Receiving> {
        self.receiving().find(|r| r.dataset == dataset)
    }

    /// A receive into it is under way.
    pub(super) fn is_receiving(&self, dataset: ObjectId) -> bool {
        self.receiving_into(dataset).is_some()
    }

    /// It comes into being by a receive that has not ended.
    pub(super) fn is_incomplete(&self, dataset: ObjectId) -> bool {
        let mut running = self.receiving();
        let mut partials = self.partials();
        running.any(|r| r.dataset == dataset && r.branch.is_none())
            || partials.any(|(id, p)| id == dataset && p.branch.is_none())
    }

    /// A clone depends on it, be it the hidden one of a receive.
    pub(super) fn has_clone(&self, snapshot: ObjectId) -> bool {
        self.clones(snapshot) > 0
    }

    /// Datasets that began with it, and receives, which are such meanwhile.
    pub(super) fn clones(&self, snapshot: ObjectId) -> u64 {
        let clones = self
            .datasets
            .values()
            .filter(|d| d.origin == Some(snapshot));
        let running = self.receiving().filter(|r| r.branch == Some(snapshot));
        let cut = self.partials().filter(|(_, p)| p.branch == Some(snapshot));
        (clones.count() + running.count() + cut.count()) as u64
    }

    /// A receive ends without its snapshot.
    pub(super) fn give_up(&mut self, receiving: Receiving) {
        let left = receiving.kept.map(|arrival| arrival.copy());
        // ZFS keeps nothing if nothing was written yet.
        let left = left.filter(|arrived| !arrived.changes.is_empty());
        let branch = receiving.branch;
        match left {
            Some(arrived) => {
                let mut nodes = self.datasets.values_mut();
                if let Some(node) = nodes.find(|node| node.id == receiving.dataset) {
                    node.partial = Some(Partial { arrived, branch });
                }
            }
            None if branch.is_none() => {
                self.datasets.retain(|_, node| node.id != receiving.dataset);
            }
            None => {}
        }
    }

    /// The process dies: what only lived with it goes, now and completely.
    pub(super) fn crash(&mut self) {
        self.crashed = true;
        for (transfer, _wake) in std::mem::take(&mut self.transfers).into_values() {
            if let Transfer::Receiving(receiving) = transfer {
                self.give_up(receiving);
            }
        }
        let tags = std::mem::take(&mut self.temporary_tags);
        for snapshot in self.datasets.values_mut().flat_map(|d| &mut d.snapshots) {
            snapshot.hold_tags.retain(|tag, _| !tags.contains(tag));
        }
    }
}
