//! Runs that try again: what they get over, what they do not try, and how long
//! they go on. The clock stands while anybody is busy, so that waits take no
//! time and are known to the millisecond.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::{PATIENCE, Told, about, ensure_equal, helper_link, job, machines, peer, write};
use crate::error::Family;
use crate::event::Event;
use crate::helper::Authorization;
use crate::peer::Peer;
use crate::replicate::{
    Allowance, PersistError, ReplicateError, Report, Unreachable, replicate_persistently,
};
use crate::retry::Persistence;
use crate::transport::local;
use crate::zfs::ZfsErrorKind;
use crate::zfs::model::{Fault, Faults, Model};

/// A helper whose connection ends after so many bytes from it.
async fn cut_after(machine: &Model, bytes: usize) -> Peer {
    let mut far = helper_link(machine, Authorization::everything());
    let (near, mut middle) = local::pair();
    tokio::spawn(async move {
        let mut left = bytes;
        loop {
            tokio::select! {
                chunk = far.inbound.recv() => {
                    let Some(Ok(mut chunk)) = chunk else { break };
                    chunk.truncate(left);
                    left -= chunk.len();
                    if middle.outbound.send(chunk).await.is_err() || left == 0 {
                        break;
                    }
                }
                chunk = middle.inbound.recv() => {
                    let Some(Ok(chunk)) = chunk else { break };
                    if far.outbound.send(chunk).await.is_err() {
                        break;
                    }
                }
            }
        }
    });
    Peer::greet("source", near, &about(), PATIENCE)
        .await
        .unwrap()
}

impl Told {
    /// How often in a row it had failed, and how long was waited, each time.
    fn retries(&self) -> Vec<(u32, u64)> {
        let events = self.0.lock().unwrap();
        let retries = events.iter().filter_map(|event| match event {
            Event::Retrying {
                attempt, wait_ms, ..
            } => Some((*attempt, *wait_ms)),
            _ => None,
        });
        retries.collect()
    }

    fn count(&self, which: impl Fn(&Event) -> bool) -> usize {
        let events = self.0.lock().unwrap();
        events.iter().filter(|event| which(event)).count()
    }
}

#[derive(Debug)]
struct Away(Family);

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the target is away")
    }
}

impl std::error::Error for Away {}

impl Unreachable for Away {
    fn family(&self) -> Family {
        self.0
    }
}

fn allowance(seconds: u64) -> Allowance {
    Allowance {
        persistence: Persistence {
            retry_for: Duration::from_secs(seconds),
            seed: Some(5),
        },
        timeout: None,
        stall_timeout: None,
    }
}

async fn reach(source: &Model, target: &Model) -> Result<(Peer, Peer), Away> {
    for machine in [source, target] {
        machine.revive();
    }
    Ok((peer("source", source).await, peer("target", target).await))
}

async fn persist(
    run: u32,
    source: &Model,
    target: &Model,
    seen: &Told,
) -> Result<Report, PersistError<Away>> {
    let reach = async || reach(source, target).await;
    replicate_persistently(&job(run), allowance(300), "here", reach, seen).await
}

fn snapshots(machine: &Model, name: &str) -> Vec<String> {
    let there = machine.by_hand().look(name);
    let there = there.map(|dataset| dataset.snapshots).unwrap_or_default();
    there.iter().map(|s| s.short.to_string()).collect()
}

/// Runs twice, and once again with a fault at one operation.
async fn struck(n: u64, fault: Fault) -> Option<(Model, Model, Told)> {
    let faults = Faults::default();
    let (source, target) = machines(&faults);
    super::go(&job(1), &source, &target).await.unwrap();
    write(&source, 2);
    let before = faults.operations();
    faults.fail_at(before + n, fault);
    let seen = Told::default();
    let ran = persist(2, &source, &target, &seen).await;
    let when = format!("operation {n}, {fault:?}");
    if let Err(error) = ran {
        panic!("{when}: {error:?}");
    }
    if faults.struck().is_empty() {
        return None;
    }
    for name in ["a", "a/x", "a/y"] {
        let (here, there) = (format!("tank/{name}"), format!("backup/deep/{name}"));
        let digest = |machine: &Model, name: &str| machine.by_hand().digest(name).unwrap();
        assert_eq!(digest(&source, &here), digest(&target, &there), "{when}");
    }
    for (machine, name) in [(&source, "tank/a"), (&target, "backup/deep/a")] {
        let there = snapshots(machine, name);
        let newest = there.last().map(String::as_str);
        assert_eq!(newest, Some("ours-0002"), "{when}: {there:?}");
        let holds = machine.by_hand().holds(&format!("{name}@ours-0002"));
        assert!(holds.is_empty(), "{when}: {holds:?}");
    }
    Some((source, target, seen))
}

#[tokio::test(start_paused = true)]
async fn one_run_gets_over_a_transient_failure_of_any_operation_with_the_snapshot_it_took() {
    for fault in [
        Fault::Error(ZfsErrorKind::Busy),
        Fault::Error(ZfsErrorKind::WorkerLost),
    ] {
        let mut n = 0;
        let mut retried = 0;
        loop {
            n += 1;
            let Some((source, _, seen)) = struck(n, fault).await else {
                break;
            };
            let taken = seen.count(|event| {
                matches!(event, Event::Step { command, .. } if command.contains("zfs snapshot"))
            });
            assert!(
                taken <= 2,
                "operation {n}: {taken} snapshots were asked for"
            );
            // Ours of this run, and the one before if it could not be pruned.
            assert!(snapshots(&source, "tank/a").len() <= 2);
            retried += seen.retries().len();
        }
        assert!(n > 20 && retried > 10, "{n} operations, {retried} retries");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_transfer_goes_on_in_the_same_run_where_it_was_cut() {
    let faults = Faults::default();
    let (source, target) = machines(&faults);
    // Long enough for a part of it to have arrived.
    let hands = source.by_hand();
    let mut random = fastrand::Rng::with_seed(1);
    for block in 0..80 {
        let mut data = vec![0; 60_000];
        random.fill(&mut data);
        hands.write("tank/a", block, &data).unwrap();
    }
    let seen = Told::default();
    let attempts = Cell::new(0);
    let reach = async || {
        attempts.set(attempts.get() + 1);
        let (from, to) = reach(&source, &target).await?;
        if attempts.get() > 1 {
            return Ok::<_, Away>((from, to));
        }
        Ok((cut_after(&source, 3_500_000).await, to))
    };
    let ran = replicate_persistently(&job(1), allowance(300), "here", reach, &seen).await;
    ran.unwrap();
    assert_eq!(attempts.get(), 2);
    let resumed = seen.count(|event| {
        matches!(event, Event::TransferStarted { resumed_bytes: Some(bytes), .. } if *bytes > 0)
    });
    assert_eq!(resumed, 1, "{:#?}", seen.0.lock().unwrap());
    ensure_equal(&source, &target, "after the cut");
    assert_eq!(snapshots(&target, "backup/deep/a"), ["ours-0001"]);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_is_not_tried_again() {
    for kind in [
        ZfsErrorKind::NoSpace,
        ZfsErrorKind::Permission,
        ZfsErrorKind::Modified,
    ] {
        let faults = Faults::default();
        let (source, target) = machines(&faults);
        // The listings of source and target are the first two.
        faults.fail_at(2, Fault::Error(kind));
        let seen = Told::default();
        let begun = Instant::now();
        let error = persist(1, &source, &target, &seen).await.unwrap_err();
        assert!(matches!(error, PersistError::Failed(_)), "{error:?}");
        assert_eq!((seen.retries().len(), begun.elapsed()), (0, Duration::ZERO));
    }
    // Nor is a refusal to be reached.
    let reached = Cell::new(0);
    let reach = async || {
        reached.set(reached.get() + 1);
        Err::<(Peer, Peer), _>(Away(Family::Refused))
    };
    let seen = Told::default();
    let ran = replicate_persistently(&job(1), allowance(300), "here", reach, &seen).await;
    assert!(matches!(ran, Err(PersistError::Unreachable(_))));
    assert_eq!(reached.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stays_away_is_given_up_after_retry_for_and_each_wait_is_told() {
    let seen = Told::default();
    let reach = async || Err::<(Peer, Peer), _>(Away(Family::Transient));
    let begun = Instant::now();
    let ran = replicate_persistently(&job(1), allowance(300), "here", reach, &seen).await;
    let error = ran.unwrap_err();
    assert!(matches!(error, PersistError::Unreachable(_)), "{error:?}");
    assert_eq!(begun.elapsed().as_secs(), 300);
    let retries = seen.retries();
    let numbers: Vec<u32> = retries.iter().map(|(n, _)| *n).collect();
    assert_eq!(numbers, (1..=numbers.len() as u32).collect::<Vec<_>>());
    let waited: u64 = retries.iter().map(|(_, wait_ms)| wait_ms).sum();
    assert!((299_900..=300_010).contains(&waited), "{retries:?}");
    assert!((8..40).contains(&retries.len()), "{retries:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_comes_back_is_used_at_once() {
    let (source, target) = machines(&Faults::default());
    let seen = Told::default();
    let back = Instant::now() + Duration::from_secs(120);
    let reach = async || match Instant::now() < back {
        true => Err(Away(Family::Transient)),
        false => reach(&source, &target).await,
    };
    let ran = replicate_persistently(&job(1), allowance(300), "here", reach, &seen).await;
    ran.unwrap();
    assert!(Instant::now() - back <= crate::retry::WAIT_MAX);
    ensure_equal(&source, &target, "when it is back");
}

#[tokio::test(start_paused = true)]
async fn the_total_time_ends_retries_and_what_does_not_answer() {
    let limit = Duration::from_secs(60);
    let allowance = Allowance {
        timeout: Some(limit),
        ..allowance(3600)
    };
    let seen = Told::default();
    let reach = async || Err::<(Peer, Peer), _>(Away(Family::Transient));
    let begun = Instant::now();
    let ran = replicate_persistently(&job(1), allowance, "here", reach, &seen).await;
    assert!(matches!(ran, Err(PersistError::Unreachable(_))));
    assert!(begun.elapsed() <= limit);
    // One that can be reached and then says nothing.
    let reach = async || {
        std::future::pending::<()>().await;
        Err::<(Peer, Peer), _>(Away(Family::Transient))
    };
    let begun = Instant::now();
    let ran = replicate_persistently(&job(1), allowance, "here", reach, &seen).await;
    let error = ran.unwrap_err();
    let PersistError::Failed(error) = error else {
        panic!("{error:?}")
    };
    assert!(matches!(error, ReplicateError::TimedOut { .. }), "{error}");
    assert_eq!(error.family(), Family::Transient);
    assert_eq!(begun.elapsed(), limit + Duration::from_secs(30));
}
