//! The stream of the model: a BEGIN record as ZFS writes it, then records of
//! its own.
//!
//! Those are simpler than the real ones but keep their two properties that
//! matter to whoever carries the stream: each header has a checksum over all
//! that came before it, and only an END record ends the stream. A cut is
//! noticed as a cut, and a flipped bit at the next header.

use super::pipe::{Inlet, Outlet};
use crate::name::{Guid, SnapshotName};
use crate::stream::record::RECORD_BYTES;
use crate::zfs::{DatasetKind, ZfsErrorKind};

/// Largest block, in bytes: that of OpenZFS with large blocks.
pub const BLOCK_BYTES_MAX: usize = 16 << 20;

/// Size of a header after BEGIN, in bytes: type (4), payload length (4), block
/// number (8), checksum (8), all little endian.
pub(super) const HEADER_BYTES: usize = 24;
/// The part of it that the checksum in the header itself covers.
const HEADER_SUMMED_BYTES: usize = 16;

/// `DMU_BACKUP_MAGIC`.
const MAGIC: u64 = 0x2_f5ba_cbac;
/// `DMU_SUBSTREAM`.
const HEADER_SUBSTREAM: u64 = 1;
/// `DRR_FLAG_CLONE`: the base is in another dataset, the origin.
const FLAG_CLONE: u32 = 1;

const TYPE_WRITE: u32 = 1;
const TYPE_FREE: u32 = 2;
const TYPE_END: u32 = 3;
const TYPE_KEY: u32 = 4;
const TYPE_RESUME: u32 = 5;
/// Payload of a key record, bytes: two ivset guids.
const KEY_BYTES: usize = 16;
/// Payload of a resume record, bytes: the block that comes next.
const RESUME_BYTES: usize = 8;

/// Bits of `DMU_BACKUP_FEATURE_*`.
pub(super) mod feature {
    const EMBED_DATA: u64 = 1 << 16;
    const LZ4: u64 = 1 << 17;
    const LARGE_BLOCKS: u64 = 1 << 19;
    /// The rest of a stream that was cut.
    pub(crate) const RESUMING: u64 = 1 << 20;
    const COMPRESSED: u64 = 1 << 22;
    const RAW: u64 = 1 << 24;
    /// What `zfs send -Lec` sets.
    pub(crate) const PLAIN_STREAM: u64 = EMBED_DATA | LZ4 | LARGE_BLOCKS | COMPRESSED;
    /// What `zfs send -w` of an encrypted dataset sets.
    pub(crate) const RAW_STREAM: u64 = LARGE_BLOCKS | COMPRESSED | RAW;
}

/// The base is a snapshot of the same dataset, or of one it was cloned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lineage {
    Same,
    Origin,
}

/// What a BEGIN record says.
#[derive(Debug)]
pub(super) struct Begin<'a> {
    pub(super) snapshot: &'a SnapshotName,
    pub(super) to_guid: Guid,
    pub(super) from_guid: Option<Guid>,
    pub(super) lineage: Lineage,
    pub(super) kind: DatasetKind,
    pub(super) features: u64,
    pub(super) creation_seconds: u64,
}

impl Begin<'_> {
    /// `dmu_replay_record_t` with a `drr_begin`, little endian.
    pub(super) fn encode(&self) -> [u8; RECORD_BYTES] {
        let objset: u32 = match self.kind {
            DatasetKind::Filesystem => 2,
            DatasetKind::Volume => 3,
        };
        let flags = match self.lineage {
            Lineage::Same => 0,
            Lineage::Origin => FLAG_CLONE,
        };
        let name = self.snapshot.to_string();
        let fields: [(usize, &[u8]); 8] = [
            (8, &MAGIC.to_le_bytes()),
            (16, &(HEADER_SUBSTREAM | self.features << 2).to_le_bytes()),
            (24, &self.creation_seconds.to_le_bytes()),
            (32, &objset.to_le_bytes()),
            (36, &flags.to_le_bytes()),
            (40, &self.to_guid.0.to_le_bytes()),
            (48, &self.from_guid.map_or(0, |guid| guid.0).to_le_bytes()),
            // 256 bytes to the end of the record; a name has 255 at most.
            (56, name.as_bytes()),
        ];
        let mut record = [0; RECORD_BYTES];
        for (at, field) in fields {
            record[at..at + field.len()].copy_from_slice(field);
        }
        record
    }
}

/// Which encryption the blocks of a raw stream have, before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) from_ivset: u64,
    pub(super) to_ivset: u64,
}

/// One record after BEGIN.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// First in a raw stream.
    Key(Key),
    /// First in the rest of a stream, after the key: which block comes next.
    Resume {
        block: u64,
    },
    Write {
        block: u64,
        bytes: Vec<u8>,
    },
    Free {
        block: u64,
    },
    End,
}

/// Checksum over everything so far.
#[derive(Debug, Clone)]
struct Sum(blake3::Hasher);

impl Sum {
    fn of(begin: &[u8; RECORD_BYTES]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(begin);
        Self(hasher)
    }

    fn add(&mut self, bytes: &[u8]) -> [u8; 8] {
        self.0.update(bytes);
        let mut short = [0; 8];
        short.copy_from_slice(&self.0.finalize().as_bytes()[..8]);
        short
    }
}

/// Writes the stream.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    outlet: &'a mut Outlet,
    sum: Sum,
}

impl<'a> Writer<'a> {
    /// Begins the stream.
    pub(super) fn begin(
        outlet: &'a mut Outlet,
        begin: &[u8; RECORD_BYTES],
    ) -> Result<Self, ZfsErrorKind> {
        outlet.write(begin)?;
        let sum = Sum::of(begin);
        Ok(Self { outlet, sum })
    }

    pub(super) fn key(&mut self, key: Key) -> Result<(), ZfsErrorKind> {
        let mut payload = [0; KEY_BYTES];
        payload[..8].copy_from_slice(&key.from_ivset.to_le_bytes());
        payload[8..].copy_from_slice(&key.to_ivset.to_le_bytes());
        self.record(TYPE_KEY, 0, &payload)
    }

    pub(super) fn resume(&mut self, block: u64) -> Result<(), ZfsErrorKind> {
        self.record(TYPE_RESUME, 0, &block.to_le_bytes())
    }

    pub(super) fn write(&mut self, block: u64, bytes: &[u8]) -> Result<(), ZfsErrorKind> {
        self.record(TYPE_WRITE, block, bytes)
    }

    pub(super) fn free(&mut self, block: u64) -> Result<(), ZfsErrorKind> {
        self.record(TYPE_FREE, block, &[])
    }

    pub(super) fn end(mut self) -> Result<(), ZfsErrorKind> {
        self.record(TYPE_END, 0, &[])
    }

    fn record(&mut self, kind: u32, block: u64, payload: &[u8]) -> Result<(), ZfsErrorKind> {
        let length = u32::try_from(payload.len()).map_err(|_| ZfsErrorKind::Invalid)?;
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&kind.to_le_bytes());
        header[4..8].copy_from_slice(&length.to_le_bytes());
        header[8..16].copy_from_slice(&block.to_le_bytes());
        let sum = self.sum.add(&header[..HEADER_SUMMED_BYTES]);
        header[16..].copy_from_slice(&sum);
        self.sum.add(payload);
        self.outlet.write(&header)?;
        self.outlet.write(payload)
    }
}

/// Reads the stream after BEGIN.
#[derive(Debug)]
pub(super) struct Reader {
    inlet: Inlet,
    sum: Sum,
}

impl Reader {
    pub(super) fn new(inlet: Inlet, begin: &[u8; RECORD_BYTES]) -> Self {
        let sum = Sum::of(begin);
        Self { inlet, sum }
    }

    /// The next record. What a record carries is only proven by the header of
    /// the one after it, so nothing counts before END was seen.
    pub(super) fn next(&mut self) -> Result<Record, ZfsErrorKind> {
        let mut header = [0; HEADER_BYTES];
        self.inlet.read(&mut header)?;
        if self.sum.add(&header[..HEADER_SUMMED_BYTES]) != header[16..] {
            return Err(ZfsErrorKind::ChecksumMismatch);
        }
        let kind = u32::from_le_bytes(field(&header, 0));
        let length = u32::from_le_bytes(field(&header, 4)) as usize;
        let block = u64::from_le_bytes(field(&header, 8));
        if length > BLOCK_BYTES_MAX {
            return Err(ZfsErrorKind::Invalid);
        }
        let mut payload = vec![0; length];
        self.inlet.read(&mut payload)?;
        self.sum.add(&payload);
        match (kind, length) {
            (TYPE_KEY, KEY_BYTES) => Ok(Record::Key(Key {
                from_ivset: u64::from_le_bytes(field(&payload, 0)),
                to_ivset: u64::from_le_bytes(field(&payload, 8)),
            })),
            (TYPE_RESUME, RESUME_BYTES) => Ok(Record::Resume {
                block: u64::from_le_bytes(field(&payload, 0)),
            }),
            (TYPE_WRITE, _) => Ok(Record::Write {
                block,
                bytes: payload,
            }),
            (TYPE_FREE, 0) => Ok(Record::Free { block }),
            (TYPE_END, 0) => Ok(Record::End),
            _ => Err(ZfsErrorKind::Invalid),
        }
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N]
        .try_into()
        .expect("the caller reads inside a length it has checked")
}
