//! The sending end of a bundle: cuts what goes out into pieces, and gives each to
//! whichever of the links in use has room.

use bytes::{Bytes, BytesMut};
use futures_util::future::select_all;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::width::{Capacity, Width};
use super::{HEAD_BYTES, MAGIC, PIECE_BYTES_MAX};
use crate::transport::link::OUTBOUND_CHUNKS_MAX;

/// Sends over `links` from now on: over all, or, if it is told what `each`
/// carries, over as many of them as are needed. Ends them all once the returned
/// sender is dropped and everything is passed on; closes it when one of them
/// takes no more. How many are used can be watched.
///
/// Has to be called inside a tokio runtime, which carries the pieces.
#[must_use]
pub fn spread(
    links: Vec<mpsc::Sender<Bytes>>,
    each: Option<Capacity>,
) -> (mpsc::Sender<Bytes>, watch::Receiver<usize>) {
    let (outbound, chunks) = mpsc::channel(OUTBOUND_CHUNKS_MAX);
    let (used, watched) = watch::channel(links.len());
    let width = each.map(|each| Width::new(links.len(), each));
    tokio::spawn(hand_out(chunks, links, width, used));
    (outbound, watched)
}

async fn hand_out(
    mut chunks: mpsc::Receiver<Bytes>,
    links: Vec<mpsc::Sender<Bytes>>,
    mut width: Option<Width>,
    told: watch::Sender<usize>,
) {
    let mut number = 0;
    let mut turn = 0;
    let mut used = links.len();
    loop {
        let chunk = tokio::select! {
            biased;
            // Nobody learns the reason here: it is what that link's reader gets.
            () = one_closed(&links) => return,
            chunk = chunks.recv() => chunk,
        };
        let Some(mut chunk) = chunk else { return };
        while !chunk.is_empty() {
            let piece = chunk.split_to(chunk.len().min(PIECE_BYTES_MAX));
            turn = (turn + 1) % used;
            let (bytes, asked) = (piece.len(), Instant::now());
            let Ok(mut places) = place(&links[..used], turn).await else {
                return;
            };
            for part in [head(number, piece.len()), piece] {
                if let Some(place) = places.next() {
                    place.send(part);
                }
            }
            number += 1;
            if let Some(width) = &mut width {
                let now = Instant::now();
                width.passed(bytes, now - asked, now);
                if used != width.used() {
                    used = width.used();
                    let _ = told.send(used);
                }
            }
        }
    }
}

async fn one_closed(links: &[mpsc::Sender<Bytes>]) {
    select_all(links.iter().map(|link| Box::pin(link.closed()))).await;
}

type Places<'a> = mpsc::PermitIterator<'a, Bytes>;

/// Room for a head and a piece on one of the links: the one whose turn it is,
/// if it has room, and otherwise whichever has it first.
async fn place(
    links: &[mpsc::Sender<Bytes>],
    turn: usize,
) -> Result<Places<'_>, mpsc::error::SendError<()>> {
    for link in links[turn..].iter().chain(&links[..turn]) {
        match link.try_reserve_many(2) {
            Ok(places) => return Ok(places),
            Err(mpsc::error::TrySendError::Full(())) => {}
            Err(mpsc::error::TrySendError::Closed(())) => {
                return Err(mpsc::error::SendError(()));
            }
        }
    }
    let room = links.iter().map(|link| Box::pin(link.reserve_many(2)));
    select_all(room).await.0
}

pub(super) fn head(number: u64, length: usize) -> Bytes {
    let length = u32::try_from(length).expect("a piece is not that large");
    let mut head = BytesMut::with_capacity(HEAD_BYTES);
    head.extend_from_slice(&MAGIC);
    head.extend_from_slice(&length.to_le_bytes());
    head.extend_from_slice(&number.to_le_bytes());
    head.freeze()
}
