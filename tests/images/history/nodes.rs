//! Two nodes in this process: real pools, helpers and drivers of the engine.

use std::any::Any;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine::error::Family;
use engine::event::{Event, Observer};
use engine::helper::{Authorization, ClaimFolder, Helper, Workers, Workforce, serve};
use engine::name::{DatasetName, ShortName, SnapshotName};
use engine::peer::Peer;
use engine::protocol::hello::About;
use engine::stream::compress::Compression;
use engine::sync::config::{NodeName, Resource, Sends, Service, ServiceName, Target};
use engine::sync::moment::UtcSeconds;
use engine::sync::run::{
    Action, ActivityCheck, Command, Commands, Connector, Limits, Locking, Locks, Patience,
    Reaching, Running, Sync,
};
use engine::sync::selection::Selection;
use engine::sync::state::StateStore;
use engine::transport::local;
use engine::zfs::userland::{Contents, Image, ImagePool, Worker};
use engine::zfs::{Dataset, Pools, Scope, Zfs, ZfsErrorKind};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::images::lab::{Lab, kill, users_of};
use crate::program::{PATIENCE, ZFERRY};

/// A service that both may send.
const SERVICE: &str = "[DEFAULT]\nnodes = n0 n1\n[sync#1]\ntype = zfs\nintermediary = false\n\
    src@n0 = tank/data\ndst@n0 = backup/data\nsrc@n1 = backup/data\ndst@n1 = tank/data\n\
    target = nodes\n";

/// Sparse, and never filled.
const IMAGE_BYTES: u64 = 1 << 30;

/// Both nodes: number 0 has `tank`, number 1 has `backup`.
pub struct Nodes {
    pools: [Arc<Pools>; 2],
    roots: [&'static str; 2],
    states: PathBuf,
    service: Service,
    scratch: PathBuf,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub family: Option<Family>,
    pub told: String,
}

struct Silence;

impl Observer for Silence {
    fn event(&self, _: &Event) {}
}

fn about(node: &str) -> About {
    About {
        program: "zferry test".into(),
        node: node.into(),
        platform: "linux".into(),
        images: Vec::new(),
        clock: None,
    }
}

impl Nodes {
    pub fn new(lab: &Lab) -> Self {
        let worker = Worker::beside(Path::new(ZFERRY));
        let open = |pool: &str| {
            let image = Image {
                pool: pool.to_owned(),
                path: lab.file(pool),
            };
            let made = ImagePool::create(&worker, &image, IMAGE_BYTES);
            made.and_then(ImagePool::close).unwrap();
            Arc::new(Pools::open(&worker, &[image]).unwrap())
        };
        let name = ServiceName::parse("svc").unwrap();
        Self {
            pools: ["tank", "backup"].map(open),
            roots: ["tank/data", "backup/data"],
            states: lab.place.path("state"),
            service: Service::parse(&name, Path::new("svc"), SERVICE.as_bytes()).unwrap(),
            scratch: lab.place.path("scratch"),
        }
    }

    pub fn zfs(&self, node: usize) -> &Pools {
        &self.pools[node]
    }

    fn image(&self, node: usize) -> &ImagePool {
        let pool = self.roots[node].split('/').next().unwrap();
        self.pools[node].image(pool).unwrap()
    }

    pub fn volume(&self, node: usize, volume: &str) -> DatasetName {
        DatasetName::parse(&format!("{}/{volume}", self.roots[node])).unwrap()
    }

    pub fn snapshot(&self, node: usize, volume: &str, short: &str) -> SnapshotName {
        SnapshotName {
            dataset: self.volume(node, volume),
            short: ShortName::parse(short).unwrap(),
        }
    }

    pub fn root_snapshot(&self, node: usize, short: &str) -> SnapshotName {
        SnapshotName {
            dataset: DatasetName::parse(self.roots[node]).unwrap(),
            short: ShortName::parse(short).unwrap(),
        }
    }

    /// Creates the volume if need be, and replaces its content.
    pub fn put(&self, node: usize, volume: &str, bytes: &[u8]) {
        let name = self.volume(node, volume);
        self.zfs(node).create_ancestors(&name).unwrap();
        let mut file = std::fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&self.scratch)
            .unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        self.image(node).put(&name, file.into()).unwrap();
    }

    /// The content of `volume` or `volume@snapshot`.
    pub fn get(&self, node: usize, volume: &str, short: Option<&str>) -> Vec<u8> {
        let contents = match short {
            Some(short) => Contents::Snapshot(self.snapshot(node, volume, short)),
            None => Contents::Volume(self.volume(node, volume)),
        };
        let file = std::fs::File::create(&self.scratch).unwrap();
        self.image(node).get(&contents, file.into()).unwrap();
        std::fs::read(&self.scratch).unwrap()
    }

    pub fn destroy(&self, node: usize, volume: &str) {
        self.image(node)
            .destroy(&self.volume(node, volume))
            .unwrap();
    }

    /// What ZFS lists of the tree; empty before there is any.
    pub fn tree(&self, node: usize) -> Vec<Dataset> {
        let root = DatasetName::parse(self.roots[node]).unwrap();
        let tree = self.zfs(node).tree(&root, Scope::Recursive).unwrap();
        tree.unwrap_or_default()
    }

    /// Kills the worker of a node, if it has one at the moment.
    pub fn kill_worker(&self, node: usize) {
        users_of(&self.image(node).image().path, "zferry-zpool")
            .into_iter()
            .for_each(kill);
    }

    /// Whatever is asked first after that fails, and a new worker is there.
    pub fn revive(&self, node: usize) {
        let root = DatasetName::parse(self.roots[node]).unwrap();
        match self.zfs(node).tree(&root, Scope::One) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind, ZfsErrorKind::WorkerLost, "{error}"),
        }
    }

    /// No block of either pool is damaged.
    pub fn check(&self) {
        for node in [0, 1] {
            assert_eq!(self.image(node).check().unwrap().errors, 0, "node {node}");
        }
    }

    /// `zferry sync update` on a node.
    pub fn sync(&self, node: usize) -> Ended {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let name = NodeName::parse(&format!("n{node}")).unwrap();
        let states = StateStore::new(self.states.join(name.as_str()));
        let connector = Here { nodes: self, node };
        let report = runtime.block_on(
            Sync {
                service: &self.service,
                node: &name,
                action: Action::Update,
                selection: &Selection::default(),
                groups: &[],
                activity: ActivityCheck::Asked,
                loss: engine::plan::Loss::default(),
                states: &states,
                clock: &|| UtcSeconds(1000),
                zone: &TimeZone::UTC,
                connector: &connector,
                commands: &Alone,
                locks: &Alone,
                turns: 1,
                patience: Patience {
                    retry_for: Some(Duration::ZERO),
                    ..Patience::default()
                },
                observer: &Silence,
                compression: Compression::Adaptive,
                workers: Workers::Auto,
                limits: &Limits::new(None, Arc::new(DateTime::default)),
            }
            .run(),
        );
        match report {
            Err(error) => Ended {
                family: Some(error.family()),
                told: error.to_string(),
            },
            Ok(report) => {
                let resource = &report.resources[0];
                if let Some(error) = &resource.failure {
                    return Ended {
                        family: Some(error.family()),
                        told: error.to_string(),
                    };
                }
                match &resource.targets[0].outcome {
                    Ok(synced) => Ended {
                        family: None,
                        told: format!("{synced:?}"),
                    },
                    Err(error) => Ended {
                        family: Some(error.family()),
                        told: error.to_string(),
                    },
                }
            }
        }
    }
}

/// Both nodes, as a run on one of them reaches them.
struct Here<'a> {
    nodes: &'a Nodes,
    node: usize,
}

impl Here<'_> {
    async fn greet(&self, node: usize) -> Peer {
        let (near, far) = local::pair();
        let name = format!("n{node}");
        let helper = Helper {
            zfs: Arc::clone(&self.nodes.pools[node]) as Arc<dyn Zfs>,
            authorization: Authorization::everything(),
            states: Some(Arc::new(StateStore::new(self.nodes.states.join(&name)))),
            claims: Some(ClaimFolder::below(self.nodes.states.join(&name))),
            door: None,
            about: about(&name),
            patience: PATIENCE,
            workforce: Workforce::default(),
        };
        tokio::spawn(serve(far, helper));
        Peer::greet(&name, near, &about(&name), PATIENCE)
            .await
            .unwrap()
    }
}

impl Connector for Here<'_> {
    fn local(&self) -> Reaching<'_> {
        Box::pin(async { Ok(self.greet(self.node).await) })
    }

    fn reach<'a>(&'a self, _: &'a Target) -> Reaching<'a> {
        Box::pin(async { Ok(self.greet(1 - self.node).await) })
    }
}

/// No other run, and no commands in the configuration.
struct Alone;

impl Commands for Alone {
    fn run<'a>(&'a self, command: Command<'a>) -> Running<'a> {
        panic!("nothing is configured to be started: {command:?}")
    }
}

impl Locks for Alone {
    fn lock<'a>(&'a self, _: &'a Resource, _: &'a Sends) -> Locking<'a> {
        Box::pin(async { Ok(Box::new(()) as Box<dyn Any>) })
    }
}
