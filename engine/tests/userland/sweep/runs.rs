//! Runs over a world: a replication of what `a` has, or a sync of its service.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine::error::Family;
use engine::event::{Event, Observer};
use engine::helper::{Authorization, ClaimFolder, Helper, Workers, Workforce, serve};
use engine::hold::BaseHold;
use engine::name::ShortName;
use engine::peer::{Connections, Parallel, Peer};
use engine::plan::{Intermediary, Loss, Step};
use engine::protocol::hello::About;
use engine::replicate::{Job, OnConflict, Placement, SnapshotChoice, replicate};
use engine::stream::compress::Compression;
use engine::sync::config::{NodeName, Resource, Sends, Service, ServiceName, Target};
use engine::sync::moment::UtcSeconds;
use engine::sync::run::{
    Action, ActivityCheck, Command, Commands, ConnectFault, Connector, Limits, Locking, Locks,
    Patience, Reaching, Running, Sync,
};
use engine::sync::selection::Selection;
use engine::sync::state::{Mode, StateStore};
use engine::transport::{Link, Reopen, Reopening, local};
use engine::zfs::{Scope, SendMode, Zfs};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::faulty::Faulty;
use super::world::{ROOT, World, unlocked};
use crate::dataset;

/// Where a replication goes.
pub const COPY: &str = "tank/copy/data";
const PATIENCE: Duration = Duration::from_secs(30);

/// What a run brought: `true` for each stream that was a full one.
pub type Fulls = Vec<bool>;

struct Silent;

impl Observer for Silent {
    fn event(&self, _: &Event) {}
}

/// Carries chunks between two links until one of them ends, or the connection
/// breaks: then nothing more arrives, in either direction.
async fn carry(near: Link, far: Link, mut broken: tokio::sync::watch::Receiver<u64>) {
    let (mut from_near, to_near) = (near.inbound, near.outbound);
    let (mut from_far, to_far) = (far.inbound, far.outbound);
    let forth = async {
        while let Some(Ok(chunk)) = from_near.recv().await {
            if to_far.send(chunk).await.is_err() {
                break;
            }
        }
    };
    let back = async {
        while let Some(Ok(chunk)) = from_far.recv().await {
            if to_near.send(chunk).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        biased;
        _ = broken.changed() => {}
        () = forth => {}
        () = back => {}
    }
}

/// A replication by command, as far as these tests vary it.
pub struct Trip {
    /// The node with the copy.
    pub to: &'static str,
    pub loss: Loss,
    pub intermediary: Intermediary,
    pub on_conflict: OnConflict,
    /// Transfers under way at the same time.
    pub at_once: usize,
}

impl Default for Trip {
    fn default() -> Self {
        Self {
            to: "b",
            loss: Loss::default(),
            intermediary: Intermediary::Skip,
            on_conflict: OnConflict::Refuse,
            at_once: 1,
        }
    }
}

/// Where a helper can be had, as often as its machine is up.
struct Machine {
    name: String,
    zfs: Arc<Faulty>,
    state: PathBuf,
}

impl Machine {
    fn about(name: &str) -> About {
        About {
            program: "zferry test".into(),
            node: name.into(),
            platform: "files".into(),
            images: Vec::new(),
            clock: None,
        }
    }

    /// A connection to a new helper.
    fn link(&self) -> Result<Link, String> {
        if self.zfs.is_dead() {
            return Err(format!("{} is down", self.name));
        }
        let (driver, near) = local::pair();
        let (far, served) = local::pair();
        tokio::spawn(carry(near, far, self.zfs.connections.subscribe()));
        let helper = Helper {
            zfs: Arc::clone(&self.zfs) as Arc<dyn Zfs>,
            authorization: Authorization::everything(),
            states: Some(Arc::new(StateStore::new(&self.state))),
            claims: Some(ClaimFolder::below(&self.state)),
            door: None,
            about: Self::about(&self.name),
            patience: PATIENCE,
            workforce: Workforce::default(),
        };
        tokio::spawn(serve(served, helper));
        Ok(driver)
    }
}

impl Reopen for Machine {
    fn reopen(&self) -> Reopening<'_> {
        Box::pin(async { Ok(self.link()?) })
    }
}

impl World {
    fn machine(&self, name: &str) -> Machine {
        Machine {
            name: name.to_owned(),
            zfs: Arc::clone(&self.nodes[name].zfs),
            state: self.folder.path(&format!("state-{name}")),
        }
    }

    async fn connect(&self, name: &str, at_once: usize) -> Result<Peer, ConnectFault> {
        let fault = |text: String| ConnectFault {
            family: Family::Transient,
            source: text.into(),
            remedy: None,
        };
        let machine = self.machine(name);
        let link = machine.link().map_err(fault)?;
        let peer = Peer::greet(name, link, &Machine::about("driver"), PATIENCE).await;
        let parallel = Parallel {
            connections: Connections::Exactly(1),
            transfers: at_once,
        };
        let peer = peer.map_err(|error| fault(error.to_string()))?;
        Ok(peer.with_more(Arc::new(machine), parallel))
    }

    /// Runs `work` as a driver that may die. When this returns, nothing of it
    /// runs any more, on any machine.
    fn drive<T>(&self, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut driver = self.faults.driver.subscribe();
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = driver.changed() => Err("the driver died".to_owned()),
                done = work => done,
            }
        })
    }

    /// `zferry replicate`, of what `a` has.
    pub fn replicate(&self, trip: &Trip) -> Result<Fulls, String> {
        let job = Job {
            loss: trip.loss,
            intermediary: trip.intermediary,
            source: dataset(ROOT),
            target: dataset(COPY),
            snapshot: SnapshotChoice::Take {
                short: ShortName::parse(&format!("ours-{:020}", self.tick())).unwrap(),
                series: "ours-".into(),
            },
            scope: Scope::Recursive,
            mode: SendMode::Plain,
            placement: match trip.to {
                "a" => Placement::OneMachine,
                _ => Placement::TwoMachines,
            },
            compression: Compression::Adaptive,
            workers: Workers::Auto,
            limiter: None,
            base: BaseHold::default(),
            on_conflict: trip.on_conflict,
            rehearsal: false,
        };
        self.drive(async {
            let text = |fault: ConnectFault| fault.source.to_string();
            let mut source = self.connect("a", trip.at_once).await.map_err(text)?;
            let mut target = self.connect(trip.to, trip.at_once).await.map_err(text)?;
            let report = replicate(&job, &mut source, &mut target, &Silent).await;
            let report = report.map_err(|error| format!("{error}: {error:?}"))?;
            Ok(report
                .datasets
                .iter()
                .map(|d| d.step == Step::Full)
                .collect())
        })
    }

    /// `zferry sync` on `a`.
    pub fn sync(&self, action: Action) -> Result<Fulls, String> {
        let names: Vec<&str> = self.nodes.keys().copied().collect();
        let text = format!(
            "[DEFAULT]\nnodes = {}\n[sync#1]\ntype = zfs\nsrc = {ROOT}\ntarget = nodes\n{}",
            names.join(" "),
            self.config
        );
        let name = ServiceName::parse("svc").unwrap();
        let service = Service::parse(&name, Path::new("svc.conf"), text.as_bytes()).unwrap();
        let node = NodeName::parse("a").unwrap();
        let states = StateStore::new(self.folder.path("state-a"));
        let now = self.tick();
        let report = self.drive(async {
            let sync = Sync {
                service: &service,
                node: &node,
                action,
                loss: Loss::default(),
                selection: &Selection::default(),
                groups: &[],
                activity: ActivityCheck::Asked,
                states: &states,
                clock: &|| UtcSeconds(1_000 + now),
                zone: &TimeZone::UTC,
                connector: self,
                commands: self,
                locks: self,
                // One after the other, so that faults hit the same operation.
                turns: 1,
                observer: &Silent,
                compression: Compression::Adaptive,
                workers: Workers::Auto,
                limits: &Limits::new(None, Arc::new(DateTime::default)),
                // The next run is what is looked at, not the next attempt.
                patience: Patience {
                    retry_for: Some(Duration::ZERO),
                    ..Patience::default()
                },
            };
            sync.run().await.map_err(|error| error.to_string())
        })?;
        let mut fulls = Vec::new();
        for resource in &report.resources {
            if !resource.is_success() || resource.targets.len() + 1 != names.len() {
                return Err(format!("{resource:#?}"));
            }
            for target in &resource.targets {
                let synced = target.outcome.as_ref().map_err(ToString::to_string)?;
                fulls.push(synced.mode == Mode::Full);
            }
        }
        Ok(fulls)
    }
}

impl Connector for World {
    fn local(&self) -> Reaching<'_> {
        Box::pin(self.connect("a", 1))
    }

    fn reach<'a>(&'a self, target: &'a Target) -> Reaching<'a> {
        Box::pin(self.connect(target.node.as_str(), 1))
    }
}

impl Commands for World {
    fn run<'a>(&'a self, _: Command<'a>) -> Running<'a> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Locks for World {
    fn lock<'a>(&'a self, _: &'a Resource, _: &'a Sends) -> Locking<'a> {
        Box::pin(std::future::ready(Ok(unlocked())))
    }
}
