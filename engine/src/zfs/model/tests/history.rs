//! Random histories: whatever happened on the source, a received snapshot is
//! equal to what an independent copy of the history says it was.

use std::collections::BTreeMap;

use super::*;
use crate::name::Guid;

/// Histories, and steps in each.
const HISTORIES: u64 = 60;
const STEPS: u64 = 80;

type Blocks = BTreeMap<u64, Vec<u8>>;

/// What a dataset has to contain, kept without the model.
#[derive(Default)]
struct Expected {
    head: Blocks,
    snapshots: BTreeMap<Guid, Blocks>,
}

struct History {
    random: Random,
    source: Model,
    target: Model,
    expected: Expected,
    named: u64,
    synchronized: u64,
}

impl History {
    fn new(seed: u64) -> Self {
        let source = machine(seed, "tank");
        source.by_hand().create("tank/a").unwrap();
        Self {
            random: Random::new(seed),
            source,
            target: machine(seed + 1_000_000, "safe"),
            expected: Expected::default(),
            named: 0,
            synchronized: 0,
        }
    }

    fn name(&mut self, dataset: &str) -> String {
        self.named += 1;
        format!("{dataset}@n{}", self.named)
    }

    fn any_snapshot(&mut self) -> Option<(String, Guid)> {
        let snapshots = self.source.by_hand().look("tank/a").unwrap().snapshots;
        let at = self.random.below(snapshots.len() as u64);
        let snapshot = snapshots.get(usize::try_from(at).unwrap())?;
        Some((format!("tank/a@{}", snapshot.short), snapshot.guid))
    }

    fn step(&mut self) {
        match self.random.below(16) {
            0..=4 => self.write(),
            5..=6 => {
                let block = self.random.below(12);
                self.source.by_hand().discard("tank/a", block).unwrap();
                self.expected.head.remove(&block);
            }
            7..=9 => drop(self.take()),
            10 => {
                if let Some((name, _)) = self.any_snapshot() {
                    self.source.by_hand().destroy_snapshot(&name).unwrap();
                }
            }
            11 => {
                if let Some((name, _)) = self.any_snapshot() {
                    let mark = self.name("x").replace("x@", "");
                    self.source.by_hand().bookmark(&name, &mark).unwrap();
                }
            }
            12 => {
                if let Some((name, guid)) = self.any_snapshot() {
                    self.source.by_hand().rollback(&name).unwrap();
                    self.expected.head = self.expected.snapshots[&guid].clone();
                }
            }
            13 => self.disturb_target(),
            _ => self.synchronize(),
        }
    }

    fn write(&mut self) {
        let block = self.random.below(12);
        let length = usize::try_from(self.random.below(9000)).unwrap();
        let bytes = vec![self.random.below(256) as u8; length];
        self.source
            .by_hand()
            .write("tank/a", block, &bytes)
            .unwrap();
        self.expected.head.insert(block, bytes);
    }

    fn take(&mut self) -> String {
        let name = self.name("tank/a");
        let guid = self.source.by_hand().snapshot(&name).unwrap();
        let blocks = self.expected.head.clone();
        self.expected.snapshots.insert(guid, blocks);
        name
    }

    /// A foreign snapshot, a foreign change that is rolled back, or a rename.
    fn disturb_target(&mut self) {
        let target = self.target.clone();
        let hands = target.by_hand();
        let Some(newest) = hands.look("safe/a").and_then(|mut d| d.snapshots.pop()) else {
            return;
        };
        let newest = format!("safe/a@{}", newest.short);
        match self.random.below(3) {
            0 => {
                hands.snapshot(&self.name("safe/a")).unwrap();
            }
            1 => {
                hands.write("safe/a", 3, b"foreign").unwrap();
                hands.rollback(&newest).unwrap();
            }
            _ => {
                let name = self.name("x").replace("x@", "");
                hands.rename_snapshot(&newest, &name).unwrap();
            }
        }
    }

    /// Sends a new snapshot from the newest common snapshot or bookmark. If
    /// there is none any more, the target begins anew.
    fn synchronize(&mut self) {
        let to = self.take();
        let from = self.source.by_hand().look("tank/a").unwrap();
        let arrived = self.name("safe/a");
        let bases = self.target.by_hand().look("safe/a").map(|target| {
            let kept = |guid| target.snapshot_by_guid(guid).map(|s| s.short.clone());
            let snapshots = from.snapshots.iter().filter_map(|s| {
                let base = Base::Snapshot(from.name.snapshot(&s.short).unwrap());
                Some((s.createtxg, base, kept(s.guid)?))
            });
            let bookmarks = from.bookmarks.iter().filter_map(|b| {
                Some((b.createtxg, Base::Bookmark(b.short.clone()), kept(b.guid)?))
            });
            snapshots.chain(bookmarks).max_by_key(|(txg, _, _)| *txg)
        });
        let base = match bases {
            Some(Some((_, base, common))) => {
                // The source may have been rolled back behind later ones.
                let common = format!("safe/a@{common}");
                self.target.by_hand().rollback(&common).unwrap();
                Some(base)
            }
            Some(None) => {
                self.target.by_hand().destroy("safe/a").unwrap();
                None
            }
            None => None,
        };
        let receive = match base {
            Some(_) => next(&arrived),
            None => new(&arrived),
        };
        let send = SendRequest { base, ..full(&to) };
        transfer(&self.source, &send, &self.target, &receive).unwrap();
        assert_eq!(
            self.target.by_hand().digest(&arrived),
            self.source.by_hand().digest(&to)
        );
        self.synchronized += 1;
    }

    /// Both machines against the independent copy.
    fn check(&self) {
        for (model, name) in [(&self.source, "tank/a"), (&self.target, "safe/a")] {
            let Some(dataset) = model.by_hand().look(name) else {
                continue;
            };
            let mut last = None;
            for snapshot in dataset.snapshots {
                assert!(last < Some(snapshot.createtxg), "order of {name}");
                last = Some(snapshot.createtxg);
                if let Some(expected) = self.expected.snapshots.get(&snapshot.guid) {
                    let content = model
                        .by_hand()
                        .content(&format!("{name}@{}", snapshot.short));
                    assert_eq!(content.as_ref(), Some(expected));
                }
            }
        }
        let head = self.source.by_hand().content("tank/a");
        assert_eq!(head.as_ref(), Some(&self.expected.head));
    }
}

/// Names the history that was running if a check fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the failing history has seed {}", self.0);
        }
    }
}

#[test]
fn every_random_history_arrives_as_it_was() {
    let mut synchronized = 0;
    for seed in 1..=HISTORIES {
        let _seed = Seed(seed);
        let mut history = History::new(seed);
        for _ in 0..STEPS {
            history.step();
            history.check();
        }
        synchronized += history.synchronized;
        // Nothing is leaked: with the datasets goes all the room they took.
        for (model, name) in [(&history.source, "tank/a"), (&history.target, "safe/a")] {
            if model.by_hand().look(name).is_some() {
                model.by_hand().destroy(name).unwrap();
            }
            assert_eq!(model.by_hand().used_bytes(&name[..4]), 0, "{name}");
        }
    }
    assert!(synchronized > HISTORIES, "{synchronized}");
}
