//! What may happen to bytes between driver and helper, at any place of a run
//! and in either direction. Both ends have to end, with an error that says what
//! it is, and the next run brings everything over.
//!
//! Links are sound in practice: ssh authenticates what it carries. So nothing
//! here may cost more than the run. `ZFERRY_TEST_FAULTS=all` harms every byte, a
//! number as many of each direction, in equal distances.

mod carrier;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use carrier::{Harm, Tampered, Way, tampered};

use super::super::{ReplicateError, Report, replicate};
use super::{PATIENCE, Silent, about, ensure_equal, job, machines, write};
use crate::error::Family;
use crate::helper::join::{Door, Hall, opening_of};
use crate::helper::{Authorization, Helper, Workforce, serve};
use crate::peer::wire::{self, WireError};
use crate::peer::{Connections, Parallel, Peer, PeerError};
use crate::plan::Step;
use crate::stream::frame::DATA_BYTES_MAX;
use crate::transport::{INBOUND_CHUNKS_MAX, Link, OUTBOUND_CHUNKS_MAX, Reopen, Reopening};
use crate::zfs::model::{BLOCK_BYTES_MAX, Faults, Model};

/// How long a driver lets things stand still.
const STALL: Duration = Duration::from_secs(120);
/// By then everything has ended, by the clock of the test. Standing still, the
/// silence that a helper bears and the time for a cut come one after another.
const END: Duration = Duration::from_secs(60 * 60);
/// Places of each direction that are harmed if nobody asks for more.
const PLACES: u64 = 6;

const HARMS: [Harm; 12] = [
    Harm::Cut,
    Harm::Flip,
    Harm::Lose(1),
    Harm::Lose(64),
    Harm::Repeat(1),
    Harm::Repeat(64),
    Harm::LoseFrame,
    Harm::RepeatFrame,
    Harm::SwapFrames,
    Harm::Stall,
    Harm::HalfClose,
    Harm::Trickle,
];

/// A helper of `model` behind a link, and how it ends.
fn served(link: Link, model: &Model, hall: &Hall) -> JoinHandle<Result<(), WireError>> {
    tokio::spawn(serve(
        link,
        Helper {
            zfs: Arc::new(model.clone()),
            authorization: Authorization::everything(),
            states: None,
            claims: None,
            door: Some(Door::Hall(hall.clone())),
            about: about(),
            patience: PATIENCE,
            workforce: Workforce::default(),
        },
    ))
}

/// Lets hours pass in seconds once `may` says so. Threads of ZFS keep a paused
/// clock from going on by itself, though it is them that wait.
async fn hurry(mut may: impl FnMut() -> bool) {
    loop {
        let pause = || std::thread::park_timeout(Duration::from_millis(1));
        let _ = tokio::task::spawn_blocking(pause).await;
        if may() {
            tokio::time::advance(Duration::from_secs(2)).await;
        }
    }
}

/// What came of a run over links of which one was harmed.
struct Outcome {
    result: Result<Report, String>,
    family: Option<Family>,
    /// Bytes of the harmed link, forth and back.
    bytes: (u64, u64),
    struck: bool,
}

/// Which link is harmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    Source,
    Target,
    /// One of the more that a conversation with the target has.
    Joined,
}

/// More links to the target's helper, made beforehand.
struct Ready {
    links: Mutex<Vec<Tampered>>,
    hall: Hall,
}

impl Reopen for Ready {
    fn reopen(&self) -> Reopening<'_> {
        let link = self.links.lock().unwrap().pop();
        Box::pin(async {
            let Tampered { driver, helper, .. } = link.ok_or("there are no more links")?;
            let hall = self.hall.clone();
            tokio::spawn(async move {
                let (token, link) = opening_of(helper, PATIENCE).await;
                if let Some(token) = token {
                    let _ = hall.join(&token, link).await;
                }
            });
            Ok(driver)
        })
    }
}

async fn greet(name: &str, link: Link) -> Result<Peer, PeerError> {
    let mut peer = Peer::greet(name, link, &about(), PATIENCE).await?;
    peer.limit_stalls(Some(STALL));
    Ok(peer)
}

fn run(
    run: u32,
    models: (&Model, &Model),
    place: Where,
    harm: Option<(Way, u64, Harm)>,
) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let harmed = |there: Where| tampered(harm.filter(|_| there == place));
        let (source, target) = (harmed(Where::Source), harmed(Where::Target));
        let more = [tampered(None), harmed(Where::Joined)];
        let there = match place {
            Where::Source => &source,
            Where::Target => &target,
            Where::Joined => &more[1],
        };
        let bytes = (Arc::clone(&there.forth), Arc::clone(&there.back));
        let struck = Arc::clone(&there.struck);
        let seen = Arc::clone(&struck);
        let clock = tokio::spawn(hurry(move || seen.load(Ordering::SeqCst)));
        let begun = Instant::now();
        let hall = Hall::default();
        let helpers = [
            served(source.helper, models.0, &hall),
            served(target.helper, models.1, &hall),
        ];
        let ready = Arc::new(Ready {
            links: Mutex::new(more.into()),
            hall,
        });
        let work = async {
            let mut from = greet("source", source.driver)
                .await
                .map_err(Ended::Greeting)?;
            let mut to = greet("target", target.driver)
                .await
                .map_err(Ended::Greeting)?;
            if place == Where::Joined {
                let parallel = Parallel {
                    connections: Connections::Exactly(3),
                    transfers: 1,
                };
                to = to.with_more(ready, parallel);
            }
            let done = replicate(&job(run), &mut from, &mut to, &Silent).await;
            done.map_err(Ended::Run)
        };
        let done = tokio::time::timeout(END, work).await;
        let done = done.unwrap_or_else(|_| panic!("the driver does not end: {harm:?}"));
        let was_struck = struck.load(Ordering::SeqCst);
        // What is left of the link does not matter: its driver is gone.
        struck.store(true, Ordering::SeqCst);
        for helper in helpers {
            let ended = tokio::time::timeout(END, helper).await;
            // An error is fine, a panic is not.
            let ended = ended.unwrap_or_else(|_| panic!("a helper does not end: {harm:?}"));
            let _ = ended.unwrap();
        }
        clock.abort();
        assert!(begun.elapsed() < 2 * END);
        Outcome {
            family: done.as_ref().err().map(Ended::family),
            result: done.map_err(|error| error.text()),
            bytes: (
                bytes.0.load(Ordering::SeqCst),
                bytes.1.load(Ordering::SeqCst),
            ),
            struck: was_struck,
        }
    })
}

enum Ended {
    Greeting(PeerError),
    Run(ReplicateError),
}

impl Ended {
    fn family(&self) -> Family {
        match self {
            Self::Greeting(error) => error.family(),
            Self::Run(error) => error.family(),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Greeting(error) => error.to_string(),
            Self::Run(error) => error.to_string(),
        }
    }
}

/// Harms a run at places of one direction of one link.
fn sweep(place: Where, way: Way) {
    let (source, target) = machines(&Faults::default());
    let models = (&source, &target);
    let mut number = 1;
    let mut next = |harm| {
        number += 1;
        run(number, models, place, harm)
    };
    next(None).result.unwrap();
    write(&source, 2);
    let healthy = next(None);
    assert!(healthy.result.is_ok());
    let bytes = if way == Way::Forth {
        healthy.bytes.0
    } else {
        healthy.bytes.1
    };
    let count = match std::env::var("ZFERRY_TEST_FAULTS") {
        Ok(all) if all == "all" => bytes,
        Ok(number) => number.parse::<u64>().unwrap().min(bytes),
        Err(_) => PLACES,
    };
    let places: Vec<u64> = (0..count)
        .map(|n| (2 * n + 1) * bytes / (2 * count))
        .collect();
    let (mut points, mut failed) = (0_u64, 0_u64);
    for harm in HARMS {
        for at in &places {
            let when = format!("{harm:?} at byte {at} of {bytes}, {way:?}, {place:?}");
            write(&source, u8::try_from(3 + points % 200).unwrap());
            let harmed = next(Some((way, *at, harm)));
            if let Err(error) = &harmed.result {
                failed += 1;
                let family = harmed.family.unwrap();
                assert!(family != Family::Bug, "{when}: {error}");
                assert!(!error.is_empty(), "{when}");
            }
            let after = next(None);
            let report = after
                .result
                .unwrap_or_else(|error| panic!("{when}: {error}"));
            let full = report
                .datasets
                .iter()
                .any(|dataset| dataset.step == Step::Full);
            assert!(!full, "a full {when}");
            ensure_equal(&source, &target, &when);
            points += u64::from(harmed.struck);
        }
    }
    println!(
        "wire: {points} points of {bytes} bytes {way:?}, {place:?}; {failed} runs failed, 0 lost"
    );
    assert!(failed > points / 2, "only {failed} of {points} runs failed");
}

#[test]
fn whatever_becomes_of_what_the_driver_says_to_the_source_the_next_run_converges() {
    sweep(Where::Source, Way::Forth);
}

#[test]
fn whatever_becomes_of_what_the_source_says_the_next_run_converges() {
    sweep(Where::Source, Way::Back);
}

#[test]
fn whatever_becomes_of_what_the_driver_says_to_the_target_the_next_run_converges() {
    sweep(Where::Target, Way::Forth);
}

#[test]
fn whatever_becomes_of_what_the_target_says_the_next_run_converges() {
    sweep(Where::Target, Way::Back);
}

#[test]
fn whatever_becomes_of_what_is_said_over_one_of_several_links_the_next_run_converges() {
    sweep(Where::Joined, Way::Forth);
    sweep(Where::Joined, Way::Back);
}

/// Frames that may be on their way between two helpers, with a stream that
/// nobody takes: two queues of received chunks, two of chunks to send, and one
/// that is being carried between each.
const FRAMES_UNDER_WAY_MAX: u64 = 2 * (INBOUND_CHUNKS_MAX + OUTBOUND_CHUNKS_MAX) as u64 + 5;

#[test]
fn a_target_that_never_reads_costs_a_bounded_amount_of_memory_and_time() {
    let (source, target) = (Model::new(1), Model::new(2));
    source.by_hand().add_pool("tank", 1 << 30).unwrap();
    target.by_hand().add_pool("backup", 1 << 30).unwrap();
    source.by_hand().create("tank/a").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    // Much more than may be under way, and it does not compress.
    let mut noise = vec![0; BLOCK_BYTES_MAX];
    let mut blake = blake3::Hasher::new();
    let blocks = 2 * FRAMES_UNDER_WAY_MAX * DATA_BYTES_MAX as u64 / BLOCK_BYTES_MAX as u64;
    for block in 0..blocks {
        blake.update(&block.to_le_bytes());
        blake.finalize_xof().fill(&mut noise);
        source.by_hand().write("tank/a", block, &noise).unwrap();
    }
    runtime.block_on(async {
        let from = tampered(None);
        // It answers as long as it is asked, and takes no stream.
        let to = tampered(Some((Way::Forth, 20_000, Harm::Stall)));
        let sent = Arc::clone(&from.back);
        // Time passes once the source has given all that anybody takes.
        let (taken, mut before, mut still) = (Arc::clone(&sent), 0, 0);
        let clock = tokio::spawn(hurry(move || {
            let now = taken.load(Ordering::SeqCst);
            still = if now == before { still + 1 } else { 0 };
            before = now;
            now > 0 && still > 500
        }));
        let hall = Hall::default();
        let helpers = [
            served(from.helper, &source, &hall),
            served(to.helper, &target, &hall),
        ];
        let begun = Instant::now();
        let mut from = greet("source", from.driver).await.unwrap();
        let mut to = greet("target", to.driver).await.unwrap();
        let done = replicate(&job(1), &mut from, &mut to, &Silent).await;
        let error = done.unwrap_err();
        assert_eq!(error.family(), Family::Transient, "{error}");
        drop((from, to));
        for helper in helpers {
            let _ = helper.await.unwrap();
        }
        clock.abort();
        assert!(begun.elapsed() < STALL + wire::SILENCE_MAX + END);
        let sent = sent.load(Ordering::SeqCst);
        let most = FRAMES_UNDER_WAY_MAX * DATA_BYTES_MAX as u64;
        assert!(sent < most, "{sent} bytes were taken from the source");
        // Nothing waits in larger pieces than it could: the stream was at hand.
        assert!(sent > 8 * DATA_BYTES_MAX as u64, "only {sent} bytes came");
        println!("wire: {sent} bytes under way to a target that takes none");
    });
}
