//! Somebody changes a side after the run has found both fit and taken its
//! snapshot.

use super::*;
use crate::plan::Conflict;

/// A run whose base goes while it takes its snapshot.
async fn disturbed(job: &Job, source: &Model, target: &Model) -> Result<Report, ReplicateError> {
    let (mut from, mut to) = (peer("source", source).await, peer("target", target).await);
    let somebody = AtSnapshot(|| {
        let base = "tank/a/x@ours-0001";
        source.by_hand().destroy_snapshot(base).unwrap();
    });
    replicate(job, &mut from, &mut to, &somebody).await
}

#[tokio::test]
async fn a_conflict_that_came_late_says_which_snapshot_was_taken() {
    let (source, target) = machines(&Faults::default());
    go(&job(1), &source, &target).await.unwrap();
    write(&source, 2);
    let error = disturbed(&job(2), &source, &target).await.unwrap_err();
    let ReplicateError::Conflicts { conflicts, .. } = &error else {
        panic!("{error}")
    };
    assert!(
        matches!(conflicts[..], [Conflict::NoCommonBase { .. }]),
        "{error}"
    );
    let state = error.state_left().unwrap();
    assert!(state.starts_with("tank/a@ours-0002 was taken"), "{state}");
}

#[tokio::test]
async fn a_target_that_gets_in_the_way_late_is_put_aside_and_everything_sent() {
    let (source, target) = machines(&Faults::default());
    go(&job(1), &source, &target).await.unwrap();
    write(&source, 2);
    let job = Job {
        on_conflict: OnConflict::Archive,
        ..job(2)
    };
    let report = disturbed(&job, &source, &target).await.unwrap();
    assert_eq!(report.archived.unwrap().datasets, 3);
    assert!(report.datasets.iter().all(|d| d.step == Step::Full));
    ensure_equal(&source, &target, "after everything");
}
