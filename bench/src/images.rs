//! The engine between two pools in files.
//!
//! `bare` is what such pools can do: one thread sends into a pipe, another
//! receives from it, and nothing checks anything. The engine's frames, hashes
//! and compression come on top, in the same process and over the same workers,
//! so the ratio is what the engine costs.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use engine::event::{Event, Observer};
use engine::helper::{Authorization, Helper, Workers, Workforce, serve};
use engine::name::{DatasetName, ShortName, SnapshotName};
use engine::peer::Peer;
use engine::protocol::hello::About;
use engine::replicate::{Job, Placement, SnapshotChoice, replicate};
use engine::stream::compress::Compression;
use engine::stream::record::{BeginRecord, RECORD_BYTES};
use engine::transport::{Link, local};
use engine::zfs::userland::{Image, ImagePool, Worker};
use engine::zfs::{
    DatasetKind, Landing, OnCut, Pools, ReceiveRequest, Scope, SendMode, SendRequest, Zfs,
};

use crate::sample::{self, Sample};

const MIB: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

const BARE: &str = "bare";
const ENGINE: &str = "engine, as it comes";
const METHODS: [&str; 2] = [BARE, ENGINE];

/// Hears nothing.
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: &Event) {}
}

/// Measures `rounds` rounds on a volume with `mib` MiB that do not compress.
///
/// # Errors
/// If a replication fails or its copy has another guid.
pub fn run(mib: u64, rounds: usize, worker: Option<PathBuf>) -> Result<()> {
    let worker = match worker {
        Some(path) => Worker::new(path),
        None => Worker::beside(&std::env::current_exe()?),
    };
    let folder = tempfile::tempdir()?;
    let tank = Image {
        pool: "tank".to_owned(),
        path: folder.path().join("tank.img"),
    };
    ImagePool::create(&worker, &tank, 2 * mib * MIB + 256 * MIB)?.close()?;
    let from: SnapshotName = SnapshotName::parse("tank/vol@a")?;
    {
        let pools = Pools::open(&worker, std::slice::from_ref(&tank))?;
        let content = folder.path().join("content");
        std::fs::write(&content, noise(mib * MIB))?;
        let file = std::fs::File::open(&content)?;
        let pool = pools.image("tank").context("an open pool")?;
        pool.put(&from.dataset, file.into())?;
        pools.snapshot(std::slice::from_ref(&from))?;
        std::fs::remove_file(content)?;
        pools.close()?;
    }
    println!("{mib} MiB in a volume, incompressible; both pools in files, one process");
    let mut samples = Vec::new();
    for round in 0..rounds {
        let mut turn = METHODS;
        turn.rotate_left(round % METHODS.len());
        for method in turn {
            // A new target each time, so that none inherits a fuller pool.
            let target = fresh(&worker, folder.path(), mib)?;
            let pools = Pools::open(&worker, &[tank.clone(), target.clone()])?;
            warm_up(&pools, &from)?;
            let pools = Arc::new(pools);
            let begun = Instant::now();
            match method {
                BARE => bare(&pools, &from)?,
                _ => engine(&pools, &from)?,
            }
            let seconds = begun.elapsed().as_secs_f64();
            check(&pools, &from)?;
            samples.push(Sample {
                method,
                round,
                seconds,
            });
            drop(pools);
            std::fs::remove_file(target.path)?;
        }
    }
    sample::print(&samples, &METHODS, BARE, mib);
    Ok(())
}

fn fresh(worker: &Worker, folder: &Path, mib: u64) -> Result<Image> {
    let image = Image {
        pool: "backup".to_owned(),
        path: folder.join("backup.img"),
    };
    ImagePool::create(worker, &image, 2 * mib * MIB + 256 * MIB)?.close()?;
    Ok(image)
}

/// Nobody's first read shall come from the disk.
fn warm_up(pools: &Pools, from: &SnapshotName) -> Result<()> {
    let (mut reader, writer) = std::io::pipe()?;
    thread::scope(|scope| {
        let sent = scope.spawn(|| pools.send(&send_request(from), writer.into()));
        std::io::copy(&mut reader, &mut std::io::sink())?;
        sent.join().expect("a send does not panic")?;
        Ok(())
    })
}

fn send_request(snapshot: &SnapshotName) -> SendRequest {
    SendRequest {
        snapshot: snapshot.clone(),
        base: None,
        mode: SendMode::Plain,
        resume: None,
    }
}

fn target() -> DatasetName {
    DatasetName::parse("backup/vol").expect("a dataset name")
}

fn bare(pools: &Pools, from: &SnapshotName) -> Result<()> {
    let (mut reader, writer) = std::io::pipe()?;
    thread::scope(|scope| {
        let sent = scope.spawn(|| pools.send(&send_request(from), writer.into()));
        let mut begin = [0; RECORD_BYTES];
        reader.read_exact(&mut begin)?;
        let begin = BeginRecord::parse(&begin)?;
        let request = ReceiveRequest {
            snapshot: target().snapshot(&from.short)?,
            landing: Landing::Create,
            kind: DatasetKind::Volume,
            properties: Vec::new(),
            origin: None,
            on_cut: OnCut::Discard,
        };
        pools.receive(&request, &begin, reader.into())?;
        sent.join().expect("a send does not panic")?;
        Ok(())
    })
}

fn engine(pools: &Arc<Pools>, from: &SnapshotName) -> Result<()> {
    let job = Job {
        loss: engine::plan::Loss::default(),
        intermediary: engine::plan::Intermediary::Skip,
        on_conflict: engine::replicate::OnConflict::Refuse,
        base: engine::hold::BaseHold::default(),
        source: from.dataset.clone(),
        target: target(),
        snapshot: SnapshotChoice::Existing(from.short.clone()),
        scope: Scope::One,
        mode: SendMode::Plain,
        placement: Placement::OneMachine,
        compression: Compression::Adaptive,
        workers: Workers::Auto,
        limiter: None,
        rehearsal: false,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut source = peer("source", pools).await?;
        let mut target = peer("target", pools).await?;
        replicate(&job, &mut source, &mut target, &Silent).await?;
        Ok(())
    })
}

fn about(name: &str) -> About {
    About {
        program: "bench".to_owned(),
        node: name.to_owned(),
        platform: String::new(),
        images: Vec::new(),
        clock: None,
    }
}

/// A helper of these pools, in this process.
pub fn link(name: &str, pools: &Arc<Pools>) -> Link {
    let (near, far) = local::pair();
    let helper = Helper {
        zfs: Arc::clone(pools) as Arc<dyn Zfs>,
        authorization: Authorization::everything(),
        states: None,
        claims: None,
        door: None,
        about: about(name),
        patience: PATIENCE,
        workforce: Workforce::default(),
    };
    tokio::spawn(serve(far, helper));
    near
}

/// A conversation with it.
pub async fn peer(name: &str, pools: &Arc<Pools>) -> Result<Peer> {
    Ok(Peer::greet(name, link(name, pools), &about(name), PATIENCE).await?)
}

fn check(pools: &Pools, from: &SnapshotName) -> Result<()> {
    let guid = |name: &DatasetName, short: &ShortName| {
        let tree = pools.tree(name, Scope::One)?;
        let dataset = tree.and_then(|tree| tree.into_iter().next());
        let dataset = dataset.with_context(|| format!("{name} is missing"))?;
        let snapshot = dataset
            .snapshot_by_name(short)
            .map(|snapshot| snapshot.guid);
        snapshot.with_context(|| format!("{name}@{short} is missing"))
    };
    let (sent, received) = (
        guid(&from.dataset, &from.short)?,
        guid(&target(), &from.short)?,
    );
    ensure!(sent == received, "{received} was received, {sent} was sent");
    Ok(())
}

fn noise(bytes: u64) -> Vec<u8> {
    let mut content = vec![0; usize::try_from(bytes).expect("memory holds the data")];
    let hasher = blake3::Hasher::new();
    hasher.finalize_xof().fill(&mut content);
    content
}
