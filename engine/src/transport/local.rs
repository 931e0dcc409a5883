//! A link between two parts of one process.
//!
//! In the way of the data it stands where `ssh` and `stdio` stand otherwise:
//! for a replication inside one host and for tests. Chunks pass as they are,
//! without a copy.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::link::{INBOUND_CHUNKS_MAX, Link, LinkError, OUTBOUND_CHUNKS_MAX};

/// Two links, each the far end of the other.
///
/// Has to be called inside a tokio runtime, which carries the chunks. Up to
/// [`OUTBOUND_CHUNKS_MAX`] + [`INBOUND_CHUNKS_MAX`] + 1 chunks wait in each
/// direction, of whatever size they have. A link that is dropped without
/// having been read to its end shows as [`LinkError::PeerGone`] on the other.
#[must_use]
pub fn pair() -> (Link, Link) {
    let (left_outbound, from_left) = mpsc::channel(OUTBOUND_CHUNKS_MAX);
    let (right_outbound, from_right) = mpsc::channel(OUTBOUND_CHUNKS_MAX);
    let (to_left, left_inbound) = mpsc::channel(INBOUND_CHUNKS_MAX);
    let (to_right, right_inbound) = mpsc::channel(INBOUND_CHUNKS_MAX);
    let (left_left, left_gone) = oneshot::channel();
    let (right_left, right_gone) = oneshot::channel();
    let rightwards = Direction {
        from: from_left,
        to: to_right,
        sender_gone: left_gone,
        reader_left: right_left,
    };
    let leftwards = Direction {
        from: from_right,
        to: to_left,
        sender_gone: right_gone,
        reader_left: left_left,
    };
    tokio::spawn(rightwards.carry());
    tokio::spawn(leftwards.carry());
    (
        Link {
            inbound: left_inbound,
            outbound: left_outbound,
        },
        Link {
            inbound: right_inbound,
            outbound: right_outbound,
        },
    )
}

/// One direction of a pair.
struct Direction {
    from: mpsc::Receiver<Bytes>,
    to: mpsc::Sender<Result<Bytes, LinkError>>,
    /// The side that sends here no longer reads, which ends its connection.
    sender_gone: oneshot::Receiver<()>,
    /// Tells the opposite direction that this one's reader dropped its end.
    reader_left: oneshot::Sender<()>,
}

impl Direction {
    async fn carry(self) {
        let Self {
            mut from,
            to,
            mut sender_gone,
            reader_left,
        } = self;
        // A direction that ended in good order drops its `reader_left`: no news.
        let sender_gone = async move {
            if (&mut sender_gone).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::pin!(sender_gone);
        loop {
            let chunk = tokio::select! {
                biased;
                () = to.closed() => break,
                () = &mut sender_gone => {
                    let _ = to.send(Err(LinkError::PeerGone)).await;
                    return;
                }
                chunk = from.recv() => chunk,
            };
            let Some(chunk) = chunk else { return };
            if chunk.is_empty() {
                continue;
            }
            tokio::select! {
                sent = to.send(Ok(chunk)) => if sent.is_err() { break },
                () = &mut sender_gone => {
                    let _ = to.send(Err(LinkError::PeerGone)).await;
                    return;
                }
            }
        }
        let _ = reader_left.send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn chunks_arrive_in_order_without_a_copy_and_end_with_the_sender() {
        let (left, mut right) = pair();
        let chunk = Bytes::from(vec![7; 1 << 20]);
        for n in 0..3_usize {
            left.outbound.send(chunk.slice(n..)).await.unwrap();
        }
        let Link {
            inbound: mut left_inbound,
            outbound,
        } = left;
        drop(outbound);
        for n in 0..3 {
            let got = right.inbound.recv().await.unwrap().unwrap();
            assert_eq!(got.as_ptr(), chunk.slice(n..).as_ptr());
        }
        assert!(right.inbound.recv().await.is_none());
        // The other direction lives on.
        right
            .outbound
            .send(Bytes::from_static(b"answer"))
            .await
            .unwrap();
        drop(right.outbound);
        assert_eq!(left_inbound.recv().await.unwrap().unwrap(), "answer");
        assert!(left_inbound.recv().await.is_none());
    }

    #[tokio::test]
    async fn dropping_a_link_ends_both_directions_of_the_other() {
        let (left, mut right) = pair();
        drop(left);
        right.outbound.closed().await;
        assert!(matches!(
            right.inbound.recv().await,
            Some(Err(LinkError::PeerGone)) | None
        ));
        assert!(right.inbound.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_reader_that_leaves_closes_the_senders_end() {
        let (left, right) = pair();
        drop(right.inbound);
        left.outbound.closed().await;
        let Link { mut inbound, .. } = left;
        assert!(matches!(
            inbound.recv().await,
            Some(Err(LinkError::PeerGone))
        ));
        drop(right.outbound);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_stops_the_sender_after_a_bounded_number_of_chunks() {
        let (left, right) = pair();
        let mut sent = 0;
        let chunk = Bytes::from_static(b"x");
        // The carrier may take one more whenever it runs: give it its turns
        // until nothing moves any more.
        for _ in 0..100 {
            while left.outbound.try_send(chunk.clone()).is_ok() {
                sent += 1;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(sent, OUTBOUND_CHUNKS_MAX + INBOUND_CHUNKS_MAX + 1);
        drop(right);
        left.outbound.closed().await;
    }
}
