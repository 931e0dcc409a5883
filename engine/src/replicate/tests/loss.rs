//! What the target has after the base: seen before anything is sent, and given
//! up only where that is allowed.

use super::*;
use crate::plan::{Conflict, OnModified, OnNewer, OnPartial};

const ROLL_BACK: Loss = Loss {
    on_modified: OnModified::RollBack,
    on_newer: OnNewer::Refuse,
    on_partial: OnPartial::Report,
};
const DESTROY: Loss = Loss {
    on_modified: OnModified::RollBack,
    on_newer: OnNewer::Destroy,
    on_partial: OnPartial::Report,
};

fn allowing(loss: Loss, run: u32) -> Job {
    Job { loss, ..job(run) }
}

/// One run has gone well; since then both sides were written to, and the target
/// has snapshots of its own in the last dataset of the tree.
async fn diverged(faults: &Faults) -> (Model, Model) {
    let (source, target) = machines(faults);
    go(&job(1), &source, &target).await.unwrap();
    write(&source, 2);
    let hands = target.by_hand();
    for (block, name) in [(70, "theirs"), (71, "more")] {
        hands.write("backup/deep/a/y", block, &[7; 5000]).unwrap();
        hands.snapshot(&format!("backup/deep/a/y@{name}")).unwrap();
    }
    hands.write("backup/deep/a/y", 72, &[8; 9000]).unwrap();
    (source, target)
}

fn conflicts(error: &ReplicateError) -> &[Conflict] {
    match error {
        ReplicateError::Conflicts { conflicts, .. } => conflicts,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_target_that_diverged_in_its_last_dataset_gets_nothing_in_the_first_ones() {
    let (source, target) = diverged(&Faults::default()).await;
    let before = (source.by_hand().list(), target.by_hand().list());
    for loss in [Loss::default(), ROLL_BACK] {
        let error = go(&allowing(loss, 2), &source, &target).await.unwrap_err();
        assert_eq!(error.family(), Family::BrokenChain, "{error}");
        let [
            Conflict::Diverged {
                newer,
                written_bytes,
                ..
            },
        ] = conflicts(&error)
        else {
            panic!("{error}")
        };
        let names: Vec<_> = newer.iter().map(|(short, _)| short.as_str()).collect();
        assert_eq!(names, ["theirs", "more"]);
        assert!(*written_bytes >= 19_000, "{written_bytes}");
        assert_eq!((source.by_hand().list(), target.by_hand().list()), before);
    }
}

#[tokio::test]
async fn a_rehearsal_says_what_would_be_lost_and_loses_nothing() {
    let (source, target) = diverged(&Faults::default()).await;
    let before = (source.by_hand().list(), target.by_hand().list());
    let rehearsal = Job {
        rehearsal: true,
        ..allowing(DESTROY, 2)
    };
    let report = go(&rehearsal, &source, &target).await.unwrap();
    let cleared: Vec<_> = report
        .datasets
        .iter()
        .filter_map(|d| d.clearing.as_ref())
        .collect();
    assert_eq!(cleared.len(), 1);
    assert_eq!(cleared[0].snapshots.len(), 2);
    assert_eq!((source.by_hand().list(), target.by_hand().list()), before);
}

#[tokio::test]
async fn what_may_be_lost_goes_and_the_target_is_equal_to_its_source() {
    let (source, target) = diverged(&Faults::default()).await;
    go(&allowing(DESTROY, 2), &source, &target).await.unwrap();
    ensure_equal(&source, &target, "after newer snapshots were destroyed");
    let commands = target.commands();
    let of = |text: &str| commands.iter().filter(|c| c.contains(text)).count();
    assert_eq!(of("zfs rollback"), 1, "{commands:?}");

    write(&source, 3);
    let hands = target.by_hand();
    hands.write("backup/deep/a/x", 50, &[1; 20_000]).unwrap();
    let report = go(&allowing(ROLL_BACK, 3), &source, &target).await.unwrap();
    let lost: Vec<_> = report
        .datasets
        .iter()
        .filter_map(|d| d.clearing.as_ref())
        .collect();
    assert_eq!(lost.len(), 1);
    assert!(lost[0].lost_bytes >= 20_000);
    ensure_equal(&source, &target, "after changes were rolled back");
}

#[tokio::test]
async fn one_snapshot_that_is_held_keeps_all_of_them_and_nothing_is_sent() {
    let (source, target) = diverged(&Faults::default()).await;
    let hands = target.by_hand();
    hands.hold("backup/deep/a/y@more", "theirs").unwrap();
    let before = (source.by_hand().list(), hands.list());
    let error = go(&allowing(DESTROY, 2), &source, &target)
        .await
        .unwrap_err();
    assert!(
        matches!(conflicts(&error), [Conflict::Kept { holds: 1, .. }]),
        "{error}"
    );
    assert_eq!((source.by_hand().list(), hands.list()), before);
}

#[tokio::test]
async fn changes_beside_the_part_of_a_cut_stream_are_rolled_back_and_the_part_goes_on() {
    let source = machines(&Faults::default()).0;
    let target = machines(&Faults::default()).1;
    go(&job(1), &source, &target).await.unwrap();
    write(&source, 2);
    cut_run(&source, &target, 2).await;
    target
        .by_hand()
        .write("backup/deep/a/x", 90, &[3; 20_000])
        .unwrap();
    let error = go(&job(50), &source, &target).await.unwrap_err();
    assert!(matches!(
        conflicts(&error),
        [Conflict::PartialReceive { .. } | Conflict::Modified { .. }]
    ));
    let report = go(&allowing(ROLL_BACK, 51), &source, &target)
        .await
        .unwrap();
    assert!(
        report
            .datasets
            .iter()
            .any(|d| matches!(d.step, Step::Resume { .. }))
    );
    ensure_equal(&source, &target, "after a part went on");
}

#[test]
fn a_run_that_gives_up_what_may_be_lost_may_be_cut_at_any_operation() {
    for fault in [
        Fault::CrashBefore,
        Fault::CrashMidway,
        Fault::CrashAfter,
        Fault::Error(ZfsErrorKind::Busy),
    ] {
        let mut points = 0;
        for operation in 1.. {
            let faults = Faults::default();
            let (source, target) = runtime().block_on(diverged(&faults));
            faults.fail_at(faults.operations() + operation, fault);
            let outcome = runtime().block_on(go(&allowing(DESTROY, 10), &source, &target));
            if faults.struck().is_empty() {
                outcome.unwrap();
                break;
            }
            points = operation;
            source.revive();
            target.revive();
            let when = format!("after {fault:?} at operation {operation}");
            let report = runtime()
                .block_on(go(&allowing(DESTROY, 11), &source, &target))
                .unwrap_or_else(|error| panic!("{when}: {error}"));
            assert!(
                report.datasets.iter().all(|d| d.step != Step::Full),
                "{when}"
            );
            ensure_equal(&source, &target, &when);
        }
        assert!(points > 12, "only {points} operations were tried");
    }
}
