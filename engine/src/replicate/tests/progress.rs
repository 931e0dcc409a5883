//! What whoever watches is told of transfers.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::super::transfer::{Ends, Manner, transfer};
use super::played::{self, Part};
use super::{Faults, go, job, machines, peer};
use crate::event::{Event, Observer, WaitingFor};
use crate::helper::Workers;
use crate::protocol::pulse::WaitsFor;
use crate::replicate::{Job, Placement, replicate};
use crate::stream::compress::Compression;
use crate::zfs::ZfsErrorKind;
use crate::zfs::model::Fault;

/// Blocks of a played transfer.
const BLOCKS: usize = 40;

/// What each takes the side that is slow.
const GAP: Duration = Duration::from_secs(3);

/// Events, and when they came.
#[derive(Default)]
struct Recorder(Mutex<Vec<(Instant, Event)>>);

impl Observer for Recorder {
    fn event(&self, event: &Event) {
        let told = (Instant::now(), event.clone());
        self.0.lock().unwrap().push(told);
    }
}

/// What is told of a transfer between these two.
async fn told(source: Part, target: Part) -> Vec<(Instant, Event)> {
    let mut source = played::source(BLOCKS, 1 << 20, source).await;
    let (mut target, _) = played::target(target).await;
    let mut ends = Ends {
        source: &mut source,
        target: &mut target,
    };
    let recorder = Recorder::default();
    let manner = Manner {
        compression: Compression::Off,
        workers: Workers::Auto,
        limiter: None,
        observer: &recorder,
    };
    let moved = transfer(&mut ends, &played::plan(), manner).await;
    assert_eq!(moved.unwrap().raw_bytes, (BLOCKS as u64) << 20);
    recorder.0.into_inner().unwrap()
}

/// What most of the last half of the time went into.
fn waiting_for(told: &[(Instant, Event)]) -> Option<WaitingFor> {
    let waited = |n: usize| match &told[n].1 {
        Event::Progress { waited, .. } => *waited,
        other => panic!("{other:?}"),
    };
    waited(told.len() - 1).since(&waited(told.len() / 2)).most()
}

#[tokio::test(start_paused = true)]
async fn a_transfer_tells_at_least_once_a_second_how_far_it_is() {
    let told = told(Part::slow(GAP, WaitsFor::Zfs), Part::QUICK).await;
    let mut before = told[0].0;
    for (when, _) in &told {
        assert!(*when - before <= Duration::from_millis(1001), "{told:?}");
        before = *when;
    }
    let seconds = (told[told.len() - 1].0 - told[0].0).as_secs();
    assert_eq!(seconds, GAP.as_secs() * (BLOCKS as u64 - 1) + 2);
}

#[tokio::test(start_paused = true)]
async fn the_side_that_is_slow_is_named_with_what_its_heartbeats_say() {
    for (says, source, target) in [
        (WaitsFor::Zfs, WaitingFor::SourceZfs, WaitingFor::TargetZfs),
        (
            WaitsFor::Processor,
            WaitingFor::SourceProcessor,
            WaitingFor::TargetProcessor,
        ),
        (
            WaitsFor::OtherSide,
            WaitingFor::Connection,
            WaitingFor::Connection,
        ),
    ] {
        let slow = Part::slow(GAP, says);
        let events = told(slow, Part::QUICK).await;
        assert_eq!(waiting_for(&events), Some(source));
        let events = told(Part::QUICK, slow).await;
        assert_eq!(waiting_for(&events), Some(target));
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_helper_that_says_nothing_the_side_is_all_that_is_claimed() {
    let silent = Part {
        gap: GAP,
        says: None,
    };
    let events = told(silent, Part::QUICK).await;
    assert_eq!(waiting_for(&events), Some(WaitingFor::Source));
    let events = told(Part::QUICK, silent).await;
    assert_eq!(waiting_for(&events), Some(WaitingFor::Target));
}

/// The numbers of transfers and bytes that were planned, and how many began,
/// were done and were cut.
fn counts(events: &Mutex<Vec<(Instant, Event)>>) -> (usize, u64, usize, usize, usize) {
    let mut counts = (0, 0, 0, 0, 0);
    for (_, event) in &*events.lock().unwrap() {
        match event {
            Event::TransfersPlanned {
                peer,
                root,
                transfers,
                estimated_bytes,
            } => {
                assert_eq!((peer.as_str(), root.as_str()), ("target", "backup/deep/a"));
                counts.0 += transfers;
                counts.1 += estimated_bytes;
            }
            Event::TransferStarted { .. } => counts.2 += 1,
            Event::TransferDone { .. } => counts.3 += 1,
            Event::TransferCut { .. } => counts.4 += 1,
            _ => {}
        }
    }
    counts
}

#[tokio::test]
async fn what_the_compression_came_to_is_told_where_it_was_left_to_the_source() {
    for (placement, compression, is_told) in [
        (Placement::TwoMachines, Compression::Adaptive, true),
        (Placement::TwoMachines, Compression::Level(3), false),
        // There is no way, and nothing to find out.
        (Placement::OneMachine, Compression::Adaptive, false),
    ] {
        let (source, target) = machines(&Faults::default());
        let recorder = Recorder::default();
        let mut from = peer("source", &source).await;
        let mut to = peer("target", &target).await;
        let job = Job {
            placement,
            compression,
            ..job(1)
        };
        replicate(&job, &mut from, &mut to, &recorder)
            .await
            .unwrap();
        let events = recorder.0.lock().unwrap();
        let came_to = events.iter().filter_map(|(_, event)| match event {
            Event::TransferDone { came_to, .. } => Some(came_to),
            _ => None,
        });
        let told: Vec<bool> = came_to.map(Option::is_some).collect();
        assert_eq!(told, [is_told; 3], "{placement:?} {compression:?}");
    }
}

#[tokio::test]
async fn what_a_run_will_send_is_told_before_it_begins() {
    let (source, target) = machines(&Faults::default());
    let recorder = Recorder::default();
    let mut from = peer("source", &source).await;
    let mut to = peer("target", &target).await;
    let ran = replicate(&job(1), &mut from, &mut to, &recorder).await;
    let estimated: u64 = ran
        .unwrap()
        .datasets
        .iter()
        .map(|one| one.estimated_bytes)
        .sum();
    assert_eq!(counts(&recorder.0), (3, estimated, 3, 3, 0));
}

#[tokio::test]
async fn a_transfer_that_fails_is_told_as_ended() {
    let log = {
        let faults = Faults::default();
        let (source, target) = machines(&faults);
        go(&job(1), &source, &target).await.unwrap();
        target.log()
    };
    let receives = log
        .iter()
        .filter(|one| one.command.starts_with("zfs receive"));
    let second = receives.filter_map(|one| one.number).nth(1).unwrap();
    let faults = Faults::default();
    let (source, target) = machines(&faults);
    faults.fail_at(second, Fault::Error(ZfsErrorKind::Io));
    let recorder = Recorder::default();
    let mut from = peer("source", &source).await;
    let mut to = peer("target", &target).await;
    let ran = replicate(&job(1), &mut from, &mut to, &recorder).await;
    assert!(ran.is_err());
    let (planned, _, started, done, cut) = counts(&recorder.0);
    assert_eq!((planned, started, done, cut), (3, 2, 1, 1));
}
