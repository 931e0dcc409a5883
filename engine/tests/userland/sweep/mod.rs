//! The fault sweep: every operation of a run fails in every way, on real ZFS.
//!
//! For each scenario: operation 1, 2, 3 … of a run meets each [`Fault`]. Right
//! after it a base is there, and nothing of anybody else was touched. The next
//! run brings everything over, by increments, with the content that was
//! written; no hold is left, and what is not ours is as it was.
//!
//! All of it is some thousand points. `ZFERRY_TEST_FAULTS=all` tries each of
//! them (an hour or so), a number tries as many of each scenario, chosen by
//! `ZFERRY_TEST_SEED`; without it a few are tried.

mod fault;
mod faulty;
mod runs;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use engine::plan::{Intermediary, Loss, OnModified, OnNewer, OnPartial};
use engine::replicate::OnConflict;
use engine::sync::run::Action;
use engine::zfs::Zfs;

use crate::snapshot;
use fault::{Fault, Moment, Victim, Which};
use runs::{COPY, Fulls, Trip};
use world::{ROOT, World, archives, copies};

/// Points that are tried with the same pools.
const WORLD_POINTS: u64 = 100;

/// Points of each scenario that are tried if nobody asks for more.
const SAMPLE: usize = 3;

/// What may be lost where a scenario says so.
const ANYTHING: Loss = Loss {
    on_modified: OnModified::RollBack,
    on_newer: OnNewer::Destroy,
    on_partial: OnPartial::Report,
};

type Step<T> = fn(&World) -> T;

/// A run that is struck, and what comes before and after.
struct Scenario {
    name: &'static str,
    nodes: &'static [&'static str],
    /// Those that get a copy.
    targets: &'static [&'static str],
    config: &'static str,
    /// Everything up to the run that is struck. Nothing strikes here.
    prepare: Step<()>,
    run: Step<Result<Fulls, String>>,
    /// The run after it; it has to succeed.
    next: Step<Result<Fulls, String>>,
    /// Places of the copy. Empty if there is none before the run.
    bases: &'static [&'static str],
    /// Where the copy is in the end.
    copy: &'static str,
}

fn replicated(world: &World) -> Result<Fulls, String> {
    world.replicate(&Trip::default())
}

fn updated(world: &World) -> Result<Fulls, String> {
    world.sync(Action::Update)
}

/// A copy that is up to date, then new data on the source.
fn behind(world: &World) {
    replicated(world).unwrap();
    world.write();
}

/// The same, and a part of it has arrived, in the first volume.
fn cut_behind(world: &World) {
    behind(world);
    let cut = Fault::Death(Victim::Helper, Moment::Midway);
    for _ in 0..10 {
        world.faults.plan(Which::Named("receive", 1), cut);
        replicated(world).unwrap_err();
        world.revive();
        let mut copies = world.nodes["b"].tree(COPY).into_iter();
        if copies.any(|copy| copy.partial.is_some()) {
            return;
        }
        // Cut in its first bytes nothing stays.
        world.write();
    }
    panic!("no part is ever kept");
}

const REPLICATE: Scenario = Scenario {
    name: "replicate, increment",
    nodes: &["a", "b"],
    targets: &["b"],
    config: "",
    prepare: behind,
    run: replicated,
    next: replicated,
    bases: &[COPY],
    copy: COPY,
};

const SYNC: Scenario = Scenario {
    name: "sync update",
    prepare: |world| {
        updated(world).unwrap();
        world.write();
    },
    run: updated,
    next: updated,
    bases: &[ROOT],
    copy: ROOT,
    ..REPLICATE
};

/// Which of `points` are tried.
fn chosen(points: &[(u64, Fault)], world: &World) -> Vec<(u64, Fault)> {
    let wish = std::env::var("ZFERRY_TEST_FAULTS").unwrap_or_default();
    let count = match wish.as_str() {
        "all" => return points.to_vec(),
        "" => SAMPLE,
        number => number.parse().unwrap(),
    };
    let mut left = points.to_vec();
    let mut chosen = Vec::new();
    while chosen.len() < count && !left.is_empty() {
        let at = usize::try_from(world.faults.random(left.len() as u64)).unwrap();
        chosen.push(left.swap_remove(at));
    }
    chosen
}

fn seed() -> u64 {
    match std::env::var("ZFERRY_TEST_SEED") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => u64::from(std::process::id()),
    }
}

impl Scenario {
    fn new_world(&self, seed: u64) -> Option<World> {
        World::new(self.nodes, self.config, seed)
    }

    /// The state before the run, and how many operations the run has.
    fn healthy(&self, world: &World) -> u64 {
        (self.prepare)(world);
        world
            .faults
            .plan(Which::Named("nothing", 0), Fault::AnswerLost);
        (self.run)(world).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        world.faults.operations()
    }

    /// True if the fault struck; the run may be shorter than it was.
    fn point(&self, world: &World, operation: u64, fault: Fault) -> bool {
        (self.prepare)(world);
        world.remember();
        world.faults.plan(Which::Number(operation), fault);
        let outcome = (self.run)(world);
        let struck = world.faults.struck();
        world.revive();
        let Some((_, what, _)) = struck else {
            outcome.unwrap_or_else(|error| panic!("nothing struck: {error}"));
            return false;
        };
        let when = format!("at `{what}`, which ended the run with {outcome:?}");
        world.ensure_foreign();
        for target in self.targets {
            if !self.bases.is_empty() {
                world.ensure_a_base(target, self.bases);
            }
        }
        world.write();
        let fulls = (self.next)(world).unwrap_or_else(|error| panic!("{when}, then: {error}"));
        let may_be_full = self.bases.is_empty();
        assert!(may_be_full || !fulls.contains(&true), "a full {when}");
        for target in self.targets {
            world.ensure_arrived(target, self.copy);
        }
        world.ensure_foreign();
        world.ensure_holds();
        if may_be_full {
            world.write();
            let fulls = (self.next)(world).unwrap_or_else(|error| panic!("{when}: {error}"));
            assert!(!fulls.contains(&true), "the run after it was full, {when}");
        }
        true
    }

    /// Tries the points of this scenario and fails if any of them lost anything.
    fn sweep(&self) {
        let seed = seed();
        let Some(mut world) = self.new_world(seed) else {
            return;
        };
        let begun = Instant::now();
        let operations = self.healthy(&world);
        let points: Vec<(u64, Fault)> = (1..=operations)
            .flat_map(|operation| {
                fault::all()
                    .into_iter()
                    .map(move |fault| (operation, fault))
            })
            .collect();
        let (mut tried, mut lost) = (0, Vec::new());
        for (operation, fault) in chosen(&points, &world) {
            let tried_here = AssertUnwindSafe(|| self.point(&world, operation, fault));
            match catch_unwind(tried_here) {
                Ok(struck) => {
                    tried += u64::from(struck);
                    if tried % 50 == 0 {
                        println!("faults: {}: {tried} points so far", self.name);
                    }
                    // What others took stays, and fills the pools in the end.
                    if tried % WORLD_POINTS == 0 {
                        world = self.new_world(seed + operation).unwrap();
                        self.healthy(&world);
                    }
                }
                Err(why) => {
                    let why = why
                        .downcast_ref::<String>()
                        .map_or("(no words)", String::as_str);
                    lost.push(format!("{fault:?} at operation {operation}: {why}"));
                    // What a lost point leaves is not what the next one needs.
                    world = self.new_world(seed + operation).unwrap();
                    self.healthy(&world);
                }
            }
        }
        println!(
            "faults: {}: {tried} points of {} ({operations} operations), {} lost, seed {seed}, {} s",
            self.name,
            points.len(),
            lost.len(),
            begun.elapsed().as_secs()
        );
        assert!(tried > 0, "{}: nothing was tried", self.name);
        assert!(lost.is_empty(), "seed {seed}: {}", lost.join("\n\n"));
    }
}

#[test]
fn a_first_replication_may_meet_any_fault_at_any_operation() {
    Scenario {
        name: "replicate, first full",
        prepare: |world| world.nodes["b"].wipe("tank/copy"),
        bases: &[],
        ..REPLICATE
    }
    .sweep();
}

#[test]
fn an_incremental_replication_may_meet_any_fault_at_any_operation() {
    REPLICATE.sweep();
}

#[test]
fn snapshots_in_between_may_meet_any_fault_at_any_operation() {
    let carried: Step<Result<Fulls, String>> = |world| {
        world.replicate(&Trip {
            intermediary: Intermediary::Carry,
            ..Trip::default()
        })
    };
    Scenario {
        name: "replicate, snapshots in between",
        prepare: |world| {
            let carries = Trip {
                intermediary: Intermediary::Carry,
                ..Trip::default()
            };
            world.replicate(&carries).unwrap();
            for _ in 0..2 {
                world.write();
                let name = snapshot(&format!("tank/data/vol@daily-{}", world.tick()));
                world.nodes["a"].pools.snapshot(&[name]).unwrap();
            }
            world.write();
        },
        run: carried,
        next: carried,
        ..REPLICATE
    }
    .sweep();
}

#[test]
fn a_resumed_replication_may_meet_any_fault_at_any_operation() {
    Scenario {
        name: "replicate, resume",
        prepare: |world| {
            cut_behind(world);
            world.write();
        },
        ..REPLICATE
    }
    .sweep();
}

#[test]
fn a_part_that_is_given_up_may_meet_any_fault_at_any_operation() {
    Scenario {
        name: "replicate, a part of what the source has lost",
        prepare: |world| {
            cut_behind(world);
            // What it was a part of goes, and with it what could be sent.
            world.lose_newest();
            world.write();
        },
        ..REPLICATE
    }
    .sweep();
}

#[test]
fn a_rollback_and_what_is_newer_may_meet_any_fault_at_any_operation() {
    let clears: Step<Result<Fulls, String>> = |world| {
        world.replicate(&Trip {
            loss: ANYTHING,
            ..Trip::default()
        })
    };
    Scenario {
        name: "replicate, rollback and newer snapshots",
        prepare: |world| {
            let clears = Trip {
                loss: ANYTHING,
                ..Trip::default()
            };
            world.replicate(&clears).unwrap();
            let volume = format!("{COPY}/vol");
            world.spoil("b", &volume);
            let given_up = snapshot(&format!("{volume}@given-up-{}", world.tick()));
            world.nodes["b"].pools.snapshot(&[given_up]).unwrap();
            world.spoil("b", &volume);
            world.spoil("b", &format!("{COPY}/log"));
            world.write();
        },
        run: clears,
        next: clears,
        ..REPLICATE
    }
    .sweep();
}

#[test]
fn a_target_put_aside_may_meet_any_fault_at_any_operation() {
    let archives_it: Step<Result<Fulls, String>> = |world| {
        let done = world.replicate(&Trip {
            on_conflict: OnConflict::Archive,
            ..Trip::default()
        });
        // Whatever a fault left, what was put aside is so once.
        if done.is_ok() {
            assert_eq!(archives(&world.nodes["b"]).len(), 1);
        }
        done
    };
    Scenario {
        name: "replicate, the target put aside",
        prepare: |world| {
            world.nodes["b"].wipe(COPY);
            for archive in archives(&world.nodes["b"]) {
                world.nodes["b"].wipe(archive.as_str());
            }
            replicated(world).unwrap();
            // Nothing is shared any more, and what the copy has is not ours.
            world.forget();
            let kept = snapshot(&format!("{COPY}/log@theirs-{}", world.tick()));
            world.nodes["b"].pools.snapshot(&[kept]).unwrap();
            world.write();
        },
        run: archives_it,
        next: archives_it,
        bases: &[],
        ..REPLICATE
    }
    .sweep();
}

#[test]
fn a_copy_on_the_same_machine_may_meet_any_fault_at_any_operation() {
    let beside: Step<Result<Fulls, String>> = |world| {
        world.replicate(&Trip {
            to: "a",
            ..Trip::default()
        })
    };
    Scenario {
        name: "replicate, on one machine",
        nodes: &["a"],
        targets: &["a"],
        prepare: |world| {
            let beside = Trip {
                to: "a",
                ..Trip::default()
            };
            world.replicate(&beside).unwrap();
            world.write();
        },
        run: beside,
        next: beside,
        ..REPLICATE
    }
    .sweep();
}

#[test]
fn several_transfers_at_a_time_may_meet_any_fault_at_any_operation() {
    let several: Step<Result<Fulls, String>> = |world| {
        world.replicate(&Trip {
            at_once: 3,
            ..Trip::default()
        })
    };
    Scenario {
        name: "replicate, several at a time",
        run: several,
        next: several,
        ..REPLICATE
    }
    .sweep();
}

#[test]
fn a_first_sync_may_meet_any_fault_at_any_operation() {
    Scenario {
        name: "sync nodes, first full",
        prepare: |world| world.nodes["b"].wipe(ROOT),
        run: |world| world.sync(Action::Nodes),
        next: |world| world.sync(Action::Nodes),
        bases: &[],
        ..SYNC
    }
    .sweep();
}

#[test]
fn a_sync_and_its_rotation_may_meet_any_fault_at_any_operation() {
    SYNC.sweep();
}

#[test]
fn a_sync_that_holds_its_base_may_meet_any_fault_at_any_operation() {
    Scenario {
        name: "sync update, hold_base",
        config: "hold_base = yes\n",
        ..SYNC
    }
    .sweep();
}

#[test]
fn a_sync_to_three_nodes_may_meet_any_fault_at_any_operation() {
    Scenario {
        name: "sync update, three nodes",
        nodes: &["a", "b", "c"],
        targets: &["b", "c"],
        ..SYNC
    }
    .sweep();
}

#[test]
fn a_full_beside_and_its_swap_may_meet_any_fault_at_any_operation() {
    Scenario {
        name: "sync full beside a copy",
        prepare: |world| {
            updated(world).unwrap();
            for copy in copies(&world.nodes["b"]) {
                world.nodes["b"].wipe(copy.as_str());
            }
            world.write();
        },
        run: |world| world.sync(Action::Full),
        bases: &[ROOT, "tank/data.zferry-new"],
        ..SYNC
    }
    .sweep();
}
