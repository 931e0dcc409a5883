//! Snapshots of others between two runs, carried by `intermediary`.

use super::*;
use crate::name::Guid;
use crate::zfs::ZfsErrorKind;
use crate::zfs::model::Fault;

const TREE: [&str; 2] = ["tank/data", "tank/data/x"];

impl World {
    /// New data in the tree, and a snapshot of each dataset by another tool.
    fn daily(&self, node: &str, version: u8) {
        self.write(node, version);
        for name in TREE {
            let hands = self.models[node].by_hand();
            hands.snapshot(&format!("{name}@daily.{version}")).unwrap();
        }
    }

    fn snapshots(&self, node: &str, dataset: &str) -> Vec<(String, Guid)> {
        let found = self.models[node].by_hand().look(dataset).unwrap();
        let all = found.snapshots.into_iter();
        all.map(|s| (s.short.to_string(), s.guid)).collect()
    }

    /// The target has what the source has, in the same order, equal in content;
    /// `sent` is the newest, and no mark is left but that of `sent`.
    fn ensure_carried(&self, source: &str, target: &str, when: &str) {
        for name in TREE {
            let ours = self.snapshots(source, name);
            assert_eq!(self.snapshots(target, name), ours, "{name} {when}");
            assert_eq!(ours.last().unwrap().0, "sent", "{name} {when}");
            for (short, _) in &ours {
                let text = format!("{name}@{short}");
                let digest = |node: &str| self.models[node].by_hand().digest(&text).unwrap();
                assert_eq!(digest(source), digest(target), "{text} {when}");
            }
            let marks = self.models[source].by_hand().look(name).unwrap().bookmarks;
            let sent = ours.last().unwrap().1;
            let prefix = format!("zferry.sync.1.{target}.");
            let left: Vec<_> = marks
                .iter()
                .filter(|m| m.short.as_str().starts_with(&prefix) && m.guid != sent)
                .collect();
            assert!(left.is_empty(), "{left:?} {when}");
        }
    }
}

#[test]
fn snapshots_of_others_go_along_and_the_state_is_of_what_was_wanted() {
    let world = World::new(&["a", "b"]);
    for version in [1, 2] {
        world.daily("a", version);
    }
    for (version, mode) in [(3, Mode::Full), (5, Mode::Incremental)] {
        world.daily("a", version);
        world.daily("a", version + 1);
        let report = world.sync("a", Action::Nodes).unwrap();
        assert_eq!(modes(&report), [mode], "{report:?}");
        world.ensure_carried("a", "b", "after a run");
        let synced = report.resources[0].targets[0].outcome.as_ref().unwrap();
        let sent = world.snapshots("a", "tank/data").pop().unwrap().1;
        assert_eq!((synced.guid, synced.datasets.len()), (sent, 2));
    }
}

#[test]
fn the_keyword_leaves_them_at_home() {
    let world = World::with(&["a", "b"], "intermediary = false\n");
    for version in [1, 3] {
        world.daily("a", version);
        world.daily("a", version + 1);
        assert!(all_well(&world.sync("a", Action::Nodes).unwrap()));
        for name in TREE {
            let there = world.snapshots("b", name);
            assert_eq!(there.len(), 1, "{there:?}");
        }
    }
}

#[test]
fn they_go_along_with_a_swap_of_roles_and_stay_when_their_source_loses_them() {
    let world = World::new(&["a", "b"]);
    world.daily("a", 1);
    world.sync("a", Action::Update).unwrap();
    world.daily("b", 2);
    let report = world.sync("b", Action::Update).unwrap();
    assert_eq!(modes(&report), [Mode::Incremental], "{report:?}");
    world.ensure_carried("b", "a", "after the swap");
    for name in TREE {
        let hands = world.models["a"].by_hand();
        hands.destroy_snapshot(&format!("{name}@daily.1")).unwrap();
    }
    world.write("a", 3);
    assert!(all_well(&world.sync("a", Action::Update).unwrap()));
    for name in TREE {
        let names: Vec<_> = world
            .snapshots("b", name)
            .into_iter()
            .map(|s| s.0)
            .collect();
        assert_eq!(names, ["daily.1", "daily.2", "sent"]);
    }
}

/// What the source's retention tool destroys of the snapshots of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retention {
    /// All but those of which a part has arrived.
    SparesArriving,
    /// All.
    SparesNone,
}

/// Cuts a run that carries snapshots at every operation; then the source's
/// retention tool destroys them, and the next run has to go through.
fn sweep(fault: Fault, first_runs: u8, retention: Retention) -> u64 {
    for operation in 1.. {
        let world = World::new(&["a", "b"]);
        for version in 0..first_runs {
            world.write("a", version + 1);
            assert!(all_well(&world.sync("a", Action::Update).unwrap()));
        }
        world.daily("a", 10);
        world.daily("a", 11);
        world.write("a", 12);
        let begin = world.faults.operations();
        world.faults.fail_at(begin + operation, fault);
        let when = format!("after {fault:?} at operation {operation}, {retention:?}");
        let outcome = world.sync("a", Action::Update);
        if world.faults.struck().is_empty() {
            assert!(all_well(&outcome.unwrap()), "{when}");
            return operation - 1;
        }
        world.revive();
        if first_runs > 0 {
            world.ensure_a_base("a", "b", &when);
        }
        let mut lost = false;
        for name in TREE {
            let copy = world.models["b"].by_hand().look(name);
            let partial = copy.and_then(|copy| copy.partial?.content);
            let arriving = partial.map(|partial| partial.to_guid);
            for (short, guid) in world.snapshots("a", name) {
                let is_spared = retention == Retention::SparesArriving && arriving == Some(guid);
                if short.starts_with("daily") && !is_spared {
                    let hands = world.models["a"].by_hand();
                    hands.destroy_snapshot(&format!("{name}@{short}")).unwrap();
                    lost = true;
                }
            }
        }
        assert!(lost, "{when}");
        world.write("a", 13);
        let report = world.sync("a", Action::Update).unwrap();
        assert!(all_well(&report), "{when}: {report:#?}");
        if first_runs > 0 {
            let incremental = modes(&report).iter().all(|mode| *mode == Mode::Incremental);
            assert!(incremental, "a full {when}");
        }
        for name in TREE {
            let sent = |node: &str| world.snapshots(node, name).pop().unwrap();
            assert_eq!(sent("a"), sent("b"), "{when}");
            let digest = |node: &str| world.models[node].by_hand().digest(name).unwrap();
            assert_eq!(digest("a"), digest("b"), "{when}");
        }
    }
    unreachable!("a run has a bounded number of operations")
}

#[test]
fn what_arrived_of_a_cut_run_is_a_base_though_the_source_lost_it_since() {
    for fault in [
        Fault::CrashBefore,
        Fault::CrashMidway,
        Fault::CrashAfter,
        Fault::Error(ZfsErrorKind::Io),
    ] {
        for first_runs in [0, 1] {
            for retention in [Retention::SparesArriving, Retention::SparesNone] {
                let points = sweep(fault, first_runs, retention);
                assert!(points > 20, "only {points} operations were tried");
            }
        }
    }
}
