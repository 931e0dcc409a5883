//! What is held, by whom, and for how long.

use std::sync::Mutex;

use super::*;
use crate::hold::{HoldReason, HoldTag};

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
    /// Destroys the base on the target when everything has been listed.
    struct Retention<'a>(&'a Model);
    impl Observer for Retention<'_> {
        fn event(&self, event: &Event) {
            if let Event::Step { command, .. } = event
                && command.starts_with("zfs snapshot")
            {
                let base = "backup/deep/a/y@ours-0001";
                self.0.by_hand().destroy_snapshot(base).unwrap();
            }
        }
    }
    let error = replicate(&job(2), &mut from, &mut to, &Retention(&target)).await;
    let error = error.unwrap_err();
    assert!(matches!(error, ReplicateError::Vanished { .. }), "{error}");
    assert_eq!(error.family(), Family::Transient);
    for name in ["backup/deep/a", "backup/deep/a/x"] {
        let left = target.by_hand().look(name).unwrap().snapshots;
        assert_eq!(left.len(), 1, "{left:?}");
    }
}
