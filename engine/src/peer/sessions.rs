//! More connections for a conversation, where one carries less than the line.
//!
//! A session of `sshd` takes in 2 MiB a round trip, whoever sends: over 50 ms
//! that is 40 MB/s. So before much data moves the driver asks the helper to let
//! more sessions join, opens as many as the round trip calls for, and from then
//! on both sides spread what they say over all of them
//! ([`crate::transport::bundle`]).
//!
//! Whatever goes wrong before that moment leaves the conversation as it was,
//! over one connection; afterwards the loss of any connection is the loss of
//! the conversation, and the next attempt opens all of them anew.
//!
//! The distance says how many could be needed, and only the line itself how many
//! are. Unless the number was asked for, each side leaves those unused without
//! which it sends as much ([`bundle::Width`]).

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::Instant;

use super::client::Peer;
use super::error::PeerError;
use crate::event::{Event, Observer};
use crate::protocol::failure::Failure;
use crate::protocol::join::Token;
use crate::protocol::message::{Reply, Request};
use crate::transport::bundle::{self, Capacity, LINKS_MAX};
use crate::transport::{Link, Reopen};

/// With less than this to move, one connection is done before others are open.
const WORTH_BYTES: u64 = 64 << 20;

/// The fastest line that a number of connections is chosen for, bytes a second:
/// 2.5 Gbit/s. More connections than needed would take more than their share of
/// a line that others use too.
const RATE_MAX: f64 = 2.5e9 / 8.0;

/// Connections that are opened at the same time: `sshd` begins to refuse at ten
/// that are not logged in yet.
const OPENING_MAX: usize = 4;

/// How many connections carry a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Connections {
    /// As many as the round trip calls for, if there is much to move; of these
    /// only so many are used as it takes to move it.
    #[default]
    Auto,
    /// So many, from 1 to [`LINKS_MAX`], and all of them are used.
    Exactly(usize),
}

/// What a run with a peer may have at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parallel {
    /// Connections of one conversation.
    pub connections: Connections,
    /// Conversations, each with one transfer under way.
    pub transfers: usize,
}

/// Transfers at the same time if nobody says otherwise.
pub const TRANSFERS_DEFAULT: usize = 4;
/// The most transfers at the same time: each takes memory, threads and sessions.
pub const TRANSFERS_MAX: usize = 16;

/// What a peer needs to get more connections.
#[derive(Clone)]
pub(super) struct More {
    way: Arc<dyn Reopen>,
    parallel: Parallel,
    /// Of its connections there are as many as there will be.
    widened: bool,
}

impl std::fmt::Debug for More {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "More({:?})", self.parallel)
    }
}

impl Connections {
    /// The number for this round trip and window.
    fn number(self, round_trip: Duration, window_bytes: u64) -> usize {
        let Self::Auto = self else {
            let Self::Exactly(number) = self else {
                return 1;
            };
            return number.clamp(1, LINKS_MAX);
        };
        let needed = RATE_MAX * round_trip.as_secs_f64() / window_bytes.max(1) as f64;
        (1..LINKS_MAX)
            .find(|number| *number as f64 >= needed)
            .unwrap_or(LINKS_MAX)
    }
}

impl Peer {
    /// Lets runs with this peer have more connections, which `way` opens.
    #[must_use]
    pub fn with_more(mut self, way: Arc<dyn Reopen>, parallel: Parallel) -> Self {
        self.more = Some(More {
            way,
            parallel,
            widened: false,
        });
        self
    }

    /// How many conversations a run may have with it.
    pub(crate) fn at_once(&self) -> usize {
        let more = self.more.as_ref();
        more.map_or(1, |more| more.parallel.transfers.max(1))
    }

    /// Another conversation with the same peer, with the same limits. Without
    /// one a run goes on with those that it has, and that is told.
    pub(crate) async fn again(&self, observer: &dyn Observer) -> Option<Self> {
        let more = self.more.as_ref()?;
        let opened = async {
            let link = more.way.reopen().await?;
            let (ours, patience) = &self.greeting;
            Ok::<_, Box<dyn Error + Send + Sync>>(
                Self::greet(&self.name, link, ours, *patience).await?,
            )
        };
        match opened.await {
            Ok(mut peer) => {
                peer.limits = self.limits;
                peer.here = self.here;
                Some(peer)
            }
            Err(error) => {
                let text = format!("one transfer less at the same time: {error}");
                self.tell(text, observer);
                None
            }
        }
    }

    /// Gets as many connections as moving so many bytes calls for. A peer that
    /// has no more of them goes on with the one that it has.
    pub(crate) async fn widen_for(
        &mut self,
        bytes: u64,
        observer: &dyn Observer,
    ) -> Result<(), PeerError> {
        let Some(more) = &mut self.more else {
            return Ok(());
        };
        let wanted = more.parallel.connections;
        let is_enough = match wanted {
            Connections::Auto => bytes < WORTH_BYTES,
            Connections::Exactly(number) => number <= 1,
        };
        if is_enough || more.widened {
            return Ok(());
        }
        // What cannot be had now cannot be had later in this conversation.
        more.widened = true;
        let more = more.clone();
        let begun = Instant::now();
        let (token, window_bytes) = match self.ask(&Request::OfferSessions).await {
            Ok(Reply::Sessions {
                token,
                window_bytes,
            }) => (token, window_bytes),
            Ok(_) => return Err(self.confused("an offer of sessions was due")),
            Err(error) => return self.only_one(error, wanted, observer),
        };
        let round_trip = begun.elapsed();
        let number = wanted.number(round_trip, window_bytes);
        let links = self.open(&more, &token, number - 1, observer).await;
        if links.is_empty() {
            return Ok(());
        }
        let count = links.len();
        let sparing = wanted == Connections::Auto;
        let widen = Request::Widen {
            count,
            sparing: sparing && self.spares,
        };
        if let Err(error) = self.order(&widen).await {
            return self.only_one(error, wanted, observer);
        }
        self.stop_beating().await;
        self.request(&Request::Widened).await?;
        let (inbounds, outbounds) = bundle::halves(links);
        self.reader.widen(inbounds);
        let each = Capacity {
            window_bytes,
            round_trip,
        };
        self.in_use = Some(self.writer.widen(outbounds, sparing.then_some(each)));
        self.begin_beating();
        observer.event(&Event::Widened {
            peer: self.name.clone(),
            connections: count + 1,
            round_trip_milliseconds: u64::try_from(round_trip.as_millis()).unwrap_or(u64::MAX),
        });
        Ok(())
    }

    /// Tells if more or fewer of its connections are in use than before.
    pub(crate) fn tell_width(&mut self, observer: &dyn Observer) {
        let Some(in_use) = &mut self.in_use else {
            return;
        };
        if in_use.has_changed().unwrap_or(false) {
            observer.event(&Event::ConnectionsInUse {
                peer: self.name.clone(),
                connections: *in_use.borrow_and_update(),
            });
        }
    }

    /// Opens connections and says on each whose it is. Those that fail are told
    /// of, and the others are used.
    async fn open(
        &self,
        more: &More,
        token: &Token,
        count: usize,
        observer: &dyn Observer,
    ) -> Vec<Link> {
        let record = Bytes::from(token.record());
        let opening = (0..count).map(|_| async {
            let link = more.way.reopen().await?;
            link.outbound.send(record.clone()).await?;
            Ok::<_, Box<dyn Error + Send + Sync>>(link)
        });
        let opened: Vec<_> = stream::iter(opening)
            .buffer_unordered(OPENING_MAX)
            .collect()
            .await;
        let mut links = Vec::new();
        let mut failed = None;
        for one in opened {
            match one {
                Ok(link) => links.push(link),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            let text = format!(
                "{} of {count} more connections could be opened: {error}",
                links.len()
            );
            self.tell(text, observer);
        }
        links
    }

    /// What to do when the helper does not take more: go on, and say so where
    /// that was asked for.
    fn only_one(
        &self,
        error: PeerError,
        wanted: Connections,
        observer: &dyn Observer,
    ) -> Result<(), PeerError> {
        match error.failure() {
            // A version that has never heard of it, or that takes none.
            Some(Failure::BadRequest(_) | Failure::NoSessions { .. }) => {
                if wanted != Connections::Auto {
                    self.tell(format!("one connection is used: {}", error.cause), observer);
                }
                Ok(())
            }
            _ => Err(error),
        }
    }

    fn tell(&self, text: String, observer: &dyn Observer) {
        let peer = self.name.clone();
        observer.event(&Event::Notice { peer, text });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::watch;

    use super::*;
    use crate::peer::wire;
    use crate::protocol::hello::About;
    use crate::transport::local;

    #[derive(Default)]
    struct Told(Mutex<Vec<Event>>);

    impl Observer for Told {
        fn event(&self, event: &Event) {
            self.0.lock().unwrap().push(event.clone());
        }
    }

    #[tokio::test]
    async fn how_many_connections_are_in_use_is_told_once() {
        let about = About {
            program: "zferry test".into(),
            node: "memory".into(),
            platform: "memory".into(),
            images: Vec::new(),
            clock: None,
        };
        let patience = Duration::from_secs(60);
        let (near, far) = local::pair();
        let greeting = Peer::greet("beta", near, &about, patience);
        let (peer, _far) = tokio::join!(greeting, wire::handshake(far, &about, patience));
        let mut peer = peer.unwrap();
        assert!(peer.spares);
        let told = Told::default();
        peer.tell_width(&told);
        let (used, watched) = watch::channel(4);
        peer.in_use = Some(watched);
        peer.tell_width(&told);
        used.send(1).unwrap();
        peer.tell_width(&told);
        peer.tell_width(&told);
        let one = Event::ConnectionsInUse {
            peer: "beta".into(),
            connections: 1,
        };
        assert_eq!(*told.0.lock().unwrap(), [one]);
    }

    #[test]
    fn a_helper_that_knows_nothing_of_spare_connections_is_not_told_of_them() {
        let widen = |sparing| Request::Widen { count: 3, sparing };
        let text = serde_json::to_string(&widen(false)).unwrap();
        assert!(!text.contains("sparing"), "{text}");
        for request in [widen(false), widen(true)] {
            let text = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
        }
    }

    #[test]
    fn a_round_trip_calls_for_as_many_windows_as_fill_the_line() {
        let number = |milliseconds: f64, window| {
            Connections::Auto.number(Duration::from_secs_f64(milliseconds / 1e3), window)
        };
        assert_eq!(number(0.2, 2 << 20), 1);
        assert_eq!(number(5.0, 2 << 20), 1);
        assert_eq!(number(10.0, 2 << 20), 2);
        assert_eq!(number(50.0, 2 << 20), 8);
        assert_eq!(number(300.0, 2 << 20), LINKS_MAX);
        assert_eq!(number(50.0, 4 << 20), 4);
        assert_eq!(number(50.0, 0), LINKS_MAX);
        let three = Connections::Exactly(3);
        assert_eq!(three.number(Duration::ZERO, 2 << 20), 3);
    }
}
