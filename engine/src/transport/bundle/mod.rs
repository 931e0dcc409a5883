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
//! The sender may leave links unused; how many it needs, `width` finds out.
//!
//! # If it breaks
//!
//! A link that fails, or ends while a piece is missing, ends the whole with an
//! error: pieces are not sent again.

mod gather;
mod spread;
mod width;

use bytes::Bytes;
use tokio::sync::mpsc;

pub use gather::gather;
pub use spread::spread;
pub use width::Capacity;

use super::link::{Link, LinkError};

/// The most links of one bundle. Each is a session of `sshd`, which by default
/// begins to refuse at ten that are not logged in yet.
pub const LINKS_MAX: usize = 8;

/// The most bytes in one piece. Two wait for each link, and one is on its way
/// out: with whole frames eight links would hold 24 MiB.
pub const PIECE_BYTES_MAX: usize = 256 << 10;

const MAGIC: [u8; 4] = *b"zfbn";
const HEAD_BYTES: usize = 16;

type Received = Result<Bytes, LinkError>;

/// The two ends of links, apart.
pub(crate) fn halves(
    links: Vec<Link>,
) -> (Vec<mpsc::Receiver<Received>>, Vec<mpsc::Sender<Bytes>>) {
    let halves = links.into_iter().map(|link| (link.inbound, link.outbound));
    halves.unzip()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use futures_util::future::select_all;
    use proptest::prelude::*;
    use tokio::time::timeout;

    use super::spread::head;
    use super::*;
    use crate::transport::local;

    /// What `count` links carry for `chunks`, each read to its end.
    async fn carried(chunks: &[Bytes], count: usize) -> Vec<Vec<u8>> {
        let (ends, mut far): (Vec<_>, Vec<_>) = (0..count).map(|_| local::pair()).unzip();
        let (_inbounds, senders) = halves(ends);
        let (outbound, _) = spread(senders, None);
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
        let (outbound, _) = spread(senders, None);
        let links = inbounds.into_iter().map(|inbound| (Bytes::new(), inbound));
        let mut inbound = gather(links.collect());
        drop(far.remove(1));
        outbound.closed().await;
        let last = inbound.recv().await.unwrap();
        assert!(matches!(last, Err(LinkError::PeerGone)), "{last:?}");
        assert!(inbound.recv().await.is_none());
    }

    /// A slow line: takes a piece from one link after the other, each after
    /// 21 ms, which is 12.5 MB/s. Counts the bytes of each.
    async fn take_slowly(far: &mut [Link], taken: &mut [usize]) {
        let mut turn = 0;
        loop {
            let (last, first) = far.split_at_mut(turn);
            let links = first.iter_mut().chain(last);
            let (chunk, at, _) = select_all(links.map(|link| Box::pin(link.inbound.recv()))).await;
            let bytes = chunk.unwrap().unwrap().len();
            taken[(turn + at) % taken.len()] += bytes;
            turn = (turn + at + 1) % taken.len();
            if bytes > HEAD_BYTES {
                tokio::time::sleep(Duration::from_millis(21)).await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn links_that_a_slow_line_does_not_need_are_left_unused() {
        let (near, mut far): (Vec<_>, Vec<_>) = (0..3).map(|_| local::pair()).unzip();
        let (_inbounds, senders) = halves(near);
        let each = Capacity {
            window_bytes: 2 << 20,
            round_trip: Duration::from_millis(20),
        };
        let (outbound, mut used) = spread(senders, Some(each));
        let send = async {
            let piece = Bytes::from(vec![0; PIECE_BYTES_MAX]);
            while outbound.send(piece.clone()).await.is_ok() {}
        };
        let (mut at_first, mut later) = ([0; 3], [0; 3]);
        let watch = async {
            tokio::select! {
                () = take_slowly(&mut far, &mut at_first) => {}
                changed = used.changed() => changed.unwrap(),
            }
            assert_eq!(*used.borrow(), 1);
            // What waits on the others gets out, and then nothing more.
            let queues = Duration::from_secs(2);
            let _ = timeout(queues, take_slowly(&mut far, &mut at_first)).await;
            let _ = timeout(Duration::from_secs(60), take_slowly(&mut far, &mut later)).await;
        };
        tokio::select! {
            () = send => panic!("it is still open"),
            () = watch => {}
        }
        assert!(at_first.iter().all(|bytes| *bytes > 0), "{at_first:?}");
        assert!(later[0] > 700_000_000, "{later:?}");
        assert_eq!(later[1..], [0, 0]);
    }

    #[tokio::test]
    async fn a_link_that_takes_nothing_holds_up_no_more_than_its_queue() {
        let (near, mut far): (Vec<_>, Vec<_>) = (0..2).map(|_| local::pair()).unzip();
        let (_inbounds, senders) = halves(near);
        let (outbound, _) = spread(senders, None);
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
