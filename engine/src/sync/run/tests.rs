//! Whole runs of a service over machines in memory, with faults at every
//! operation of every machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use super::{Action, ConnectFault, Connector, Reaching, Sync, SyncReport};
use crate::error::Family;
use crate::event::{Event, Observer};
use crate::helper::{Authorization, Helper, serve};
use crate::name::Guid;
use crate::peer::Peer;
use crate::plan::Loss;
use crate::protocol::hello::About;
use crate::stream::compress::Compression;
use crate::sync::config::{NodeName, Service, ServiceName, Target};
use crate::sync::moment::UtcSeconds;
use crate::sync::state::{Mode, StateStore};
use crate::transport::local;
use crate::zfs::model::{Fault, Faults, Model};
use crate::zfs::{Dataset, ZfsErrorKind};

/// Plenty for what these tests write.
const POOL_BYTES: u64 = 1 << 24;

/// Machines `a`, `b`, `c` with one pool each, and where they keep states.
struct World {
    models: BTreeMap<String, Model>,
    states: TempDir,
    faults: Faults,
    service: Service,
    away: Mutex<Vec<String>>,
    seen: Recorder,
}

#[derive(Default, Clone)]
struct Recorder(Arc<Mutex<Vec<Event>>>);

impl Observer for Recorder {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

fn about(node: &str) -> About {
    About {
        program: "zferry test".into(),
        node: node.into(),
        platform: "memory".into(),
        images: Vec::new(),
    }
}

fn config(nodes: &[&str]) -> String {
    let mut text = format!(
        "[DEFAULT]\nnodes = {}\n[sync#1]\ntype = zfs\n",
        nodes.join(" ")
    );
    for node in nodes {
        text += &format!("src@{node} = pool{node}/data\n");
    }
    // Every node keeps the data under one name, as seen from any sender.
    text.replace("poola", "tank")
        .replace("poolb", "tank")
        .replace("poolc", "tank")
        + "target = nodes\n"
}

impl World {
    fn new(nodes: &[&str]) -> Self {
        let faults = Faults::default();
        let models = nodes
            .iter()
            .enumerate()
            .map(|(n, node)| {
                let model = Model::with_faults(n as u64 + 1, faults.clone());
                model.by_hand().add_pool("tank", POOL_BYTES).unwrap();
                ((*node).to_owned(), model)
            })
            .collect();
        let name = ServiceName::parse("svc").unwrap();
        let text = config(nodes);
        let service = Service::parse(&name, Path::new("svc.conf"), text.as_bytes()).unwrap();
        let world = Self {
            models,
            states: tempfile::tempdir().unwrap(),
            faults,
            service,
            away: Mutex::default(),
            seen: Recorder::default(),
        };
        let hands = world.models["a"].by_hand();
        for dataset in ["tank/data", "tank/data/x"] {
            hands.create(dataset).unwrap();
        }
        world
    }

    /// New data in every dataset of `node`'s tree.
    fn write(&self, node: &str, version: u8) {
        for dataset in ["tank/data", "tank/data/x"] {
            let hands = self.models[node].by_hand();
            hands
                .write(dataset, u64::from(version), &[version; 700])
                .unwrap();
            hands.write(dataset, 0, &[version; 100]).unwrap();
        }
    }

    fn sync(&self, node: &str, action: Action) -> Result<SyncReport, super::SyncError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let node = NodeName::parse(node).unwrap();
        let states = StateStore::new(self.states.path().join(node.as_str()));
        let connector = Machines {
            world: self,
            node: &node,
        };
        runtime.block_on(
            Sync {
                service: &self.service,
                node: &node,
                action,
                loss: Loss::default(),
                states: &states,
                clock: &|| UtcSeconds(1000),
                connector: &connector,
                observer: &self.seen,
                compression: Compression::Adaptive,
            }
            .run(),
        )
    }

    fn tree(&self, node: &str) -> Vec<Dataset> {
        ["tank/data", "tank/data/x"]
            .iter()
            .filter_map(|name| self.models[node].by_hand().look(name))
            .collect()
    }

    /// In every dataset both sides share a state: a snapshot of the target
    /// that the source has as snapshot or bookmark.
    fn ensure_a_base(&self, source: &str, target: &str, when: &str) {
        for (here, there) in self.tree(source).iter().zip(self.tree(target)) {
            let known = |guid: Guid| {
                here.snapshot_by_guid(guid).is_some()
                    || here.bookmarks.iter().any(|mark| mark.guid == guid)
            };
            assert!(
                there.snapshots.iter().any(|snapshot| known(snapshot.guid)),
                "no base for {} {when}\n{:#?}\n{:#?}",
                here.name,
                self.models[source].by_hand().list(),
                self.models[target].by_hand().list(),
            );
        }
    }

    /// Both sides have `sent`, the same one, with the source's present data,
    /// and nothing of a run that is under way.
    fn ensure_in_step(&self, source: &str, target: &str, when: &str) {
        let (here, there) = (self.tree(source), self.tree(target));
        assert_eq!(here.len(), there.len(), "{when}");
        for (here, there) in here.iter().zip(&there) {
            for side in [here, there] {
                let names: Vec<_> = side.snapshots.iter().map(|s| s.short.as_str()).collect();
                assert_eq!(names, ["sent"], "{} {when}", side.name);
            }
            assert_eq!(here.snapshots[0].guid, there.snapshots[0].guid, "{when}");
            let name = here.name.as_str();
            let digest = |node: &str| self.models[node].by_hand().digest(name).unwrap();
            assert_eq!(digest(source), digest(target), "content of {name} {when}");
            for side in [source, target] {
                let holds = self.models[side].by_hand().holds(&format!("{name}@sent"));
                assert!(holds.is_empty(), "{holds:?} {when}");
            }
        }
    }

    fn revive(&self) {
        for model in self.models.values() {
            if model.is_crashed() {
                model.revive();
            }
        }
    }
}

struct Machines<'a> {
    world: &'a World,
    node: &'a NodeName,
}

impl Machines<'_> {
    async fn connect(&self, node: &NodeName) -> Result<Peer, ConnectFault> {
        let fault = |text: String| ConnectFault {
            family: Family::Transient,
            source: text.into(),
            remedy: None,
        };
        if self.world.away.lock().unwrap().contains(&node.to_string()) {
            return Err(fault(format!("{node} is away")));
        }
        let (near, far) = local::pair();
        let helper = Helper {
            zfs: Arc::new(self.world.models[node.as_str()].clone()),
            authorization: Authorization::everything(),
            states: Some(Arc::new(StateStore::new(
                self.world.states.path().join(node.as_str()),
            ))),
            about: about(node.as_str()),
            patience: Duration::from_secs(20),
        };
        tokio::spawn(serve(far, helper));
        Peer::greet(
            node.as_str(),
            near,
            &about("driver"),
            Duration::from_secs(20),
        )
        .await
        .map_err(|error| fault(error.to_string()))
    }
}

impl Connector for Machines<'_> {
    fn local(&self) -> Reaching<'_> {
        Box::pin(self.connect(self.node))
    }

    fn reach<'a>(&'a self, target: &'a Target) -> Reaching<'a> {
        Box::pin(self.connect(&target.node))
    }
}

/// Everything was brought to every target.
fn all_well(report: &SyncReport) -> bool {
    report
        .resources
        .iter()
        .flat_map(|resource| &resource.targets)
        .all(|target| target.outcome.is_ok())
}

fn modes(report: &SyncReport) -> Vec<Mode> {
    report
        .resources
        .iter()
        .flat_map(|resource| &resource.targets)
        .filter_map(|target| target.outcome.as_ref().ok())
        .map(|synced| synced.mode)
        .collect()
}

#[test]
fn the_first_run_is_full_and_the_next_ones_are_incremental() {
    let world = World::new(&["a", "b"]);
    for (version, mode) in [
        (1, Mode::Full),
        (2, Mode::Incremental),
        (3, Mode::Incremental),
    ] {
        world.write("a", version);
        let report = world.sync("a", Action::Nodes).unwrap();
        assert!(all_well(&report), "{report:?}");
        assert_eq!(modes(&report), [mode]);
        world.ensure_in_step("a", "b", "after a run");
    }
}

#[test]
fn the_way_back_after_a_swap_of_roles_is_incremental() {
    let world = World::new(&["a", "b"]);
    world.write("a", 1);
    world.sync("a", Action::Nodes).unwrap();
    world.write("b", 2);
    let report = world.sync("b", Action::Update).unwrap();
    assert_eq!(modes(&report), [Mode::Incremental], "{report:?}");
    world.ensure_in_step("b", "a", "after the swap");
    world.write("a", 3);
    let report = world.sync("a", Action::Update).unwrap();
    assert_eq!(modes(&report), [Mode::Incremental], "{report:?}");
    world.ensure_in_step("a", "b", "after the second swap");
}

#[test]
fn a_target_that_is_away_holds_nobody_back_and_catches_up_incrementally() {
    let world = World::new(&["a", "b", "c"]);
    world.write("a", 1);
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    world.away.lock().unwrap().push("c".into());
    for version in 2..5 {
        world.write("a", version);
        let report = world.sync("a", Action::Update).unwrap();
        assert_eq!(modes(&report), [Mode::Incremental], "only b: {report:?}");
        world.ensure_in_step("a", "b", "while c is away");
        world.ensure_a_base("a", "c", "while c is away");
    }
    world.away.lock().unwrap().clear();
    world.write("a", 6);
    let report = world.sync("a", Action::Update).unwrap();
    assert_eq!(modes(&report), [Mode::Incremental; 2], "{report:?}");
    world.ensure_in_step("a", "b", "when c is back");
    world.ensure_in_step("a", "c", "when c is back");
}

#[test]
fn a_node_that_is_added_gets_a_full_and_the_others_stay_incremental() {
    let world = World::new(&["a", "b", "c"]);
    world.away.lock().unwrap().push("c".into());
    world.write("a", 1);
    world.sync("a", Action::Update).unwrap();
    world.away.lock().unwrap().clear();
    world.write("a", 2);
    let report = world.sync("a", Action::Update).unwrap();
    assert_eq!(modes(&report), [Mode::Incremental, Mode::Full]);
    world.ensure_in_step("a", "c", "after the full");
}

#[test]
fn a_copy_without_a_common_base_is_left_alone() {
    let world = World::new(&["a", "b"]);
    let hands = world.models["b"].by_hand();
    hands.create("tank/data").unwrap();
    hands.write("tank/data", 1, b"precious").unwrap();
    hands.snapshot("tank/data@sent").unwrap();
    let before = hands.list();
    for action in [Action::Update, Action::Nodes, Action::Full] {
        world.write("a", 1);
        let report = world.sync("a", action).unwrap();
        let error = report.resources[0].targets[0].outcome.as_ref().unwrap_err();
        assert_eq!(error.family(), Family::BrokenChain, "{error}");
        assert_eq!(world.models["b"].by_hand().list(), before);
    }
}

/// Fails operation 1, 2, 3 … of a run in the given way. After each fault a
/// base is there, and the next runs bring everything over without a full.
fn sweep(nodes: &[&str], action: Action, first_runs: u8, fault: Fault) -> u64 {
    for operation in 1.. {
        let world = World::new(nodes);
        for version in 0..first_runs {
            world.write("a", version + 1);
            let report = world.sync("a", Action::Update).unwrap();
            assert!(all_well(&report), "{report:#?}");
        }
        world.write("a", 10);
        let begin = world.faults.operations();
        world.faults.fail_at(begin + operation, fault);
        let when = format!("after {fault:?} at operation {operation} of {action:?}");
        let outcome = world.sync("a", action);
        if world.faults.struck().is_empty() {
            assert!(all_well(&outcome.unwrap()), "{when}");
            return operation - 1;
        }
        world.revive();
        if first_runs > 0 {
            for target in &nodes[1..] {
                world.ensure_a_base("a", target, &when);
            }
        }
        world.write("a", 11);
        let report = world.sync("a", Action::Update).unwrap();
        assert!(all_well(&report), "{when}: {report:#?}");
        if first_runs > 0 {
            assert!(
                modes(&report).iter().all(|mode| *mode == Mode::Incremental),
                "a full {when}"
            );
        }
        for target in &nodes[1..] {
            world.ensure_in_step("a", target, &when);
        }
    }
    unreachable!("a run has a bounded number of operations")
}

#[test]
fn an_incremental_run_may_be_cut_at_any_operation() {
    for fault in [
        Fault::CrashBefore,
        Fault::CrashMidway,
        Fault::CrashAfter,
        Fault::Error(ZfsErrorKind::Io),
        Fault::Error(ZfsErrorKind::Busy),
    ] {
        let points = sweep(&["a", "b"], Action::Update, 1, fault);
        assert!(points > 15, "only {points} operations were tried");
    }
}

#[test]
fn a_first_run_may_be_cut_at_any_operation() {
    for fault in [Fault::CrashBefore, Fault::CrashMidway, Fault::CrashAfter] {
        let points = sweep(&["a", "b"], Action::Nodes, 0, fault);
        assert!(points > 10, "only {points} operations were tried");
    }
}

#[test]
fn a_run_to_two_targets_may_be_cut_at_any_operation() {
    for fault in [Fault::CrashBefore, Fault::CrashMidway, Fault::CrashAfter] {
        let points = sweep(&["a", "b", "c"], Action::Update, 2, fault);
        assert!(points > 20, "only {points} operations were tried");
    }
}
