//! Several connections for one conversation: what is used, and what is told.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::helper::Workforce;
use crate::helper::join::{Door, Hall, JoinError, opening_of};
use crate::peer::{Connections, Parallel};
use crate::protocol::join::Token;
use crate::transport::{Reopen, Reopening};

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

    fn notices(&self) -> String {
        let told = self.0.lock().unwrap();
        let text = |event: &Event| match event {
            Event::Notice { peer, text } => Some(format!("{peer}: {text}\n")),
            _ => None,
        };
        told.iter().filter_map(text).collect()
    }
}

/// A machine in this process that can be reached more than once.
struct Reachable {
    hall: Hall,
    opened: AtomicUsize,
    /// So many can be opened.
    most: usize,
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
            Ok(near)
        })
    }
}

/// A peer with a way to `most` more connections.
async fn reachable(
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
    let peer = Peer::greet(name, near, &about(), PATIENCE).await.unwrap();
    let way = Reachable {
        hall,
        opened: AtomicUsize::new(0),
        most,
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
    assert_eq!((told.widened(), told.notices()), (vec![], String::new()));
    ensure_equal(&source, &target, "over one connection");
}

#[tokio::test]
async fn what_cannot_be_opened_is_told_and_the_others_are_used() {
    let (source, target) = machines(&Faults::default());
    let mut from = peer("source", &source).await;
    let mut to = reachable("target", &target, true, (2, Connections::Exactly(6))).await;
    let told = replicated(&mut from, &mut to, 1).await;
    assert_eq!(told.widened(), [("target".to_owned(), 3)]);
    let notice = "target: 2 of 5 more connections could be opened: too many\n";
    assert_eq!(told.notices(), notice);
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
    assert!(told.notices().contains("one connection is used"));
    ensure_equal(&source, &target, "over one connection");
}

#[tokio::test]
async fn nobody_joins_without_the_token() {
    let hall = Hall::default();
    let (_near, far) = local::pair();
    let joined = hall.join(&Token::new([1; 32]), far).await;
    assert!(matches!(joined, Err(JoinError::Refused)), "{joined:?}");
}
