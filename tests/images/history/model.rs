//! What two nodes hold, in memory, and the rules by which it changes.
//!
//! Each state of a volume has a number of its own, which only a write changes.
//! A run goes through if in every volume of the target the state is that of its
//! `@sent`, and source and target still know that one.

mod acts;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use engine::error::Family;

use super::Random;
use super::nodes::{Ended, Nodes};
use crate::images::lab::data;

/// Most volumes of a tree; many enough to be in different states.
const VOLUMES_MAX: usize = 5;
/// Size of a volume's content in bytes, before up to as much again.
const CONTENT_BYTES: usize = 60_000;
/// Least content of a write, in bytes: a block of a volume, which no plan takes
/// for the traces of a rollback.
const CHANGE_BYTES_MIN: usize = 20_000;
/// Most snapshots of a person's own at one volume.
const SNAPSHOTS_MAX: usize = 4;

/// A content, and which state of the volume it is.
#[derive(Debug, Clone)]
struct State {
    content: Vec<u8>,
    number: u64,
}

/// A volume on one node.
#[derive(Debug, Clone)]
struct Volume {
    head: State,
    /// Oldest first; names and states.
    snapshots: Vec<(String, State)>,
    /// The node has marked its last `@sent` by a bookmark.
    marked: bool,
}

impl Volume {
    fn find(&self, short: &str) -> Option<&State> {
        self.snapshots
            .iter()
            .find(|(name, _)| name == short)
            .map(|(_, state)| state)
    }

    fn remove(&mut self, short: &str) {
        self.snapshots.retain(|(name, _)| name != short);
    }

    /// Names that neither a run nor a person minds.
    fn own(&self) -> Vec<String> {
        let names = self.snapshots.iter().map(|(name, _)| name.clone());
        names.filter(|name| name.starts_with('u')).collect()
    }
}

/// About how long a run takes, in microseconds.
const CUT_MICROSECONDS_MAX: u64 = 150_000;

/// What happens to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Nothing,
    /// The worker of this node is killed after some time.
    Worker {
        victim: usize,
        delay: Duration,
    },
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    Synced,
    Broken,
    /// A worker was killed while it went on.
    Cut,
}

/// Both nodes and what is known about them.
pub struct World<'a> {
    nodes: &'a Nodes,
    random: Random,
    /// By name below the root of the tree.
    volumes: [BTreeMap<String, Volume>; 2],
    /// A run from there met a broken chain, and left `@tosend` at the root.
    left: [bool; 2],
    seen: HashMap<Ending, usize>,
    /// Makes names and contents that were never there before.
    counter: u64,
    now: u64,
}

impl<'a> World<'a> {
    pub fn new(nodes: &'a Nodes, random: Random) -> Self {
        let mut world = Self {
            nodes,
            random,
            volumes: Default::default(),
            left: [false; 2],
            seen: HashMap::new(),
            counter: 0,
            now: 0,
        };
        world.add_volume(0);
        world
    }

    pub fn seen(&self, ending: Ending) -> usize {
        self.seen.get(&ending).copied().unwrap_or_default()
    }

    fn fresh(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn fresh_state(&mut self) -> State {
        let number = self.fresh();
        let more = self.random.below(CONTENT_BYTES);
        State {
            content: data(number, CONTENT_BYTES + more),
            number,
        }
    }

    fn any_volume(&mut self, node: usize) -> Option<String> {
        let names: Vec<String> = self.volumes[node].keys().cloned().collect();
        self.random.pick(&names).cloned()
    }

    /// One step of the history, and a look at what it touched.
    pub fn step(&mut self, now: u64) {
        self.now = now;
        let node = self.random.below(2);
        match self.random.below(100) {
            0..30 => self.write(node),
            30..36 => self.add_volume(node),
            36..39 => self.destroy_volume(node),
            39..49 => self.take(node),
            49..55 => self.drop_own(node),
            55..60 => self.rename_own(node),
            60..66 => self.roll_back(node),
            66..69 => self.lose_sent(node),
            69..73 => self.cut(node),
            _ => self.sync(node),
        }
        self.check_listing();
    }

    fn volume(&mut self, node: usize, volume: &str) -> &mut Volume {
        self.volumes[node]
            .get_mut(volume)
            .expect("it was looked up")
    }

    /// Why a run from `from` cannot reach `volume` of the other node.
    fn obstacle(&self, from: usize, volume: &str) -> Option<String> {
        let here = &self.volumes[from][volume];
        let there = self.volumes[1 - from].get(volume)?;
        let Some(base) = there.find("sent") else {
            return Some(format!("{volume}: no @sent on the target"));
        };
        let ours = here.find("sent");
        if ours.is_some_and(|ours| ours.content != base.content) {
            return Some(format!("{volume}: another @sent"));
        }
        if ours.is_none() && !here.marked {
            return Some(format!("{volume}: no base on the source"));
        }
        if there.head.number != base.number {
            return Some(format!("{volume}: modified"));
        }
        None
    }

    /// A run during which one of the two workers is killed. It may end before
    /// that; otherwise the next one goes through.
    fn cut(&mut self, from: usize) {
        let victim = self.random.below(2);
        let delay = Duration::from_micros(self.random.next() % CUT_MICROSECONDS_MAX);
        self.run(from, Cut::Worker { victim, delay });
    }

    fn obstacles(&self, from: usize) -> Vec<String> {
        let volumes = self.volumes[from].keys();
        volumes
            .filter_map(|volume| self.obstacle(from, volume))
            .collect()
    }

    fn sync(&mut self, from: usize) {
        self.run(from, Cut::Nothing);
    }

    fn run(&mut self, from: usize, cut: Cut) {
        if self.volumes[from].is_empty() {
            return;
        }
        let names: Vec<String> = self.volumes[from].keys().cloned().collect();
        let obstacles = self.obstacles(from);
        let mut ended = self.cut_or_not(from, cut);
        if cut != Cut::Nothing && ended.family == Some(Family::Transient) {
            *self.seen.entry(Ending::Cut).or_default() += 1;
            ended = self.nodes.sync(from);
        }
        let expected = (!obstacles.is_empty()).then_some(Family::BrokenChain);
        assert_eq!(
            ended.family, expected,
            "step {}, n{from}: {}\n{obstacles:?}\n{self:#?}",
            self.now, ended.told
        );
        for volume in &names {
            // Whatever an earlier run had left is replaced.
            let model = self.volume(from, volume);
            model.remove("tosend");
            let taken = model.head.clone();
            let name = if obstacles.is_empty() {
                "sent"
            } else {
                "tosend"
            };
            if obstacles.is_empty() {
                model.remove("sent");
                model.marked = true;
            }
            model.snapshots.push((name.to_owned(), taken.clone()));
            if obstacles.is_empty() {
                self.received(1 - from, volume, taken);
            }
        }
        self.left[from] = !obstacles.is_empty();
        if obstacles.is_empty() {
            // What that node's own runs left goes with the first that reaches it.
            self.left[1 - from] = false;
            for volume in self.volumes[1 - from].values_mut() {
                volume.remove("tosend");
            }
        }
        let ending = if obstacles.is_empty() {
            Ending::Synced
        } else {
            Ending::Broken
        };
        *self.seen.entry(ending).or_default() += 1;
        self.check_contents(1 - from);
    }

    fn cut_or_not(&self, from: usize, cut: Cut) -> Ended {
        let Cut::Worker { victim, delay } = cut else {
            return self.nodes.sync(from);
        };
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| {
                // Chance, not order: any moment of a run will do.
                std::thread::sleep(delay);
                self.nodes.kill_worker(victim);
            });
            self.nodes.sync(from)
        });
        self.nodes.revive(victim);
        ended
    }

    fn received(&mut self, node: usize, volume: &str, state: State) {
        let there = self.volumes[node]
            .entry(volume.to_owned())
            .or_insert_with(|| Volume {
                head: state.clone(),
                snapshots: Vec::new(),
                marked: false,
            });
        there.remove("sent");
        // Left by a run of that node that met a broken chain.
        there.remove("tosend");
        // Whatever it marked as a source is older than what it has now.
        there.marked = false;
        there.head = state.clone();
        there.snapshots.push(("sent".to_owned(), state));
    }

    /// Both sides list what they should, in that order, and equal snapshots
    /// have equal guids.
    fn check_listing(&self) {
        for node in [0, 1] {
            let tree = self.nodes.tree(node);
            for (volume, model) in &self.volumes[node] {
                let name = self.nodes.volume(node, volume);
                let listed = tree.iter().find(|dataset| dataset.name == name);
                let listed = listed.unwrap_or_else(|| panic!("{name} is gone: {self:#?}"));
                let shorts: Vec<&str> = listed
                    .snapshots
                    .iter()
                    .map(|snapshot| snapshot.short.as_str())
                    .collect();
                let ours: Vec<&str> = model.snapshots.iter().map(|(name, _)| &**name).collect();
                assert_eq!(shorts, ours, "step {}: {name}\n{self:#?}", self.now);
            }
            let volumes = tree
                .iter()
                .filter(|dataset| dataset.name.ancestors().count() > 1);
            assert_eq!(
                volumes.count(),
                self.volumes[node].len(),
                "step {}",
                self.now
            );
        }
    }

    fn check_contents(&self, node: usize) {
        for (volume, model) in &self.volumes[node] {
            let at = |short| self.nodes.get(node, volume, short);
            let when = format!("step {}: {volume} on n{node}", self.now);
            assert!(at(None) == model.head.content, "{when}");
            if let Some(sent) = model.find("sent") {
                assert!(at(Some("sent")) == sent.content, "{when}@sent");
            }
        }
    }

    /// Every snapshot of every volume, and every block.
    pub fn check_everything(&self) {
        for node in [0, 1] {
            self.check_contents(node);
            for (volume, model) in &self.volumes[node] {
                for (short, state) in &model.snapshots {
                    let content = self.nodes.get(node, volume, Some(short));
                    assert!(content == state.content, "{volume}@{short} on n{node}");
                }
            }
        }
        self.nodes.check();
    }
}

impl std::fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (node, volumes) in self.volumes.iter().enumerate() {
            for (name, volume) in volumes {
                write!(f, "n{node} {name}: head {}", volume.head.number)?;
                for (short, state) in &volume.snapshots {
                    write!(f, ", {short} {}", state.number)?;
                }
                writeln!(f, "{}", if volume.marked { ", marked" } else { "" })?;
            }
        }
        Ok(())
    }
}
