//! The receiving end of a bundle: passes pieces on in the order of their numbers.

use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::select_all;
use tokio::sync::mpsc;

use super::{HEAD_BYTES, MAGIC, PIECE_BYTES_MAX, Received};
use crate::transport::link::LinkError;

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
