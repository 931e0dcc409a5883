//! Several links as one: for a way on which one connection carries less than
//! the line, because its window is small, or its cipher has one core.
//!
//! In the way of the data: below frames, above the connections. What is sent is
//! cut into pieces of at most [`PIECE_BYTES_MAX`]; each gets a number and goes
//! to whichever link has room. The other end passes them on in the order of
//! their numbers. It keeps no piece back in a buffer of its own: a link whose
//! next piece is not due yet is not read, so that what waits is bounded by the
//! queues and windows of the links.
//!
//! That cannot lock up: on every link numbers grow, so the piece that is due is
//! the first of what is left on one of them, and that one is read.
//!
//! A head of sixteen bytes goes before each piece: magic (4), length (4), number
//! (8), little-endian.
//!
//! # If it breaks
//!
//! A link that fails, or ends while a piece is missing, ends the whole with an
//! error: pieces are not sent again.

use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::select_all;
use tokio::sync::mpsc;

use super::link::{Link, LinkError, OUTBOUND_CHUNKS_MAX};

/// The most links of one bundle. Each is a session of `sshd`, which by default
/// begins to refuse at ten that are not logged in yet.
pub const LINKS_MAX: usize = 8;

/// The most bytes in one piece. Two wait for each link, and one is on its way
/// out: with whole frames eight links would hold 24 MiB.
pub const PIECE_BYTES_MAX: usize = 256 << 10;

const MAGIC: [u8; 4] = *b"zfbn";
const HEAD_BYTES: usize = 16;

type Received = Result<Bytes, LinkError>;

/// Sends over all of `links` from now on. Ends them all once the returned
/// sender is dropped and everything is passed on; closes it when one of them
/// takes no more.
///
/// Has to be called inside a tokio runtime, which carries the pieces.
#[must_use]
pub fn spread(links: Vec<mpsc::Sender<Bytes>>) -> mpsc::Sender<Bytes> {
    let (outbound, chunks) = mpsc::channel(OUTBOUND_CHUNKS_MAX);
    tokio::spawn(hand_out(chunks, links));
    outbound
}

/// Receives from all of `links`, in order, each with what was read from it
/// already. The end is clean if that of each of them is and nothing is missing.
///
/// Has to be called inside a tokio runtime, which carries the pieces.
#[must_use]
pub fn gather(links: Vec<(Bytes, mpsc::Receiver<Received>)>) -> mpsc::Receiver<Received> {
    let (received, inbound) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut links: Vec<_> = links.into_iter().map(Strand::new).collect();
        let ended = tokio::select! {
            ended = pass_on(&mut links, &received) => ended,
            () = received.closed() => return,
        };
        if let Err(error) = ended {
            let _ = received.send(Err(error)).await;
        }
    });
    inbound
}

/// The two ends of links, apart.
pub(crate) fn halves(
    links: Vec<Link>,
) -> (Vec<mpsc::Receiver<Received>>, Vec<mpsc::Sender<Bytes>>) {
    let halves = links.into_iter().map(|link| (link.inbound, link.outbound));
    halves.unzip()
}

async fn hand_out(mut chunks: mpsc::Receiver<Bytes>, links: Vec<mpsc::Sender<Bytes>>) {
    let mut number = 0;
    let mut turn = 0;
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
            turn = (turn + 1) % links.len();
            let Ok(mut places) = place(&links, turn).await else {
                return;
            };
            for part in [head(number, piece.len()), piece] {
                if let Some(place) = places.next() {
                    place.send(part);
                }
            }
            number += 1;
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

fn head(number: u64, length: usize) -> Bytes {
    let length = u32::try_from(length).expect("a piece is not that large");
    let mut head = BytesMut::with_capacity(HEAD_BYTES);
    head.extend_from_slice(&MAGIC);
    head.extend_from_slice(&length.to_le_bytes());
    head.extend_from_slice(&number.to_le_bytes());
    head.freeze()
}

/// One of the links that are gathered.
struct Strand {
    chunks: mpsc::Receiver<Received>,
    /// Read, and not looked at yet.
    rest: BytesMut,
    /// A large chunk that came after `rest`.
    chunk: Bytes,
    /// The piece that comes next, as soon as it is known.
    next: Option<Piece>,
    ended: bool,
}

#[derive(Clone, Copy)]
struct Piece {
    number: u64,
    bytes: usize,
}

impl Strand {
    fn new((rest, chunks): (Bytes, mpsc::Receiver<Received>)) -> Self {
        Self {
            chunks,
            rest: BytesMut::new(),
            chunk: rest,
            next: None,
            ended: false,
        }
    }

    /// Reads on until the next piece is known, or the link has ended.
    ///
    /// Cancel-safe.
    async fn look(&mut self) -> Result<(), LinkError> {
        while self.next.is_none() && !self.ended {
            let missing = HEAD_BYTES - self.rest.len();
            let part = self.chunk.split_to(missing.min(self.chunk.len()));
            self.rest.extend_from_slice(&part);
            if self.rest.len() == HEAD_BYTES {
                self.next = Some(read_head(&self.rest)?);
                self.rest.clear();
                continue;
            }
            match self.chunks.recv().await {
                Some(chunk) => self.chunk = chunk?,
                None if self.rest.is_empty() => self.ended = true,
                None => return Err(LinkError::Bundle("one of them ended inside a piece")),
            }
        }
        Ok(())
    }

    /// Passes the piece on. Not cancel-safe.
    async fn pass(&mut self, to: &mpsc::Sender<Received>) -> Result<(), LinkError> {
        let Some(mut piece) = self.next.take() else {
            return Ok(());
        };
        while piece.bytes > 0 {
            if self.chunk.is_empty() {
                match self.chunks.recv().await {
                    Some(chunk) => self.chunk = chunk?,
                    None => return Err(LinkError::Bundle("one of them ended inside a piece")),
                }
            }
            let part = self.chunk.split_to(piece.bytes.min(self.chunk.len()));
            piece.bytes -= part.len();
            // Nobody listens: the caller sees that.
            if !part.is_empty() && to.send(Ok(part)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn read_head(mut head: &[u8]) -> Result<Piece, LinkError> {
    let mut magic = [0; MAGIC.len()];
    head.copy_to_slice(&mut magic);
    let bytes = head.get_u32_le() as usize;
    let number = head.get_u64_le();
    if magic != MAGIC || bytes == 0 || bytes > PIECE_BYTES_MAX {
        return Err(LinkError::Bundle("what came is not a piece"));
    }
    Ok(Piece { number, bytes })
}

async fn pass_on(links: &mut [Strand], to: &mpsc::Sender<Received>) -> Result<(), LinkError> {
    let mut due = 0;
    while let Some(at) = find(links, due).await? {
        links[at].pass(to).await?;
        due += 1;
    }
    Ok(())
}

/// Which link has the piece that is due; `None` at the end of all.
async fn find(links: &mut [Strand], due: u64) -> Result<Option<usize>, LinkError> {
    loop {
        for (at, link) in links.iter().enumerate() {
            match link.next {
                Some(piece) if piece.number == due => return Ok(Some(at)),
                Some(piece) if piece.number < due => {
                    return Err(LinkError::Bundle("a piece came twice"));
                }
                _ => {}
            }
        }
        let all_ended = links.iter().all(|link| link.ended && link.next.is_none());
        let silent = |link: &&mut Strand| link.next.is_none() && !link.ended;
        let looks: Vec<_> = links
            .iter_mut()
            .filter(silent)
            .map(|link| Box::pin(link.look()))
            .collect();
        if !looks.is_empty() {
            select_all(looks).await.0?;
        } else if all_ended {
            return Ok(None);
        } else {
            return Err(LinkError::Bundle("one of them ended too early"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::transport::local;

    /// What `count` links carry for `chunks`, each read to its end.
    async fn carried(chunks: &[Bytes], count: usize) -> Vec<Vec<u8>> {
        let (ends, mut far): (Vec<_>, Vec<_>) = (0..count).map(|_| local::pair()).unzip();
        let (_inbounds, senders) = halves(ends);
        let outbound = spread(senders);
        let sent = async {
            for chunk in chunks {
                outbound.send(chunk.clone()).await.unwrap();
            }
            drop(outbound);
        };
        let read = async |link: &mut Link| {
            let mut all = Vec::new();
            while let Some(chunk) = link.inbound.recv().await {
                all.extend_from_slice(&chunk.unwrap());
            }
            all
        };
        let reads = futures_util::future::join_all(far.iter_mut().map(read));
        futures_util::future::join(reads, sent).await.0
    }

    /// What comes out of links that bring these chunks and then end cleanly.
    async fn gathered(links: Vec<Vec<Bytes>>) -> Result<Vec<u8>, String> {
        let mut receivers = Vec::new();
        for chunks in links {
            let (sender, receiver) = mpsc::channel(1);
            tokio::spawn(async move {
                for chunk in chunks {
                    if sender.send(Ok(chunk)).await.is_err() {
                        return;
                    }
                }
            });
            receivers.push((Bytes::new(), receiver));
        }
        let mut inbound = gather(receivers);
        let mut all = Vec::new();
        while let Some(chunk) = inbound.recv().await {
            all.extend_from_slice(&chunk.map_err(|error| error.to_string())?);
        }
        Ok(all)
    }

    fn cut(bytes: &[u8], sizes: &[usize]) -> Vec<Bytes> {
        let mut rest = bytes;
        let mut sizes: VecDeque<usize> = sizes.iter().copied().collect();
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            let size = sizes.pop_front().unwrap_or(1);
            sizes.push_back(size);
            let (now, later) = rest.split_at(size.min(rest.len()));
            chunks.push(Bytes::copy_from_slice(now));
            rest = later;
        }
        chunks
    }

    fn on_a_runtime<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(work)
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_in_order_however_it_is_cut(
            lengths in prop::collection::vec(1_usize..3000, 0..40),
            count in 1_usize..=LINKS_MAX,
            sizes in prop::collection::vec(1_usize..5000, 1..6),
        ) {
            let chunks: Vec<Bytes> = lengths
                .iter()
                .enumerate()
                .map(|(n, length)| Bytes::from(vec![u8::try_from(n).unwrap(); *length]))
                .collect();
            let whole: Vec<u8> = chunks.iter().flatten().copied().collect();
            let came = on_a_runtime(async {
                let carried = carried(&chunks, count).await;
                gathered(carried.iter().map(|bytes| cut(bytes, &sizes)).collect()).await
            });
            prop_assert_eq!(came.unwrap(), whole);
        }

        #[test]
        fn foreign_bytes_are_an_error_or_nothing_and_never_a_panic(
            links in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..4),
            sizes in prop::collection::vec(1_usize..40, 1..3),
            magic in any::<bool>(),
        ) {
            let links = links.into_iter().map(|mut bytes| {
                if magic && bytes.len() >= HEAD_BYTES {
                    bytes[..4].copy_from_slice(&MAGIC);
                    bytes[5..8].fill(0);
                    bytes[9..16].fill(0);
                }
                cut(&bytes, &sizes)
            });
            let _ = on_a_runtime(gathered(links.collect()));
        }
    }

    #[tokio::test]
    async fn a_piece_that_is_missing_or_doubled_is_an_error() {
        let piece = |number, text: &'static str| {
            vec![
                head(number, text.len()),
                Bytes::from_static(text.as_bytes()),
            ]
        };
        let whole = gathered(vec![piece(0, "a"), piece(1, "b")]).await;
        assert_eq!(whole.unwrap(), b"ab");
        let gap = gathered(vec![piece(0, "a"), piece(2, "c")]).await;
        assert!(gap.unwrap_err().contains("too early"));
        let twice = gathered(vec![piece(0, "a"), piece(0, "b")]).await;
        assert!(twice.unwrap_err().contains("twice"));
        let inside = gathered(vec![vec![head(0, 5), Bytes::from_static(b"abc")]]).await;
        assert!(inside.unwrap_err().contains("inside a piece"));
    }

    #[tokio::test]
    async fn a_link_that_is_lost_ends_the_whole_on_both_sides() {
        let (near, mut far): (Vec<_>, Vec<_>) = (0..3).map(|_| local::pair()).unzip();
        let (inbounds, senders) = halves(near);
        let outbound = spread(senders);
        let links = inbounds.into_iter().map(|inbound| (Bytes::new(), inbound));
        let mut inbound = gather(links.collect());
        drop(far.remove(1));
        outbound.closed().await;
        let last = inbound.recv().await.unwrap();
        assert!(matches!(last, Err(LinkError::PeerGone)), "{last:?}");
        assert!(inbound.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_link_that_takes_nothing_holds_up_no_more_than_its_queue() {
        let (near, mut far): (Vec<_>, Vec<_>) = (0..2).map(|_| local::pair()).unzip();
        let (_inbounds, senders) = halves(near);
        let outbound = spread(senders);
        // Nobody reads the first: what it cannot take goes to the second.
        let mut second = far.pop().unwrap().inbound;
        let read = async {
            let mut bytes = 0;
            while bytes < 50 * (PIECE_BYTES_MAX + HEAD_BYTES) {
                bytes += second.recv().await.unwrap().unwrap().len();
            }
        };
        let sent = async {
            let piece = Bytes::from(vec![0; PIECE_BYTES_MAX]);
            while outbound.send(piece.clone()).await.is_ok() {}
        };
        tokio::select! {
            () = read => {}
            () = sent => panic!("it is still open"),
        }
    }
}
