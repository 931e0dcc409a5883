//! Machines in memory, a service on them, and what has to hold afterwards.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

use jiff::tz::TimeZone;

use super::super::{
    Action, ActivityCheck, ConnectFault, Connector, Limits, Patience, Reaching, Rehearsal,
    ResourceReport, Sync, SyncError, SyncReport,
};
use super::commanded::Commanded;
use crate::error::Family;
use crate::event::{Event, Observer};
use crate::helper::{
    Authorization, ClaimFolder, Helper, Reach, StateKeeper, Workers, Workforce, serve,
};
use crate::limit::{BandwidthLimit, WallClock};
use crate::name::Guid;
use crate::peer::{Peer, wire};
use crate::plan::Loss;
use crate::protocol::hello::About;
use crate::stream::compress::Compression;
use crate::sync::config::{NodeName, Service, ServiceName, Target, TargetKind};
use crate::sync::moment::UtcSeconds;
use crate::sync::selection::Selection;
use crate::sync::state::{Mode, StateStore};
use crate::transport::local;
use crate::zfs::Dataset;
use crate::zfs::model::{Faults, Model};

const PATIENCE: Duration = Duration::from_secs(20);

/// By which a target holds its base.
pub(super) const BASE_TAG: &str = "zferry:base:sync:svc:sync.1";

/// Plenty for what these tests write.
pub(super) const POOL_BYTES: u64 = 1 << 24;

/// Machines `a`, `b`, `c` with one pool each, and where they keep states.
pub(super) struct World {
    pub(super) models: BTreeMap<String, Model>,
    pub(super) states: TempDir,
    pub(super) faults: Faults,
    pub(super) service: Service,
    pub(super) loss: Loss,
    pub(super) away: Mutex<Vec<String>>,
    /// How often a node is not there before it is.
    pub(super) absences: Mutex<BTreeMap<String, u32>>,
    pub(super) seen: Recorder,
    pub(super) selection: Selection,
    pub(super) groups: Vec<TargetKind>,
    pub(super) activity: ActivityCheck,
    /// One after the other, so that faults hit the same operation.
    pub(super) turns: usize,
    pub(super) patience: Patience,
    /// The clock stands while anybody is busy.
    pub(super) paused: bool,
    /// Nodes that answer the greeting and nothing after it.
    pub(super) mute: Mutex<Vec<String>>,
    /// Nodes that tell this whatever state they are asked for.
    pub(super) liars: Mutex<BTreeMap<String, Arc<Liar>>>,
    pub(super) commands: Commanded,
    pub(super) now: Mutex<u64>,
    /// Targets hold their base between two runs.
    pub(super) holds_base: bool,
    /// What the command line says of bandwidth.
    pub(super) limit: Option<BandwidthLimit>,
}

#[derive(Default, Clone)]
pub(super) struct Recorder(
    pub(super) Arc<Mutex<Vec<Event>>>,
    /// When each came.
    pub(super) Arc<Mutex<Vec<Instant>>>,
);

impl Observer for Recorder {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
        self.1.lock().unwrap().push(Instant::now());
    }
}

fn about(node: &str) -> About {
    About {
        program: "zferry test".into(),
        node: node.into(),
        platform: "memory".into(),
        images: Vec::new(),
        clock: None,
    }
}

/// A clock on the wall that always shows the same.
fn wall() -> WallClock {
    Arc::new(jiff::civil::DateTime::default)
}

pub(super) fn config(nodes: &[&str]) -> String {
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
    pub(super) fn new(nodes: &[&str]) -> Self {
        Self::with(nodes, "")
    }

    /// `more` goes into the resource's section.
    pub(super) fn with(nodes: &[&str], more: &str) -> Self {
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
        let text = config(nodes) + more;
        let service = Service::parse(&name, Path::new("svc.conf"), text.as_bytes()).unwrap();
        let world = Self {
            models,
            states: tempfile::tempdir().unwrap(),
            faults,
            service,
            loss: Loss::default(),
            away: Mutex::default(),
            absences: Mutex::default(),
            seen: Recorder::default(),
            selection: Selection::default(),
            groups: Vec::new(),
            activity: ActivityCheck::Asked,
            turns: 1,
            patience: Patience {
                retry_for: Some(Duration::ZERO),
                ..Patience::default()
            },
            paused: false,
            mute: Mutex::default(),
            liars: Mutex::default(),
            commands: Commanded::default(),
            now: Mutex::new(1000),
            holds_base: more.contains("hold_base = yes"),
            limit: None,
        };
        let hands = world.models["a"].by_hand();
        for dataset in ["tank/data", "tank/data/x"] {
            hands.create(dataset).unwrap();
        }
        world
    }

    /// The same machines with this configuration.
    pub(super) fn configure(&mut self, text: &str) {
        let name = ServiceName::parse("svc").unwrap();
        self.service = Service::parse(&name, Path::new("svc.conf"), text.as_bytes()).unwrap();
    }

    /// The configuration of [`Self::new`] with more in `[DEFAULT]` and in the
    /// resource.
    pub(super) fn configured(nodes: &[&str], defaults: &str, resource: &str) -> Self {
        let mut world = Self::new(nodes);
        let text = config(nodes).replace("[sync#1]", &format!("{defaults}\n[sync#1]"));
        world.configure(&format!("{text}{resource}\n"));
        world
    }

    /// New data in every dataset of `node`'s tree.
    pub(super) fn write(&self, node: &str, version: u8) {
        for dataset in ["tank/data", "tank/data/x"] {
            let hands = self.models[node].by_hand();
            hands
                .write(dataset, u64::from(version), &[version; 700])
                .unwrap();
            hands.write(dataset, 0, &[version; 100]).unwrap();
        }
    }

    pub(super) fn sync(&self, node: &str, action: Action) -> Result<SyncReport, SyncError> {
        self.with_sync(node, action, async |sync| sync.run().await)
    }

    /// The steps that were told, `node: command`, and forgets them.
    pub(super) fn steps(&self) -> Vec<String> {
        let events = std::mem::take(&mut *self.seen.0.lock().unwrap());
        self.seen.1.lock().unwrap().clear();
        let steps = events.into_iter().filter_map(|event| match event {
            Event::Step { peer, command } => Some(format!("{peer}: {command}")),
            _ => None,
        });
        steps.collect()
    }

    /// What a run would do.
    pub(super) fn rehearse(&self, node: &str, action: Action) -> Rehearsal {
        let rehearsed = self.with_sync(node, action, async |sync| sync.rehearse().await);
        rehearsed.unwrap()
    }

    pub(super) fn with_sync<R>(
        &self,
        node: &str,
        action: Action,
        work: impl AsyncFnOnce(&Sync<'_>) -> R,
    ) -> R {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(self.paused)
            .build()
            .unwrap();
        let node = NodeName::parse(node).unwrap();
        let states = StateStore::new(self.states.path().join(node.as_str()));
        let connector = Machines {
            world: self,
            node: &node,
        };
        runtime.block_on(work(&Sync {
            service: &self.service,
            node: &node,
            action,
            loss: self.loss,
            selection: &self.selection,
            groups: &self.groups,
            activity: self.activity,
            states: &states,
            clock: &|| UtcSeconds(*self.now.lock().unwrap()),
            zone: &TimeZone::UTC,
            connector: &connector,
            commands: &self.commands,
            locks: &self.commands,
            turns: self.turns,
            patience: self.patience,
            observer: &self.seen,
            compression: Compression::Adaptive,
            workers: Workers::Auto,
            limits: &Limits::new(self.limit.clone(), wall()),
        }))
    }

    pub(super) fn tree(&self, node: &str) -> Vec<Dataset> {
        ["tank/data", "tank/data/x"]
            .iter()
            .filter_map(|name| self.models[node].by_hand().look(name))
            .collect()
    }

    /// In every dataset both sides share a state: a snapshot of the target
    /// that the source has as snapshot or bookmark.
    pub(super) fn ensure_a_base(&self, source: &str, target: &str, when: &str) {
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
    pub(super) fn ensure_in_step(&self, source: &str, target: &str, when: &str) {
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
                let expected: &[&str] = match side == target && self.holds_base {
                    true => &[BASE_TAG],
                    false => &[],
                };
                assert_eq!(holds, expected, "{name} on {side} {when}");
            }
        }
    }

    pub(super) fn revive(&self) {
        for model in self.models.values() {
            if model.is_crashed() {
                model.revive();
            }
        }
    }
}

/// Keeps no state, and tells one that nobody gave it.
pub(super) struct Liar {
    pub(super) told: String,
    pub(super) given: Mutex<Vec<String>>,
}

impl StateKeeper for Liar {
    fn put(&self, _: &str, _: &str, state: &str, _: Reach<'_>) -> Result<(), String> {
        self.given.lock().unwrap().push(state.to_owned());
        Ok(())
    }

    fn get(&self, _: &str, _: &str, _: Reach<'_>) -> Result<Option<String>, String> {
        Ok(Some(self.told.clone()))
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
        if let Some(left) = self.world.absences.lock().unwrap().get_mut(node.as_str())
            && *left > 0
        {
            *left -= 1;
            return Err(fault(format!("{node} is not there yet")));
        }
        let (near, far) = local::pair();
        if self.world.mute.lock().unwrap().contains(&node.to_string()) {
            let (about, driver) = (about(node.as_str()), about("driver"));
            tokio::spawn(async move {
                let greeted = wire::handshake(far, &about, PATIENCE).await;
                std::future::pending::<()>().await;
                drop(greeted);
            });
            let greeted = Peer::greet(node.as_str(), near, &driver, PATIENCE);
            return greeted.await.map_err(|error| fault(error.to_string()));
        }
        let helper = Helper {
            zfs: Arc::new(self.world.models[node.as_str()].clone()),
            authorization: Authorization::everything(),
            states: Some(match self.world.liars.lock().unwrap().get(node.as_str()) {
                Some(liar) => Arc::clone(liar) as Arc<dyn StateKeeper>,
                None => Arc::new(StateStore::new(
                    self.world.states.path().join(node.as_str()),
                )),
            }),
            claims: Some(ClaimFolder::below(
                self.world.states.path().join(node.as_str()),
            )),
            door: None,
            about: about(node.as_str()),
            patience: Duration::from_secs(20),
            workforce: Workforce::default(),
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
pub(super) fn all_well(report: &SyncReport) -> bool {
    report.resources.iter().all(ResourceReport::is_success)
}

pub(super) fn modes(report: &SyncReport) -> Vec<Mode> {
    report
        .resources
        .iter()
        .flat_map(|resource| &resource.targets)
        .filter_map(|target| target.outcome.as_ref().ok())
        .map(|synced| synced.mode)
        .collect()
}
