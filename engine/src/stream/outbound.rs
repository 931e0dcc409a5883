//! From the bytes ZFS writes to frames.
//!
//! [`Outbound`] does it block by block. Apart from each other, hash and
//! compression ([`Coder`]) may be done of several blocks at the same time, while
//! numbers and digest ([`Numbers`]) follow the order of the stream: what travels
//! is the same.

use serde::{Deserialize, Serialize};

use super::compress::{Compression, Compressor};
use super::frame::{Codec, Frame, HEADER_BYTES, Header, Kind};
use super::levels::{Level, Levels, Outcome};
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
    /// What [`Compression::Adaptive`] came to. It is for the log: who checks a
    /// stream does not read it, so that none fails for it.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub came_to: Option<Compression>,
}

impl StreamEnd {
    /// What compression came to, if the end frame of a peer says something
    /// that is known here.
    #[must_use]
    pub fn came_to(end: &Frame) -> Option<Compression> {
        #[derive(Deserialize)]
        struct Told {
            came_to: Compression,
        }
        let told: Told = serde_json::from_slice(end.verified_payload().ok()?).ok()?;
        Some(told.came_to)
    }
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
            came_to: None,
        }
    }
}

/// Room for a block, and for the header before it: what ZFS writes is read to
/// where it is sent from.
#[derive(Debug)]
pub struct Block(Buffer);

impl Block {
    /// A buffer of `pool`.
    #[must_use]
    pub fn of(pool: &Pool) -> Self {
        Self(pool.take())
    }

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

/// A block that is to be coded.
#[derive(Debug)]
pub struct Uncoded {
    /// Its bytes are the first ones in here,
    pub block: Block,
    /// so many.
    pub filled: usize,
    /// What it is coded with.
    pub level: Level,
}

/// A block that is ready to get its number.
#[derive(Debug)]
pub struct Coded {
    block: Block,
    codec: Codec,
    hash: [u8; 32],
    /// What became of it.
    pub outcome: Outcome,
}

/// Hashes and compresses blocks. Each block stands for itself here: several
/// coders may work on the blocks of one transfer, in any order.
#[derive(Debug)]
pub struct Coder {
    compressor: Compressor,
    pool: Pool,
}

impl Coder {
    /// Codes into buffers of `pool`.
    #[must_use]
    pub fn new(pool: &Pool) -> Self {
        Self {
            compressor: Compressor::default(),
            pool: pool.clone(),
        }
    }

    /// Hashes a block, and compresses it if that is wanted and pays.
    pub fn code(&mut self, uncoded: Uncoded) -> Coded {
        let Uncoded {
            block,
            filled,
            level,
        } = uncoded;
        let raw = block.filled(filled);
        let hash = *blake3::hash(raw).as_bytes();
        let coded = level.zstd.and_then(|level| {
            let mut coded = Block::of(&self.pool);
            let bytes = self.compressor.code(level, raw, coded.space())?;
            Some((coded, bytes))
        });
        let (codec, block, coded_bytes) = match coded {
            Some((coded, bytes)) => (Codec::Zstd, coded, bytes),
            None => (Codec::Stored, block, filled),
        };
        Coded {
            block,
            codec,
            hash,
            outcome: Outcome {
                level,
                raw_bytes: filled,
                coded_bytes,
            },
        }
    }
}

/// Numbers the frames of one transfer, and adds them up: in the order of the
/// stream.
#[derive(Debug)]
pub struct Numbers {
    transfer: u64,
    sequence: u64,
    digest: Digest,
}

impl Numbers {
    /// The frame of the next block.
    pub fn frame(&mut self, coded: Coded) -> Frame {
        let header = Header {
            kind: Kind::Data,
            codec: coded.codec,
            sequence: self.sequence,
            transfer: self.transfer,
            raw_bytes: coded.outcome.raw_bytes,
            coded_bytes: coded.outcome.coded_bytes,
            hash: coded.hash,
        };
        self.sequence += 1;
        self.digest.add(&header);
        Frame::in_buffer(header, coded.block.0)
    }
}

/// What several threads share that make the frames of one transfer.
#[derive(Debug)]
pub struct Apart<'a> {
    /// For whoever hands blocks out, and whoever sees them leave.
    pub levels: &'a Levels,
    /// For whoever has the coded blocks, in order.
    pub numbers: &'a mut Numbers,
    /// Where blocks come from.
    pub pool: &'a Pool,
}

/// Makes the frames of one transfer, one after the other.
#[derive(Debug)]
pub struct Outbound {
    numbers: Numbers,
    levels: Levels,
    coder: Coder,
    /// What became of the last one.
    last: Option<Outcome>,
}

impl Outbound {
    /// The frames of transfer number `transfer`, in buffers of `pool`.
    #[must_use]
    pub fn new(transfer: u64, compression: Compression, pool: &Pool) -> Self {
        Self {
            numbers: Numbers {
                transfer,
                sequence: 0,
                digest: Digest::default(),
            },
            levels: Levels::new(compression),
            coder: Coder::new(pool),
            last: None,
        }
    }

    /// Begins with what a transfer before has learnt of the link, the processor
    /// and the data.
    #[must_use]
    pub fn knowing(mut self, tuner: Tuner) -> Self {
        self.levels = self.levels.knowing(tuner);
        self
    }

    /// What is known by now.
    #[must_use]
    pub fn known(&self) -> Tuner {
        self.levels.known()
    }

    /// Room for the next block.
    #[must_use]
    pub fn block(&self) -> Block {
        Block::of(&self.coder.pool)
    }

    /// The frame for the first `filled` bytes of a block.
    pub fn frame(&mut self, block: Block, filled: usize) -> Frame {
        let coded = self.coder.code(Uncoded {
            block,
            filled,
            level: self.levels.next(),
        });
        self.last = Some(coded.outcome);
        self.numbers.frame(coded)
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
        if let Some(last) = self.last.take() {
            self.levels.learn(last, spent);
        }
    }

    /// The rest is coded elsewhere.
    pub fn apart(&mut self) -> Apart<'_> {
        // Its context is not needed meanwhile.
        self.coder.compressor = Compressor::default();
        Apart {
            levels: &self.levels,
            numbers: &mut self.numbers,
            pool: &self.coder.pool,
        }
    }

    /// The frame that says: this was all, and ZFS reported success.
    #[must_use]
    pub fn end(&self) -> Frame {
        let Numbers {
            transfer,
            sequence,
            digest,
        } = &self.numbers;
        let end = StreamEnd {
            came_to: self.levels.came_to(),
            ..digest.end()
        };
        let end = serde_json::to_vec(&end).expect("plain data always serializes");
        Frame::stored(Kind::End, *transfer, *sequence, &end)
    }
}
