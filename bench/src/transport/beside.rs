//! What a replication does to others on the same line: how long their requests
//! take, and how much a transfer of theirs still moves, beside nothing, `ssh`,
//! and the engine as it comes, by one connection, and with a limit.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::content::{self, Kind};
use super::methods::{Method, Place};
use super::parts::{self, accepted};
use super::server::{self, Server, listening};
use super::wan::{Wan, Way, bits};
use crate::sample::{median, spread};

/// Between an answer and the next request.
const PAUSE: Duration = Duration::from_millis(20);

/// What a request and its answer carry.
const REQUEST_BYTES: usize = 64;

/// How long each of them may take: then the line is broken.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The replication's limit, as a share of the line.
const LIMIT: f64 = 0.8;

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How often each is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Bits per second of the line
    #[arg(long, value_name = "BITS", value_parser = bits, default_value = "100M")]
    rate: f64,
    /// Its round trip, ms
    #[arg(long, value_name = "MS", default_value_t = 20.0)]
    rtt: f64,
    /// How long the replication has the line, s, if it has it alone
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
}

/// What goes on besides.
#[derive(Debug, Clone, Copy)]
struct Besides {
    name: &'static str,
    method: Option<Method>,
    limited: bool,
}

const BESIDES: [Besides; 5] = [
    Besides {
        name: "nothing",
        method: None,
        limited: false,
    },
    Besides {
        name: "ssh aes128-gcm",
        method: Some(Method::Ssh),
        limited: false,
    },
    Besides {
        name: "zferry to sshd, as it comes",
        method: Some(Method::Engine("off", "auto")),
        limited: false,
    },
    Besides {
        name: "zferry to sshd, 1x",
        method: Some(Method::Engine("off", "1")),
        limited: false,
    },
    Besides {
        name: "the same, limited to 0.8",
        method: Some(Method::Engine("off", "1")),
        limited: true,
    },
];

/// What others on the line had.
#[derive(Debug, Clone, Copy, Default)]
struct Others {
    /// Of a request and its answer, ms, with nobody else but the replication.
    round_trip: f64,
    /// The slowest but for one in a hundred.
    slowest: f64,
    /// What another transfer moved, share of the line, and what the replication
    /// moved meanwhile.
    theirs: f64,
    ours: f64,
}

/// Measures, and prints.
///
/// # Errors
/// If a method fails, or something else arrives than was sent.
pub fn run(args: &Args) -> Result<()> {
    ensure!(args.rounds > 0, "there is nothing to measure");
    ensure!(
        server::is_there(),
        "this needs `sshd` and `ssh` (Debian: openssh-server, openssh-client)"
    );
    let folder = super::folder()?;
    let server = Server::new(folder.path())?;
    let way = Way {
        rate: Some(args.rate),
        rtt: args.rtt,
    };
    let wan = Wan::new(way)?.context("a rate was given")?;
    let line = args.rate / 8.0;
    let file = folder.path().join("beside");
    let bytes = content::write(&file, Kind::Random, (line * args.seconds) as u64)?;
    let limit = format!("{}kbit", (args.rate * LIMIT / 1e3) as u64);
    let place = Place {
        server: Some(&server),
        hash: parts::hash(&[], &mut std::fs::File::open(&file)?)?,
        file: &file,
        folder: folder.path(),
        wan: Some(&wan),
        workers: "auto",
        limit: None,
    };
    // Its share of the line.
    let replicate = |besides: Besides| -> Result<f64> {
        let limit = besides.limited.then_some(limit.as_str());
        match besides.method {
            Some(method) => {
                let taken = method.run(&Place { limit, ..place })?;
                Ok(bytes as f64 / line / taken.seconds)
            }
            None => {
                thread::sleep(Duration::from_secs_f64(args.seconds));
                Ok(0.0)
            }
        }
    };
    let mut measured = Vec::new();
    for round in 0..args.rounds {
        let mut others = [Others::default(); BESIDES.len()];
        for turn in 0..BESIDES.len() {
            let n = (round + turn) % BESIDES.len();
            let replication = || replicate(BESIDES[n]);
            let (_, mut trips) = while_it_runs(&wan, "echo", ask, replication)?;
            trips.sort_by(f64::total_cmp);
            let (ours, moved) = while_it_runs(&wan, "drain", fill, replication)?;
            others[n] = Others {
                round_trip: median(&trips),
                slowest: trips
                    .get(trips.len() * 99 / 100)
                    .copied()
                    .unwrap_or(f64::NAN),
                theirs: moved / line,
                ours,
            };
        }
        measured.push(others);
    }
    print(&measured);
    Ok(())
}

fn print(measured: &[[Others; BESIDES.len()]]) {
    println!(
        "beside                       round trip, ms         99 of 100, ms          \
         their share            ours"
    );
    for (n, besides) in BESIDES.iter().enumerate() {
        let shown = |what: fn(&Others) -> f64| {
            let values: Vec<f64> = measured.iter().map(|others| what(&others[n])).collect();
            spread(&values)
        };
        println!(
            "{:<28} {:<22} {:<22} {:<22} {}",
            besides.name,
            shown(|others| others.round_trip),
            shown(|others| others.slowest),
            shown(|others| others.theirs),
            shown(|others| others.ours),
        );
    }
}

/// What both came to: the replication, and what somebody does on the line for as
/// long as it takes.
fn while_it_runs<T: Send>(
    wan: &Wan,
    part: &str,
    other: fn(TcpStream, &AtomicBool) -> Result<T>,
    replication: impl FnOnce() -> Result<f64>,
) -> Result<(f64, T)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["part", part]);
    let (address, _serving) = listening(command, Some(wan))?;
    let stream = connected(address)?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let other = scope.spawn(|| other(stream, &over));
        let ours = replication();
        over.store(true, Ordering::Relaxed);
        let other = other.join().expect("it does not panic");
        Ok((ours?, other?))
    })
}

fn connected(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    Ok(stream)
}

/// Asks and waits for the answer, again and again. How long each took, ms.
fn ask(mut stream: TcpStream, over: &AtomicBool) -> Result<Vec<f64>> {
    let mut trips = Vec::new();
    let mut bytes = [0; REQUEST_BYTES];
    while !over.load(Ordering::Relaxed) {
        let asked = Instant::now();
        stream.write_all(&bytes)?;
        stream.read_exact(&mut bytes)?;
        trips.push(asked.elapsed().as_secs_f64() * 1e3);
        thread::sleep(PAUSE);
    }
    Ok(trips)
}

/// Sends all that the line takes. Bytes per second.
fn fill(mut stream: TcpStream, over: &AtomicBool) -> Result<f64> {
    let piece = vec![0; 16 << 10];
    let (begun, mut sent) = (Instant::now(), 0);
    while !over.load(Ordering::Relaxed) {
        stream.write_all(&piece)?;
        sent += piece.len();
    }
    Ok(sent as f64 / begun.elapsed().as_secs_f64())
}

/// The other end of requests: one connection, whose bytes go back as they come.
pub fn echo(address: Ipv4Addr) -> Result<()> {
    let mut stream = accepted(address)?;
    stream.set_nodelay(true)?;
    let mut bytes = [0; REQUEST_BYTES];
    loop {
        match stream.read(&mut bytes)? {
            0 => return Ok(()),
            count => stream.write_all(&bytes[..count])?,
        }
    }
}

/// The other end of a transfer: one connection, whose bytes are forgotten.
pub fn drain(address: Ipv4Addr) -> Result<()> {
    let mut stream = accepted(address)?;
    std::io::copy(&mut stream, &mut std::io::sink())?;
    Ok(())
}
