//! Machines with real pools, what is on them, and what has to hold afterwards.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engine::hold::HoldTag;
use engine::name::{BookmarkName, DatasetName};
use engine::zfs::userland::{Contents, Image, ImagePool};
use engine::zfs::{Dataset, NewBookmark, Pools, Scope, Snapshot, Zfs};

use super::fault::Faults;
use super::faulty::Faulty;
use crate::{Folder, content, dataset, file, snapshot, worker};

/// The root of what is replicated, on every node.
pub const ROOT: &str = "tank/data";
/// Its volumes; the last one is a clone of the first.
pub const VOLUMES: [&str; 3] = ["vol", "log", "vol-clone"];
/// By which a target of the service holds its base, if it does.
const BASE_TAG: &str = "zferry:base:sync:svc:sync.1";
/// Size of the content of a volume, bytes: some records, and two blocks of the
/// pipe.
const BYTES: usize = 150_000;
/// Size of an image, bytes; it is sparse.
const IMAGE_BYTES: u64 = 256 << 20;

/// One machine: a pool `tank`, and whatever may happen to it.
pub struct Node {
    pub pools: Arc<Pools>,
    pub zfs: Arc<Faulty>,
}

impl Node {
    /// The pool itself, which an operator sees: never counted, never struck.
    pub fn pool(&self) -> &ImagePool {
        self.pools.image("tank").unwrap()
    }

    pub fn tree(&self, root: &str) -> Vec<Dataset> {
        let tree = self.pools.tree(&dataset(root), Scope::Recursive).unwrap();
        tree.unwrap_or_default()
    }

    /// Destroys a dataset, all below it, and the holds on it.
    pub fn wipe(&self, root: &str) {
        for found in self.tree(root).into_iter().rev() {
            let pool = self.pool();
            if found.partial.is_some() && !found.snapshots.is_empty() {
                pool.abort_receive(&found.name).unwrap();
            }
            let names: Vec<_> = found
                .snapshots
                .iter()
                .map(|point| found.name.snapshot(&point.short).unwrap())
                .collect();
            for (name, point) in names.iter().zip(&found.snapshots) {
                for (tag, _) in match point.holds {
                    0 => Vec::new(),
                    _ => pool.holds(name).unwrap(),
                } {
                    let tag = HoldTag::parse(&tag).unwrap();
                    pool.release(std::slice::from_ref(name), &tag).unwrap();
                }
            }
            pool.destroy_snapshots(&names).unwrap();
            pool.destroy(&found.name).unwrap();
        }
    }

    /// What is not zferry's to touch: everything that is called `theirs`, by
    /// guid, for a copy that is moved aside takes it along.
    fn foreign(&self) -> BTreeSet<(String, u64)> {
        let mut found = BTreeSet::new();
        for node in self.tree("tank") {
            let last = node.name.as_str().rsplit('/').next().unwrap();
            if last == "theirs" {
                found.insert((last.to_owned(), node.guid.0));
            }
            let points = node.snapshots.iter().map(|p| (&p.short, p.guid));
            let marks = node.bookmarks.iter().map(|p| (&p.short, p.guid));
            for (short, guid) in points.chain(marks) {
                if short.as_str().starts_with("theirs") {
                    found.insert((short.to_string(), guid.0));
                }
            }
        }
        found
    }

    /// Every hold on anything, as guid and tag.
    fn holds(&self) -> BTreeSet<(u64, String)> {
        let mut found = BTreeSet::new();
        for node in self.tree("tank") {
            for point in node.snapshots.iter().filter(|point| point.holds > 0) {
                let name = node.name.snapshot(&point.short).unwrap();
                let holds = self.pool().holds(&name).unwrap();
                found.extend(holds.into_iter().map(|(tag, _)| (point.guid.0, tag)));
            }
        }
        found
    }
}

/// What was there before a run and has to be there afterwards.
type Planted = BTreeMap<&'static str, (BTreeSet<(String, u64)>, BTreeSet<(u64, String)>)>;

pub struct World {
    pub nodes: BTreeMap<&'static str, Node>,
    pub faults: Faults,
    pub folder: Folder,
    /// In `[sync#1]`.
    pub config: &'static str,
    /// Counts versions of the data and runs.
    version: Cell<u64>,
    expected: RefCell<BTreeMap<&'static str, Vec<u8>>>,
    planted: RefCell<Planted>,
}

impl World {
    /// `None` if no worker can run here.
    pub fn new(names: &[&'static str], config: &'static str, seed: u64) -> Option<Self> {
        let folder = Folder::in_memory();
        let faults = Faults::new(seed);
        let mut nodes = BTreeMap::new();
        for name in names {
            let image = Image {
                pool: "tank".to_owned(),
                path: folder.path(&format!("{name}.img")),
            };
            folder.create_image(&image, IMAGE_BYTES)?.close().unwrap();
            let pools = Arc::new(Pools::open(&worker(), &[image]).unwrap());
            let zfs = Arc::new(Faulty::new(Arc::clone(&pools), faults.clone()));
            nodes.insert(*name, Node { pools, zfs });
        }
        let world = Self {
            nodes,
            faults,
            folder,
            config,
            version: Cell::new(seed),
            expected: RefCell::default(),
            planted: RefCell::default(),
        };
        world.furnish();
        Some(world)
    }

    fn furnish(&self) {
        for node in self.nodes.values() {
            // Somebody else's dataset, with a hold of somebody else on it.
            let theirs = dataset("tank/theirs");
            node.pools
                .create_ancestors(&dataset("tank/theirs/x"))
                .unwrap();
            let kept = [theirs.snapshot(&"theirs".parse().unwrap()).unwrap()];
            node.pools.snapshot(&kept).unwrap();
            let tag = HoldTag::for_resource("elsewhere", "sync#7");
            node.pools.hold_kept(&kept, &tag).unwrap();
        }
        let source = &self.nodes["a"];
        source
            .pools
            .create_ancestors(&dataset("tank/data/x"))
            .unwrap();
        self.put("vol");
        self.put("log");
        // The origin of a clone, which is a snapshot of somebody else too.
        let origin = snapshot("tank/data/vol@theirs-origin");
        source
            .pools
            .snapshot(std::slice::from_ref(&origin))
            .unwrap();
        let clone = dataset("tank/data/vol-clone");
        source.pool().clone_snapshot(&origin, &clone).unwrap();
        self.put("vol-clone");
        let mark = NewBookmark {
            of: origin,
            short: "theirs-mark".parse().unwrap(),
        };
        source.pools.bookmark(&[mark]).unwrap();
    }

    /// Another number each time.
    pub fn tick(&self) -> u64 {
        self.version.set(self.version.get() + 1);
        self.version.get()
    }

    /// New content in a volume of the source.
    fn put(&self, volume: &'static str) {
        let bytes = content(self.tick(), BYTES);
        let from = file(&self.folder.path("in"), &bytes);
        let name = dataset(&format!("{ROOT}/{volume}"));
        self.nodes["a"].pool().put(&name, from).unwrap();
        self.expected.borrow_mut().insert(volume, bytes);
    }

    /// New data on the source.
    pub fn write(&self) {
        for volume in VOLUMES {
            self.put(volume);
        }
    }

    /// Content that nobody expects in a volume of a target.
    pub fn spoil(&self, node: &str, volume: &str) {
        let bytes = content(self.tick(), 40_000);
        let from = file(&self.folder.path("in"), &bytes);
        self.nodes[node].pool().put(&dataset(volume), from).unwrap();
    }

    /// Destroys the newest snapshot of each dataset of the source, if it is
    /// one of several.
    pub fn lose_newest(&self) {
        let source = &self.nodes["a"];
        for found in source.tree(ROOT) {
            let ours = |point: &&Snapshot| point.short.as_str().starts_with("ours-");
            if found.snapshots.iter().filter(ours).count() > 1 {
                let newest = found.snapshots.last().unwrap();
                let name = found.name.snapshot(&newest.short).unwrap();
                source.pools.destroy_snapshots(&[name]).unwrap();
            }
        }
    }

    /// Destroys what the source could be told from: every snapshot and bookmark
    /// of ours.
    pub fn forget(&self) {
        let source = &self.nodes["a"];
        for found in source.tree(ROOT) {
            let points = found.snapshots.iter();
            let points = points.filter(|point| point.short.as_str().starts_with("ours-"));
            let points = points.map(|point| found.name.snapshot(&point.short).unwrap());
            source
                .pools
                .destroy_snapshots(&points.collect::<Vec<_>>())
                .unwrap();
            let marks = found.bookmarks.iter();
            let marks = marks.filter(|mark| !mark.short.as_str().starts_with("theirs"));
            let marks = marks.map(|mark| BookmarkName {
                dataset: found.name.clone(),
                short: mark.short.clone(),
            });
            source
                .pools
                .destroy_bookmarks(&marks.collect::<Vec<_>>())
                .unwrap();
        }
    }

    /// Remembers what is not ours; to be called before a run that is struck.
    pub fn remember(&self) {
        let planted = self.nodes.iter();
        let planted = planted.map(|(name, node)| (*name, (node.foreign(), node.holds())));
        *self.planted.borrow_mut() = planted.collect();
    }

    /// Nothing of anybody else is missing.
    pub fn ensure_foreign(&self) {
        for (name, (foreign, _)) in self.planted.borrow().iter() {
            let now = self.nodes[name].foreign();
            let missing: Vec<_> = foreign.difference(&now).collect();
            assert!(missing.is_empty(), "{name} has lost {missing:?}");
        }
    }

    /// Nothing is held that was not before, and what was held still is. With
    /// `hold_base` each target holds its newest snapshots besides.
    pub fn ensure_holds(&self) {
        let is_base = |(_, tag): &(u64, String)| tag == BASE_TAG;
        for (name, (_, holds)) in self.planted.borrow().iter() {
            let mut expected = holds.clone();
            expected.retain(|held| !is_base(held));
            if *name != "a" && self.config.contains("hold_base = yes") {
                let newest = self.nodes[name].tree(ROOT).into_iter();
                let newest = newest.filter_map(|found| found.snapshots.last().map(|p| p.guid.0));
                expected.extend(newest.map(|guid| (guid, BASE_TAG.to_owned())));
            }
            assert_eq!(self.nodes[name].holds(), expected, "holds on {name}");
        }
    }

    /// In every dataset that has come to the target it has a snapshot which the
    /// source knows. `roots` are the places where the copy may be.
    pub fn ensure_a_base(&self, node: &str, roots: &[&str]) {
        let source = self.nodes["a"].tree(ROOT);
        let copies: Vec<Dataset> = roots
            .iter()
            .flat_map(|root| self.nodes[node].tree(root))
            .collect();
        for here in &source {
            let known = |dataset: &Dataset| {
                dataset.snapshots.iter().any(|point| {
                    here.snapshot_by_guid(point.guid).is_some()
                        || here.bookmarks.iter().any(|mark| mark.guid == point.guid)
                })
            };
            let below = here.name.as_str().strip_prefix(ROOT).unwrap();
            let is_copy = |dataset: &&Dataset| {
                let place = |root| dataset.name.as_str().strip_prefix(root) == Some(below);
                roots.iter().copied().any(place)
            };
            assert!(
                copies.iter().filter(is_copy).any(known),
                "{node} has no base for {}: {copies:#?}\nthe source: {here:#?}",
                here.name
            );
        }
    }

    /// The copy below `root` has the newest snapshot of the source, by guid,
    /// nothing after it, and the content that was written.
    pub fn ensure_arrived(&self, node: &str, root: &str) {
        let (source, target) = (self.nodes["a"].tree(ROOT), self.nodes[node].tree(root));
        assert_eq!(source.len(), target.len(), "{node}: {target:#?}");
        for (here, there) in source.iter().zip(&target) {
            let newest = here.snapshots.last().unwrap();
            let copy = there.snapshots.last().expect("a copy has a snapshot");
            assert_eq!(newest.guid, copy.guid, "{} on {node}", there.name);
            assert_eq!(newest.short, copy.short, "{} on {node}", there.name);
            assert!(there.partial.is_none(), "{there:#?}");
        }
        for (volume, bytes) in self.expected.borrow().iter() {
            let name = dataset(&format!("{root}/{volume}"));
            let path = self.folder.path("out");
            let into = std::fs::File::create(&path).unwrap();
            let pool = self.nodes[node].pool();
            pool.get(&Contents::Volume(name), into.into()).unwrap();
            let same = std::fs::read(path).unwrap() == *bytes;
            assert!(same, "{volume} differs on {node}");
        }
    }

    pub fn revive(&self) {
        self.faults.clear();
        for node in self.nodes.values() {
            node.zfs.revive();
        }
    }
}

/// The names of datasets right below `tank` that stand beside [`ROOT`].
pub fn copies(node: &Node) -> Vec<DatasetName> {
    let names = node.tree("tank").into_iter().map(|found| found.name);
    names
        .filter(|name| name.as_str().matches('/').count() == 1)
        .filter(|name| name.as_str().starts_with("tank/data.zferry-"))
        .collect()
}

/// Copies that were put aside.
pub fn archives(node: &Node) -> Vec<DatasetName> {
    let names = node.tree("tank/copy").into_iter().map(|found| found.name);
    names
        .filter(|name| name.as_str().matches('/').count() == 2)
        .filter(|name| name.as_str().contains(".zferry-archive-"))
        .collect()
}

/// What a lock is when nobody else is there.
pub fn unlocked() -> Box<dyn Any> {
    Box::new(())
}
