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
    let notice = |event| match event {
        Event::Notice { peer, text } => Some(format!("{peer}: {text}")),
        _ => None,
    };
    let told = told.0.into_inner().unwrap();
    let mut notices: Vec<_> = told.into_iter().filter_map(notice).collect();
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

#[test]
fn a_run_that_is_cut_between_two_calls_leaves_the_rest_to_the_next() {
    let faults = Faults::default();
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let (source, target) = with_unsent(700, &faults);
    let begun = faults.operations();
    runtime().block_on(go(&job(1), &source, &target)).unwrap();
    let second = destroying(&source)[1].0 - begun;
    for (fault, left) in [(Fault::CrashBefore, 200), (Fault::CrashAfter, 0)] {
        let faults = Faults::default();
        let (source, target) = with_unsent(700, &faults);
        faults.fail_at(faults.operations() + second, fault);
        runtime()
            .block_on(go(&job(1), &source, &target))
            .unwrap_err();
        source.revive();
        let there = snapshots(&source, "tank/a").into_iter();
        let unsent = there.filter(|short| short.starts_with("ours-0000"));
        assert_eq!(unsent.count(), left, "{fault:?}");
        runtime().block_on(go(&job(2), &source, &target)).unwrap();
        ensure_equal(&source, &target, "after the next run");
    }
}
