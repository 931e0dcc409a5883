//! Many small datasets between two pools in files: one after another, and
//! several at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use engine::helper::Workers;
use engine::name::{DatasetName, ShortName};
use engine::peer::{Connections, Parallel, Peer, TRANSFERS_DEFAULT};
use engine::replicate::{Job, Placement, SnapshotChoice, replicate};
use engine::stream::compress::Compression;
use engine::transport::{Reopen, Reopening};
use engine::zfs::userland::{Image, ImagePool, Worker};
use engine::zfs::{Pools, Scope, SendMode, Zfs};

use crate::images::{Silent, link, peer};
use crate::sample::spread;

const MIB: u64 = 1 << 20;
/// Room for a volume with its snapshots.
const ROOM_BYTES: u64 = MIB;
/// Bytes that are written into each.
const CONTENT_BYTES: usize = 20_000;

/// How many at a time.
const WAYS: [usize; 2] = [1, TRANSFERS_DEFAULT];

/// What a run finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    NothingThere,
    NothingChanged,
    SomethingWritten,
}

const BEFORE: [Before; 3] = [
    Before::NothingThere,
    Before::NothingChanged,
    Before::SomethingWritten,
];

/// More conversations with the same pools.
struct Again(Arc<Pools>);

impl Reopen for Again {
    fn reopen(&self) -> Reopening<'_> {
        let link = link("again", &self.0);
        Box::pin(async { Ok(link) })
    }
}

/// Measures `rounds` rounds with `count` volumes, and a listing of `listed`
/// file systems.
///
/// # Errors
/// If a replication fails, or leaves a dataset behind.
pub fn run(count: usize, listed: usize, rounds: usize, worker: Option<PathBuf>) -> Result<()> {
    let worker = match worker {
        Some(path) => Worker::new(path),
        None => Worker::beside(&std::env::current_exe()?),
    };
    let folder = tempfile::tempdir()?;
    let image = |pool: &str| Image {
        pool: pool.to_owned(),
        path: folder.path().join(format!("{pool}.img")),
    };
    let bytes = (count + listed) as u64 * ROOM_BYTES / 2 + 512 * MIB;
    let (tank, backup) = (image("tank"), image("backup"));
    ImagePool::create(&worker, &tank, bytes)?.close()?;
    let mut samples = Vec::new();
    for round in 0..rounds {
        let mut turn = WAYS;
        turn.rotate_left(round % WAYS.len());
        for at_once in turn {
            let _ = std::fs::remove_file(&backup.path);
            ImagePool::create(&worker, &backup, bytes)?.close()?;
            let pools = Pools::open(&worker, &[tank.clone(), backup.clone()])?;
            let pools = Arc::new(pools);
            for before in BEFORE {
                if before != Before::NothingChanged {
                    write_all(&pools, count, samples.len())?;
                }
                let begun = Instant::now();
                let run = samples.len();
                ensure!(
                    replicated(&pools, at_once, run)? == count + 1,
                    "datasets are missing"
                );
                samples.push((before, at_once, begun.elapsed().as_secs_f64()));
            }
        }
    }
    println!("{count} volumes, {CONTENT_BYTES} bytes in each; seconds (least-most)");
    for before in BEFORE {
        for at_once in WAYS {
            let of = samples
                .iter()
                .filter(|(what, ways, _)| (*what, *ways) == (before, at_once));
            let seconds: Vec<f64> = of.map(|(_, _, seconds)| *seconds).collect();
            println!("  {before:<18?} {at_once} at a time  {}", spread(&seconds));
        }
    }
    let seconds = listing(&Pools::open(&worker, &[tank])?, listed)?;
    println!("{listed} file systems listed in {seconds:.2} s");
    Ok(())
}

/// Other bytes in each `version`.
fn write_all(pools: &Pools, count: usize, version: usize) -> Result<()> {
    let pool = pools.image("tank").context("an open pool")?;
    let mut content = tempfile::tempfile()?;
    for n in 0..count {
        let mut bytes = vec![0; CONTENT_BYTES];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&n.to_le_bytes());
        hasher.update(&version.to_le_bytes());
        hasher.finalize_xof().fill(&mut bytes);
        content.set_len(0)?;
        std::io::Seek::rewind(&mut content)?;
        std::io::Write::write_all(&mut content, &bytes)?;
        std::io::Seek::rewind(&mut content)?;
        let name = DatasetName::parse(&format!("tank/many/v{n:05}"))?;
        pools.create_ancestors(&name)?;
        pool.put(&name, content.try_clone()?.into())?;
    }
    Ok(())
}

/// How many datasets have their new snapshot.
fn replicated(pools: &Arc<Pools>, at_once: usize, run: usize) -> Result<usize> {
    let job = Job {
        loss: engine::plan::Loss::default(),
        intermediary: engine::plan::Intermediary::Skip,
        on_conflict: engine::replicate::OnConflict::Refuse,
        base: engine::hold::BaseHold::default(),
        source: DatasetName::parse("tank/many")?,
        target: DatasetName::parse("backup/many")?,
        snapshot: SnapshotChoice::Take {
            short: ShortName::parse(&format!("run-{run:04}"))?,
            series: "run-".to_owned(),
        },
        scope: Scope::Recursive,
        mode: SendMode::Plain,
        placement: Placement::OneMachine,
        compression: Compression::Adaptive,
        workers: Workers::Auto,
        limiter: None,
        rehearsal: false,
    };
    let parallel = Parallel {
        connections: Connections::Exactly(1),
        transfers: at_once,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let with_more = |peer: Peer| peer.with_more(Arc::new(Again(Arc::clone(pools))), parallel);
        let mut source = with_more(peer("source", pools).await?);
        let mut target = with_more(peer("target", pools).await?);
        let report = Box::pin(replicate(&job, &mut source, &mut target, &Silent)).await?;
        Ok(report.datasets.len())
    })
}

fn listing(pools: &Pools, count: usize) -> Result<f64> {
    for n in 0..count {
        pools.create_ancestors(&DatasetName::parse(&format!("tank/listed/f{n:05}/x"))?)?;
    }
    let root = DatasetName::parse("tank/listed")?;
    let begun = Instant::now();
    let listed = pools.tree(&root, Scope::Recursive)?.unwrap_or_default();
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(count == 0 || listed.len() == count + 1, "some are missing");
    Ok(seconds)
}
