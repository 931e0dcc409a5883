//! `zferry replicate`: one dataset or tree to exactly one place.
//!
//! Endpoints → job → lock of the pair → conversations → engine → report.

mod report;

use std::time::{Duration, Instant};

use engine::error::Family;
use engine::helper::ClaimFolder;
use engine::hold::{BaseHold, HoldTag, KeepBase};
use engine::limit::Limiter;
use engine::name::ShortName;
use engine::peer::Peer;
use engine::plan::Intermediary;
use engine::replicate::{
    Allowance, Job, OnConflict, Placement, SnapshotChoice, replicate_persistently,
};
use engine::retry::{Persistence, RETRY_FOR_DEFAULT};
use engine::sync::moment::UtcSeconds;
use engine::zfs::{Scope, SendMode};

use super::Context;
use crate::args::Replicate;
use crate::connect::{Connect, ConnectTrouble};
use crate::endpoint::Endpoint;
use crate::environment;
use crate::failure::Failure;
use crate::lock::{Lock, Subject};
use crate::output::{Outcome, Verbosity};
use crate::pair::Pair;
use crate::zfs::Machine;
use report::Run;

/// How often the clock is looked at while it has to move on by a second.
const SECOND_LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Runs the command.
pub async fn run(context: &Context, args: Replicate) -> Result<Outcome, Failure> {
    if args.source.host.is_some() && args.target.host.is_some() {
        let message = format!(
            "{} and {} are both on other machines; one of the two has to be on this one",
            args.source, args.target
        );
        return Err(
            Failure::new(Family::Usage, message).remedy("run zferry on one of the two machines")
        );
    }
    let images = context.images()?;
    check_sides(&args)?;
    let node = context.node_text();
    let pair = Pair::new(&args.source, &args.target, &node);
    let mut job = job(&args, &pair);
    job.check()?;
    // What changes nothing needs no lock, and no folder for it.
    let _lock = if args.dry_run {
        None
    } else {
        let mut lock = Lock::take(Subject {
            state: &context.global.state,
            file: &pair.lock_file(),
            what: &pair.shown,
        })?;
        job.snapshot = choose(&args, &pair, unused_second(&mut lock).await?);
        Some(lock)
    };
    let observer = context.console.observer(Verbosity::Steps);
    let connect = Connect {
        about: environment::about(&node, &[]),
        zfs: Machine::new(images),
        transfer: args.transfer.clone(),
        states: None,
        claims: ClaimFolder::below(&context.global.state),
        observer: &*observer,
    };
    // Whoever is far away first: that is what takes long, and may fail.
    let reach = async || {
        if args.target.host.is_some() {
            let target = peer(&connect, &args.target).await?;
            Ok::<_, ConnectTrouble>((peer(&connect, &args.source).await?, target))
        } else {
            let source = peer(&connect, &args.source).await?;
            Ok((source, peer(&connect, &args.target).await?))
        }
    };
    let begun = Instant::now();
    let allowance = allowance(&args);
    let ran = Box::pin(replicate_persistently(
        &job, allowance, &node, reach, &*observer,
    ));
    let report = ran.await?;
    let run = Run {
        job: &job,
        report: &report,
        source: &args.source,
        target: &args.target,
        time: begun.elapsed(),
    };
    Ok(run.outcome())
}

/// How long it may take. What only looks is not tried again: somebody waits for
/// it.
fn allowance(args: &Replicate) -> Allowance {
    Allowance {
        persistence: match args.dry_run {
            true => Persistence::NONE,
            false => Persistence {
                retry_for: args.patience.retry_for.unwrap_or(RETRY_FOR_DEFAULT),
                seed: None,
            },
        },
        timeout: args.timeout,
        stall_timeout: args.patience.stall_max(),
    }
}

/// Images of another machine need one.
fn check_sides(args: &Replicate) -> Result<(), Failure> {
    let remote = args.source.host.is_some() || args.target.host.is_some();
    match args.transfer.remote_image.first() {
        Some(image) if !remote => Err(Failure::new(
            Family::Usage,
            format!("--remote-image {image} is about another machine, and both sides are here"),
        )
        .remedy(format!("write --image {image}"))),
        _ => Ok(()),
    }
}

fn job(args: &Replicate, pair: &Pair) -> Job {
    let remote = args.source.host.is_some() || args.target.host.is_some();
    Job {
        source: args.source.dataset.clone(),
        target: args.target.dataset.clone(),
        snapshot: choose(args, pair, environment::now()),
        scope: if args.recursive {
            Scope::Recursive
        } else {
            Scope::One
        },
        mode: if args.raw {
            SendMode::Raw
        } else {
            SendMode::Plain
        },
        placement: if remote {
            Placement::TwoMachines
        } else {
            Placement::OneMachine
        },
        compression: args.transfer.compression,
        workers: args.transfer.workers,
        limiter: args
            .speed
            .bandwidth_limit
            .clone()
            .map(|limit| Limiter::new(limit, environment::wall())),
        loss: args.loss.allowed(),
        intermediary: if args.intermediary {
            Intermediary::Carry
        } else {
            Intermediary::Skip
        },
        on_conflict: if args.archive_target {
            OnConflict::Archive
        } else {
            OnConflict::Refuse
        },
        base: BaseHold {
            tag: HoldTag::for_pair(pair.id()),
            keep: if args.hold_base {
                KeepBase::Hold
            } else {
                KeepBase::Leave
            },
        },
        rehearsal: args.dry_run,
    }
}

fn choose(args: &Replicate, pair: &Pair, now: UtcSeconds) -> SnapshotChoice {
    if let Some(short) = &args.snapshot {
        return SnapshotChoice::Existing(short.clone());
    }
    let series = pair.series();
    // 2026-11-22T21:10:29Z, without what is only there for the eye.
    let time = now.to_string().replace(['-', ':'], "");
    SnapshotChoice::Take {
        short: ShortName::parse(&format!("{series}{time}"))
            .expect("hex digits, a time, and letters that a name may have"),
        series,
    }
}

/// The time, in a second that no earlier run of this pair used: the names of
/// its snapshots have no finer time.
async fn unused_second(lock: &mut Lock) -> Result<UtcSeconds, Failure> {
    let last = lock.remembered();
    let mut now = environment::now();
    while last == Some(now.to_string()) {
        tokio::time::sleep(SECOND_LOOK_INTERVAL).await;
        now = environment::now();
    }
    lock.remember(&now.to_string())?;
    Ok(now)
}

async fn peer(connect: &Connect<'_>, endpoint: &Endpoint) -> Result<Peer, ConnectTrouble> {
    match &endpoint.host {
        None => connect.local().await,
        Some(host) => connect.remote(host).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    fn args(words: &[&str]) -> Replicate {
        let words = ["zferry", "replicate"].iter().chain(words);
        match Args::try_parse_from(words).unwrap().command {
            Command::Replicate(args) => args,
            other => panic!("{other:?}"),
        }
    }

    fn pair(words: &[&str]) -> Pair {
        let args = args(words);
        Pair::new(&args.source, &args.target, "here")
    }

    #[test]
    fn a_snapshot_is_named_after_its_pair_and_the_time_in_utc() {
        let words = ["tank/a", "backup:tank/b"];
        let pair = pair(&words);
        let choice = choose(&args(&words), &pair, UtcSeconds(1_795_381_829));
        let SnapshotChoice::Take { short, series } = choice else {
            panic!("{choice:?}")
        };
        assert_eq!(series.len(), "zferry-01234567-".len());
        assert_eq!(short.to_string(), format!("{series}20261122T211029Z"));
    }

    #[test]
    fn the_series_of_a_pair_does_not_depend_on_the_account_or_on_options() {
        let plain = pair(&["tank/a", "backup:tank/b"]).series();
        assert_eq!(
            pair(&["-r", "tank/a", "root@BACKUP:22:tank/b"]).series(),
            plain
        );
        assert_ne!(pair(&["tank/b", "backup:tank/a"]).series(), plain);
        assert_ne!(pair(&["tank/a", "backup:2222:tank/b"]).series(), plain);
    }

    #[test]
    fn two_machines_that_fetch_the_same_dataset_have_series_of_their_own() {
        let args = args(&["source:tank/a", "tank/a"]);
        assert_ne!(
            Pair::new(&args.source, &args.target, "n1").series(),
            Pair::new(&args.source, &args.target, "n2").series()
        );
    }

    #[tokio::test]
    async fn no_second_is_used_twice_by_one_pair() {
        let dir = tempfile::tempdir().unwrap();
        let subject = Subject {
            state: dir.path(),
            file: "pair",
            what: "a test",
        };
        let mut lock = Lock::take(subject).unwrap();
        let first = unused_second(&mut lock).await.unwrap();
        let second = unused_second(&mut lock).await.unwrap();
        assert!(second > first);
    }
}
