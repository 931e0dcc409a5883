//! Snapshots of others between two runs, carried along.

use super::*;
use crate::name::Guid;
use crate::zfs::model::Random;
use crate::zfs::{Dataset, Snapshot};

fn carrying(run: u32) -> Job {
    Job {
        intermediary: Intermediary::Carry,
        ..job(run)
    }
}

const TREE: [&str; 3] = ["a", "a/x", "a/y"];

/// Content that no other version has, and a snapshot of each dataset.
fn daily(source: &Model, version: u8) {
    write(source, version);
    for name in TREE {
        let snapshot = format!("tank/{name}@daily.{version}");
        source.by_hand().snapshot(&snapshot).unwrap();
    }
}

/// Others' snapshots of the source are on the target, with their guids, in the
/// same order and with the same content; of ours there is one.
fn ensure_carried(source: &Model, target: &Model, when: &str) {
    for name in TREE {
        let (here, there) = (format!("tank/{name}"), format!("backup/deep/{name}"));
        let (source, target) = (source.by_hand(), target.by_hand());
        let listed = |dataset: Dataset| -> Vec<(String, Guid)> {
            let all = dataset.snapshots.into_iter();
            all.map(|s| (s.short.to_string(), s.guid)).collect()
        };
        let ours = listed(source.look(&here).unwrap());
        assert_eq!(listed(target.look(&there).unwrap()), ours, "{name} {when}");
        for (short, _) in ours {
            let digest = |hands: crate::zfs::model::Hands<'_>, name: &str| {
                hands.digest(&format!("{name}@{short}")).unwrap()
            };
            assert_eq!(
                digest(source, &here),
                digest(target, &there),
                "{short} {when}"
            );
        }
    }
}

#[tokio::test]
async fn snapshots_of_others_arrive_in_full_and_then_incrementally() {
    let (source, target) = machines(&Faults::default());
    daily(&source, 2);
    daily(&source, 3);
    let report = go(&carrying(1), &source, &target).await.unwrap();
    assert!(
        report
            .datasets
            .iter()
            .all(|d| d.step == Step::Full && d.carried == 2)
    );
    ensure_carried(&source, &target, "after a full run");
    daily(&source, 4);
    daily(&source, 5);
    write(&source, 6);
    let report = go(&carrying(2), &source, &target).await.unwrap();
    assert!(
        report
            .datasets
            .iter()
            .all(|d| !d.step.is_full() && d.carried == 2)
    );
    assert!(report.datasets.iter().all(|d| d.moved.raw_bytes > 0));
    ensure_carried(&source, &target, "after an incremental run");
}

#[tokio::test]
async fn what_the_source_loses_stays_on_the_target() {
    let (source, target) = machines(&Faults::default());
    daily(&source, 2);
    go(&carrying(1), &source, &target).await.unwrap();
    for name in TREE {
        let snapshot = format!("tank/{name}@daily.2");
        source.by_hand().destroy_snapshot(&snapshot).unwrap();
    }
    write(&source, 3);
    go(&carrying(2), &source, &target).await.unwrap();
    for name in TREE {
        let there = target
            .by_hand()
            .look(&format!("backup/deep/{name}"))
            .unwrap();
        let names: Vec<_> = there.snapshots.iter().map(|s| s.short.as_str()).collect();
        assert_eq!(names, ["daily.2", "ours-0002"]);
    }
}

/// Sees a transfer begin, and destroys a snapshot that was planned.
struct Retention {
    source: Model,
    victim: &'static str,
}

impl Observer for Retention {
    fn event(&self, event: &Event) {
        // Right after the snapshot of this run was taken.
        if matches!(event, Event::Step { command, .. } if command.starts_with("zfs create")) {
            let _ = self.source.by_hand().destroy_snapshot(self.victim);
        }
    }
}

#[tokio::test]
async fn a_snapshot_that_vanishes_after_the_plan_is_a_passing_failure() {
    let (source, target) = machines(&Faults::default());
    daily(&source, 2);
    daily(&source, 3);
    let retention = Retention {
        source: source.clone(),
        victim: "tank/a/x@daily.2",
    };
    let mut from = peer("source", &source).await;
    let mut to = peer("target", &target).await;
    let error = replicate(&carrying(1), &mut from, &mut to, &retention)
        .await
        .unwrap_err();
    assert!(matches!(error, ReplicateError::Vanished { .. }), "{error}");
    assert_eq!(error.family(), Family::Transient);
    assert!(error.to_string().contains("tank/a/x@daily.2"), "{error}");
    go(&carrying(2), &source, &target).await.unwrap();
    ensure_carried(&source, &target, "after the next run");
}

#[test]
fn a_run_that_carries_snapshots_may_be_cut_at_any_operation() {
    for fault in [
        Fault::CrashBefore,
        Fault::CrashMidway,
        Fault::CrashAfter,
        Fault::Error(ZfsErrorKind::Io),
    ] {
        for first_runs in [0, 1] {
            let mut points = 0;
            for operation in 1.. {
                let faults = Faults::default();
                let (source, target) = machines(&faults);
                for run in 0..first_runs {
                    runtime()
                        .block_on(go(&carrying(run), &source, &target))
                        .unwrap();
                }
                daily(&source, 3);
                daily(&source, 4);
                write(&source, 5);
                faults.fail_at(faults.operations() + operation, fault);
                let outcome = runtime().block_on(go(&carrying(10), &source, &target));
                if faults.struck().is_empty() {
                    outcome.unwrap();
                    break;
                }
                points = operation;
                source.revive();
                target.revive();
                daily(&source, 6);
                let when = format!("after {fault:?} at operation {operation}");
                let report = runtime()
                    .block_on(go(&carrying(11), &source, &target))
                    .unwrap_or_else(|error| panic!("{when}: {error}"));
                if first_runs > 0 {
                    assert!(
                        report.datasets.iter().all(|d| d.step != Step::Full),
                        "{when}"
                    );
                }
                ensure_carried(&source, &target, &when);
            }
            assert!(points > 20, "only {points} operations were tried");
        }
    }
}

/// A retention tool may destroy it: it is not the last that both sides share,
/// and no part of it is on the target. Then an operator would be asked.
fn may_go(all: &[Snapshot], copy: Option<&Dataset>, gone: &Snapshot) -> bool {
    let Some(copy) = copy else { return true };
    let partial = copy
        .partial
        .as_ref()
        .and_then(|partial| partial.content.as_ref());
    let arriving = partial.is_some_and(|partial| {
        [Some(partial.to_guid), partial.from_guid].contains(&Some(gone.guid))
    });
    let mut newer = all.iter().filter(|s| s.createtxg > gone.createtxg);
    let is_last = !newer.any(|s| copy.snapshot_by_guid(s.guid).is_some());
    let is_base = is_last && copy.snapshot_by_guid(gone.guid).is_some();
    !(arriving || is_base)
}

/// Histories, and steps in each.
const HISTORIES: u64 = 25;
const STEPS: u32 = 40;

/// What the target has to hold, without the model: every snapshot of others
/// that was on the source in a run since the base, with its content then.
#[test]
fn in_random_histories_every_snapshot_arrives_as_it_was_and_none_is_ever_lost() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut cut = 0;
    for seed in 0..HISTORIES {
        let mut random = Random::new(seed);
        let faults = Faults::default();
        let (source, target) = machines(&faults);
        let mut contents = std::collections::BTreeMap::new();
        let mut arrived = std::collections::BTreeMap::new();
        for step in 1..=STEPS {
            let name = TREE[usize::try_from(random.below(3)).unwrap()];
            let (here, there) = (format!("tank/{name}"), format!("backup/deep/{name}"));
            let hands = source.by_hand();
            match random.below(10) {
                0..=3 => {
                    let bytes = vec![random.below(256) as u8; 2000];
                    hands.write(&here, random.below(9), &bytes).unwrap();
                }
                4..=5 => {
                    let snapshot = format!("{here}@u{step}");
                    let guid = hands.snapshot(&snapshot).unwrap();
                    contents.insert(guid, hands.digest(&snapshot).unwrap());
                }
                6 => {
                    let theirs = hands.look(&here).unwrap().snapshots;
                    let oldest = theirs.iter().find(|s| s.short.as_str().starts_with('u'));
                    let copy = target.by_hand().look(&there);
                    if let Some(gone) = oldest.filter(|gone| may_go(&theirs, copy.as_ref(), gone)) {
                        let gone = format!("{here}@{}", gone.short);
                        hands.destroy_snapshot(&gone).unwrap();
                    }
                }
                7 => {
                    // A name that the source may use later, or not.
                    let taken = format!("{there}@u{}", step + 3);
                    let _ = target.by_hand().snapshot(&taken);
                }
                what => {
                    if what == 8 {
                        let at = faults.operations() + 1 + random.below(60);
                        faults.fail_at(at, Fault::CrashMidway);
                    }
                    let struck = faults.struck().len();
                    let outcome = runtime.block_on(go(&carrying(step), &source, &target));
                    let was_cut = faults.struck().len() > struck;
                    cut += u32::from(was_cut);
                    source.revive();
                    target.revive();
                    assert!(
                        was_cut || outcome.is_ok(),
                        "seed {seed}, step {step}: {outcome:?}"
                    );
                }
            }
            let there = target.by_hand();
            let mut now = Vec::new();
            for name in TREE {
                let name = format!("backup/deep/{name}");
                let listed = there.look(&name).map_or_else(Vec::new, |d| d.snapshots);
                for snapshot in listed {
                    now.push(snapshot.guid);
                    let text = format!("{name}@{}", snapshot.short);
                    let digest = there.digest(&text).unwrap();
                    if let Some(expected) = contents.get(&snapshot.guid) {
                        assert_eq!(digest, *expected, "seed {seed}, step {step}: {text}");
                        arrived.insert(snapshot.guid, text);
                    }
                }
            }
            for (guid, text) in &arrived {
                assert!(
                    now.contains(guid),
                    "seed {seed}, step {step}: {text} is gone"
                );
            }
        }
        assert!(!arrived.is_empty(), "seed {seed}: nothing was carried");
    }
    assert!(cut > 5, "only {cut} runs were cut");
}
