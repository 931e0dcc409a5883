//! From the bytes of a connection to frames.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::frame::{Frame, FrameError, HEADER_BYTES, Header, MAGIC, printable};
use super::pool::{BUFFER_BYTES, Pool};

/// A frame that came in pieces and has at least this size is put together in a
/// buffer that is used again.
const POOLED_BYTES_MIN: usize = 128 * 1024;

/// A chunk below this size costs more as an entry of a list than as bytes: it
/// is copied, so that a peer that sends byte by byte takes no more memory than
/// one that does not.
const SMALL_CHUNK_BYTES: usize = 1024;

/// Cuts the bytes of a connection into frames. Keeps at most one unfinished
/// frame and the chunk that was pushed last.
#[derive(Debug, Default)]
pub struct Decoder {
    chunks: VecDeque<Bytes>,
    /// Small chunks that came last, after all of `chunks`.
    tail: BytesMut,
    buffered_bytes: usize,
    pool: Pool,
}

impl Decoder {
    /// Takes the next bytes of the connection.
    pub fn push(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        self.buffered_bytes += chunk.len();
        if chunk.len() < SMALL_CHUNK_BYTES {
            self.tail.extend_from_slice(&chunk);
        } else {
            self.close_tail();
            self.chunks.push_back(chunk);
        }
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
    }

    /// The next complete frame, if there is one.
    ///
    /// # Errors
    /// [`FrameError`]; the connection is useless afterwards.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(header_bytes) = self.peek_header() else {
            return self.refuse_rubbish();
        };
        let header = Header::decode(&header_bytes)?;
        let frame_bytes = HEADER_BYTES + header.coded_bytes;
        if self.buffered_bytes < frame_bytes {
            return Ok(None);
        }
        Ok(Some(Frame::from_wire(header, self.take(frame_bytes))))
    }

    /// What was pushed and is in no frame that was given out.
    pub fn take_rest(&mut self) -> Bytes {
        let count = self.buffered_bytes;
        if count == 0 {
            return Bytes::new();
        }
        self.take(count)
    }

    /// To be asked when the connection has ended.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] if it ended inside a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.buffered_bytes == 0 {
            Ok(())
        } else {
            Err(FrameError::Truncated)
        }
    }

    /// A peer that sends less than a header of something else must not be
    /// waited for.
    fn refuse_rubbish(&self) -> Result<Option<Frame>, FrameError> {
        let head: Vec<u8> = self
            .pieces()
            .flat_map(|piece| piece.iter().copied())
            .take(MAGIC.len())
            .collect();
        if MAGIC.starts_with(&head) {
            Ok(None)
        } else {
            Err(FrameError::NotAFrame(printable(&head)))
        }
    }

    /// What is buffered, in order.
    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let chunks = self.chunks.iter().map(|chunk| &chunk[..]);
        chunks.chain(std::iter::once(&self.tail[..]))
    }

    fn peek_header(&self) -> Option<[u8; HEADER_BYTES]> {
        if self.buffered_bytes < HEADER_BYTES {
            return None;
        }
        let mut header = [0; HEADER_BYTES];
        let mut filled = 0;
        for piece in self.pieces() {
            let count = piece.len().min(HEADER_BYTES - filled);
            header[filled..filled + count].copy_from_slice(&piece[..count]);
            filled += count;
            if filled == HEADER_BYTES {
                break;
            }
        }
        Some(header)
    }

    /// Removes `count` buffered bytes; without a copy if one chunk holds them.
    fn take(&mut self, count: usize) -> Bytes {
        self.buffered_bytes -= count;
        self.close_tail();
        let first = self
            .chunks
            .front_mut()
            .expect("the caller saw that enough is buffered");
        if first.len() >= count {
            let out = first.split_to(count);
            if first.is_empty() {
                self.chunks.pop_front();
            }
            return out;
        }
        if (POOLED_BYTES_MIN..=BUFFER_BYTES).contains(&count) {
            let mut buffer = self.pool.take();
            self.collect(&mut buffer[..count]);
            return buffer.into_bytes(count);
        }
        let mut out = BytesMut::zeroed(count);
        self.collect(&mut out);
        out.freeze()
    }

    /// Moves the first bytes into `out`, as many as it has room for.
    fn collect(&mut self, mut out: &mut [u8]) {
        while !out.is_empty() {
            let chunk = self
                .chunks
                .front_mut()
                .expect("the caller saw that enough is buffered");
            let part = chunk.len().min(out.len());
            let (now, later) = std::mem::take(&mut out).split_at_mut(part);
            now.copy_from_slice(&chunk[..part]);
            chunk.advance(part);
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
            out = later;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::Kind;
    use super::*;

    fn decode_all(decoder: &mut Decoder) -> Vec<Frame> {
        std::iter::from_fn(|| decoder.next_frame().unwrap()).collect()
    }

    #[test]
    fn frames_survive_any_cutting_of_the_connection() {
        let frames: Vec<Frame> = (0..5u8)
            .map(|n| Frame::stored(Kind::Data, 7, u64::from(n), &vec![n; 100 * usize::from(n)]))
            .collect();
        let wire: Vec<u8> = frames
            .iter()
            .flat_map(|frame| frame.clone().into_wire())
            .collect();
        for cut in 1..200 {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for chunk in wire.chunks(cut) {
                decoder.push(Bytes::copy_from_slice(chunk));
                seen.extend(decode_all(&mut decoder));
            }
            decoder.finish().unwrap();
            assert_eq!(seen.len(), frames.len());
            for (got, sent) in seen.iter().zip(&frames) {
                assert_eq!(got.header, sent.header);
                assert_eq!(got.verified_payload().unwrap(), sent.payload());
            }
        }
    }

    #[test]
    fn a_message_that_comes_byte_by_byte_takes_no_more_memory_than_it_has_bytes() {
        let message = vec![b'x'; 1 << 20];
        let wire = Frame::stored(Kind::Message, 0, 1, &message).into_wire();
        let mut decoder = Decoder::default();
        for n in 0..wire.len() {
            assert!(decoder.next_frame().unwrap().is_none());
            decoder.push(wire.slice(n..=n));
            assert!(decoder.chunks.len() <= 1);
            assert!(decoder.tail.capacity() <= 2 * wire.len().max(SMALL_CHUNK_BYTES));
        }
        let frame = decoder.next_frame().unwrap().unwrap();
        assert_eq!(frame.verified_payload().unwrap(), message);
        assert_eq!(decoder.buffered_bytes, 0);
    }

    #[test]
    fn rubbish_is_refused_before_a_whole_header_is_there() {
        let mut decoder = Decoder::default();
        decoder.push(Bytes::from_static(b"zf"));
        assert!(decoder.next_frame().unwrap().is_none());
        decoder.push(Bytes::from_static(b"s: command"));
        let error = decoder.next_frame().unwrap_err();
        assert!(error.to_string().contains("zfs:"), "{error}");
    }

    #[test]
    fn impossible_headers_are_refused() {
        let good = Frame::stored(Kind::Data, 1, 0, b"abc").into_wire();
        for (at, value, what) in [
            (4, 9, "layout 9"),
            (5, 77, "kind"),
            (6, 77, "codec"),
            (7, 1, "reserved"),
            (18, 0x7f, "length"),
            (20, 9, "length"),
        ] {
            let mut bytes = good.to_vec();
            bytes[at] = value;
            let mut decoder = Decoder::default();
            decoder.push(Bytes::from(bytes));
            let error = decoder.next_frame().unwrap_err().to_string();
            assert!(error.contains(what), "byte {at}: {error}");
        }
    }

    #[test]
    fn a_connection_that_ends_inside_a_frame_is_noticed() {
        let mut wire = Frame::stored(Kind::Message, 0, 0, b"abc").into_wire();
        wire.truncate(wire.len() - 1);
        let mut decoder = Decoder::default();
        decoder.push(wire);
        assert!(decoder.next_frame().unwrap().is_none());
        assert_eq!(decoder.finish(), Err(FrameError::Truncated));
    }
}
