//! The way of a stream from one machine to the other, by every means that
//! people use, and by ours.
//!
//! No ZFS takes part: a file holds the stream, and at the other end it is hashed
//! and forgotten, by the same code for all. The engine is the real one, from
//! plan to answer, over a real `sshd`.

pub mod beside;
mod content;
mod engine;
pub mod levels;
mod methods;
mod parts;
mod profile;
mod report;
mod server;
mod synthetic;
mod wan;

use std::path::PathBuf;

use anyhow::{Result, ensure};

pub use content::Kind;
use methods::{METHODS, Method, Place};
pub use parts::{Part, run as run_part};
use profile::Profile;
use report::Sample;
use server::Server;
use wan::{Wan, Way};

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Length of the stream, MiB
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// How often each method is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// What the stream carries (repeatable)
    #[arg(long, value_name = "KIND", default_values = ["random", "mix"])]
    content: Vec<Kind>,
    /// Only methods whose names contain this (repeatable)
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// Workers of the engine on each side: auto, or a number
    #[arg(long, value_name = "N", default_value = "auto")]
    workers: String,
    #[command(flatten)]
    way: Way,
    /// Where the figures go as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where a plot of the rates goes, as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Say where the processor time goes, in one more run of each method
    #[arg(long)]
    profile: bool,
}

/// Measures, and prints.
///
/// # Errors
/// If a method fails, or something else arrives than was sent.
pub fn run(args: &Args) -> Result<()> {
    ensure!(
        args.rounds > 0 && args.mib > 0,
        "there is nothing to measure"
    );
    let folder = folder()?;
    if args.profile {
        ensure!(
            methods::is_there(profile::PERF),
            "--profile needs `perf` (Debian: linux-perf)"
        );
    }
    let server = match server::is_there() {
        true => Some(Server::new(folder.path())?),
        false => None,
    };
    let wan = Wan::new(args.way)?;
    let mut methods = Vec::new();
    for method in METHODS {
        if wan.is_some() && method == Method::Pipe {
            continue;
        }
        let name = method.name();
        if !args.only.is_empty() && !args.only.iter().any(|part| name.contains(part)) {
            continue;
        }
        match method.missing()[..] {
            [] => methods.push(method),
            ref missing => report::left_out(&name, missing),
        }
    }
    let mut samples = Vec::new();
    for kind in &args.content {
        let file = folder.path().join(kind.name());
        let bytes = content::write(&file, *kind, args.mib << 20)?;
        let place = Place {
            server: server.as_ref(),
            hash: parts::hash(&[], &mut std::fs::File::open(&file)?)?,
            file: &file,
            folder: folder.path(),
            wan: wan.as_ref(),
            workers: &args.workers,
            limit: None,
        };
        for round in 0..args.rounds {
            let mut turn: Vec<Method> = methods.clone();
            turn.rotate_left(round % methods.len().max(1));
            for method in turn {
                samples.push(Sample {
                    method,
                    kind: *kind,
                    round,
                    bytes,
                    taken: method.run(&place)?,
                });
            }
        }
        report::print(&samples, *kind, &methods);
        if args.profile {
            println!("where the processor time goes, s/GB:");
            for method in &methods {
                let profile = Profile::begin(folder.path())?;
                method.run(&place)?;
                profile.print(&method.name(), bytes)?;
            }
        }
        std::fs::remove_file(&file)?;
    }
    if let Some(path) = &args.json {
        std::fs::write(path, report::json(&samples))?;
    }
    if let Some(path) = &args.svg {
        std::fs::write(path, report::svg(&samples, &args.content, &methods))?;
    }
    Ok(())
}

/// Where streams and reports are: in memory, where there is such a place.
fn folder() -> std::io::Result<tempfile::TempDir> {
    match std::path::Path::new("/dev/shm").is_dir() {
        true => tempfile::tempdir_in("/dev/shm"),
        false => tempfile::tempdir(),
    }
}
