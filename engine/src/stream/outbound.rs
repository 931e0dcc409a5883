//! From the bytes ZFS writes to frames.

use serde::{Deserialize, Serialize};

use super::compress::{Compression, Compressor};
use super::frame::{Codec, Frame, HEADER_BYTES, Header, Kind};
use super::pool::{Buffer, Pool};
use super::tuner::{Spent, Tuner};

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

/// Room for a block, and for the header before it: what ZFS writes is read to
/// where it is sent from.
#[derive(Debug)]
pub struct Block(Buffer);

impl Block {
    /// Where the bytes go, [`DATA_BYTES_MAX`](super::frame::DATA_BYTES_MAX) of
    /// them.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.0[HEADER_BYTES..]
    }

    /// The first of them.
    #[must_use]
    pub fn filled(&self, bytes: usize) -> &[u8] {
        &self.0[HEADER_BYTES..HEADER_BYTES + bytes]
    }
}

/// Makes the frames of one transfer.
#[derive(Debug)]
pub struct Outbound {
    transfer: u64,
    sequence: u64,
    digest: Digest,
    compressor: Compressor,
    pool: Pool,
}

impl Outbound {
    /// The frames of transfer number `transfer`, in buffers of `pool`.
    #[must_use]
    pub fn new(transfer: u64, compression: Compression, pool: &Pool) -> Self {
        Self {
            transfer,
            sequence: 0,
            digest: Digest::default(),
            compressor: Compressor::new(compression),
            pool: pool.clone(),
        }
    }

    /// Begins with what a transfer before has learnt of the link, the processor
    /// and the data.
    #[must_use]
    pub fn knowing(mut self, mut tuner: Tuner) -> Self {
        tuner.begin();
        self.compressor.begin_with(tuner);
        self
    }

    /// What is known by now.
    #[must_use]
    pub fn known(&self) -> &Tuner {
        self.compressor.tuner()
    }

    /// Room for the next block.
    #[must_use]
    pub fn block(&self) -> Block {
        Block(self.pool.take())
    }

    /// The frame for the first `filled` bytes of a block.
    pub fn frame(&mut self, block: Block, filled: usize) -> Frame {
        let raw = block.filled(filled);
        let hash = *blake3::hash(raw).as_bytes();
        let coded = if self.compressor.level().is_some() {
            let mut coded = self.block();
            let bytes = self.compressor.code(raw, coded.space());
            bytes.map(|bytes| (coded, bytes))
        } else {
            self.compressor.store(filled);
            None
        };
        let (codec, block, coded_bytes) = match coded {
            Some((coded, bytes)) => (Codec::Zstd, coded, bytes),
            None => (Codec::Stored, block, filled),
        };
        let header = Header {
            kind: Kind::Data,
            codec,
            sequence: self.sequence,
            transfer: self.transfer,
            raw_bytes: filled,
            coded_bytes,
            hash,
        };
        self.sequence += 1;
        self.digest.add(&header);
        Frame::in_buffer(header, block.0)
    }

    /// The frame for bytes that are elsewhere.
    pub fn data(&mut self, raw: &[u8]) -> Frame {
        let mut block = self.block();
        block.space()[..raw.len()].copy_from_slice(raw);
        self.frame(block, raw.len())
    }

    /// What the last frame took, until the connection had it. The next ones are
    /// compressed accordingly.
    pub fn learn(&mut self, spent: Spent) {
        self.compressor.learn(spent);
    }

    /// The frame that says: this was all, and ZFS reported success.
    #[must_use]
    pub fn end(&self) -> Frame {
        let end = serde_json::to_vec(&self.digest.end()).expect("plain data always serializes");
        Frame::stored(Kind::End, self.transfer, self.sequence, &end)
    }
}
