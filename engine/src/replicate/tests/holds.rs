//! What is held, by whom, and for how long.

use std::sync::Mutex;

use super::*;
use crate::hold::{HoldReason, HoldTag, KeepBase};

/// Tries to destroy what a stream needs, as each begins.
struct Vandal<'a> {
    source: &'a Model,
    target: &'a Model,
    tried: Mutex<Vec<String>>,
}

impl Vandal<'_> {
    fn destroy(&self, model: &Model, name: &str) {
        let reason = |tag: &String| HoldTag::parse(tag).unwrap().reason();
        let holds = model.by_hand().holds(name);
        let of_run = |reason| match reason {
            HoldReason::Run { pid, peer } => pid == std::process::id() && peer == "memory",
            _ => false,
        };
        assert!(holds.iter().map(reason).any(of_run), "{name}: {holds:?}");
        let error = model.by_hand().destroy_snapshot(name).unwrap_err();
        assert_eq!(error.kind, ZfsErrorKind::Busy, "{name}");
        self.tried.lock().unwrap().push(name.to_owned());
    }
}

impl Observer for Vandal<'_> {
    fn event(&self, event: &Event) {
        let Event::TransferStarted {
            snapshot,
            target,
            base,
            ..
        } = event
        else {
            return;
        };
        self.destroy(self.source, &snapshot.to_string());
        if let Some(base) = base {
            self.destroy(self.source, &format!("{}{base}", snapshot.dataset));
            self.destroy(self.target, &format!("{}{base}", target.dataset));
        }
    }
}

#[tokio::test]
async fn nobody_can_destroy_what_a_stream_starts_from_or_goes_onto() {
    let (source, target) = machines(&Faults::default());
    go(&job(1), &source, &target).await.unwrap();
    for version in [2, 3] {
        write(&source, version);
        for name in ["tank/a", "tank/a/x", "tank/a/y"] {
            let snapshot = format!("{name}@daily.{version}");
            source.by_hand().snapshot(&snapshot).unwrap();
        }
    }
    let vandal = Vandal {
        source: &source,
        target: &target,
        tried: Mutex::default(),
    };
    let job = Job {
        intermediary: Intermediary::Carry,
        ..job(2)
    };
    let (mut from, mut to) = (peer("a", &source).await, peer("b", &target).await);
    replicate(&job, &mut from, &mut to, &vandal).await.unwrap();
    // Three streams for each of three datasets.
    assert_eq!(vandal.tried.lock().unwrap().len(), 27);
    for model in [&source, &target] {
        let all = model.by_hand().list();
        for name in all.into_iter().filter(|name| name.contains('@')) {
            assert!(model.by_hand().holds(&name).is_empty(), "{name} is held");
        }
    }
}

#[tokio::test]
async fn a_base_that_vanished_on_the_target_is_told_before_anything_is_sent() {
    let (source, target) = machines(&Faults::default());
    go(&job(1), &source, &target).await.unwrap();
    write(&source, 2);
    let (mut from, mut to) = (peer("a", &source).await, peer("b", &target).await);
    let retention = AtSnapshot(|| {
        let base = "backup/deep/a/y@ours-0001";
        target.by_hand().destroy_snapshot(base).unwrap();
    });
    let error = replicate(&job(2), &mut from, &mut to, &retention).await;
    let error = error.unwrap_err();
    assert!(matches!(error, ReplicateError::Vanished { .. }), "{error}");
    assert_eq!(error.family(), Family::Transient);
    for name in ["backup/deep/a", "backup/deep/a/x"] {
        let left = target.by_hand().look(name).unwrap().snapshots;
        assert_eq!(left.len(), 1, "{left:?}");
    }
}

#[tokio::test]
async fn a_base_that_was_renamed_since_it_was_listed_is_held_and_built_upon() {
    let (source, target) = machines(&Faults::default());
    go(&job(1), &source, &target).await.unwrap();
    write(&source, 2);
    let (mut from, mut to) = (peer("a", &source).await, peer("b", &target).await);
    let renaming = AtSnapshot(|| {
        let base = "backup/deep/a/y@ours-0001";
        target.by_hand().rename_snapshot(base, "mine").unwrap();
    });
    let report = replicate(&job(2), &mut from, &mut to, &renaming).await;
    assert_eq!(report.unwrap().datasets.len(), 3);
    let there = target.by_hand().look("backup/deep/a/y").unwrap().snapshots;
    let names: Vec<_> = there.iter().map(|one| one.short.as_str()).collect();
    assert_eq!(names, ["mine", "ours-0002"]);
}

#[tokio::test]
async fn bases_are_found_without_listing_the_target_again() {
    let (source, target) = machines(&Faults::default());
    go(&job(1), &source, &target).await.unwrap();
    write(&source, 2);
    let before = target.log().len();
    go(&job(2), &source, &target).await.unwrap();
    let all = "zfs list -t all -r backup/deep/a";
    let log = target.log();
    let listings = log[before..].iter().filter(|logged| logged.command == all);
    // One to plan with, and one that says what may be destroyed at last.
    assert_eq!(listings.count(), 2);
}

const TAG: &str = "zferry:base:replicate:0123abcd";

fn holding(run: u32, keep: KeepBase) -> Job {
    let tag = HoldTag::for_pair("0123abcd");
    Job {
        base: BaseHold { tag, keep },
        ..job(run)
    }
}

/// All holds on a machine, as `snapshot tag`.
fn holds(model: &Model) -> Vec<String> {
    let hands = model.by_hand();
    let all = hands.list().into_iter().filter(|name| name.contains('@'));
    let held = all.flat_map(|name| {
        let tags = hands.holds(&name).into_iter();
        tags.map(|tag| format!("{name} {tag}")).collect::<Vec<_>>()
    });
    held.collect()
}

fn held_bases(run: u32) -> Vec<String> {
    let of = |name: &&str| format!("backup/deep/{name}@ours-{run:04} {TAG}");
    ["a", "a/x", "a/y"].iter().map(of).collect()
}

#[tokio::test]
async fn a_held_base_moves_with_each_run_and_goes_with_the_option() {
    let (source, target) = machines(&Faults::default());
    for run in 1..4 {
        write(&source, u8::try_from(run).unwrap());
        let job = holding(run, KeepBase::Hold);
        go(&job, &source, &target).await.unwrap();
        assert_eq!(holds(&target), held_bases(run), "after run {run}");
        assert!(holds(&source).is_empty());
    }
    let base = "backup/deep/a/x@ours-0003";
    let error = target.by_hand().destroy_snapshot(base).unwrap_err();
    assert_eq!(error.kind, ZfsErrorKind::Busy);
    target
        .by_hand()
        .hold("backup/deep/a@ours-0003", "theirs")
        .unwrap();
    write(&source, 4);
    let job = holding(4, KeepBase::Leave);
    go(&job, &source, &target).await.unwrap();
    assert_eq!(holds(&target), ["backup/deep/a@ours-0003 theirs"]);
}

#[test]
fn a_run_that_holds_its_base_may_be_cut_at_any_operation() {
    for fault in [
        Fault::CrashBefore,
        Fault::CrashMidway,
        Fault::CrashAfter,
        Fault::Error(ZfsErrorKind::Io),
    ] {
        for operation in 1.. {
            let faults = Faults::default();
            let (source, target) = machines(&faults);
            let run = |run, version| {
                write(&source, version);
                let job = holding(run, KeepBase::Hold);
                runtime().block_on(go(&job, &source, &target))
            };
            run(1, 2).unwrap();
            faults.fail_at(faults.operations() + operation, fault);
            let outcome = run(2, 3);
            let when = format!("after {fault:?} at operation {operation}");
            if faults.struck().is_empty() {
                outcome.unwrap();
                assert!(operation > 20, "only {operation} operations were tried");
                break;
            }
            for model in [&source, &target] {
                model.revive();
            }
            for name in ["a", "a/x", "a/y"] {
                let (here, there) = (format!("tank/{name}"), format!("backup/deep/{name}"));
                let here = source.by_hand().look(&here).unwrap();
                let mut there = target.by_hand().look(&there).unwrap().snapshots.into_iter();
                let is_held_base = |snapshot: crate::zfs::Snapshot| {
                    let full = format!("backup/deep/{name}@{}", snapshot.short);
                    here.snapshot_by_guid(snapshot.guid).is_some()
                        && target.by_hand().holds(&full).contains(&TAG.to_owned())
                };
                assert!(there.any(is_held_base), "no held base of {name} {when}");
            }
            let report = run(3, 4).unwrap_or_else(|error| panic!("{when}: {error}"));
            assert!(
                report.datasets.iter().all(|d| d.step != Step::Full),
                "{when}"
            );
            assert_eq!(holds(&target), held_bases(3), "{when}");
            assert!(holds(&source).is_empty(), "{when}");
        }
    }
}

/// Number of the operation that holds the bases on the target.
async fn operation_of_the_hold() -> u64 {
    let faults = Faults::default();
    let (source, target) = machines(&faults);
    go(&job(1), &source, &target).await.unwrap();
    let begin = faults.operations();
    write(&source, 2);
    go(&job(2), &source, &target).await.unwrap();
    let log = target.log().into_iter();
    let holds = log.filter(|logged| logged.command.starts_with("zfs hold TEMPORARY"));
    let mut numbers = holds.filter_map(|logged| logged.number);
    numbers.next_back().expect("the second run has held") - begin
}

#[tokio::test]
async fn a_target_where_holding_is_not_allowed_is_served_and_that_is_told() {
    let operation = operation_of_the_hold().await;
    let faults = Faults::default();
    let (source, target) = machines(&faults);
    go(&job(1), &source, &target).await.unwrap();
    write(&source, 2);
    let refused = Fault::Error(ZfsErrorKind::Permission);
    faults.fail_at(faults.operations() + operation, refused);
    let told = Told::default();
    let (mut from, mut to) = (peer("a", &source).await, peer("b", &target).await);
    replicate(&job(2), &mut from, &mut to, &told).await.unwrap();
    ensure_equal(&source, &target, "without a hold");
    let told = told.notices();
    assert!(
        told.len() == 1 && told[0].starts_with("b: bases are not held"),
        "{told:?}"
    );
}
