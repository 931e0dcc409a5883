//! Whole replications whose transfers have several workers each, whatever their
//! length.

use std::sync::Arc;

use super::{
    KINDS, PATIENCE, Silent, Told, about, cut_run, ensure_equal, helper, job, machines, write,
};
use crate::event::Event;
use crate::helper::{Authorization, Helper, Workers, Workforce, serve};
use crate::peer::Peer;
use crate::plan::Step;
use crate::replicate::{Job, ReplicateError, Report, replicate};
use crate::transport::local;
use crate::zfs::model::{Faults, Model};

const WORKERS: usize = 4;

fn by_several(run: u32) -> Job {
    Job {
        workers: Workers::Exactly(WORKERS),
        ..job(run)
    }
}

async fn peer(name: &str, model: &Model) -> Peer {
    let (near, far) = local::pair();
    let helper = Helper {
        workforce: Workforce::apart(WORKERS - 1, 0),
        ..helper(model, Authorization::everything())
    };
    tokio::spawn(serve(far, helper));
    Peer::greet(name, near, &about(), PATIENCE).await.unwrap()
}

async fn go(job: &Job, source: &Model, target: &Model) -> Result<Report, ReplicateError> {
    let mut from = peer("source", source).await;
    let mut to = peer("target", target).await;
    replicate(job, &mut from, &mut to, &Silent).await
}

/// Some MiB more, so that a stream has several frames.
fn grow(model: &Model, version: u8) {
    write(model, version);
    for block in 100..116 {
        let bytes = vec![version; 150_000];
        model.by_hand().write("tank/a/x", block, &bytes).unwrap();
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

#[test]
fn a_run_by_several_workers_may_be_cut_at_any_operation() {
    for fault in KINDS {
        for first_runs in [0, 1] {
            let mut points = 0;
            for operation in 1.. {
                let faults = Faults::default();
                let (source, target) = machines(&faults);
                for run in 0..first_runs {
                    write(&source, 2);
                    block_on(go(&by_several(run), &source, &target)).unwrap();
                }
                grow(&source, 3);
                faults.fail_at(faults.operations() + operation, fault);
                let outcome = block_on(go(&by_several(10), &source, &target));
                if faults.struck().is_empty() {
                    outcome.unwrap();
                    break;
                }
                points = operation;
                for model in [&source, &target] {
                    if model.is_crashed() {
                        model.revive();
                    }
                }
                let when = format!("after {fault:?} at operation {operation}");
                let report = block_on(go(&by_several(11), &source, &target))
                    .unwrap_or_else(|error| panic!("{when}: {error}"));
                let full = |step: &Step| *step == Step::Full;
                assert!(
                    first_runs == 0 || !report.datasets.iter().any(|d| full(&d.step)),
                    "a full {when}"
                );
                ensure_equal(&source, &target, &when);
            }
            assert!(points > 10, "only {points} operations were tried");
        }
    }
}

#[test]
fn what_a_run_by_one_worker_left_is_completed_by_several() {
    let source = machines(&Faults::default()).0;
    let target = machines(&Faults::default()).1;
    block_on(go(&by_several(1), &source, &target)).unwrap();
    grow(&source, 2);
    block_on(cut_run(&source, &target, 2));
    let report = block_on(go(&by_several(50), &source, &target)).unwrap();
    let resumed = |step: &Step| matches!(step, Step::Resume { .. });
    assert!(report.datasets.iter().any(|d| resumed(&d.step)));
    ensure_equal(&source, &target, "after a resumed run");
}

fn workers_told(events: &[Event]) -> Vec<(&str, usize)> {
    let told = events.iter().filter_map(|event| match event {
        Event::Workers { peer, workers } => Some((peer.as_str(), *workers)),
        _ => None,
    });
    told.collect()
}

#[tokio::test]
async fn a_helper_that_knows_nothing_of_workers_is_not_told_of_them_and_the_user_is() {
    let (source, target) = machines(&Faults::default());
    let mut from = peer("source", &source).await;
    let mut to = peer("target", &target).await;
    // What an older one says in its hello.
    to.workers = None;
    let told = Arc::new(Told::default());
    replicate(&by_several(1), &mut from, &mut to, &*told)
        .await
        .unwrap();
    let told = told.0.lock().unwrap();
    assert_eq!(workers_told(&told), [("source", WORKERS)]);
    let notices = told.iter().filter_map(|event| match event {
        Event::Notice { peer, text } => Some((peer.as_str(), text.as_str())),
        _ => None,
    });
    let notices: Vec<_> = notices.collect();
    assert!(
        notices
            .iter()
            .any(|(peer, text)| *peer == "target" && text.contains("older")),
        "{notices:?}"
    );
    assert!(target.by_hand().look("backup/deep/a").is_some());
}

#[tokio::test]
async fn what_a_side_chooses_by_itself_is_told_if_it_is_more_than_one() {
    for (chosen, told) in [(None, None), (Some(1), None), (Some(3), Some(3))] {
        let (source, target) = machines(&Faults::default());
        let mut from = peer("source", &source).await;
        let mut to = peer("target", &target).await;
        from.workers = Some(1);
        to.workers = chosen;
        let events = Arc::new(Told::default());
        replicate(&job(1), &mut from, &mut to, &*events)
            .await
            .unwrap();
        let events = events.0.lock().unwrap();
        let told: Vec<_> = told
            .map(|workers| ("target", workers))
            .into_iter()
            .collect();
        assert_eq!(workers_told(&events), told);
    }
}
