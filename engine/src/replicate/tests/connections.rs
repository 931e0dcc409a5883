//! Several connections for one conversation: what is used, and what is told.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::*;
use crate::helper::Workforce;
use crate::helper::join::{Door, Hall, JoinError, opening_of};
use crate::peer::{Connections, Parallel};
use crate::protocol::join::Token;
use crate::transport::{LinkError, Reopen, Reopening};

impl Told {
    /// How many connections were in use, of each conversation that had several.
    fn widened(&self) -> Vec<(String, usize)> {
        let told = self.0.lock().unwrap();
        let widened = |event: &Event| match event {
            Event::Widened {
                peer, connections, ..
            } => Some((peer.clone(), *connections)),
            _ => None,
        };
        told.iter().filter_map(widened).collect()
    }
}

/// What all connections to a machine share: what comes from there comes at
/// 12 MB/s, what is asked needs 30 ms to get there.
#[derive(Default)]
struct Line {
    turn: tokio::sync::Mutex<()>,
    /// What has come over the connections that were opened later.
    came_over_others: AtomicU64,
}

impl Line {
    /// The near end of a connection whose far end is beyond this line.
    fn lay(self: &Arc<Self>, beyond: Link, is_first: bool) -> Link {
        let (near, here) = local::pair();
        tokio::spawn(ask(here.inbound, beyond.outbound));
        let line = Arc::clone(self);
        tokio::spawn(line.come(beyond.inbound, here.outbound, is_first));
        near
    }

    async fn come(
        self: Arc<Self>,
        mut from: mpsc::Receiver<Result<Bytes, LinkError>>,
        to: mpsc::Sender<Bytes>,
        is_first: bool,
    ) {
        while let Some(Ok(chunk)) = from.recv().await {
            let turn = self.turn.lock().await;
            tokio::time::sleep(Duration::from_secs_f64(chunk.len() as f64 / 12e6)).await;
            drop(turn);
            if !is_first {
                let bytes = chunk.len() as u64;
                self.came_over_others.fetch_add(bytes, Ordering::SeqCst);
            }
            if to.send(chunk).await.is_err() {
                return;
            }
        }
    }
}

async fn ask(mut from: mpsc::Receiver<Result<Bytes, LinkError>>, to: mpsc::Sender<Bytes>) {
    while let Some(Ok(chunk)) = from.recv().await {
        tokio::time::sleep(Duration::from_millis(30)).await;
        if to.send(chunk).await.is_err() {
            return;
        }
    }
}

/// A machine in this process that can be reached more than once.
struct Reachable {
    hall: Hall,
    opened: AtomicUsize,
    /// So many can be opened.
    most: usize,
    line: Option<Arc<Line>>,
}

impl Reopen for Reachable {
    fn reopen(&self) -> Reopening<'_> {
        let number = self.opened.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            if number >= self.most {
                return Err("too many".into());
            }
            let (near, far) = local::pair();
            let hall = self.hall.clone();
            tokio::spawn(async move {
                let (token, link) = opening_of(far, PATIENCE).await;
                hall.join(&token.unwrap(), link).await.unwrap();
            });
            Ok(match &self.line {
                Some(line) => line.lay(near, false),
                None => near,
            })
        })
    }
}

/// A peer with a way to `most` more connections.
async fn reachable(name: &str, model: &Model, door: bool, ways: (usize, Connections)) -> Peer {
    reachable_over(None, name, model, door, ways).await
}

async fn reachable_over(
    line: Option<Arc<Line>>,
    name: &str,
    model: &Model,
    door: bool,
    (most, wanted): (usize, Connections),
) -> Peer {
    let (near, far) = local::pair();
    let hall = Hall::default();
    let helper = Helper {
        zfs: Arc::new(model.clone()),
        authorization: Authorization::everything(),
        states: None,
        claims: None,
        door: door.then(|| Door::Hall(hall.clone())),
        about: about(),
        patience: PATIENCE,
        workforce: Workforce::default(),
    };
    tokio::spawn(serve(far, helper));
    let near = match &line {
        Some(line) => line.lay(near, true),
        None => near,
    };
    let peer = Peer::greet(name, near, &about(), PATIENCE).await.unwrap();
    let way = Reachable {
        hall,
        opened: AtomicUsize::new(0),
        most,
        line,
    };
    let parallel = Parallel {
        connections: wanted,
        transfers: 1,
    };
    peer.with_more(Arc::new(way), parallel)
}

async fn replicated(from: &mut Peer, to: &mut Peer, run: u32) -> Told {
    let told = Told::default();
    replicate(&job(run), from, to, &told).await.unwrap();
    told
}

#[tokio::test]
async fn a_push_and_a_pull_go_over_as_many_connections_as_were_asked_for() {
    let (source, target) = machines(&Faults::default());
    let wanted = (8, Connections::Exactly(4));
    let mut from = reachable("source", &source, true, wanted).await;
    let mut to = reachable("target", &target, true, wanted).await;
    let told = replicated(&mut from, &mut to, 1).await;
    let both = [("source".to_owned(), 4), ("target".to_owned(), 4)];
    assert_eq!(told.widened(), both);
    ensure_equal(&source, &target, "after the first run");
    // The conversations go on with what they have.
    write(&source, 2);
    let told = replicated(&mut from, &mut to, 2).await;
    assert_eq!(told.widened(), []);
    ensure_equal(&source, &target, "after the second run");
    from.close().await.unwrap();
    to.close().await.unwrap();
}

#[tokio::test]
async fn a_short_run_opens_no_connection_unless_it_is_told_to() {
    let (source, target) = machines(&Faults::default());
    let mut from = peer("source", &source).await;
    let mut to = reachable("target", &target, true, (0, Connections::Auto)).await;
    let told = replicated(&mut from, &mut to, 1).await;
    assert!(told.widened().is_empty() && told.notices().is_empty());
    ensure_equal(&source, &target, "over one connection");
}

#[tokio::test]
async fn what_cannot_be_opened_is_told_and_the_others_are_used() {
    let (source, target) = machines(&Faults::default());
    let mut from = peer("source", &source).await;
    let mut to = reachable("target", &target, true, (2, Connections::Exactly(6))).await;
    let told = replicated(&mut from, &mut to, 1).await;
    assert_eq!(told.widened(), [("target".to_owned(), 3)]);
    let notice = "target: 2 of 5 more connections could be opened: too many";
    assert_eq!(told.notices(), [notice]);
    ensure_equal(&source, &target, "over three connections");
}

#[tokio::test]
async fn a_helper_that_takes_none_is_used_over_the_one_that_there_is() {
    let (source, target) = machines(&Faults::default());
    let mut from = peer("source", &source).await;
    let wanted = (8, Connections::Exactly(4));
    let mut to = reachable("target", &target, false, wanted).await;
    let told = replicated(&mut from, &mut to, 1).await;
    assert_eq!(told.widened(), []);
    assert!(told.notices()[0].contains("one connection is used"));
    ensure_equal(&source, &target, "over one connection");
}

/// What part of a large dataset came over connections that were opened for it.
async fn part_over_others(wanted: Connections, mebibytes: u64) -> f64 {
    let (source, target) = (Model::new(1), Model::new(2));
    for (machine, pool) in [(&source, "tank"), (&target, "backup")] {
        machine.by_hand().add_pool(pool, 1 << 30).unwrap();
    }
    source.by_hand().create("tank/a").unwrap();
    let block = vec![7; 1 << 20];
    for number in 0..mebibytes {
        source.by_hand().write("tank/a", number, &block).unwrap();
    }
    let line = Arc::new(Line::default());
    let way = Some(Arc::clone(&line));
    let mut from = reachable_over(way, "source", &source, true, (8, wanted)).await;
    let mut to = peer("target", &target).await;
    let job = Job {
        compression: Compression::Off,
        ..job(1)
    };
    let told = Told::default();
    replicate(&job, &mut from, &mut to, &told).await.unwrap();
    let widened = told.widened();
    assert!(matches!(widened.as_slice(), [(_, 3..)]), "{widened:?}");
    let bytes = line.came_over_others.load(Ordering::SeqCst);
    bytes as f64 / (mebibytes << 20) as f64
}

#[tokio::test]
async fn a_helper_that_sends_over_a_slow_line_leaves_connections_unused_unless_it_is_told_to() {
    // Of three that are all used, two thirds come over the two that were opened.
    let used = part_over_others(Connections::Exactly(3), 12).await;
    assert!(used > 0.66, "{used}");
    let left = part_over_others(Connections::Auto, 65).await;
    assert!(left > 0.0 && left < 0.62, "{left}");
}

#[tokio::test]
async fn nobody_joins_without_the_token() {
    let hall = Hall::default();
    let (_near, far) = local::pair();
    let joined = hall.join(&Token::new([1; 32]), far).await;
    assert!(matches!(joined, Err(JoinError::Refused)), "{joined:?}");
}
