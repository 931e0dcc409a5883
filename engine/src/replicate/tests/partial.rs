//! Parts of cut streams that cannot be completed any more.

use super::*;
use crate::name::SnapshotName;
use crate::plan::{Conflict, DiscardReason, OnPartial};
use crate::zfs::Zfs as _;

const X: &str = "backup/deep/a/x";

fn asked(run: u32) -> Job {
    let loss = Loss {
        on_partial: OnPartial::Discard,
        ..Loss::default()
    };
    Job { loss, ..job(run) }
}

/// The same pair under another name: what it took is not this one's.
fn of_others(job: Job) -> Job {
    let short = job.snapshot.short().as_str().replace("ours-", "mine-");
    Job {
        snapshot: SnapshotChoice::Take {
            short: ShortName::parse(&short).unwrap(),
            series: "mine-".into(),
        },
        ..job
    }
}

/// In step once, or with nothing on the target; then a run is cut in `tank/a/x`.
async fn cut(source: &Model, target: &Model, in_step: bool) {
    match in_step {
        true => drop(go(&job(1), source, target).await.unwrap()),
        false => {
            for name in ["backup/deep", "backup/deep/a"] {
                target.by_hand().create(name).unwrap();
            }
        }
    }
    cut_run(source, target, 2).await;
}

/// Destroys the newest snapshot of `tank/a/x`: the one that was being sent.
fn lose_newest(source: &Model) {
    let snapshots = source.by_hand().look("tank/a/x").unwrap().snapshots;
    let newest = &snapshots.last().unwrap().short;
    let name = format!("tank/a/x@{newest}");
    source.by_hand().destroy_snapshot(&name).unwrap();
}

fn partial_is_there(target: &Model) -> bool {
    let there = target.by_hand().look(X);
    there.is_some_and(|there| there.partial.is_some())
}

fn both(source: &Model, target: &Model) -> [Vec<String>; 2] {
    [source.by_hand().list(), target.by_hand().list()]
}

fn for_x(job: Job) -> Job {
    Job {
        source: dataset("tank/a/x"),
        target: dataset(X),
        ..job
    }
}

fn pair() -> (Model, Model) {
    (
        machines(&Faults::default()).0,
        machines(&Faults::default()).1,
    )
}

#[tokio::test]
async fn a_part_of_ours_that_the_source_has_lost_is_given_up_and_the_run_is_incremental() {
    let (source, target) = pair();
    cut(&source, &target, true).await;
    lose_newest(&source);
    let report = go(&job(50), &source, &target).await.unwrap();
    let gone: Vec<_> = report
        .datasets
        .iter()
        .filter_map(|d| d.discard.as_ref())
        .collect();
    assert_eq!(gone.len(), 1, "{report:?}");
    assert_eq!(gone[0].reason, DiscardReason::Useless);
    assert!(gone[0].received_bytes > 0);
    assert!(report.datasets.iter().all(|d| d.step != Step::Full));
    let commands = target.commands();
    let given_up = commands.iter().filter(|c| c.contains("zfs receive -A"));
    assert_eq!(given_up.count(), 1, "{commands:?}");
    ensure_equal(&source, &target, "after a part was given up");
}

#[tokio::test]
async fn a_new_dataset_of_which_only_a_lost_part_came_goes_with_it_and_is_sent_in_full() {
    let (source, target) = pair();
    cut(&source, &target, false).await;
    lose_newest(&source);
    let job = for_x(job(50));
    let report = go(&job, &source, &target).await.unwrap();
    assert!(report.datasets[0].discard.is_some(), "{report:?}");
    assert_eq!(report.datasets[0].step, Step::Full);
    let digest = |model: &Model, name: &str| model.by_hand().digest(name).unwrap();
    assert_eq!(digest(&source, "tank/a/x"), digest(&target, X));
}

#[tokio::test]
async fn what_another_program_left_is_reported_and_stays_until_it_is_asked_for() {
    for in_step in [true, false] {
        let (source, target) = pair();
        cut(&source, &target, in_step).await;
        lose_newest(&source);
        let before = both(&source, &target);
        let job = |job: Job| for_x(of_others(job));
        let error = go(&job(super::job(50)), &source, &target)
            .await
            .unwrap_err();
        let ReplicateError::Conflicts { conflicts, .. } = &error else {
            panic!("{error}")
        };
        assert!(matches!(conflicts[..], [Conflict::PartialReceive { .. }]));
        let remedy = &error.remedies()[0];
        assert!(remedy.contains("--discard-partial"), "{remedy}");
        assert!(remedy.contains(&format!("zfs receive -A {X}")), "{remedy}");
        assert_eq!(both(&source, &target), before);
        assert!(partial_is_there(&target), "it was destroyed silently");

        // With the option the rehearsal says what goes, and the run loses that.
        let rehearsal = Job {
            rehearsal: true,
            ..job(asked(51))
        };
        let shown = go(&rehearsal, &source, &target).await.unwrap();
        assert_eq!(both(&source, &target), before);
        let report = go(&job(asked(52)), &source, &target).await.unwrap();
        let discards = |report: &Report| -> Vec<_> {
            report.datasets.iter().map(|d| d.discard.clone()).collect()
        };
        assert_eq!(discards(&shown), discards(&report));
        let gone = report.datasets[0].discard.as_ref().unwrap();
        assert_eq!(gone.reason, DiscardReason::Asked);
        assert!(!partial_is_there(&target));
        let digest = |model: &Model, name: &str| model.by_hand().digest(name).unwrap();
        assert_eq!(digest(&source, "tank/a/x"), digest(&target, X));
    }
}

#[tokio::test]
async fn where_no_base_is_left_the_part_stays_with_everything_else() {
    let (source, target) = pair();
    cut(&source, &target, true).await;
    let hands = source.by_hand();
    for snapshot in hands.look("tank/a/x").unwrap().snapshots {
        let name = format!("tank/a/x@{}", snapshot.short);
        hands.destroy_snapshot(&name).unwrap();
    }
    let before = both(&source, &target);
    for job in [job(50), asked(51)] {
        let error = go(&job, &source, &target).await.unwrap_err();
        assert!(matches!(error, ReplicateError::Conflicts { .. }), "{error}");
        assert_eq!(both(&source, &target), before);
        assert!(partial_is_there(&target));
    }
}

#[tokio::test]
async fn a_part_goes_on_though_the_source_dataset_was_renamed_since() {
    let (source, target) = pair();
    cut(&source, &target, true).await;
    let renamed = source.rename_dataset(&dataset("tank/a/x"), &dataset("tank/other"));
    renamed.unwrap();
    let job = Job {
        source: dataset("tank/other"),
        target: dataset(X),
        ..job(50)
    };
    let report = go(&job, &source, &target).await.unwrap();
    let resumed = |d: &super::super::DatasetReport| matches!(d.step, Step::Resume { .. });
    assert!(report.datasets.iter().any(resumed), "{report:?}");
    assert!(report.datasets.iter().all(|d| d.discard.is_none()));
}

#[tokio::test]
async fn a_part_goes_on_by_the_new_name_of_its_target_and_by_the_old_one_that_name_is_told() {
    let (source, target) = pair();
    cut(&source, &target, true).await;
    let renamed = target.rename_dataset(&dataset(X), &dataset("backup/moved"));
    renamed.unwrap();
    let job = |run, to: &str| Job {
        source: dataset("tank/a/x"),
        target: dataset(to),
        ..job(run)
    };
    let report = go(&job(50, "backup/moved"), &source, &target).await;
    let first = &report.unwrap().datasets[0].step;
    assert!(matches!(first, Step::Resume { .. }), "{first:?}");
    let error = go(&job(51, X), &source, &target).await.unwrap_err();
    let ReplicateError::Conflicts { conflicts, .. } = &error else {
        panic!("{error}")
    };
    let [Conflict::Renamed { at, .. }] = &conflicts[..] else {
        panic!("{error}")
    };
    assert_eq!(*at, dataset("backup/moved"));
}

#[tokio::test]
async fn a_part_that_went_on_since_it_was_looked_at_is_not_given_up() {
    let (source, target) = pair();
    cut(&source, &target, true).await;
    let mut peer = peer("target", &target).await;
    let other = "1-another-1-00".to_owned();
    let error = peer.discard_partial(dataset(X), other).await.unwrap_err();
    assert_eq!(error.family(), Family::Transient, "{error}");
    assert!(partial_is_there(&target));
    let long = "1".repeat(9000);
    let error = peer.discard_partial(dataset(X), long).await.unwrap_err();
    assert!(
        matches!(error.failure(), Some(Failure::BadRequest(_))),
        "{error}"
    );
    assert!(partial_is_there(&target));
}

/// Fails operation 1, 2, 3 … of a run that gives a part up.
fn sweep(fault: Fault, in_step: bool) -> u64 {
    for operation in 1.. {
        let faults = Faults::default();
        let (source, target) = machines(&faults);
        runtime().block_on(cut(&source, &target, in_step));
        lose_newest(&source);
        let foreign = SnapshotName::parse("backup/keep@theirs").unwrap();
        target.by_hand().create("backup/keep").unwrap();
        target.by_hand().snapshot(&foreign.to_string()).unwrap();
        let struck = faults.struck().len();
        faults.fail_at(faults.operations() + operation, fault);
        let run = |number| runtime().block_on(go(&for_x(job(number)), &source, &target));
        let outcome = run(50);
        let when = format!("after {fault:?} at operation {operation}");
        if faults.struck().len() == struck {
            outcome.unwrap();
            return operation - 1;
        }
        for model in [&source, &target] {
            if model.is_crashed() {
                model.revive();
            }
        }
        let report = run(51).unwrap_or_else(|error| panic!("{when}: {error}"));
        if in_step {
            let full = report.datasets.iter().any(|d| d.step.is_full());
            assert!(!full, "a full {when}");
        }
        assert!(!partial_is_there(&target), "{when}");
        let kept = target.by_hand().look("backup/keep").unwrap();
        assert_eq!(kept.snapshots.len(), 1, "{when}");
        let digest = |model: &Model, name: &str| model.by_hand().digest(name).unwrap();
        assert_eq!(digest(&source, "tank/a/x"), digest(&target, X), "{when}");
    }
    unreachable!("a run has a bounded number of operations")
}

#[test]
fn a_run_that_gives_a_part_up_may_be_cut_at_any_operation() {
    for fault in [
        Fault::CrashBefore,
        Fault::CrashMidway,
        Fault::CrashAfter,
        Fault::Error(ZfsErrorKind::Io),
    ] {
        for in_step in [true, false] {
            let points = sweep(fault, in_step);
            assert!(points > 8, "only {points} operations were tried");
        }
    }
}

/// Fails operation 1, 2, 3 … of the target until it is a receive.
#[tokio::test]
async fn a_stream_that_the_pool_does_not_support_is_told_with_what_the_pool_needs() {
    for attempt in 1..40 {
        let faults = Faults::default();
        let (source, target) = machines(&faults);
        let fault = Fault::Error(ZfsErrorKind::NotSupported);
        faults.fail_at(attempt, fault);
        let error = go(&for_x(job(1)), &source, &target).await;
        let Err(ReplicateError::Transfer { cause, .. }) = &error else {
            continue;
        };
        let Some(Failure::Unsupported { pool_features, .. }) = cause.failure() else {
            continue;
        };
        assert!(!pool_features.is_empty(), "{error:?}");
        let error = error.unwrap_err();
        assert_eq!(error.family(), Family::Failed, "retrying does not help");
        let text = error.to_string();
        for part in ["pool backup needs", "backup/deep/a/x"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let remedy = &error.remedies()[0];
        assert!(remedy.ends_with("zpool upgrade backup"), "{remedy}");
        return;
    }
    panic!("no receive was refused");
}
