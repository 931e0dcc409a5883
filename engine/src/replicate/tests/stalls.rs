//! ZFS that does not come back, on either side: who is blamed, and that nothing
//! waits for it.

use std::time::{Duration, Instant};

use super::{PATIENCE, Silent, about, dataset, helper, helper_link, job, machines, peer};
use crate::error::Family;
use crate::helper::{Authorization, ClaimFolder, Helper, Workers, Workforce, serve};
use crate::peer::{Peer, PeerCause, PeerError, Stalled};
use crate::protocol::message::Request;
use crate::replicate::{Job, ReplicateError, replicate};
use crate::stream::frame::{Frame, Kind};
use crate::zfs::Scope;
use crate::zfs::model::{Fault, Faults, Model};

/// Short enough to wait for, and long for machines in memory.
const STALL: Duration = Duration::from_millis(300);

/// Longer than the stall, all that is given up after it, and a slow machine.
const BOUND: Duration = Duration::from_secs(8);

/// Lets everything go on in the end, or the runtime would wait for its threads.
struct Thaw(Faults);

impl Drop for Thaw {
    fn drop(&mut self) {
        self.0.thaw();
    }
}

async fn impatient(name: &str, model: &Model) -> Peer {
    with_little_patience(peer(name, model).await)
}

fn with_little_patience(mut peer: Peer) -> Peer {
    peer.limit_stalls(Some(STALL));
    peer.limits.cut_max = STALL;
    peer
}

/// A helper whose transfers may have these workers.
async fn crewed(name: &str, model: &Model, workforce: &Workforce) -> Peer {
    let (near, far) = crate::transport::local::pair();
    let helper = Helper {
        workforce: workforce.clone(),
        ..helper(model, Authorization::everything())
    };
    tokio::spawn(serve(far, helper));
    let peer = Peer::greet(name, near, &about(), PATIENCE).await.unwrap();
    with_little_patience(peer)
}

/// A helper that claims its destinations, as those of the tool do: what hangs
/// keeps its claim, so that nobody meets it half way.
async fn claiming(name: &str, model: &Model, claims: &ClaimFolder) -> Peer {
    let (near, far) = crate::transport::local::pair();
    let helper = Helper {
        claims: Some(claims.clone()),
        ..helper(model, Authorization::everything())
    };
    tokio::spawn(serve(far, helper));
    let peer = Peer::greet(name, near, &about(), PATIENCE).await.unwrap();
    with_little_patience(peer)
}

fn cause(error: &ReplicateError) -> &PeerError {
    match error {
        ReplicateError::Peer(cause) => cause,
        ReplicateError::Transfer { cause, .. } | ReplicateError::Vanished { cause } => cause,
        other => panic!("{other}"),
    }
}

/// The operations of a whole run, by what they do.
async fn operations() -> Vec<String> {
    let faults = Faults::default();
    let (source, target) = machines(&faults);
    let run = super::go(&job(1), &source, &target).await;
    run.unwrap();
    let mut log: Vec<_> = [source.log(), target.log()].concat();
    log.retain(|logged| logged.number.is_some());
    log.sort_by_key(|logged| logged.number);
    log.into_iter().map(|logged| logged.command).collect()
}

#[tokio::test]
async fn whichever_operation_hangs_the_run_ends_in_bounded_time_and_the_next_one_converges() {
    let operations = operations().await;
    assert!(operations.len() > 10, "{operations:#?}");
    for (n, what) in operations.iter().enumerate() {
        let faults = Faults::default();
        let _thaw = Thaw(faults.clone());
        let (source, target) = machines(&faults);
        let state = tempfile::tempdir().unwrap();
        let claims = ClaimFolder::below(state.path());
        let run = async |number, claims: &ClaimFolder| {
            let mut from = claiming("source", &source, claims).await;
            let mut to = claiming("target", &target, claims).await;
            replicate(&job(number), &mut from, &mut to, &Silent).await
        };
        faults.fail_at(n as u64 + 1, Fault::Hang);
        let begun = Instant::now();
        let ran = run(1, &claims).await;
        assert!(begun.elapsed() < BOUND, "{what}: {:?}", begun.elapsed());
        // What is cleaned up at the end may fail without failing the run.
        if let Err(error) = ran {
            assert_eq!(error.family(), Family::Transient, "{what}: {error}");
            let cause = cause(&error);
            let side = if what.contains("backup") {
                "target"
            } else {
                "source"
            };
            assert!(
                matches!(&*cause.cause, PeerCause::Stalled { .. }),
                "{what}: {error}"
            );
            // Both sides list at once: which of them has a number may differ.
            if !what.starts_with("zfs list") {
                assert_eq!(cause.peer, side, "{what}: {error}");
            }
        }
        if what.starts_with("zfs receive") {
            let now = claims.clone().with_patience(Duration::ZERO);
            let error = run(2, &now).await.unwrap_err();
            assert_eq!(error.family(), Family::Transient, "{what}: {error}");
            assert!(error.to_string().contains("in use by"), "{what}: {error}");
        }
        faults.thaw();
        // The thread that hung ends as soon as it is let.
        let mut again = run(2, &claims).await;
        while again
            .as_ref()
            .is_err_and(|e| e.family() == Family::Transient)
        {
            assert!(begun.elapsed() < 2 * BOUND, "{what}: {again:?}");
            tokio::task::yield_now().await;
            again = run(2, &claims).await;
        }
        again.unwrap_or_else(|error| panic!("{what}: {error}"));
        super::ensure_equal(&source, &target, what);
    }
}

#[tokio::test]
async fn nothing_is_listed_before_the_target_is_claimed() {
    let faults = Faults::default();
    let (source, target) = machines(&faults);
    let state = tempfile::tempdir().unwrap();
    let claims = ClaimFolder::below(state.path()).with_patience(Duration::ZERO);
    let mut other = claiming("target", &target, &claims).await;
    let job = job(1);
    other.claim(&job.target, job.scope, "a test").await.unwrap();
    let mut from = claiming("source", &source, &claims).await;
    let mut to = claiming("target", &target, &claims).await;
    let error = replicate(&job, &mut from, &mut to, &Silent).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("in use by"), "{error}");
    // The other run may change the source as well until it is done.
    assert_eq!(faults.operations(), 0);
}

#[tokio::test]
async fn both_sides_list_at_the_same_time() {
    let faults = Faults::default();
    let _thaw = Thaw(faults.clone());
    let (source, target) = machines(&faults);
    let (mut from, mut to) = (peer("source", &source).await, peer("target", &target).await);
    // Whichever begins, it ends after the other has begun.
    faults.fail_at(1, Fault::Hang);
    let begun = Instant::now();
    let let_go = async {
        while faults.operations() < 2 {
            assert!(begun.elapsed() < BOUND, "the other one waits for it");
            tokio::task::yield_now().await;
        }
        faults.thaw();
    };
    let job = job(1);
    let (ran, ()) = tokio::join!(replicate(&job, &mut from, &mut to, &Silent), let_go);
    ran.unwrap();
}

/// The error of a run in which the first operation hangs whose command begins
/// so, with helpers that tell of themselves at once.
async fn hangs_in(command: &str, by: &Workforce) -> PeerError {
    let operations = operations().await;
    let n = operations
        .iter()
        .position(|one| one.starts_with(command) && !one.contains(" -n"));
    let n = n.unwrap_or_else(|| panic!("{command} is not in {operations:#?}"));
    let faults = Faults::default();
    let _thaw = Thaw(faults.clone());
    let (source, target) = machines(&faults);
    faults.fail_at(n as u64 + 1, Fault::Hang);
    let mut from = crewed("source", &source, by).await;
    let mut to = crewed("target", &target, by).await;
    // Heartbeats come every ten seconds, so that this takes as long.
    let stall = crate::peer::wire::HEARTBEAT_INTERVAL + Duration::from_millis(500);
    from.limit_stalls(Some(stall));
    to.limit_stalls(Some(stall));
    let job = Job {
        workers: Workers::Exactly(4),
        ..job(1)
    };
    let ran = replicate(&job, &mut from, &mut to, &Silent).await;
    faults.thaw();
    match ran.unwrap_err() {
        ReplicateError::Transfer { cause, .. } => *cause,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_stall_names_the_side_whose_zfs_stands_still() {
    let (alone, together) = (Workforce::apart(0, 0), Workforce::apart(6, 0));
    tokio::join!(named_by(&alone), named_by(&together));
}

/// With transfers by these workers.
async fn named_by(workers: &Workforce) {
    let send = hangs_in("zfs send", workers);
    let (send, receive) = tokio::join!(send, hangs_in("zfs receive", workers));
    assert_eq!(send.peer, "source");
    let PeerCause::Stalled { why, .. } = *send.cause else {
        panic!("{send}")
    };
    assert_eq!(why, Stalled::SourceZfs, "{send}");
    assert!(
        send.to_string()
            .contains("its ZFS has sent nothing for 10 s"),
        "{send}"
    );
    assert_eq!(receive.peer, "target");
    let PeerCause::Stalled { why, .. } = *receive.cause else {
        panic!("{receive}")
    };
    assert_eq!(why, Stalled::Zfs, "{receive}");
    assert!(receive.to_string().contains("alive"), "{receive}");
    assert!(
        receive.remedies()[0].contains("on target: zpool status"),
        "{receive:?}"
    );
}

#[tokio::test]
async fn a_helper_whose_work_hangs_ends_when_its_driver_is_gone() {
    for what in ["zfs list", "zfs send", "zfs receive"] {
        let operations = operations().await;
        let n = operations.iter().position(|one| one.starts_with(what));
        let n = n.unwrap_or_else(|| panic!("{what} is not in {operations:#?}"));
        let faults = Faults::default();
        let _thaw = Thaw(faults.clone());
        let (source, target) = machines(&faults);
        faults.fail_at(n as u64 + 1, Fault::Hang);
        let begun = Instant::now();
        let tasks = || {
            tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks()
        };
        {
            let mut from = impatient("source", &source).await;
            let mut to = impatient("target", &target).await;
            let ran = replicate(&job(1), &mut from, &mut to, &Silent).await;
            assert!(ran.is_err(), "{what}");
        }
        while tasks() > 0 {
            assert!(begun.elapsed() < BOUND, "{what}: {} tasks", tasks());
            tokio::task::yield_now().await;
        }
        faults.thaw();
    }
}

#[tokio::test(start_paused = true)]
async fn a_helper_that_has_fallen_silent_is_noticed_after_a_minute() {
    let (_, target) = machines(&Faults::default());
    let link = helper_link(&target, Authorization::everything());
    // Everything gets through for a while, and then nothing, in no direction.
    let (mut near, far) = (link, crate::transport::local::pair());
    let (ours, mut theirs) = far;
    let cut = crate::peer::wire::HEARTBEAT_INTERVAL * 3;
    tokio::spawn(async move {
        let until = tokio::time::Instant::now() + cut;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => break,
                Some(chunk) = near.inbound.recv() => {
                    theirs.outbound.send(chunk.unwrap()).await.unwrap();
                }
                Some(chunk) = theirs.inbound.recv() => {
                    near.outbound.send(chunk.unwrap()).await.unwrap();
                }
            }
        }
        std::future::pending::<()>().await;
        drop((near, theirs));
    });
    let mut peer = Peer::greet("target", ours, &about(), PATIENCE)
        .await
        .unwrap();
    // So that its first heartbeat is on its way.
    tokio::time::sleep(cut + Duration::from_secs(1)).await;
    let asked = tokio::time::Instant::now();
    let error = peer
        .tree(&dataset("backup"), Scope::Recursive)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("said nothing"), "{error}");
    assert_eq!(error.family(), Family::Transient);
    assert_eq!(asked.elapsed(), crate::peer::wire::SILENCE_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_helper_that_answers_nothing_but_beats_is_given_up_after_the_stall_timeout() {
    let (near, far) = crate::transport::local::pair();
    tokio::spawn(async move {
        let greeted = crate::peer::wire::handshake(far, &about(), PATIENCE).await;
        let (mut reader, writer, _) = greeted.unwrap();
        let beats = tokio::spawn(writer.beat(|| None));
        while let Ok(Some(frame)) = reader.next().await {
            drop(frame);
        }
        beats.abort();
    });
    let mut peer = Peer::greet("target", near, &about(), PATIENCE)
        .await
        .unwrap();
    let stall = Duration::from_secs(600);
    peer.limit_stalls(Some(stall));
    let asked = tokio::time::Instant::now();
    let error = peer
        .tree(&dataset("backup"), Scope::Recursive)
        .await
        .unwrap_err();
    assert_eq!(asked.elapsed(), stall);
    assert!(matches!(
        *error.cause,
        PeerCause::Stalled {
            why: Stalled::Unknown,
            ..
        }
    ));
    // Nobody knows what it still says: nothing more is asked of it.
    let again = peer.release().await.unwrap_err();
    assert!(matches!(*again.cause, PeerCause::Stalled { .. }), "{again}");
    assert_eq!(asked.elapsed(), stall);
}

#[tokio::test(start_paused = true)]
async fn a_helper_that_takes_no_question_is_given_up_after_the_stall_timeout() {
    let (near, far) = crate::transport::local::pair();
    tokio::spawn(async move {
        let greeted = crate::peer::wire::handshake(far, &about(), PATIENCE).await;
        let halves = greeted.unwrap();
        std::future::pending::<()>().await;
        drop(halves);
    });
    let mut peer = Peer::greet("target", near, &about(), PATIENCE)
        .await
        .unwrap();
    let stall = Duration::from_secs(600);
    peer.limit_stalls(Some(stall));
    let is_full = async {
        loop {
            let block = Frame::stored(Kind::Data, 1, 0, b"block");
            peer.writer.send(block).await.unwrap();
        }
    };
    let full = tokio::time::timeout(Duration::from_millis(10), is_full).await;
    assert!(full.is_err());
    let asked = tokio::time::Instant::now();
    let error = peer.release().await.unwrap_err();
    assert_eq!(asked.elapsed(), stall);
    assert!(matches!(*error.cause, PeerCause::Stalled { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn heartbeats_of_the_helper_keep_a_long_question_alive() {
    let (near, far) = crate::transport::local::pair();
    tokio::spawn(async move {
        let greeted = crate::peer::wire::handshake(far, &about(), PATIENCE).await;
        let (mut reader, writer, _) = greeted.unwrap();
        let beats = tokio::spawn(writer.beat(|| None));
        let asked = reader.next().await.unwrap().unwrap();
        let request = serde_json::from_slice(asked.verified_payload().unwrap());
        assert!(matches!(request, Ok(Request::Release)));
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let done = serde_json::to_vec(&crate::protocol::message::Reply::Done).unwrap();
        writer
            .send(Frame::stored(Kind::Message, 0, 1, &done))
            .await
            .unwrap();
        std::future::pending::<()>().await;
        drop(beats);
    });
    let mut peer = Peer::greet("target", near, &about(), PATIENCE)
        .await
        .unwrap();
    peer.release().await.unwrap();
}
