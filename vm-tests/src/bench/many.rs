//! What many small datasets cost, of which nothing has changed, or a little in
//! each: zferry beside syncoid, both as they come, snapshots included.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Method, spread};
use crate::dataset::Dataset;
use crate::pair::Pair;
use crate::report;
use crate::script::Script;

/// Limit of one replication: syncoid starts some processes and sessions for
/// each dataset, which takes seconds where everything is emulated.
const TIME_LIMIT: Duration = Duration::from_secs(4 * 3600);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Work {
    /// Nothing: the newest snapshots, which somebody else takes, are there
    Nothing,
    /// New snapshots, though nothing has changed
    Unchanged,
    /// New snapshots, and a line in each dataset
    SmallChange,
}

impl Work {
    /// All of it.
    pub const ALL: [Self; 3] = [Self::Nothing, Self::Unchanged, Self::SmallChange];
}

/// The snapshots that all sides have at first.
const FULL: &str = "full";

/// Datasets with a file in a group of them.
const GROUP: usize = 19;

#[derive(Debug, Clone, Copy)]
struct Sample {
    method: Method,
    work: Work,
    round: usize,
    wall_seconds: f64,
    cpu_seconds: f64,
}

/// Measures `rounds` rounds of `works` with `count` datasets and prints the result.
///
/// # Errors
/// If a replication fails, or leaves a dataset behind.
pub fn run(pair: &Pair, count: usize, rounds: usize, works: &[Work]) -> Result<()> {
    report::note("making datasets");
    let source = pair.source.dataset("bench-many").create()?;
    make(pair, &source, count)?;
    pair.source
        .sh(format!("zfs snapshot -r {}@{FULL}", source.name()))?;
    let methods = [Method::Syncoid, Method::Zferry];
    let target = |method: Method| pair.target.dataset(&format!("bench-many-{method}"));
    for method in methods {
        let copy = format!(
            "zfs send -R {}@{FULL} | ssh target zfs receive -u {}",
            source.name(),
            target(method).name()
        );
        pair.source.sh(Script::bash(copy).within(TIME_LIMIT))?;
    }
    let mut samples = Vec::new();
    for round in 0..rounds {
        for &work in works {
            // Only while their newest snapshots are the same on both sides.
            if work == Work::Nothing && round > 0 {
                continue;
            }
            if work == Work::SmallChange {
                change_each(pair, &source, count)?;
            }
            let mut turn = methods;
            turn.rotate_left(round % methods.len());
            for method in turn {
                let sample = measure(pair, (method, work, round), &source, &target(method))?;
                if work != Work::Nothing {
                    ensure_complete(method, count, &source, &target(method))?;
                }
                report::note(&format!(
                    "round {} {method:<8} {work:?} {:.1} s, {:.1} s CPU",
                    round + 1,
                    sample.wall_seconds,
                    sample.cpu_seconds
                ));
                samples.push(sample);
            }
        }
    }
    for &work in works {
        print(&samples, count, work);
    }
    Ok(())
}

/// Below the dataset, so many with a file each, in groups. The first group is
/// made, the others are copies of it, which takes a fraction of the time.
fn make(pair: &Pair, source: &Dataset<'_>, count: usize) -> Result<()> {
    let name = source.name();
    let script = format!(
        "zfs create {name}/g0
         for n in $(seq {GROUP}); do
             zfs create {name}/g0/d$n
             head -c 20000 /dev/urandom > $(zfs get -H -o value mountpoint {name}/g0/d$n)/file
         done
         zfs snapshot -r {name}/g0@seed
         for g in $(seq {}); do
             zfs send -R {name}/g0@seed | zfs receive {name}/g$g
         done
         zfs destroy -r {name}@seed",
        groups(count)? - 1
    );
    pair.source.sh(Script::bash(script).within(TIME_LIMIT))?;
    Ok(())
}

/// Adds a line to the file of each.
fn change_each(pair: &Pair, source: &Dataset<'_>, count: usize) -> Result<()> {
    let script = format!(
        "cd $(zfs get -H -o value mountpoint {})
         for g in $(seq 0 {}); do for n in $(seq {GROUP}); do date >> g$g/d$n/file; done; done",
        source.name(),
        groups(count)? - 1
    );
    pair.source.sh(Script::bash(script).within(TIME_LIMIT))?;
    Ok(())
}

/// Groups that hold so many datasets, with the ones that group them.
fn groups(count: usize) -> Result<usize> {
    let groups = count / (GROUP + 1);
    ensure!(
        groups > 0 && count.is_multiple_of(GROUP + 1),
        "the number of datasets has to be a multiple of {}",
        GROUP + 1
    );
    Ok(groups)
}

fn measure(
    pair: &Pair,
    (method, work, round): (Method, Work, usize),
    source: &Dataset<'_>,
    target: &Dataset<'_>,
) -> Result<Sample> {
    for host in [&pair.source, &pair.target] {
        host.sh("sync; zpool sync")?;
    }
    let remote = target.remote_name();
    let script = match (method, work) {
        (Method::Zferry, Work::Nothing) => {
            let newest = ["--snapshot", FULL];
            let words = ["replicate", "-r"].into_iter().chain(newest);
            pair.source.zferry(words.chain([source.name(), &remote]))
        }
        (Method::Zferry, _) => pair
            .source
            .zferry(["replicate", "-r", source.name(), &remote]),
        (_, work) => {
            let from = source.name();
            let to = format!("root@{remote}");
            let mut words = vec!["syncoid", "--quiet", "--recursive"];
            words.push("--no-privilege-elevation");
            if work == Work::Nothing {
                words.push("--no-sync-snap");
            }
            Script::program(words.into_iter().chain([from, &to]))
        }
    };
    let cpu = || Ok::<_, anyhow::Error>(pair.source.cpu_seconds()? + pair.target.cpu_seconds()?);
    let (cpu_before, started) = (cpu()?, Instant::now());
    pair.source.sh(script.within(TIME_LIMIT))?;
    Ok(Sample {
        method,
        work,
        round,
        wall_seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: cpu()? - cpu_before,
    })
}

/// Every dataset has a snapshot of the method's own on both sides.
fn ensure_complete(
    method: Method,
    count: usize,
    source: &Dataset<'_>,
    target: &Dataset<'_>,
) -> Result<()> {
    let listed = |dataset: &Dataset<'_>| -> Result<BTreeSet<String>> {
        let name = dataset.name();
        let list = format!("zfs list -H -r -t snapshot -o name,guid {name}");
        let text = dataset.sh(&list)?;
        let lines = text.lines().filter_map(|line| line.strip_prefix(name));
        Ok(lines.map(str::to_owned).collect())
    };
    let (here, there) = (listed(source)?, listed(target)?);
    let prefix = format!("@{method}");
    let shared = here.intersection(&there);
    let shared = shared.filter(|line| line.contains(&prefix)).count();
    ensure!(
        shared > count,
        "{method} has brought {shared} of {} snapshots over",
        count + 1
    );
    Ok(())
}

fn print(samples: &[Sample], count: usize, work: Work) {
    let what = match work {
        Work::Nothing => "nothing to do",
        Work::Unchanged => "nothing changed",
        Work::SmallChange => "a line added in each",
    };
    report::result(&format!("{count} datasets, {what}"));
    report::result("  method    wall s (min-max)          CPU s (min-max)           wall/syncoid");
    let of = |method: Method| -> Vec<Sample> {
        let fits = |one: &&Sample| one.method == method && one.work == work;
        samples.iter().filter(fits).copied().collect()
    };
    let theirs = of(Method::Syncoid);
    for method in [Method::Syncoid, Method::Zferry] {
        let own = of(method);
        let ratios = own.iter().filter_map(|one| {
            let other = theirs.iter().find(|other| other.round == one.round)?;
            Some(one.wall_seconds / other.wall_seconds)
        });
        report::result(&format!(
            "  {method:<8}  {:<24}  {:<24}  {}",
            spread(own.iter().map(|one| one.wall_seconds).collect()),
            spread(own.iter().map(|one| one.cpu_seconds).collect()),
            spread(ratios.collect()),
        ));
    }
}
