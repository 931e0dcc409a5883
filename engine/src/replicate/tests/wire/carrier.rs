//! A link that passes bytes on, and harms them at one place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, watch};

use crate::transport::{INBOUND_CHUNKS_MAX, Link, LinkError, OUTBOUND_CHUNKS_MAX};

/// What happens at a byte of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Harm {
    /// The connection breaks there.
    Cut,
    /// One bit of it is another.
    Flip,
    /// So many bytes are missing from there on.
    Lose(usize),
    /// So many bytes come twice.
    Repeat(usize),
    /// The frame around it does not arrive.
    LoseFrame,
    /// The frame around it arrives twice.
    RepeatFrame,
    /// The frame around it comes after the next one.
    SwapFrames,
    /// Nothing is taken or delivered from there on; the connection stays.
    Stall,
    /// This direction ends there, the other goes on.
    HalfClose,
    /// From there on every byte comes alone.
    Trickle,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Forth,
    Back,
}

/// One direction of a link that passes bytes on.
struct Carrier {
    /// Where and what.
    harm: Option<(u64, Harm)>,
    /// Bytes that came.
    seen: Arc<AtomicU64>,
    /// Set once the harm is done.
    struck: Arc<AtomicBool>,
    /// Told when the connection breaks.
    cut: watch::Sender<bool>,
}

impl Carrier {
    /// Passes on what comes, until either end is gone or the connection breaks.
    async fn carry(
        self,
        mut from: mpsc::Receiver<Bytes>,
        to: mpsc::Sender<Result<Bytes, LinkError>>,
    ) {
        let mut broken = self.cut.subscribe();
        tokio::select! {
            biased;
            _ = broken.wait_for(|broken| *broken) => {}
            () = self.pass(&mut from, to) => {}
        }
    }

    async fn pass(
        &self,
        from: &mut mpsc::Receiver<Bytes>,
        to: mpsc::Sender<Result<Bytes, LinkError>>,
    ) {
        let mut late: Option<Bytes> = None;
        let mut alone = false;
        while let Some(chunk) = from.recv().await {
            let before = self.seen.fetch_add(chunk.len() as u64, Ordering::SeqCst);
            let place = self.harm.and_then(|(at, harm)| {
                let inside = usize::try_from(at.checked_sub(before)?).ok()?;
                (inside < chunk.len()).then_some((inside, harm))
            });
            let mut pieces = vec![chunk.clone()];
            let mut ends = None;
            if let Some((at, harm)) = place {
                self.struck.store(true, Ordering::SeqCst);
                let until = |n: usize| (at + n).min(chunk.len());
                let head = chunk.slice(..at);
                match harm {
                    Harm::Cut | Harm::Stall | Harm::HalfClose => {
                        pieces = vec![head];
                        ends = Some(harm);
                    }
                    Harm::Flip => {
                        let mut other = BytesMut::from(&chunk[..]);
                        other[at] ^= 1 << (at % 8);
                        pieces = vec![other.freeze()];
                    }
                    Harm::Lose(n) => pieces = vec![head, chunk.slice(until(n)..)],
                    Harm::Repeat(n) => pieces = vec![chunk.slice(..until(n)), chunk.slice(at..)],
                    Harm::LoseFrame => pieces.clear(),
                    Harm::RepeatFrame => pieces.push(chunk.clone()),
                    Harm::SwapFrames => late = pieces.pop(),
                    Harm::Trickle => alone = true,
                }
            } else {
                pieces.extend(late.take());
            }
            for piece in pieces {
                let size = if alone { 1 } else { piece.len().max(1) };
                for from in (0..piece.len()).step_by(size) {
                    let part = piece.slice(from..(from + size).min(piece.len()));
                    if to.send(Ok(part)).await.is_err() {
                        return;
                    }
                }
            }
            match ends {
                None => {}
                Some(Harm::HalfClose) => {
                    drop(to);
                    while from.recv().await.is_some() {}
                    return;
                }
                Some(harm) => {
                    if harm == Harm::Cut {
                        let _ = to.try_send(Err(LinkError::PeerGone));
                    } else {
                        // Until the reading side has had enough, which ends the
                        // connection for both.
                        to.closed().await;
                    }
                    self.cut.send_replace(true);
                    return std::future::pending().await;
                }
            }
        }
    }
}

/// A link whose bytes pass through here.
pub(super) struct Tampered {
    pub driver: Link,
    pub helper: Link,
    /// Bytes that came from the driver.
    pub forth: Arc<AtomicU64>,
    /// And from the helper.
    pub back: Arc<AtomicU64>,
    /// The harm is done.
    pub struck: Arc<AtomicBool>,
}

/// One that is harmed in this direction, at this byte, in this way.
pub(super) fn tampered(harm: Option<(Way, u64, Harm)>) -> Tampered {
    let (driver_out, from_driver) = mpsc::channel::<Bytes>(OUTBOUND_CHUNKS_MAX);
    let (helper_out, from_helper) = mpsc::channel::<Bytes>(OUTBOUND_CHUNKS_MAX);
    let (to_driver, driver_in) = mpsc::channel(INBOUND_CHUNKS_MAX);
    let (to_helper, helper_in) = mpsc::channel(INBOUND_CHUNKS_MAX);
    let cut = watch::Sender::new(false);
    let struck = Arc::new(AtomicBool::new(false));
    let carrier = |way: Way| Carrier {
        harm: harm.and_then(|(there, at, harm)| (there == way).then_some((at, harm))),
        seen: Arc::default(),
        struck: Arc::clone(&struck),
        cut: cut.clone(),
    };
    let (forth, back) = (carrier(Way::Forth), carrier(Way::Back));
    let counted = (Arc::clone(&forth.seen), Arc::clone(&back.seen));
    tokio::spawn(forth.carry(from_driver, to_helper));
    tokio::spawn(back.carry(from_helper, to_driver));
    Tampered {
        driver: Link {
            inbound: driver_in,
            outbound: driver_out,
        },
        helper: Link {
            inbound: helper_in,
            outbound: helper_out,
        },
        forth: counted.0,
        back: counted.1,
        struck,
    }
}
