//! How long a replication takes, and how much CPU, beside the usual ways.
//!
//! Emulated guests say nothing about absolute speed: emulation makes ciphers
//! tens of times slower and memory copies a few times. What counts are the
//! ratios between methods that do the same work in the same minute. So methods
//! take turns within a round, each round begins with another one, and ratios
//! are taken within a round before their median is.

pub mod cut;
pub mod many;

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::data::Data;
use crate::dataset::{Dataset, Part};
use crate::pair::Pair;
use crate::report;
use crate::script::{Script, quote};

const MIB: usize = 1 << 20;

/// Data of the full replication.
const FULL_BYTES: usize = 256 * MIB;

/// Changed data of the incremental one.
const INCREMENTAL_BYTES: usize = 16 * MIB;

/// Limit of one replication; plain ssh moves about 6 MiB/s between the guests.
const TIME_LIMIT: Duration = Duration::from_secs(1200);

/// A way to replicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `zfs send | ssh target zfs receive`: the measure of the others.
    Shell,
    /// syncoid as it comes, but for the snapshots that it would take itself.
    Syncoid,
    /// zferry.
    Zferry,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Shell, Self::Syncoid, Self::Zferry];
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Shell => "shell",
            Self::Syncoid => "syncoid",
            Self::Zferry => "zferry",
        })
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL
            .into_iter()
            .find(|method| method.to_string() == text);
        known.ok_or_else(|| "methods are shell, syncoid and zferry".to_owned())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Full,
    Incremental,
}

impl Step {
    fn snapshot(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    method: Method,
    step: Step,
    round: usize,
    wall_seconds: f64,
    cpu_seconds: f64,
}

/// Measures `rounds` rounds of `methods` and prints the result.
///
/// # Errors
/// If a replication fails, or its result is not what was sent.
pub fn run(pair: &Pair, methods: &[Method], rounds: usize) -> Result<()> {
    report::note("filling the source");
    let source = pair.source.dataset("bench").create()?;
    source.fill(&Data {
        seed: 1,
        bytes: FULL_BYTES,
    })?;
    source.snapshot("full")?;
    // Nobody's first read shall come from the disk.
    let warm_up = format!("zfs send {} > /dev/null", quote(&source.at("full")));
    pair.source.sh(Script::bash(warm_up).within(TIME_LIMIT))?;

    let mut samples = Vec::new();
    for round in 0..rounds {
        let mut turn = methods.to_vec();
        turn.rotate_left(round % methods.len());
        let target = |method| pair.target.dataset(&format!("bench-{method}-{round}"));
        for &method in &turn {
            samples.push(measure(
                pair,
                method,
                Step::Full,
                &source,
                &target(method),
                round,
            )?);
        }
        let change = Part {
            offset_bytes: 64 * MIB as u64,
            bytes: INCREMENTAL_BYTES,
            seed: 100 + round as u64,
        };
        source.overwrite("random", change)?;
        source.snapshot("incremental")?;
        for &method in &turn {
            samples.push(measure(
                pair,
                method,
                Step::Incremental,
                &source,
                &target(method),
                round,
            )?);
        }
        if round + 1 == rounds {
            report::note("comparing contents");
            let sent = source.contents_at("incremental")?;
            for &method in &turn {
                sent.ensure_same(&target(method).contents_at("incremental")?)?;
            }
        }
        for &method in &turn {
            target(method).destroy()?;
        }
        pair.source
            .sh(format!("zfs rollback -r {}", quote(&source.at("full"))))?;
    }
    for step in [Step::Full, Step::Incremental] {
        print(&samples, methods, step);
    }
    Ok(())
}

fn measure(
    pair: &Pair,
    method: Method,
    step: Step,
    source: &Dataset<'_>,
    target: &Dataset<'_>,
    round: usize,
) -> Result<Sample> {
    for host in [&pair.source, &pair.target] {
        host.sh("sync; zpool sync")?;
    }
    let cpu = || Ok::<_, anyhow::Error>(pair.source.cpu_seconds()? + pair.target.cpu_seconds()?);
    let script = command(pair, method, step, source, target).within(TIME_LIMIT);
    let (cpu_before, started) = (cpu()?, Instant::now());
    pair.source.sh(script)?;
    let wall_seconds = started.elapsed().as_secs_f64();
    let cpu_seconds = cpu()? - cpu_before;
    let sent = source
        .guids()?
        .get(&format!("@{}", step.snapshot()))
        .copied();
    let received = target
        .guids()?
        .get(&format!("@{}", step.snapshot()))
        .copied();
    ensure!(
        sent.is_some() && sent == received,
        "{method} did not replicate {sent:?}: {received:?}"
    );
    report::note(&format!(
        "round {} {method:<8} {:<12} {wall_seconds:7.2} s {cpu_seconds:7.2} s CPU",
        round + 1,
        step.snapshot()
    ));
    Ok(Sample {
        method,
        step,
        round,
        wall_seconds,
        cpu_seconds,
    })
}

fn command(
    pair: &Pair,
    method: Method,
    step: Step,
    source: &Dataset<'_>,
    target: &Dataset<'_>,
) -> Script {
    let snapshot = quote(&source.at(step.snapshot()));
    match (method, step) {
        (Method::Shell, Step::Full) => Script::bash(format!(
            "zfs send {snapshot} | ssh target zfs receive {}",
            target.name()
        )),
        (Method::Shell, Step::Incremental) => Script::bash(format!(
            "zfs send -i @full {snapshot} | ssh target zfs receive {}",
            target.name()
        )),
        (Method::Syncoid, _) => Script::program([
            "syncoid",
            "--quiet",
            "--no-sync-snap",
            "--no-privilege-elevation",
            source.name(),
            &format!("root@{}", target.remote_name()),
        ]),
        (Method::Zferry, step) => pair.source.zferry([
            "replicate",
            "--snapshot",
            step.snapshot(),
            source.name(),
            &target.remote_name(),
        ]),
    }
}

fn print(samples: &[Sample], methods: &[Method], step: Step) {
    let mib = match step {
        Step::Full => FULL_BYTES,
        Step::Incremental => INCREMENTAL_BYTES,
    } / MIB;
    report::result(&format!("{}, {mib} MiB", step.snapshot()));
    report::result(
        "  method    wall s (min-max)          CPU s (min-max)           wall/shell  CPU/shell",
    );
    for &method in methods {
        let of = |method: Method| -> Vec<Sample> {
            let fits = |s: &&Sample| s.method == method && s.step == step;
            samples.iter().filter(fits).copied().collect()
        };
        let (own, shell) = (of(method), of(Method::Shell));
        let ratio = |value: fn(&Sample) -> f64| {
            let pairs = own.iter().filter_map(|sample| {
                let measure = shell.iter().find(|other| other.round == sample.round)?;
                Some(value(sample) / value(measure))
            });
            let ratios: Vec<f64> = pairs.collect();
            if ratios.is_empty() {
                "-".to_owned()
            } else {
                format!("{:.2}", median(ratios))
            }
        };
        report::result(&format!(
            "  {method:<8}  {:<24}  {:<24}  {:<10}  {}",
            spread(own.iter().map(|s| s.wall_seconds).collect()),
            spread(own.iter().map(|s| s.cpu_seconds).collect()),
            ratio(|s| s.wall_seconds),
            ratio(|s| s.cpu_seconds),
        ));
    }
    report::result("  CPU: user and system time of both guests by their /proc/stat");
}

fn spread(values: Vec<f64>) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("{:.2} ({least:.2}-{most:.2})", median(values))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_value_or_the_mean_of_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
