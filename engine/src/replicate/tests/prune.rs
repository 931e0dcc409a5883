//! What becomes of the snapshots that earlier runs made.

use super::*;

/// Names of the snapshots of a dataset, oldest first.
fn snapshots(model: &Model, name: &str) -> Vec<String> {
    let looked = model.by_hand().look(name).unwrap();
    let shorts = looked.snapshots.iter().map(|snapshot| &snapshot.short);
    shorts.map(ToString::to_string).collect()
}

/// Notices of a run, in order of their text, after something was written.
async fn next_run(run: u32, source: &Model, target: &Model) -> Vec<String> {
    write(source, u8::try_from(run).unwrap());
    let told = Told::default();
    let (mut from, mut to) = (peer("source", source).await, peer("target", target).await);
    replicate(&job(run), &mut from, &mut to, &told)
        .await
        .unwrap();
    let mut notices = told.notices();
    notices.sort();
    notices
}

#[tokio::test]
async fn an_older_snapshot_that_is_held_or_has_a_clone_stays_alone() {
    let (source, target) = machines(&Faults::default());
    go(&job(1), &source, &target).await.unwrap();
    source.by_hand().hold("tank/a/y@ours-0001", "mine").unwrap();
    let clone = target.by_hand();
    clone
        .clone_snapshot("backup/deep/a@ours-0001", "backup/test")
        .unwrap();
    let says = |peer: &str, first: &str| {
        format!(
            "{peer}: snapshots of earlier runs stay as long as they are held or have a clone: \
             1 ({first})"
        )
    };
    let told = [
        says("source", "tank/a/y@ours-0001"),
        says("target", "backup/deep/a@ours-0001"),
    ];
    for run in [2, 3] {
        assert_eq!(next_run(run, &source, &target).await, told);
    }
    for (model, root, stays) in [(&source, "tank", "a/y"), (&target, "backup/deep", "a")] {
        for name in ["a", "a/x", "a/y"] {
            let mut expected = vec!["ours-0003"];
            if name == stays {
                expected.insert(0, "ours-0001");
            }
            assert_eq!(snapshots(model, &format!("{root}/{name}")), expected);
        }
    }
    // Once they are free they go.
    let hands = source.by_hand();
    hands.release("tank/a/y@ours-0001", "mine").unwrap();
    target.by_hand().destroy("backup/test").unwrap();
    assert_eq!(next_run(4, &source, &target).await, [""; 0]);
    ensure_equal(&source, &target, "after all");
}

/// A source with so many snapshots of earlier runs that were never sent.
fn with_unsent(number: usize, faults: &Faults) -> (Model, Model) {
    let (source, target) = machines(faults);
    for run in 0..number {
        let unsent = format!("tank/a@ours-0000-{run}");
        source.by_hand().snapshot(&unsent).unwrap();
    }
    (source, target)
}

/// The calls that destroyed snapshots of `model`: which operation each was, and
/// how many snapshots it named.
fn destroying(model: &Model) -> Vec<(u64, usize)> {
    let log = model.log().into_iter();
    let calls = log.filter(|logged| logged.command.starts_with("zfs destroy"));
    calls
        .filter_map(|logged| Some((logged.number?, logged.command.matches("@").count())))
        .collect()
}

#[tokio::test]
async fn no_more_than_500_snapshots_go_by_one_call() {
    let (source, target) = with_unsent(1200, &Faults::default());
    go(&job(1), &source, &target).await.unwrap();
    assert_eq!(snapshots(&source, "tank/a"), ["ours-0001"]);
    let numbers = destroying(&source).into_iter().map(|(_, number)| number);
    assert_eq!(numbers.collect::<Vec<_>>(), [500, 500, 200]);
}

/// More datasets than go by one call, below the root.
fn broad() -> Vec<String> {
    (0..510).map(|n| format!("c{n}")).collect()
}

fn write_broad(source: &Model, version: u8) {
    for name in broad() {
        let name = format!("tank/a/{name}");
        source.by_hand().write(&name, 0, &[version; 10]).unwrap();
    }
}

/// Machines with these datasets after a run, and changes since.
fn broad_after_a_run(faults: &Faults) -> (Model, Model) {
    let (source, target) = machines(faults);
    for name in broad() {
        source.by_hand().create(&format!("tank/a/{name}")).unwrap();
    }
    runtime().block_on(go(&job(1), &source, &target)).unwrap();
    write_broad(&source, 2);
    (source, target)
}

#[test]
fn a_run_that_is_cut_between_two_calls_leaves_the_rest_to_the_next() {
    let faults = Faults::default();
    let (source, target) = broad_after_a_run(&faults);
    let begun = faults.operations();
    runtime().block_on(go(&job(2), &source, &target)).unwrap();
    let left = |source: &Model, target: &Model| {
        let sides = [(source, "tank/a"), (target, "backup/deep/a")];
        sides.map(|(model, root)| {
            let all = broad().into_iter();
            let older = all.filter(|name| snapshots(model, &format!("{root}/{name}")).len() > 1);
            older.count()
        })
    };
    assert_eq!(left(&source, &target), [0, 0]);
    let calls = [&source, &target].map(destroying);
    for (side, fault) in [
        (1, Fault::CrashBefore),
        (1, Fault::CrashAfter),
        (0, Fault::CrashBefore),
    ] {
        let [.., (_, 500), (second, 13)] = calls[side][..] else {
            panic!("{calls:?}");
        };
        let faults = Faults::default();
        let (source, target) = broad_after_a_run(&faults);
        faults.fail_at(faults.operations() + second - begun, fault);
        // Everything has arrived: whether clearing up fails is only told.
        let _ = runtime().block_on(go(&job(2), &source, &target));
        assert_eq!(faults.struck().len(), 1);
        let left_by_cut = left(&source, &target)[side];
        let some = 1..broad().len();
        assert_eq!(some.contains(&left_by_cut), fault == Fault::CrashBefore);
        for model in [&source, &target] {
            if model.is_crashed() {
                model.revive();
            }
        }
        write_broad(&source, 3);
        let report = runtime().block_on(go(&job(3), &source, &target)).unwrap();
        assert!(report.datasets.iter().all(|d| d.step != Step::Full));
        assert_eq!(left(&source, &target), [0, 0], "{side} {fault:?}");
        ensure_equal(&source, &target, "after the next run");
    }
}
