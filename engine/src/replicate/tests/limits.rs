//! The bandwidth limit, by a clock that stands while anybody is busy: it holds
//! to within one frame, and what is held back is not taken for stalled.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join;
use jiff::SignedDuration;
use jiff::civil::DateTime;
use tokio::time::Instant;

use super::super::transfer::{Ends, Manner, transfer};
use super::played::{self, Arrivals, Part};
use super::{Silent, go, job, machines};
use crate::event::{Event, Observer, WaitingFor};
use crate::helper::Workers;
use crate::limit::{Limiter, WallClock};
use crate::peer::{PeerCause, Stalled};
use crate::protocol::pulse::WaitsFor;
use crate::replicate::Job;
use crate::stream::compress::Compression;
use crate::zfs::model::Faults;

const MIB: usize = 1 << 20;

/// A clock on the wall that shows `begin` now, and goes with the other one.
fn wall(begin: &str) -> WallClock {
    let begin: DateTime = begin.parse().unwrap();
    let then = Instant::now();
    Arc::new(move || {
        let passed = SignedDuration::try_from(then.elapsed()).unwrap();
        begin.checked_add(passed).unwrap()
    })
}

fn limiter(limit: &str) -> Arc<Limiter> {
    Limiter::new(limit.parse().unwrap(), wall("2026-11-25T12:00"))
}

/// What the last event says that a transfer waits for.
#[derive(Default)]
struct Last(Mutex<Option<WaitingFor>>);

impl Observer for Last {
    fn event(&self, event: &Event) {
        if let Event::Progress { waited, .. } = event {
            *self.0.lock().unwrap() = waited.most();
        }
    }
}

/// A transfer of this many MiB, with how long it took and what it waited for.
async fn run(
    mib: usize,
    (sending, receiving): (Part, Part),
    limiter: &Arc<Limiter>,
    stall_max: Option<Duration>,
) -> (Duration, Arrivals, Option<WaitingFor>) {
    let mut source = played::source(mib, MIB, sending).await;
    let (mut target, arrivals) = played::target(receiving).await;
    source.limit_stalls(stall_max);
    target.limit_stalls(stall_max);
    let mut ends = Ends {
        source: &mut source,
        target: &mut target,
    };
    let last = Last::default();
    let manner = Manner {
        compression: Compression::Off,
        workers: Workers::Auto,
        limiter: Some(Arc::clone(limiter)),
        observer: &last,
    };
    let begun = Instant::now();
    let moved = transfer(&mut ends, &played::plan(), manner).await.unwrap();
    assert_eq!(moved.raw_bytes, (mib * MIB) as u64);
    let waited = *last.0.lock().unwrap();
    (begun.elapsed(), arrivals, waited)
}

/// No part of what arrived has more bytes in its time than `rate` allows, one
/// frame, and what may pass at once after a pause.
fn ensure_within_one_frame(arrivals: &[(Instant, usize)], rate: usize) {
    for (n, (begin, _)) in arrivals.iter().enumerate() {
        let mut bytes = 0;
        for (end, frame) in &arrivals[n..] {
            bytes += frame;
            let seconds = (*end - *begin).as_secs_f64() + 0.1;
            let most = rate as f64 * seconds + *frame as f64;
            assert!(bytes as f64 <= most + 1.0, "{bytes} in {seconds} s");
        }
    }
}

fn is_about(time: Duration, seconds: f64) -> bool {
    // Timers have a grain of one millisecond.
    (time.as_secs_f64() - seconds).abs() < 0.05 + seconds / 1000.0
}

const QUICK: (Part, Part) = (Part::QUICK, Part::QUICK);

#[tokio::test(start_paused = true)]
async fn a_limit_holds_to_within_one_frame() {
    for (limit, rate) in [
        ("1K", 1024),
        ("100K", 100 << 10),
        ("10M", 10 << 20),
        ("8Gbit", 1_000_000_000),
    ] {
        let (time, arrivals, waited) = run(30, QUICK, &limiter(limit), None).await;
        let arrivals = arrivals.lock().unwrap().clone();
        ensure_within_one_frame(&arrivals, rate);
        let before: usize = arrivals[..29].iter().map(|(_, bytes)| bytes).sum();
        let due = before as f64 / rate as f64;
        assert!(is_about(time, due), "{limit}: {time:?}, not {due} s");
        assert_eq!(waited, Some(WaitingFor::Limit), "{limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_frame_does_not_wait_and_the_next_one_waits_for_it() {
    let begun = Instant::now();
    let (_, arrivals, _) = run(3, QUICK, &limiter("100K"), None).await;
    let arrivals = arrivals.lock().unwrap().clone();
    let times = arrivals.iter().map(|(when, _)| *when - begun);
    for (time, due) in times.zip([0.0, 10.24, 20.48]) {
        assert!(is_about(time, due), "{time:?}, not {due} s");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_held_back_is_not_taken_for_stalled() {
    // A frame takes 17 minutes. Heartbeats pass all the while: without them
    // each side takes the other for dead after one.
    let stall = Duration::from_millis(300);
    let (time, arrivals, _) = run(5, QUICK, &limiter("1K"), Some(stall)).await;
    assert!(time > Duration::from_secs(4 * 1024), "{time:?}");
    assert_eq!(arrivals.lock().unwrap().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_stands_still_is_stalled_under_a_limit_too() {
    let hangs = Part::slow(Duration::from_secs(1 << 20), WaitsFor::Zfs);
    let mut source = played::source(50, MIB, Part::QUICK).await;
    let (mut target, _) = played::target(hangs).await;
    let stall = Duration::from_secs(60);
    source.limit_stalls(Some(stall));
    let mut ends = Ends {
        source: &mut source,
        target: &mut target,
    };
    ends.target.limits.cut_max = stall;
    let manner = Manner {
        compression: Compression::Off,
        workers: Workers::Auto,
        limiter: Some(limiter("100K")),
        observer: &Silent,
    };
    let error = transfer(&mut ends, &played::plan(), manner)
        .await
        .unwrap_err();
    let PeerCause::Stalled { why, waited } = *error.cause else {
        panic!("{error}")
    };
    assert_eq!(why, Stalled::TargetZfs);
    assert!(waited >= stall && waited < stall * 2, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_higher_than_what_comes_costs_nothing_and_is_not_named() {
    let slow = Part::slow(Duration::from_secs(1), WaitsFor::Zfs);
    let (time, _, waited) = run(60, (slow, Part::QUICK), &limiter("2M"), None).await;
    assert!(is_about(time, 60.0), "{time:?}");
    assert_eq!(waited, Some(WaitingFor::SourceZfs));
}

#[tokio::test(start_paused = true)]
async fn the_rate_changes_at_the_boundary_of_a_time_while_a_transfer_runs() {
    // From 12:00 on, 10 s of 1 MiB, then 10 s of 5 MiB, then all the rest.
    let limit = "1M@11:00-12:00:10,5M@12:00:10-12:00:20,unlimited";
    let begun = Instant::now();
    let (time, arrivals, _) = run(500, QUICK, &limiter(limit), None).await;
    assert!(is_about(time, 20.0), "{time:?}");
    let arrivals = arrivals.lock().unwrap().clone();
    let until = |seconds: f64| {
        let came = arrivals.iter().map(|(when, _)| *when - begun);
        came.filter(|came| came.as_secs_f64() <= seconds).count()
    };
    for (seconds, expected) in [(5.0, 5), (9.9, 10), (15.0, 35), (19.9, 60)] {
        let came = until(seconds);
        assert!(came.abs_diff(expected) <= 1, "{came} after {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_waits_since_a_slow_time_goes_at_the_rate_of_a_fast_one() {
    // At 1 KiB a frame waits for 17 minutes; ten seconds later it need not.
    let limit = "1K@12:00-12:00:10,10M";
    let (time, _, _) = run(2, QUICK, &limiter(limit), None).await;
    assert!(is_about(time, 10.1), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn transfers_that_share_a_limit_keep_it_together_and_none_starves() {
    let shared = limiter("1M");
    let begun = Instant::now();
    let first = run(20, QUICK, &shared, None);
    let second = run(20, QUICK, &shared, None);
    let ((_, first, _), (_, second, _)) = join(first, second).await;
    let (first, second) = (first.lock().unwrap(), second.lock().unwrap());
    let mut all = [first.as_slice(), second.as_slice()].concat();
    all.sort_by_key(|(when, _)| *when);
    ensure_within_one_frame(&all, 1 << 20);
    let time = all[39].0 - begun;
    assert!(is_about(time, 39.0), "{time:?}");
    // In turn: each has a frame in every two seconds.
    for arrivals in [&first, &second] {
        for pair in arrivals.windows(2) {
            let gap = pair[1].0 - pair[0].0;
            assert!(gap < Duration::from_millis(2100), "{gap:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_transfer_that_is_cut_gives_its_place_back() {
    let shared = limiter("100K");
    let short = run(1, QUICK, &shared, None).await;
    assert!(is_about(short.0, 0.0), "{:?}", short.0);
    // One that waits for its turn, and is dropped before.
    let cut = run(30, QUICK, &shared, None);
    let cut = tokio::time::timeout(Duration::from_secs(5), cut).await;
    assert!(cut.is_err());
    let begun = Instant::now();
    run(1, QUICK, &shared, None).await;
    assert!(is_about(begun.elapsed(), 5.24), "{:?}", begun.elapsed());
}

/// Threads of helpers keep a paused clock from going on: this one is real, and
/// only that nothing is faster than allowed is claimed.
#[tokio::test]
async fn a_whole_run_with_helpers_is_no_faster_than_its_limit() {
    let (source, target) = machines(&Faults::default());
    let limited = Job {
        limiter: Some(limiter("10K")),
        // What is sent is what was written, however compression begins.
        compression: Compression::Off,
        ..job(1)
    };
    let begun = Instant::now();
    let report = go(&limited, &source, &target).await.unwrap();
    let time = begun.elapsed().as_secs_f64();
    // The last of the frames, one of each dataset, is not waited for.
    let waited_for = report.datasets[..2].iter();
    let bytes: u64 = waited_for.map(|one| one.moved.wire_bytes).sum();
    assert!(bytes > 1024, "{report:?}");
    let due = bytes as f64 / 10_240.0;
    assert!(time > due - 0.1, "{time} s, not {due} s");
    super::ensure_equal(&source, &target, "with a limit");
}
