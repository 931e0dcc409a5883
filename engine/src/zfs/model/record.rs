//! The stream of the model: records as ZFS writes them, with its checksum.
//!
//! Of their fields only those are set that tell a stream's shape and that the
//! model reads back. Payloads are whole words, so a block is filled up; the
//! unused field of WRITE says with how many bytes. A cut is noticed as a cut,
//! and a flipped bit at the next header. The checksum is computed here as it is
//! defined, by other code than what checks streams on their way.

use super::pipe::{Inlet, Outlet};
use crate::name::{Guid, SnapshotName};
use crate::stream::record::RECORD_BYTES;
use crate::zfs::{DatasetKind, ZfsErrorKind};

/// Largest block, in bytes: that of OpenZFS with large blocks.
pub const BLOCK_BYTES_MAX: usize = 16 << 20;

/// Size of every header, in bytes.
pub(super) const HEADER_BYTES: usize = RECORD_BYTES;
/// Where the checksum of a record stands: in its last four words.
const SUM_AT: usize = RECORD_BYTES - 32;
/// Payloads are filled up to a multiple of this.
pub(super) const WORD_BYTES: usize = 8;

/// `DMU_BACKUP_MAGIC`.
const MAGIC: u64 = 0x2_f5ba_cbac;
/// `DMU_SUBSTREAM`.
const HEADER_SUBSTREAM: u64 = 1;
/// `DRR_FLAG_CLONE`: the base is in another dataset, the origin.
const FLAG_CLONE: u32 = 1;

/// `drr_type`. ZFS has no records of keys and resumed streams, it has payloads
/// of BEGIN; here they are OBJECT records.
const TYPE_OBJECT: u32 = 1;
const TYPE_WRITE: u32 = 3;
const TYPE_FREE: u32 = 4;
const TYPE_END: u32 = 5;
/// Payload that tells a key, bytes: two ivset guids.
const KEY_BYTES: usize = 16;
/// Payload that tells a resumed stream, bytes: the block that comes next.
const RESUME_BYTES: usize = 8;

/// Bits of `DMU_BACKUP_FEATURE_*`.
pub(super) mod feature {
    const LZ4: u64 = 1 << 17;
    const LARGE_BLOCKS: u64 = 1 << 19;
    /// The rest of a stream that was cut.
    pub(crate) const RESUMING: u64 = 1 << 20;
    const COMPRESSED: u64 = 1 << 22;
    const RAW: u64 = 1 << 24;
    /// What `zfs send -Lc` sets.
    pub(crate) const PLAIN_STREAM: u64 = LZ4 | LARGE_BLOCKS | COMPRESSED;
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

/// fletcher-4 over everything so far.
#[derive(Debug, Clone, Default)]
struct Sum([u64; 4]);

impl Sum {
    fn of(begin: &[u8; RECORD_BYTES]) -> Self {
        let mut sum = Self::default();
        sum.add(begin);
        sum
    }

    fn add(&mut self, bytes: &[u8]) {
        let [a, b, c, d] = &mut self.0;
        for word in bytes.chunks(4) {
            *a = a.wrapping_add(u64::from(u32::from_le_bytes(field(word, 0))));
            *b = b.wrapping_add(*a);
            *c = c.wrapping_add(*b);
            *d = d.wrapping_add(*c);
        }
    }

    fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (place, sum) in bytes.chunks_mut(8).zip(self.0) {
            place.copy_from_slice(&sum.to_le_bytes());
        }
        bytes
    }
}

/// A header of this type with these 64-bit fields.
fn header(kind: u32, fields: &[(usize, u64)]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&kind.to_le_bytes());
    for (at, value) in fields {
        header[*at..*at + 8].copy_from_slice(&value.to_le_bytes());
    }
    header
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
        self.object(&payload)
    }

    pub(super) fn resume(&mut self, block: u64) -> Result<(), ZfsErrorKind> {
        self.object(&block.to_le_bytes())
    }

    fn object(&mut self, bonus: &[u8]) -> Result<(), ZfsErrorKind> {
        let mut header = header(TYPE_OBJECT, &[]);
        let length = u32::try_from(bonus.len()).map_err(|_| ZfsErrorKind::Invalid)?;
        header[28..32].copy_from_slice(&length.to_le_bytes());
        self.record(header, bonus)
    }

    pub(super) fn write(&mut self, block: u64, bytes: &[u8]) -> Result<(), ZfsErrorKind> {
        let mut payload = bytes.to_vec();
        payload.resize(bytes.len().next_multiple_of(WORD_BYTES), 0);
        let filled = payload.len() - bytes.len();
        let mut header = header(
            TYPE_WRITE,
            &[(8, 1), (24, block), (32, payload.len() as u64)],
        );
        header[20] = u8::try_from(filled).map_err(|_| ZfsErrorKind::Invalid)?;
        self.record(header, &payload)
    }

    pub(super) fn free(&mut self, block: u64) -> Result<(), ZfsErrorKind> {
        self.record(header(TYPE_FREE, &[(8, 1), (16, block), (24, 1)]), &[])
    }

    pub(super) fn end(mut self) -> Result<(), ZfsErrorKind> {
        let mut header = header(TYPE_END, &[]);
        header[8..40].copy_from_slice(&self.sum.bytes());
        self.record(header, &[])
    }

    fn record(
        &mut self,
        mut header: [u8; HEADER_BYTES],
        payload: &[u8],
    ) -> Result<(), ZfsErrorKind> {
        self.sum.add(&header[..SUM_AT]);
        header[SUM_AT..].copy_from_slice(&self.sum.bytes());
        self.sum.add(&header[SUM_AT..]);
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
        let before = self.sum.bytes();
        self.sum.add(&header[..SUM_AT]);
        if self.sum.bytes() != header[SUM_AT..] {
            return Err(ZfsErrorKind::ChecksumMismatch);
        }
        self.sum.add(&header[SUM_AT..]);
        let word = |at| u64::from_le_bytes(field(&header, at));
        match u32::from_le_bytes(field(&header, 0)) {
            TYPE_OBJECT => {
                let payload = self.payload(u64::from(u32::from_le_bytes(field(&header, 28))))?;
                match payload.len() {
                    KEY_BYTES => Ok(Record::Key(Key {
                        from_ivset: u64::from_le_bytes(field(&payload, 0)),
                        to_ivset: u64::from_le_bytes(field(&payload, 8)),
                    })),
                    RESUME_BYTES => Ok(Record::Resume {
                        block: u64::from_le_bytes(field(&payload, 0)),
                    }),
                    _ => Err(ZfsErrorKind::Invalid),
                }
            }
            TYPE_WRITE => {
                let mut bytes = self.payload(word(32))?;
                let filled = usize::from(header[20]);
                if filled > bytes.len() {
                    return Err(ZfsErrorKind::Invalid);
                }
                bytes.truncate(bytes.len() - filled);
                let block = word(24);
                Ok(Record::Write { block, bytes })
            }
            TYPE_FREE => Ok(Record::Free { block: word(16) }),
            TYPE_END if header[8..40] == before => Ok(Record::End),
            TYPE_END => Err(ZfsErrorKind::ChecksumMismatch),
            _ => Err(ZfsErrorKind::Invalid),
        }
    }

    fn payload(&mut self, length: u64) -> Result<Vec<u8>, ZfsErrorKind> {
        let bounded = usize::try_from(length).ok();
        let length = bounded
            .filter(|length| *length <= BLOCK_BYTES_MAX && length.is_multiple_of(WORD_BYTES))
            .ok_or(ZfsErrorKind::Invalid)?;
        let mut payload = vec![0; length];
        self.inlet.read(&mut payload)?;
        self.sum.add(&payload);
        Ok(payload)
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N]
        .try_into()
        .expect("the caller reads inside a length it has checked")
}
