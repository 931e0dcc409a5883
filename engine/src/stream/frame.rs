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

use bytes::{Bytes, BytesMut};

use super::pool::Buffer;

/// Size of a frame header in bytes.
pub const HEADER_BYTES: usize = 64;
/// Stream bytes in one data frame. Frames of 1 MiB compress as well as larger
/// ones; smaller ones lose ratio and cost a header each.
pub const DATA_BYTES_MAX: usize = 1 << 20;
/// Largest message. The longest is one part of a listing; see
/// the protocol module for how listings are cut.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

pub(super) const MAGIC: [u8; 4] = *b"zfry";
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

    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
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
        let mut wire = BytesMut::with_capacity(HEADER_BYTES + payload.len());
        wire.extend_from_slice(&header.encode());
        wire.extend_from_slice(payload);
        Self {
            header,
            wire: wire.freeze(),
        }
    }

    /// A frame whose payload stands in `buffer` already, in coded form, after
    /// the room for the header.
    pub(super) fn in_buffer(header: Header, mut buffer: Buffer) -> Self {
        buffer[..HEADER_BYTES].copy_from_slice(&header.encode());
        Self {
            header,
            wire: buffer.into_bytes(HEADER_BYTES + header.coded_bytes),
        }
    }

    /// A frame as it came: its header, and all of it.
    pub(super) fn from_wire(header: Header, wire: Bytes) -> Self {
        debug_assert_eq!(
            HEADER_BYTES + header.coded_bytes,
            wire.len(),
            "header and payload belong together"
        );
        Self { header, wire }
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
