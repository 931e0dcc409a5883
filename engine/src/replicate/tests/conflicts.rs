//! Obstacles that only the pools as a whole explain, and the target put aside.

use std::collections::BTreeSet;

use super::*;
use crate::copies;
use crate::name::SnapshotName;
use crate::plan::{Conflict, Keeper, OnModified, OnNewer};

fn archiving(run: u32) -> Job {
    Job {
        on_conflict: OnConflict::Archive,
        ..job(run)
    }
}

fn rehearsing(job: Job) -> Job {
    Job {
        rehearsal: true,
        ..job
    }
}

fn conflicts(error: &ReplicateError) -> &[Conflict] {
    match error {
        ReplicateError::Conflicts { conflicts, .. } => conflicts,
        other => panic!("{other}"),
    }
}

/// What is on both sides.
fn state(source: &Model, target: &Model) -> impl PartialEq + std::fmt::Debug {
    (source.by_hand().list(), target.by_hand().list())
}

fn rename(model: &Model, from: &str, to: &str) {
    model.by_hand().rename(from, to).unwrap();
}

/// One run has gone well; then the source is made anew under its name.
async fn recreated(faults: &Faults) -> (Model, Model) {
    let (source, target) = machines(faults);
    go(&job(1), &source, &target).await.unwrap();
    for name in ["tank/a/x", "tank/a/y", "tank/a"] {
        let hands = source.by_hand();
        for snapshot in hands.look(name).unwrap().snapshots {
            hands
                .destroy_snapshot(&format!("{name}@{}", snapshot.short))
                .unwrap();
        }
        hands.destroy(name).unwrap();
    }
    for name in ["tank/a", "tank/a/x", "tank/a/y"] {
        source.by_hand().create(name).unwrap();
    }
    write(&source, 7);
    (source, target)
}

#[tokio::test]
async fn a_renamed_target_is_found_and_nothing_is_sent_in_full() {
    let (source, target) = machines(&Faults::default());
    go(&job(1), &source, &target).await.unwrap();
    rename(&target, "backup/deep/a", "backup/elsewhere");
    write(&source, 2);
    let before = state(&source, &target);
    for rehearsal in [false, true] {
        let job = Job {
            rehearsal,
            ..job(2)
        };
        let error = go(&job, &source, &target).await.unwrap_err();
        let [Conflict::Renamed { at, .. }] = conflicts(&error) else {
            panic!("{error}")
        };
        assert_eq!(*at, dataset("backup/elsewhere"));
        let remedies = error.remedies();
        let command = "on target: zfs rename backup/elsewhere backup/deep/a";
        assert!(remedies[0].ends_with(command), "{remedies:?}");
        assert!(state(&source, &target) == before);
    }
    // The command mends it.
    rename(&target, "backup/elsewhere", "backup/deep/a");
    let report = go(&job(3), &source, &target).await.unwrap();
    assert!(report.datasets.iter().all(|d| !d.step.is_full()));
    ensure_equal(&source, &target, "after the name was given back");
}

#[tokio::test]
async fn a_renamed_target_whose_name_another_dataset_has_is_found_too() {
    let (source, target) = machines(&Faults::default());
    go(&job(1), &source, &target).await.unwrap();
    rename(&target, "backup/deep/a", "backup/elsewhere");
    target.by_hand().create("backup/deep/a").unwrap();
    let error = go(&job(2), &source, &target).await.unwrap_err();
    let [
        Conflict::Renamed {
            at,
            is_in_the_way: true,
            ..
        },
    ] = conflicts(&error)
    else {
        panic!("{error}")
    };
    assert_eq!(*at, dataset("backup/elsewhere"));
}

#[tokio::test]
async fn a_renamed_source_is_found_by_what_its_copy_has() {
    let (source, target) = machines(&Faults::default());
    go(&job(1), &source, &target).await.unwrap();
    rename(&source, "tank/a", "tank/b");
    let error = go(&job(2), &source, &target).await.unwrap_err();
    assert!(matches!(error, ReplicateError::NoSource { .. }), "{error}");
    assert!(
        error.to_string().contains("a copy of tank/b there"),
        "{error}"
    );
    let remedy = &error.remedies()[0];
    assert!(
        remedy.ends_with("on source: zfs rename tank/b tank/a"),
        "{remedy}"
    );
    // Another dataset has the name meanwhile.
    source.by_hand().create("tank/a").unwrap();
    let error = go(&job(2), &source, &target).await.unwrap_err();
    let Conflict::SourceRenamed { at, .. } = &conflicts(&error)[0] else {
        panic!("{error}")
    };
    assert_eq!(*at, dataset("tank/b"));
}

#[tokio::test]
async fn a_recreated_source_is_refused_and_both_sides_stay_as_they_are() {
    let (source, target) = recreated(&Faults::default()).await;
    let before = state(&source, &target);
    let error = go(&job(2), &source, &target).await.unwrap_err();
    assert_eq!(error.family(), Family::BrokenChain, "{error}");
    assert!(!conflicts(&error).is_empty());
    assert!(state(&source, &target) == before);
}

#[tokio::test]
async fn what_holds_a_snapshot_is_named() {
    let (source, target) = machines(&Faults::default());
    go(&job(1), &source, &target).await.unwrap();
    write(&source, 2);
    let hands = target.by_hand();
    hands.write("backup/deep/a/y", 70, &[7; 9000]).unwrap();
    hands.snapshot("backup/deep/a/y@theirs").unwrap();
    hands.hold("backup/deep/a/y@theirs", "their tag").unwrap();
    let loss = Loss {
        on_modified: OnModified::RollBack,
        on_newer: OnNewer::Destroy,
        ..Loss::default()
    };
    let job = Job { loss, ..job(2) };
    let error = go(&job, &source, &target).await.unwrap_err();
    let [Conflict::Kept { keepers, .. }] = conflicts(&error) else {
        panic!("{error}")
    };
    assert_eq!(**keepers, [Keeper::Hold("their tag".to_owned())]);
    let remedy = &error.remedies()[0];
    assert!(
        remedy.ends_with("on target: zfs holds backup/deep/a/y@theirs"),
        "{remedy}"
    );
}

#[tokio::test]
async fn a_clone_of_a_snapshot_in_the_way_is_named() {
    let (source, target) = machines(&Faults::default());
    go(&job(1), &source, &target).await.unwrap();
    write(&source, 2);
    let hands = target.by_hand();
    hands.write("backup/deep/a/y", 70, &[7; 9000]).unwrap();
    hands.snapshot("backup/deep/a/y@theirs").unwrap();
    hands
        .clone_snapshot("backup/deep/a/y@theirs", "backup/work")
        .unwrap();
    let loss = Loss {
        on_modified: OnModified::RollBack,
        on_newer: OnNewer::Destroy,
        ..Loss::default()
    };
    let job = Job { loss, ..job(2) };
    let error = go(&job, &source, &target).await.unwrap_err();
    let [Conflict::Kept { keepers, .. }] = conflicts(&error) else {
        panic!("{error}")
    };
    assert_eq!(**keepers, [Keeper::Clone(dataset("backup/work"))]);
    assert!(error.to_string().contains("clone backup/work"), "{error}");
}

#[tokio::test]
async fn a_target_is_put_aside_whole_and_everything_is_sent() {
    let (source, target) = recreated(&Faults::default()).await;
    let old = target.by_hand().look("backup/deep/a").unwrap();
    let aside = copies::archive(&dataset("backup/deep/a"), old.guid).unwrap();
    target
        .by_hand()
        .hold("backup/deep/a/x@ours-0001", "theirs")
        .unwrap();
    let before = state(&source, &target);
    let rehearsed = go(&rehearsing(archiving(2)), &source, &target)
        .await
        .unwrap();
    assert!(
        state(&source, &target) == before,
        "a rehearsal changed something"
    );
    let told = rehearsed.archived.unwrap();
    assert_eq!((&told.to, told.datasets, told.snapshots), (&aside, 3, 3));
    assert!(rehearsed.datasets.iter().all(|d| d.step == Step::Full));
    let report = go(&archiving(2), &source, &target).await.unwrap();
    assert_eq!(report.archived.unwrap(), told, "other than what was shown");
    ensure_equal(&source, &target, "after the old one was put aside");
    for child in ["", "/x", "/y"] {
        let kept = target.by_hand().look(&format!("{aside}{child}")).unwrap();
        assert_eq!(kept.snapshots.len(), 1, "{child}");
    }
    // It is nobody's copy any more.
    write(&source, 8);
    let report = go(&archiving(3), &source, &target).await.unwrap();
    assert_eq!(report.archived, None);
    assert!(report.datasets.iter().all(|d| !d.step.is_full()));
    let kept = target.by_hand().look(aside.as_str()).unwrap();
    assert_eq!(kept.snapshots.len(), 1);
}

#[tokio::test]
async fn a_target_that_is_a_clone_of_the_copy_is_told_as_one_and_may_be_put_aside() {
    let (source, target) = machines(&Faults::default());
    let one = |run| Job {
        scope: Scope::One,
        ..job(run)
    };
    go(&one(1), &source, &target).await.unwrap();
    rename(&target, "backup/deep/a", "backup/former");
    let hands = target.by_hand();
    hands
        .clone_snapshot("backup/former@ours-0001", "backup/deep/a")
        .unwrap();
    hands.snapshot("backup/deep/a@theirs").unwrap();
    write(&source, 2);
    let before = state(&source, &target);
    let error = go(&one(2), &source, &target).await.unwrap_err();
    let [Conflict::CloneOfCopy { of, guid, .. }] = conflicts(&error) else {
        panic!("{error}")
    };
    assert_eq!(*of, SnapshotName::parse("backup/former@ours-0001").unwrap());
    let base = source.by_hand().look("tank/a").unwrap().snapshots[0].guid;
    assert_eq!(*guid, base);
    let remedies = error.remedies();
    assert!(
        remedies[0].contains("on target: zfs promote backup/deep/a "),
        "{remedies:?}"
    );
    assert!(state(&source, &target) == before);
    let archiving = Job {
        scope: Scope::One,
        ..archiving(3)
    };
    let report = go(&archiving, &source, &target).await.unwrap();
    let aside = hands.look(report.archived.unwrap().to.as_str()).unwrap();
    assert_eq!(aside.origin.as_ref(), Some(of));
    assert_eq!(aside.snapshots.len(), 1);
    assert_eq!(hands.look("backup/deep/a").unwrap().origin, None);
    assert_eq!(hands.look("backup/former").unwrap().snapshots.len(), 1);
}

#[tokio::test]
async fn a_target_that_a_stream_leads_to_is_not_put_aside() {
    let (source, target) = machines(&Faults::default());
    go(&archiving(1), &source, &target).await.unwrap();
    write(&source, 2);
    let report = go(&archiving(2), &source, &target).await.unwrap();
    assert_eq!(report.archived, None);
    assert!(report.datasets.iter().all(|d| !d.step.is_full()));
}

#[tokio::test]
async fn the_root_of_a_pool_is_not_put_aside() {
    let (source, target) = machines(&Faults::default());
    let job = Job {
        target: dataset("backup"),
        ..archiving(1)
    };
    let before = state(&source, &target);
    let error = go(&job, &source, &target).await.unwrap_err();
    assert!(
        matches!(error, ReplicateError::ArchivingRoot { .. }),
        "{error}"
    );
    assert!(state(&source, &target) == before);
}

/// Snapshots, bookmarks and datasets of a machine, each with its guid.
fn things(model: &Model, root: &str) -> BTreeSet<(u64, String)> {
    use crate::zfs::Zfs;
    let tree = model.tree(&dataset(root), Scope::Recursive).unwrap();
    let mut things = BTreeSet::new();
    for one in tree.into_iter().flatten() {
        things.insert((one.guid.0, String::new()));
        things.extend(
            one.snapshots
                .iter()
                .map(|s| (s.guid.0, format!("@{}", s.short))),
        );
        things.extend(
            one.bookmarks
                .iter()
                .map(|b| (b.guid.0, format!("#{}", b.short))),
        );
    }
    things
}

#[tokio::test]
async fn no_option_destroys_more_than_the_rehearsal_showed() {
    let plain = Loss::default();
    let roll_back = Loss {
        on_modified: OnModified::RollBack,
        ..plain
    };
    let destroy = Loss {
        on_newer: OnNewer::Destroy,
        ..roll_back
    };
    let mut destroyed_by_any = 0;
    // Each kind of damage, with each option and with all of them.
    for damage in 0..6 {
        for loss in [plain, roll_back, destroy] {
            for on_conflict in [OnConflict::Refuse, OnConflict::Archive] {
                let when = format!("damage {damage}, {loss:?}, {on_conflict:?}");
                let (source, target) = match damage {
                    5 => recreated(&Faults::default()).await,
                    _ => {
                        let both = machines(&Faults::default());
                        go(&job(1), &both.0, &both.1).await.unwrap();
                        write(&both.0, 2);
                        both
                    }
                };
                let hands = target.by_hand();
                hands.create("backup/foreign").unwrap();
                hands.snapshot("backup/foreign@theirs").unwrap();
                if damage > 0 {
                    hands.write("backup/deep/a/y", 70, &[7; 9000]).unwrap();
                }
                if damage > 1 {
                    hands.snapshot("backup/deep/a/y@theirs").unwrap();
                    hands.snapshot("backup/deep/a/x@idle").unwrap();
                    hands.write("backup/deep/a/y", 71, &[7; 9000]).unwrap();
                }
                if damage > 2 {
                    hands.snapshot("backup/deep/a@theirs").unwrap();
                }
                if damage > 3 {
                    hands.hold("backup/deep/a/y@theirs", "keep").unwrap();
                }
                let job = Job {
                    loss,
                    on_conflict,
                    ..job(2)
                };
                let before = things(&target, "backup");
                let rehearsed = go(&rehearsing(job.clone()), &source, &target).await;
                assert_eq!(things(&target, "backup"), before, "{when}");
                let ran = go(&job, &source, &target).await;
                assert_eq!(rehearsed.is_ok(), ran.is_ok(), "{when}");
                let after = things(&target, "backup");
                let gone: BTreeSet<u64> =
                    before.difference(&after).map(|(guid, _)| *guid).collect();
                let shown: BTreeSet<u64> = rehearsed
                    .iter()
                    .flat_map(|report| &report.datasets)
                    .filter_map(|one| one.clearing.as_ref())
                    .flat_map(|clearing| &clearing.snapshots)
                    .map(|(_, guid)| guid.0)
                    .collect();
                // Our own of the run before are replaced by each run.
                let own: BTreeSet<u64> = before
                    .iter()
                    .filter(|(_, name)| name == "@ours-0001")
                    .map(|(guid, _)| *guid)
                    .collect();
                let beyond: Vec<_> = gone
                    .difference(&shown)
                    .filter(|g| !own.contains(g))
                    .collect();
                assert!(beyond.is_empty(), "{when}: {beyond:?} of {gone:?}");
                destroyed_by_any += shown.intersection(&gone).count();
                if ran.is_err() {
                    assert_eq!(after, before, "{when}");
                }
            }
        }
    }
    assert!(destroyed_by_any >= 3, "nothing was ever destroyed");
}

#[test]
fn a_run_that_puts_the_target_aside_may_be_cut_at_any_operation() {
    for fault in [Fault::CrashBefore, Fault::CrashMidway, Fault::CrashAfter] {
        let mut points = 0;
        for operation in 1.. {
            let faults = Faults::default();
            let (source, target) = runtime().block_on(recreated(&faults));
            let old = target.by_hand().look("backup/deep/a").unwrap();
            let aside = copies::archive(&dataset("backup/deep/a"), old.guid).unwrap();
            faults.fail_at(faults.operations() + operation, fault);
            let outcome = runtime().block_on(go(&archiving(10), &source, &target));
            if faults.struck().is_empty() {
                outcome.unwrap();
                break;
            }
            points = operation;
            source.revive();
            target.revive();
            let when = format!("after {fault:?} at operation {operation}");
            runtime()
                .block_on(go(&archiving(11), &source, &target))
                .unwrap_or_else(|error| panic!("{when}: {error}"));
            ensure_equal(&source, &target, &when);
            for child in ["", "/x", "/y"] {
                let kept = target.by_hand().look(&format!("{aside}{child}"));
                assert_eq!(kept.map(|kept| kept.snapshots.len()), Some(1), "{when}");
            }
        }
        assert!(points > 8, "only {points} operations were tried");
    }
}
