//! Whether `--compression auto` loses against what it chooses among: on links of
//! several rates, with data of several kinds, beside stored blocks and zstd -3.

use std::path::Path;

use anyhow::{Result, ensure};

use super::content::{self, Kind};
use super::methods::{Method, Place};
use super::parts;
use super::wan::{Wan, Way, bits};
use crate::sample::{spread, spread_to};

const OFF: Method = Method::Own("off", "auto");
const FIXED: Method = Method::Own("-3", "auto");
const AUTO: Method = Method::Own("auto", "auto");
const METHODS: [Method; 3] = [OFF, FIXED, AUTO];

/// The shortest stream, bytes.
const BYTES_MIN: f64 = 8e6;

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How often each is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Rates of the links, bits per second (repeatable); loopback is the last
    #[arg(long, value_name = "BITS", value_parser = bits, default_values = ["10M", "100M", "1G", "10G"])]
    rate: Vec<f64>,
    /// Their round trip, ms
    #[arg(long, value_name = "MS", default_value_t = 2.0)]
    rtt: f64,
    /// What the streams carry (repeatable)
    #[arg(long, value_name = "KIND", default_values = ["text", "random", "mix", "compressed"])]
    content: Vec<Kind>,
    /// How long a stream takes on its link as it is, s
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// The longest stream, MB, which is also that over loopback
    #[arg(long, value_name = "MB", default_value_t = 1000.0)]
    longest: f64,
}

/// Measures, and prints.
///
/// # Errors
/// If a method fails, or something else arrives than was sent.
pub fn run(args: &Args) -> Result<()> {
    ensure!(args.rounds > 0, "there is nothing to measure");
    let folder = super::folder()?;
    println!(
        "{:<9} {:<11} {:<6} {:<18} {:<18} {:<18} auto / the better of the others",
        "link", "data", "MB", "off, MB/s", "-3, MB/s", "auto, MB/s"
    );
    for rate in args.rate.iter().copied().map(Some).chain([None]) {
        let wan = Wan::new(Way {
            rate,
            rtt: args.rtt,
        })?;
        let longest = (args.longest * 1e6).max(BYTES_MIN);
        let bytes = rate.map_or(longest, |rate| {
            (rate / 8.0 * args.seconds).clamp(BYTES_MIN, longest)
        });
        for kind in &args.content {
            let rounds = measure(
                folder.path(),
                wan.as_ref(),
                *kind,
                bytes as u64,
                args.rounds,
            )?;
            print(rate, *kind, bytes, &rounds);
        }
    }
    Ok(())
}

/// Rates in MB/s, in the order of [`METHODS`], round by round.
fn measure(
    folder: &Path,
    wan: Option<&Wan>,
    kind: Kind,
    bytes: u64,
    rounds: usize,
) -> Result<Vec<[f64; 3]>> {
    let file = folder.join(kind.name());
    let bytes = content::write(&file, kind, bytes)?;
    let place = Place {
        server: None,
        hash: parts::hash(&[], &mut std::fs::File::open(&file)?)?,
        file: &file,
        folder,
        wan,
        workers: "auto",
        limit: None,
    };
    let mut measured = Vec::new();
    for round in 0..rounds {
        let mut rates = [0.0; METHODS.len()];
        for turn in 0..METHODS.len() {
            let n = (round + turn) % METHODS.len();
            rates[n] = bytes as f64 / 1e6 / METHODS[n].run(&place)?.seconds;
        }
        measured.push(rates);
    }
    std::fs::remove_file(&file)?;
    Ok(measured)
}

fn print(rate: Option<f64>, kind: Kind, bytes: f64, rounds: &[[f64; 3]]) {
    let link = match rate {
        None => "loopback".to_owned(),
        Some(rate) if rate < 1e9 => format!("{} Mbit/s", rate / 1e6),
        Some(rate) => format!("{} Gbit/s", rate / 1e9),
    };
    let shown = |n: usize| {
        let rates: Vec<f64> = rounds.iter().map(|rates| rates[n]).collect();
        spread_to(&rates, 1)
    };
    let ratios: Vec<f64> = rounds
        .iter()
        .map(|[off, fixed, auto]| auto / off.max(*fixed))
        .collect();
    println!(
        "{link:<9} {:<11} {:<6.0} {:<18} {:<18} {:<18} {}",
        kind.name(),
        bytes / 1e6,
        shown(0),
        shown(1),
        shown(2),
        spread(&ratios)
    );
}
