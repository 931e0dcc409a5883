//! Exercises every call of this crate against a real kernel module and checks
//! what it did, with zfs(8) as an independent witness.
//!
//! ```text
//! truncate -s 256M /tmp/a && zpool create zferry_test_a /tmp/a
//! cargo run -p libzfs --example probe -- zferry_test_a
//! ```
//!
//! It creates and destroys datasets in that pool, whose name must begin with
//! `zferry_test_`. The pool itself is the caller's. Exit status 0 if every
//! claim held.
#![expect(clippy::print_stdout, reason = "a program, its report is its output")]

mod bookmarks;
mod encryption;
mod holds;
mod pipes;
mod properties;
mod resume;
mod snapshots;
mod streams;
mod trees;

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use libzfs::{Core, Error, ErrorKind};

/// Only pools whose name begins so are touched.
const SAFE_PREFIX: &str = "zferry_test_";

/// How long something that the kernel does by itself may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the cases share.
struct Probe {
    core: Core,
    pool: String,
}

type Case = fn(&Probe) -> Result<()>;

const CASES: &[(&str, Case)] = &[
    ("pools and versions", trees::pools_and_versions),
    ("create and walk a tree", trees::create_and_walk),
    ("list by several threads", trees::list_by_several_threads),
    ("take and destroy snapshots", snapshots::take_and_destroy),
    ("list snapshots", snapshots::list),
    ("rename snapshots", snapshots::rename),
    ("bookmarks", bookmarks::all),
    ("holds that last", holds::permanent),
    ("holds that end with the guard", holds::guarded),
    (
        "holds that end with the process",
        holds::of_a_killed_process,
    ),
    ("property tables and parsing", properties::tables),
    ("properties of a receive", properties::of_a_receive),
    (
        "full and incremental streams",
        streams::full_and_incremental,
    ),
    ("changed and foreign targets", streams::refused),
    ("damaged streams", streams::damaged),
    ("clones", streams::clone),
    ("cancelled sends and other files", streams::cancelled),
    ("two streams at once", streams::parallel),
    ("resume into an existing dataset", resume::existing),
    ("resume into a new dataset", resume::new_dataset),
    ("abort of partial receives", resume::abort),
    ("raw streams without key", encryption::raw),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [pool] => run(pool),
        // The process that `holds::of_a_killed_process` kills.
        ["--hold", snapshot] => holds::hold_until_killed(snapshot),
        _ => Err(anyhow::anyhow!("usage: probe {SAFE_PREFIX}POOL")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("probe: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(pool: &str) -> Result<()> {
    ensure!(
        pool.starts_with(SAFE_PREFIX) && !pool.contains(['/', '@', '#']),
        "the name of the pool must begin with {SAFE_PREFIX}"
    );
    let probe = Probe {
        core: Core::open()?,
        pool: pool.to_owned(),
    };
    let mut failed = 0;
    for (name, case) in CASES {
        let start = Instant::now();
        let outcome = probe.fresh().and_then(|()| case(&probe));
        let seconds = start.elapsed().as_secs_f32();
        match outcome {
            Ok(()) => println!("ok     {name} ({seconds:.1} s)"),
            Err(error) => {
                failed += 1;
                println!("FAILED {name} ({seconds:.1} s): {error:#}");
            }
        }
    }
    ensure!(failed == 0, "{failed} of {} cases failed", CASES.len());
    println!("all {} cases passed", CASES.len());
    Ok(())
}

impl Probe {
    /// The pool without datasets, as each case finds it.
    fn fresh(&self) -> Result<()> {
        for child in zfs(&["list", "-H", "-o", "name", "-d", "1", &self.pool])?.lines() {
            // The second one: gone with a sibling it was cloned from.
            if child == self.pool || !self.core.exists(child) {
                continue;
            }
            let held = zfs(&[
                "list",
                "-Hr",
                "-t",
                "snapshot",
                "-o",
                "name,userrefs",
                child,
            ])?;
            for line in held.lines() {
                if let Some((snapshot, "1" | "2")) = line.split_once('\t') {
                    for hold in self.core.holds(snapshot)? {
                        zfs(&["release", &hold.tag, snapshot])?;
                    }
                }
            }
            zfs(&["destroy", "-R", "-f", child])?;
        }
        Ok(())
    }

    /// A name in the pool.
    fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.pool)
    }

    /// Creates a mounted file system with some data in it.
    fn filesystem(&self, rest: &str, megabytes: usize) -> Result<String> {
        let name = self.name(rest);
        zfs(&["create", "-o", "recordsize=128k", &name])?;
        write(&name, "data", megabytes)?;
        Ok(name)
    }
}

/// Writes a file of incompressible data into a mounted file system.
fn write(dataset: &str, file: &str, megabytes: usize) -> Result<()> {
    let path = format!("/{dataset}/{file}");
    // xorshift: the same data in each run, and nothing compresses it.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64 ^ (file.len() as u64);
    let data: Vec<u8> = (0..megabytes * 1024 * 1024 / 8)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect();
    std::fs::write(&path, data).with_context(|| path.clone())?;
    let pool = dataset.split('/').next().unwrap_or(dataset);
    witness("zpool", &["sync", pool])?;
    Ok(())
}

/// The witness.
fn zfs(arguments: &[&str]) -> Result<String> {
    witness("zfs", arguments)
}

fn witness(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!(
            "{program} {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

/// A property as zfs(8) shows it.
fn get(property: &str, dataset: &str) -> Result<String> {
    zfs(&["get", "-Hp", "-o", "value", property, dataset])
}

/// The call must have failed in this way.
fn fails<T>(result: Result<T, Error>, kind: ErrorKind) -> Result<Error> {
    match result {
        Ok(_) => bail!("succeeded, expected to fail: {kind}"),
        Err(error) if error.kind() == kind => Ok(error),
        Err(error) => bail!("failed otherwise than expected ({kind:?}): {error:?}"),
    }
}

/// Waits for something that the kernel does by itself.
fn eventually(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !holds()? {
        ensure!(
            start.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
