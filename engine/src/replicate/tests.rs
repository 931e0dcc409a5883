//! Whole replications over machines in memory: results, and faults at every
//! operation.

mod between;
mod conflicts;
mod connections;
mod holds;
mod late;
mod limits;
mod loss;
mod many;
mod partial;
mod peers;
mod persist;
mod played;
mod progress;
mod prune;
mod sizes;
mod stalls;
mod wire;
mod workers;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Job, OnConflict, Placement, ReplicateError, Report, SnapshotChoice, replicate};
use crate::error::Family;
use crate::event::{Event, Observer};
use crate::helper::{Authorization, Helper, Workers, Workforce, serve};
use crate::hold::BaseHold;
use crate::name::{DatasetName, ShortName};
use crate::peer::Peer;
use crate::peer::wire::WireError;
use crate::plan::{Intermediary, Loss, Step};
use crate::protocol::failure::Failure;
use crate::protocol::hello::About;
use crate::stream::compress::Compression;
use crate::transport::{Link, local};
use crate::zfs::model::{Fault, Faults, Model};
use crate::zfs::{Scope, SendMode, ZfsErrorKind};

const POOL_BYTES: u64 = 1 << 24;
const PATIENCE: Duration = Duration::from_secs(20);

struct Silent;

impl Observer for Silent {
    fn event(&self, _: &Event) {}
}

/// Does something when everything has been listed, and the run says that it
/// takes its snapshot.
struct AtSnapshot<F>(F);

impl<F: Fn() + Send + Sync> Observer for AtSnapshot<F> {
    fn event(&self, event: &Event) {
        if let Event::Step { command, .. } = event
            && command.starts_with("zfs snapshot")
        {
            (self.0)();
        }
    }
}

/// Keeps what is told.
#[derive(Default)]
struct Told(Mutex<Vec<Event>>);

impl Observer for Told {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Told {
    fn notices(&self) -> Vec<String> {
        let told = self.0.lock().unwrap();
        let text = |event: &Event| match event {
            Event::Notice { peer, text } => Some(format!("{peer}: {text}")),
            _ => None,
        };
        told.iter().filter_map(text).collect()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

fn about() -> About {
    About {
        program: "zferry test".into(),
        node: "memory".into(),
        platform: "memory".into(),
        images: Vec::new(),
        clock: None,
    }
}

fn dataset(name: &str) -> DatasetName {
    DatasetName::parse(name).unwrap()
}

fn helper_link(model: &Model, authorization: Authorization) -> Link {
    served(model, authorization).0
}

fn helper(model: &Model, authorization: Authorization) -> Helper {
    Helper {
        zfs: Arc::new(model.clone()),
        authorization,
        states: None,
        claims: None,
        door: None,
        about: about(),
        patience: PATIENCE,
        workforce: Workforce::default(),
    }
}

/// The same, with how it ends.
fn served(
    model: &Model,
    authorization: Authorization,
) -> (Link, tokio::task::JoinHandle<Result<(), WireError>>) {
    let (near, far) = local::pair();
    (near, tokio::spawn(serve(far, helper(model, authorization))))
}

async fn peer(name: &str, model: &Model) -> Peer {
    let link = helper_link(model, Authorization::everything());
    Peer::greet(name, link, &about(), PATIENCE).await.unwrap()
}

/// A source with a tree and an empty target pool.
fn machines(faults: &Faults) -> (Model, Model) {
    let source = Model::with_faults(1, faults.clone());
    let target = Model::with_faults(2, faults.clone());
    source.by_hand().add_pool("tank", POOL_BYTES).unwrap();
    target.by_hand().add_pool("backup", POOL_BYTES).unwrap();
    for name in ["tank/a", "tank/a/x", "tank/a/y"] {
        source.by_hand().create(name).unwrap();
    }
    write(&source, 1);
    (source, target)
}

fn write(model: &Model, version: u8) {
    for name in ["tank/a", "tank/a/x", "tank/a/y"] {
        let hands = model.by_hand();
        hands.write(name, 0, &[version; 300]).unwrap();
        hands
            .write(name, u64::from(version), &[version; 900])
            .unwrap();
    }
}

fn job(run: u32) -> Job {
    Job {
        source: dataset("tank/a"),
        target: dataset("backup/deep/a"),
        snapshot: SnapshotChoice::Take {
            short: ShortName::parse(&format!("ours-{run:04}")).unwrap(),
            series: "ours-".into(),
        },
        scope: Scope::Recursive,
        mode: SendMode::Plain,
        placement: Placement::TwoMachines,
        compression: Compression::Adaptive,
        workers: Workers::Auto,
        limiter: None,
        loss: Loss::default(),
        intermediary: Intermediary::Skip,
        on_conflict: OnConflict::Refuse,
        base: BaseHold::default(),
        rehearsal: false,
    }
}

async fn go(job: &Job, source: &Model, target: &Model) -> Result<Report, ReplicateError> {
    let mut from = peer("source", source).await;
    let mut to = peer("target", target).await;
    replicate(job, &mut from, &mut to, &Silent).await
}

fn ensure_equal(source: &Model, target: &Model, when: &str) {
    for name in ["a", "a/x", "a/y"] {
        let (here, there) = (format!("tank/{name}"), format!("backup/deep/{name}"));
        let digest = |model: &Model, name: &str| model.by_hand().digest(name);
        assert!(digest(source, &here).is_some(), "{when}");
        assert_eq!(
            digest(source, &here),
            digest(target, &there),
            "{name} {when}"
        );
        for (model, name) in [(source, &here), (target, &there)] {
            let ours = model.by_hand().look(name).unwrap().snapshots;
            assert_eq!(ours.len(), 1, "{name} {when}: {ours:?}");
            let holds = model.by_hand().holds(&format!("{name}@{}", ours[0].short));
            assert!(holds.is_empty(), "{holds:?} {when}");
        }
    }
}

#[tokio::test]
async fn the_second_run_is_incremental_and_replaces_the_first_ones_snapshots() {
    let (source, target) = machines(&Faults::default());
    let report = go(&job(1), &source, &target).await.unwrap();
    assert!(report.datasets.iter().all(|d| d.step == Step::Full));
    write(&source, 2);
    let report = go(&job(2), &source, &target).await.unwrap();
    let incremental = |step: &Step| matches!(step, Step::Incremental { .. });
    assert!(report.datasets.iter().all(|d| incremental(&d.step)));
    ensure_equal(&source, &target, "after two runs");
}

#[tokio::test]
async fn a_rehearsal_changes_nothing_and_estimates() {
    let (source, target) = machines(&Faults::default());
    let before = (source.by_hand().list(), target.by_hand().list());
    let rehearsal = Job {
        rehearsal: true,
        ..job(1)
    };
    let report = go(&rehearsal, &source, &target).await.unwrap();
    assert_eq!(report.datasets.len(), 3);
    assert!(report.datasets.iter().all(|d| d.estimated_bytes > 0));
    assert_eq!((source.by_hand().list(), target.by_hand().list()), before);
}

#[tokio::test]
async fn a_conflict_leaves_both_sides_as_they_were() {
    let (source, target) = machines(&Faults::default());
    go(&job(1), &source, &target).await.unwrap();
    target
        .by_hand()
        .write("backup/deep/a/x", 77, b"local")
        .unwrap();
    write(&source, 2);
    let before = (source.by_hand().list(), target.by_hand().list());
    let error = go(&job(2), &source, &target).await.unwrap_err();
    assert_eq!(error.family(), Family::BrokenChain, "{error}");
    assert!(error.remedies()[0].contains("zfs rollback"), "{error}");
    assert_eq!((source.by_hand().list(), target.by_hand().list()), before);
}

#[tokio::test]
async fn a_target_that_runs_full_reports_that_and_can_be_asked_again() {
    let (source, _) = machines(&Faults::default());
    let target = Model::new(2);
    target.by_hand().add_pool("backup", 120_000).unwrap();
    for block in 10..200 {
        source
            .by_hand()
            .write("tank/a/x", block, &[7; 4000])
            .unwrap();
    }
    let mut from = peer("source", &source).await;
    let mut to = peer("target", &target).await;
    let error = replicate(&job(1), &mut from, &mut to, &Silent)
        .await
        .unwrap_err();
    let ReplicateError::Transfer { cause, done, .. } = &error else {
        panic!("{error:?}")
    };
    let kind = match cause.failure() {
        Some(Failure::Zfs(error)) => error.kind,
        other => panic!("{other:?}"),
    };
    assert_eq!((kind, *done), (ZfsErrorKind::NoSpace, 1));
    // Both conversations are in step.
    assert!(
        from.tree(&dataset("tank/a"), Scope::One)
            .await
            .unwrap()
            .is_some()
    );
    let half = to
        .tree(&dataset("backup/deep/a/x"), Scope::One)
        .await
        .unwrap()
        .unwrap();
    assert!(half[0].partial.is_some() && half[0].snapshots.is_empty());
}

/// A run for `tank/a/x` alone that dies midway in its receive.
async fn cut_run(source: &Model, target: &Model, run: u32) {
    for block in 10..40 {
        let bytes = [u8::try_from(run).unwrap(); 9000];
        source.by_hand().write("tank/a/x", block, &bytes).unwrap();
    }
    let job = |run| Job {
        source: dataset("tank/a/x"),
        target: dataset("backup/deep/a/x"),
        ..job(run)
    };
    // Which operation that is, is for the sweep of crashes to find.
    for attempt in 1..20 {
        let faults = target.faults();
        faults.fail_at(faults.operations() + attempt, Fault::CrashMidway);
        let outcome = go(
            &job(10 * run + u32::try_from(attempt).unwrap()),
            source,
            target,
        )
        .await;
        assert!(outcome.is_err(), "no receive was cut");
        source.revive();
        target.revive();
        let cut = target.by_hand().look("backup/deep/a/x");
        if cut.is_some_and(|cut| cut.partial.is_some()) {
            return;
        }
    }
    panic!("no receive was cut");
}

#[tokio::test]
async fn what_a_cut_run_left_is_completed_by_the_next_one() {
    let source = machines(&Faults::default()).0;
    let target = machines(&Faults::default()).1;
    go(&job(1), &source, &target).await.unwrap();
    write(&source, 2);
    cut_run(&source, &target, 2).await;
    let left = target.by_hand().look("backup/deep/a/x").unwrap();
    let left = left.partial.unwrap().content.unwrap();
    write(&source, 3);
    let report = go(&job(50), &source, &target).await.unwrap();
    let resumed: Vec<_> = report
        .datasets
        .iter()
        .filter(|dataset| matches!(dataset.step, Step::Resume { .. }))
        .collect();
    assert_eq!(resumed.len(), 1, "{report:?}");
    assert_eq!(resumed[0].guid, left.to_guid);
    assert_eq!(report.datasets.len(), 4);
    ensure_equal(&source, &target, "after a resumed run");
}

fn sweep(first_runs: u32, fault: Fault) -> u64 {
    for operation in 1.. {
        let faults = Faults::default();
        let (source, target) = machines(&faults);
        for run in 0..first_runs {
            write(&source, 2);
            runtime().block_on(go(&job(run), &source, &target)).unwrap();
        }
        write(&source, 3);
        faults.fail_at(faults.operations() + operation, fault);
        let outcome = runtime().block_on(go(&job(10), &source, &target));
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
        write(&source, 4);
        let report = runtime()
            .block_on(go(&job(11), &source, &target))
            .unwrap_or_else(|error| panic!("{when}: {error}"));
        if first_runs > 0 {
            assert!(
                report.datasets.iter().all(|d| d.step != Step::Full),
                "a full {when}"
            );
        }
        ensure_equal(&source, &target, &when);
    }
    unreachable!("a run has a bounded number of operations")
}

/// What strikes in a sweep over all operations of a run.
const KINDS: [Fault; 4] = [
    Fault::CrashBefore,
    Fault::CrashMidway,
    Fault::CrashAfter,
    Fault::Error(ZfsErrorKind::Io),
];

#[test]
fn a_run_may_be_cut_at_any_operation() {
    for fault in KINDS {
        for first_runs in [0, 1] {
            let points = sweep(first_runs, fault);
            assert!(points > 10, "only {points} operations were tried");
        }
    }
}

#[test]
fn a_run_that_completes_a_cut_one_may_be_cut_at_any_operation() {
    for fault in [
        Fault::CrashBefore,
        Fault::CrashMidway,
        Fault::CrashAfter,
        Fault::Error(ZfsErrorKind::Busy),
    ] {
        let mut points = 0;
        for operation in 1.. {
            let faults = Faults::default();
            let (source, target) = machines(&faults);
            runtime().block_on(go(&job(1), &source, &target)).unwrap();
            write(&source, 2);
            runtime().block_on(cut_run(&source, &target, 2));
            write(&source, 3);
            faults.fail_at(faults.operations() + operation, fault);
            let struck = faults.struck().len();
            let outcome = runtime().block_on(go(&job(50), &source, &target));
            if faults.struck().len() == struck {
                outcome.unwrap();
                break;
            }
            points = operation;
            source.revive();
            target.revive();
            let when = format!("after {fault:?} at operation {operation}");
            let report = runtime()
                .block_on(go(&job(51), &source, &target))
                .unwrap_or_else(|error| panic!("{when}: {error}"));
            assert!(
                report.datasets.iter().all(|d| d.step != Step::Full),
                "{when}"
            );
            ensure_equal(&source, &target, &when);
        }
        assert!(points > 15, "only {points} operations were tried");
    }
}
