//! Frames: the only thing that travels between driver and helper.
//!
//! A frame is a header of 64 bytes and a payload. Messages (requests, replies)
//! and stream data share the connection, in order.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | magic `zfry` |
//! | 4 | 1 | version of the frame layout, 1 |
//! | 5 | 1 | kind |
//! | 6 | 1 | codec of the payload |
//! | 7 | 1 | zero |
//! | 8 | 8 | sequence: data frames of a transfer from 0; messages: number of the request; heartbeats of a helper: milliseconds since its last step |
//! | 16 | 4 | payload bytes before coding |
//! | 20 | 4 | payload bytes as they follow |
//! | 24 | 8 | number of the transfer; zero for messages; heartbeats of a helper: what it waits for ([`crate::protocol::pulse`]) |
//! | 32 | 32 | blake3 of the payload before coding |
//!
//! Integers are little-endian.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// Size of a frame header in bytes.
pub const HEADER_BYTES: usize = 64;
/// Stream bytes in one data frame. Frames of 1 MiB compress as well as larger
/// ones; smaller ones lose ratio and cost a header each.
pub const DATA_BYTES_MAX: usize = 1 << 20;
/// Largest message. The longest is one part of a listing; see
/// the protocol module for how listings are cut.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

const MAGIC: [u8; 4] = *b"zfry";
const VERSION: u8 = 1;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request or a reply (JSON).
    Message,
    /// A piece of a send stream.
    Data,
    /// The stream is complete (JSON: [`crate::stream::outbound::StreamEnd`]).
    End,
    /// The stream ends here and is void (JSON: why).
    Abort,
    /// No content: the sender is alive and the network too.
    Heartbeat,
}

/// How the payload is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// As it is.
    Stored,
    /// One zstd frame.
    Zstd,
}

/// Why bytes from the other side are no valid frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The magic is missing: the two sides are out of step, or this is no peer.
    #[error("the peer sent something that is not a frame (it begins with {0})")]
    NotAFrame(String),
    /// A frame layout this version does not know.
    #[error("the peer uses frame layout {0}; this zferry knows layout {VERSION}")]
    Version(u8),
    /// Unknown kind or codec, or a length that its kind does not allow.
    #[error("the peer sent a frame with an impossible header ({0})")]
    Header(&'static str),
    /// The connection ended inside a frame.
    #[error("the connection ended in the middle of a frame")]
    Truncated,
    /// A data frame is missing, doubled, or belongs to another transfer.
    #[error("frame {got} came where frame {expected} was due")]
    Order {
        /// The sequence number that was due.
        expected: u64,
        /// The sequence number in the header.
        got: u64,
    },
    /// The frame belongs to a transfer that is not the running one.
    #[error("a frame of transfer {got} came during transfer {expected}")]
    Transfer {
        /// The running transfer.
        expected: u64,
        /// The transfer in the header.
        got: u64,
    },
    /// The payload cannot be decompressed to the announced length.
    #[error("the payload of frame {0} cannot be decompressed")]
    Codec(u64),
    /// The payload is not what was sent.
    #[error("the hash of frame {0} does not match its content")]
    Hash(u64),
    /// The totals of the end frame differ from what arrived.
    #[error("the stream as a whole does not match its digest ({0})")]
    Digest(&'static str),
    /// A frame of a kind that has no place here.
    #[error("an unexpected {0:?} frame came")]
    Unexpected(Kind),
}

/// A frame header, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the frame carries.
    pub kind: Kind,
    /// How the payload is coded.
    pub codec: Codec,
    /// See the table above.
    pub sequence: u64,
    /// See the table above.
    pub transfer: u64,
    /// Payload bytes before coding.
    pub raw_bytes: usize,
    /// Payload bytes as they follow.
    pub coded_bytes: usize,
    /// blake3 of the payload before coding.
    pub hash: [u8; 32],
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let length = |bytes: usize| {
            u32::try_from(bytes)
                .expect("payloads are bounded far below 4 GiB")
                .to_le_bytes()
        };
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(&MAGIC);
        out[4] = VERSION;
        out[5] = match self.kind {
            Kind::Message => 1,
            Kind::Data => 2,
            Kind::End => 3,
            Kind::Abort => 4,
            Kind::Heartbeat => 5,
        };
        out[6] = match self.codec {
            Codec::Stored => 0,
            Codec::Zstd => 1,
        };
        out[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        out[16..20].copy_from_slice(&length(self.raw_bytes));
        out[20..24].copy_from_slice(&length(self.coded_bytes));
        out[24..32].copy_from_slice(&self.transfer.to_le_bytes());
        out[32..].copy_from_slice(&self.hash);
        out
    }

    fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        if bytes[..4] != MAGIC {
            return Err(FrameError::NotAFrame(printable(&bytes[..16])));
        }
        if bytes[4] != VERSION {
            return Err(FrameError::Version(bytes[4]));
        }
        let kind = match bytes[5] {
            1 => Kind::Message,
            2 => Kind::Data,
            3 => Kind::End,
            4 => Kind::Abort,
            5 => Kind::Heartbeat,
            _ => return Err(FrameError::Header("kind")),
        };
        let codec = match bytes[6] {
            0 => Codec::Stored,
            1 => Codec::Zstd,
            _ => return Err(FrameError::Header("codec")),
        };
        let raw_bytes = word32(bytes, 16) as usize;
        let coded_bytes = word32(bytes, 20) as usize;
        let raw_bytes_max = match kind {
            Kind::Data => DATA_BYTES_MAX,
            Kind::Heartbeat => 0,
            _ => MESSAGE_BYTES_MAX,
        };
        let coded_fits = match codec {
            Codec::Stored => coded_bytes == raw_bytes,
            Codec::Zstd => coded_bytes < raw_bytes,
        };
        if raw_bytes > raw_bytes_max || !coded_fits {
            return Err(FrameError::Header("length"));
        }
        if bytes[7] != 0 || (codec == Codec::Zstd && kind != Kind::Data) {
            return Err(FrameError::Header("reserved"));
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(&bytes[32..]);
        Ok(Self {
            kind,
            codec,
            sequence: word64(bytes, 8),
            transfer: word64(bytes, 24),
            raw_bytes,
            coded_bytes,
            hash,
        })
    }
}

fn word32(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("inside the header"))
}

fn word64(bytes: &[u8; HEADER_BYTES], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("inside the header"))
}

/// Foreign bytes as text that is safe to print.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

/// A frame as it travels: header and payload in one piece, so that passing it
/// on copies nothing.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The header, checked.
    pub header: Header,
    wire: Bytes,
}

impl Frame {
    /// A frame whose payload travels as it is.
    #[must_use]
    pub fn stored(kind: Kind, transfer: u64, sequence: u64, payload: &[u8]) -> Self {
        let header = Header {
            kind,
            codec: Codec::Stored,
            sequence,
            transfer,
            raw_bytes: payload.len(),
            coded_bytes: payload.len(),
            hash: *blake3::hash(payload).as_bytes(),
        };
        Self::assemble(header, payload)
    }

    /// A frame from a header and the payload in coded form.
    pub(super) fn assemble(header: Header, coded: &[u8]) -> Self {
        debug_assert_eq!(
            header.coded_bytes,
            coded.len(),
            "header and payload belong together"
        );
        let mut wire = BytesMut::with_capacity(HEADER_BYTES + coded.len());
        wire.extend_from_slice(&header.encode());
        wire.extend_from_slice(coded);
        Self {
            header,
            wire: wire.freeze(),
        }
    }

    /// The bytes that go over the connection.
    #[must_use]
    pub fn into_wire(self) -> Bytes {
        self.wire
    }

    /// Bytes this frame takes on the connection.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        self.wire.len()
    }

    /// The payload in coded form.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.wire[HEADER_BYTES..]
    }

    /// The payload in coded form, sharing the frame's memory.
    #[must_use]
    pub fn payload_bytes(&self) -> Bytes {
        self.wire.slice(HEADER_BYTES..)
    }

    /// The payload of a frame that travels as it is, after a look at its hash.
    ///
    /// # Errors
    /// [`FrameError::Hash`] if it was damaged.
    pub fn verified_payload(&self) -> Result<&[u8], FrameError> {
        if blake3::hash(self.payload()).as_bytes() != &self.header.hash {
            return Err(FrameError::Hash(self.header.sequence));
        }
        Ok(self.payload())
    }
}

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
        Ok(Some(Frame {
            header,
            wire: self.take(frame_bytes),
        }))
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
        let mut out = BytesMut::with_capacity(count);
        while out.len() < count {
            let chunk = self
                .chunks
                .front_mut()
                .expect("the caller saw that enough is buffered");
            let part = chunk.len().min(count - out.len());
            out.extend_from_slice(&chunk[..part]);
            chunk.advance(part);
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
        }
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
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
