//! Many small datasets: several under way at the same time, and faults at every
//! operation meanwhile.

use std::collections::BTreeSet;

use super::*;
use crate::limit::{Limiter, WallClock};
use crate::peer::{Connections, Parallel};
use crate::transport::{Reopen, Reopening};

/// Below each of two datasets.
const CHILDREN: usize = 6;

fn names() -> Vec<String> {
    let below = |above: &str| {
        let above = above.to_owned();
        (0..CHILDREN).map(move |n| format!("{above}/c{n}"))
    };
    let inner = ["a", "a/x", "a/y"].map(str::to_owned);
    inner
        .into_iter()
        .chain(below("a/x"))
        .chain(below("a/y"))
        .collect()
}

fn many(faults: &Faults) -> (Model, Model) {
    let (source, target) = machines(faults);
    for name in &names()[3..] {
        source.by_hand().create(&format!("tank/{name}")).unwrap();
    }
    change(&source, 1);
    (source, target)
}

fn change(source: &Model, version: u8) {
    for name in names() {
        let name = format!("tank/{name}");
        let written = source.by_hand().write(&name, 0, &[version; 500]);
        written.unwrap();
    }
}

struct Again(Model);

impl Reopen for Again {
    fn reopen(&self) -> Reopening<'_> {
        let link = helper_link(&self.0, Authorization::everything());
        Box::pin(async { Ok(link) })
    }
}

async fn several(name: &str, model: &Model, transfers: usize) -> Peer {
    let parallel = Parallel {
        connections: Connections::Exactly(1),
        transfers,
    };
    let peer = peer(name, model).await;
    peer.with_more(Arc::new(Again(model.clone())), parallel)
}

async fn run(
    number: u32,
    (source, target): (&Model, &Model),
    told: &Told,
) -> Result<Report, ReplicateError> {
    let mut from = several("source", source, 3).await;
    let mut to = several("target", target, 4).await;
    replicate(&job(number), &mut from, &mut to, told).await
}

fn ensure_all_equal(source: &Model, target: &Model, when: &str) {
    for name in names() {
        let digest = |model: &Model, name: String| model.by_hand().digest(&name);
        let (here, there) = (format!("tank/{name}"), format!("backup/deep/{name}"));
        let ours = digest(source, here);
        assert!(ours.is_some(), "{name} {when}");
        assert_eq!(ours, digest(target, there), "{name} {when}");
        let there = format!("backup/deep/{name}");
        let snapshots = target.by_hand().look(&there).unwrap().snapshots;
        assert_eq!(snapshots.len(), 1, "{name} {when}");
        let held = target
            .by_hand()
            .holds(&format!("{there}@{}", snapshots[0].short));
        assert!(held.is_empty(), "{name} {when}: {held:?}");
    }
}

#[tokio::test]
async fn several_are_under_way_at_once_each_after_the_one_above_it() {
    let (source, target) = many(&Faults::default());
    for number in 1..=2 {
        change(&source, u8::try_from(number).unwrap());
        let told = Told::default();
        let report = run(number, (&source, &target), &told).await.unwrap();
        ensure_all_equal(&source, &target, "after a run");
        // In the order of the plan, whatever came first.
        let sorted = report
            .datasets
            .is_sorted_by_key(|one| one.target.dataset.clone());
        assert!(sorted, "{report:#?}");
        let (mut under_way, mut done, mut most) = (0, BTreeSet::new(), 0);
        for event in told.0.lock().unwrap().iter() {
            match event {
                Event::AtOnce { at_once, .. } => assert_eq!(*at_once, 3),
                Event::TransferStarted { target, .. } => {
                    under_way += 1;
                    most = most.max(under_way);
                    let above = target.dataset.parent().unwrap();
                    let is_root = target.dataset.as_str() == "backup/deep/a";
                    assert!(is_root || done.contains(&above), "{target}");
                }
                Event::TransferDone { target, .. } => {
                    under_way -= 1;
                    done.insert(target.dataset.clone());
                }
                _ => {}
            }
        }
        assert_eq!((most, done.len()), (3, names().len()));
    }
}

#[tokio::test]
async fn after_an_error_nothing_is_begun_and_what_is_under_way_is_completed() {
    let faults = Faults::default();
    let (source, target) = many(&faults);
    run(1, (&source, &target), &Told::default()).await.unwrap();
    change(&source, 2);
    // Listings and estimates are over by then.
    faults.fail_at(faults.operations() + 35, Fault::Error(ZfsErrorKind::Io));
    let told = Told::default();
    let error = run(2, (&source, &target), &told).await.unwrap_err();
    let ReplicateError::Transfer { done, of, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*of, names().len());
    let (mut begun, mut ended) = (0, 0);
    for event in told.0.lock().unwrap().iter() {
        match event {
            Event::TransferStarted { .. } => begun += 1,
            Event::TransferDone { .. } => ended += 1,
            _ => {}
        }
    }
    assert_eq!((ended, begun), (*done, *done + 1));
    assert!(begun < names().len());
    change(&source, 3);
    run(3, (&source, &target), &Told::default()).await.unwrap();
    ensure_all_equal(&source, &target, "after the next run");
}

fn sweep(first_runs: u32, fault: Fault) -> u64 {
    let go = |number: u32, models: (&Model, &Model)| {
        runtime().block_on(async { run(number, models, &Told::default()).await })
    };
    for operation in 1.. {
        let faults = Faults::default();
        let (source, target) = many(&faults);
        let models = (&source, &target);
        for number in 0..first_runs {
            go(number, models).unwrap();
            change(&source, 2);
        }
        faults.fail_at(faults.operations() + operation, fault);
        let outcome = go(10, models);
        let when = format!("after {fault:?} at operation {operation}");
        if faults.struck().is_empty() {
            outcome.unwrap();
            return operation - 1;
        }
        for model in [&source, &target] {
            if model.is_crashed() {
                model.revive();
            }
        }
        change(&source, 3);
        let report = go(11, models).unwrap_or_else(|error| panic!("{when}: {error}"));
        if first_runs > 0 {
            assert!(
                report.datasets.iter().all(|one| one.step != Step::Full),
                "a full {when}"
            );
        }
        ensure_all_equal(&source, &target, &when);
    }
    unreachable!("a run has a bounded number of operations")
}

#[test]
fn a_run_of_many_at_once_may_be_cut_at_any_operation() {
    for fault in [
        Fault::CrashMidway,
        Fault::CrashAfter,
        Fault::Error(ZfsErrorKind::Io),
    ] {
        for first_runs in [0, 1] {
            let points = sweep(first_runs, fault);
            assert!(points > 40, "only {points} operations were tried");
        }
    }
}

/// By a real clock, since threads of helpers keep a paused one from going on:
/// only that nothing is faster than allowed is claimed.
#[tokio::test]
async fn several_at_once_share_the_bandwidth_limit() {
    let (source, target) = many(&Faults::default());
    let (mut from, mut to) = (
        several("source", &source, 3).await,
        several("target", &target, 3).await,
    );
    let wall: WallClock = Arc::new(jiff::civil::DateTime::default);
    let limited = Job {
        limiter: Some(Limiter::new("50K".parse().unwrap(), wall)),
        compression: Compression::Off,
        ..job(1)
    };
    let told = Told::default();
    let begun = std::time::Instant::now();
    let report = replicate(&limited, &mut from, &mut to, &told).await;
    let seconds = begun.elapsed().as_secs_f64();
    let report = report.unwrap();
    let frames = report.datasets.iter().map(|one| one.moved.wire_bytes);
    // The last one is not waited for.
    let bytes = frames.clone().sum::<u64>() - frames.max().unwrap();
    let due = bytes as f64 / 51_200.0;
    assert!(due > 0.2 && seconds > due - 0.1, "{seconds} s, not {due} s");
    let at_once = |event: &Event| matches!(event, Event::AtOnce { at_once: 3, .. });
    assert!(told.0.lock().unwrap().iter().any(at_once));
    ensure_all_equal(&source, &target, "with a limit");
}
