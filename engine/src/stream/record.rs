//! The BEGIN record: the first 312 bytes of a send stream.
//!
//! The receiving side reads it before the kernel sees anything, and compares
//! it with what was agreed: the wrong snapshot, a wrong base or an unexpected
//! form is refused while nothing has been touched. Layout: OpenZFS
//! `include/sys/zfs_ioctl.h`, `dmu_replay_record_t` and `struct drr_begin`.

use crate::name::{Guid, SnapshotName};
use crate::zfs::DatasetKind;

/// Size of every record header, in bytes.
pub const RECORD_BYTES: usize = 312;

/// `DMU_BACKUP_MAGIC`.
const MAGIC: u64 = 0x2_f5ba_cbac;
/// `drr_type` of BEGIN.
const TYPE_BEGIN: u32 = 0;
/// `DMU_SUBSTREAM`: a stream of one snapshot, as opposed to a package.
const HEADER_SUBSTREAM: u64 = 1;
/// A BEGIN payload is an nvlist (resume position, key data); 16 MiB is far
/// above anything ZFS writes.
const PAYLOAD_BYTES_MAX: u32 = 16 << 20;
/// `DMU_BACKUP_FEATURE_RAW`, bit 24 of the feature flags.
const FEATURE_RAW: u64 = 1 << 24;
/// `DMU_BACKUP_FEATURE_RESUMING`, bit 20.
const FEATURE_RESUMING: u64 = 1 << 20;
/// `DMU_OST_ZFS` and `DMU_OST_ZVOL`.
const OBJSET_ZFS: u32 = 2;
const OBJSET_ZVOL: u32 = 3;

/// `drr_toname`, to the end of the record.
const NAME_AT: usize = 56;

/// Why the first bytes of a stream are not a usable BEGIN record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The magic number is missing: this is no send stream.
    #[error("the stream does not begin with a ZFS BEGIN record")]
    NotAStream,
    /// A package (`zfs send -R`) or something newer.
    #[error("the stream has header type {0}; only streams of one snapshot are accepted")]
    HeaderType(u64),
    /// Neither a file system nor a volume.
    #[error("the stream carries object set type {0}, neither file system nor volume")]
    ObjectSet(u32),
    /// The announced payload is larger than any that ZFS writes.
    #[error("the BEGIN record announces a payload of {0} bytes")]
    PayloadTooLong(u32),
}

/// A BEGIN record, parsed and in its original bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeginRecord {
    /// The snapshot that the stream creates.
    pub to_guid: Guid,
    /// The snapshot it starts from; `None` for a full stream.
    pub from_guid: Option<Guid>,
    /// File system or volume.
    pub kind: DatasetKind,
    /// Feature flags of the stream (bits as in `DMU_BACKUP_FEATURE_*`).
    pub features: u64,
    /// Creation of the snapshot, seconds since 1970.
    pub creation_seconds: u64,
    bytes: [u8; RECORD_BYTES],
}

impl BeginRecord {
    /// Reads the record in either byte order.
    ///
    /// # Errors
    /// [`RecordError`] if it is not the beginning of a stream of one snapshot.
    pub fn parse(bytes: &[u8; RECORD_BYTES]) -> Result<Self, RecordError> {
        let order = match u64::from_ne_bytes(field(bytes, 8)) {
            MAGIC => Order::Native,
            magic if magic.swap_bytes() == MAGIC => Order::Swapped,
            _ => return Err(RecordError::NotAStream),
        };
        let word32 = |at| order.word32(u32::from_ne_bytes(field(bytes, at)));
        let word64 = |at| order.word64(u64::from_ne_bytes(field(bytes, at)));
        if word32(0) != TYPE_BEGIN {
            return Err(RecordError::NotAStream);
        }
        if word32(4) > PAYLOAD_BYTES_MAX {
            return Err(RecordError::PayloadTooLong(word32(4)));
        }
        let version = word64(16);
        if version & 3 != HEADER_SUBSTREAM {
            return Err(RecordError::HeaderType(version & 3));
        }
        let kind = match word32(32) {
            OBJSET_ZFS => DatasetKind::Filesystem,
            OBJSET_ZVOL => DatasetKind::Volume,
            other => return Err(RecordError::ObjectSet(other)),
        };
        Ok(Self {
            to_guid: Guid(word64(40)),
            from_guid: Some(Guid(word64(48))).filter(|guid| guid.0 != 0),
            kind,
            features: (version >> 2) & ((1 << 56) - 1),
            creation_seconds: word64(24),
            bytes: *bytes,
        })
    }

    /// True for a raw stream (encrypted blocks as they are on disk).
    #[must_use]
    pub fn is_raw(&self) -> bool {
        self.features & FEATURE_RAW != 0
    }

    /// True for the rest of a stream whose first part has arrived before.
    #[must_use]
    pub fn is_resuming(&self) -> bool {
        self.features & FEATURE_RESUMING != 0
    }

    /// The name of the snapshot where it was sent; `None` if that is no name.
    #[must_use]
    pub fn to_name(&self) -> Option<SnapshotName> {
        let name = &self.bytes[NAME_AT..];
        let end = name.iter().position(|byte| *byte == 0)?;
        let text = std::str::from_utf8(name.get(..end)?).ok()?;
        SnapshotName::parse(text).ok()
    }

    /// The record as it came.
    #[must_use]
    pub fn bytes(&self) -> &[u8; RECORD_BYTES] {
        &self.bytes
    }
}

/// The byte order of the machine that sends, as seen from this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Native,
    Swapped,
}

impl Order {
    pub(super) fn word32(self, word: u32) -> u32 {
        match self {
            Self::Native => word,
            Self::Swapped => word.swap_bytes(),
        }
    }

    pub(super) fn word64(self, word: u64) -> u64 {
        match self {
            Self::Native => word,
            Self::Swapped => word.swap_bytes(),
        }
    }
}

pub(super) fn field<const N: usize>(bytes: &[u8; RECORD_BYTES], at: usize) -> [u8; N] {
    bytes[at..at + N]
        .try_into()
        .expect("every field lies inside the record")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A BEGIN record as a little- or big-endian machine writes it.
    fn record(order: fn(u64, usize) -> Vec<u8>, features: u64) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let mut put = |at: usize, size: usize, value: u64| {
            bytes[at..at + size].copy_from_slice(&order(value, size));
        };
        put(8, 8, MAGIC);
        put(16, 8, HEADER_SUBSTREAM | features << 2);
        put(24, 8, 1_795_379_914);
        put(32, 4, u64::from(OBJSET_ZVOL));
        put(40, 8, 0xc258_3cd6_b6a5_84ac);
        put(48, 8, 7);
        bytes
    }

    fn little(value: u64, size: usize) -> Vec<u8> {
        value.to_le_bytes()[..size].to_vec()
    }

    fn big(value: u64, size: usize) -> Vec<u8> {
        value.to_be_bytes()[8 - size..].to_vec()
    }

    #[test]
    fn both_byte_orders_read_the_same() {
        for order in [little, big] {
            let begin = BeginRecord::parse(&record(order, FEATURE_RAW | 2)).unwrap();
            assert_eq!(begin.to_guid, Guid(0xc258_3cd6_b6a5_84ac));
            assert_eq!(begin.from_guid, Some(Guid(7)));
            assert_eq!(begin.kind, DatasetKind::Volume);
            assert_eq!(begin.creation_seconds, 1_795_379_914);
            assert!(begin.is_raw());
        }
    }

    #[test]
    fn what_is_no_stream_of_one_snapshot_is_refused() {
        assert_eq!(
            BeginRecord::parse(&[0; RECORD_BYTES]),
            Err(RecordError::NotAStream)
        );
        let mut package = record(little, 0);
        package[16] = 2;
        assert_eq!(
            BeginRecord::parse(&package),
            Err(RecordError::HeaderType(2))
        );
        let mut huge = record(little, 0);
        huge[7] = 0x7f;
        assert!(matches!(
            BeginRecord::parse(&huge),
            Err(RecordError::PayloadTooLong(_))
        ));
        let mut other = record(little, 0);
        other[32] = 9;
        assert_eq!(BeginRecord::parse(&other), Err(RecordError::ObjectSet(9)));
    }
}
