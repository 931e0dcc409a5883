//! From the bytes ZFS writes to frames.

use serde::{Deserialize, Serialize};

use super::compress::{Compression, Compressor, Link};
use super::frame::{Frame, Header, Kind};

/// Totals of a stream: what the end frame carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamEnd {
    /// Number of data frames.
    pub frames: u64,
    /// Bytes of the stream before coding.
    pub raw_bytes: u64,
    /// [`Digest`] over all frames, in hexadecimal.
    pub digest: String,
}

/// The hash of a whole stream: blake3 over the number, length and blake3 hash
/// of each block, in order. It stands for every byte and its place, and costs
/// nothing on top of the hashes of the frames.
#[derive(Debug, Clone, Default)]
pub struct Digest {
    hasher: blake3::Hasher,
    frames: u64,
    raw_bytes: u64,
}

impl Digest {
    /// Adds the next block.
    pub fn add(&mut self, header: &Header) {
        self.hasher.update(&self.frames.to_le_bytes());
        self.hasher.update(&(header.raw_bytes as u64).to_le_bytes());
        self.hasher.update(&header.hash);
        self.frames += 1;
        self.raw_bytes += header.raw_bytes as u64;
    }

    /// The totals so far.
    #[must_use]
    pub fn end(&self) -> StreamEnd {
        StreamEnd {
            frames: self.frames,
            raw_bytes: self.raw_bytes,
            digest: self.hasher.finalize().to_hex().to_string(),
        }
    }
}

/// Makes the frames of one transfer.
#[derive(Debug)]
pub struct Outbound {
    transfer: u64,
    sequence: u64,
    digest: Digest,
    compressor: Compressor,
}

impl Outbound {
    /// The frames of transfer number `transfer`.
    #[must_use]
    pub fn new(transfer: u64, compression: Compression) -> Self {
        Self {
            transfer,
            sequence: 0,
            digest: Digest::default(),
            compressor: Compressor::new(compression),
        }
    }

    /// The frame for the next block, at most
    /// [`DATA_BYTES_MAX`](super::frame::DATA_BYTES_MAX) long. `link` says
    /// whether the link kept up with the one before.
    pub fn data(&mut self, raw: &[u8], link: Link) -> Frame {
        let hash = *blake3::hash(raw).as_bytes();
        let (codec, coded) = self.compressor.code(raw, link);
        let header = Header {
            kind: Kind::Data,
            codec,
            sequence: self.sequence,
            transfer: self.transfer,
            raw_bytes: raw.len(),
            coded_bytes: coded.len(),
            hash,
        };
        self.sequence += 1;
        self.digest.add(&header);
        Frame::assemble(header, coded)
    }

    /// The frame that says: this was all, and ZFS reported success.
    #[must_use]
    pub fn end(&self) -> Frame {
        let end = serde_json::to_vec(&self.digest.end()).expect("plain data always serializes");
        Frame::stored(Kind::End, self.transfer, self.sequence, &end)
    }
}
