//! The records of a stream, one by one.
//!
//! Layout: OpenZFS `include/sys/zfs_ioctl.h`, `dmu_replay_record_t`; lengths of
//! payloads: `dmu_recv.c`, `receive_read_record`.

use super::super::record::{Order, RECORD_BYTES, field};
use super::{Damage, PACKAGE_PAYLOAD_BYTES_MAX};
use crate::name::Guid;

/// Largest block of a pool, in bytes.
const BLOCK_BYTES_MAX: u64 = 16 << 20;
/// A dnode has at most 32 slots of 512 bytes; its bonus is smaller.
const BONUS_BYTES_MAX: u64 = 32 * 512;
/// What fits into a block pointer (`BPE_PAYLOAD_SIZE`), rounded up to words.
const EMBEDDED_BYTES_MAX: u64 = 112;

/// Types of records, as `drr_type` counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A stream or a package begins.
    Begin,
    /// An object is created or changed.
    Object,
    /// A range of objects is freed.
    FreeObjects,
    /// A block of an object.
    Write,
    /// A range of an object is freed.
    Free,
    /// A stream or a package ends.
    End,
    /// A block that is elsewhere in the stream (deduplicated, no longer made).
    WriteByRef,
    /// A spill block: attributes that did not fit into the object.
    Spill,
    /// A block so small that it lives in its pointer.
    WriteEmbedded,
    /// Parameters of encryption of a range of objects (raw streams).
    ObjectRange,
    /// A block whose content is left out on purpose.
    Redact,
}

/// All kinds, in the order of their numbers.
pub const KINDS: [Kind; 11] = [
    Kind::Begin,
    Kind::Object,
    Kind::FreeObjects,
    Kind::Write,
    Kind::Free,
    Kind::End,
    Kind::WriteByRef,
    Kind::Spill,
    Kind::WriteEmbedded,
    Kind::ObjectRange,
    Kind::Redact,
];

impl Kind {
    /// The name in `zstream dump`, without `DRR_`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Begin => "BEGIN",
            Self::Object => "OBJECT",
            Self::FreeObjects => "FREEOBJECTS",
            Self::Write => "WRITE",
            Self::Free => "FREE",
            Self::End => "END",
            Self::WriteByRef => "WRITE_BYREF",
            Self::Spill => "SPILL",
            Self::WriteEmbedded => "WRITE_EMBEDDED",
            Self::ObjectRange => "OBJECT_RANGE",
            Self::Redact => "REDACT",
        }
    }
}

/// A record's header: what it is about, without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A stream or a package begins.
    Begin(Box<Begin>),
    /// An object is created or changed.
    Object {
        /// Its number.
        object: u64,
        /// Size of its blocks, bytes.
        block_bytes: u32,
        /// Size of its bonus, bytes.
        bonus_bytes: u32,
    },
    /// Objects are freed.
    FreeObjects {
        /// The first.
        first: u64,
        /// How many.
        count: u64,
    },
    /// A block.
    Write {
        /// Of which object.
        object: u64,
        /// Where in it, bytes.
        offset: u64,
        /// How much of it, bytes.
        logical_bytes: u64,
        /// Bytes in the stream, if it is compressed there.
        compressed_bytes: Option<u64>,
    },
    /// A range is freed.
    Free {
        /// Of which object.
        object: u64,
        /// From where on, bytes.
        offset: u64,
        /// How much, bytes; all ones: to the end.
        bytes: u64,
    },
    /// The end, with the checksum of everything before; zero after a package.
    End {
        /// fletcher-4 up to here.
        sums: [u64; 4],
    },
    /// A block by reference.
    WriteByRef {
        /// Of which object.
        object: u64,
        /// Where in it, bytes.
        offset: u64,
        /// How much of it, bytes.
        logical_bytes: u64,
    },
    /// A spill block.
    Spill {
        /// Of which object.
        object: u64,
        /// Its size, bytes.
        bytes: u64,
    },
    /// A block in its pointer.
    WriteEmbedded {
        /// Of which object.
        object: u64,
        /// Where in it, bytes.
        offset: u64,
        /// How much of it, bytes.
        logical_bytes: u64,
    },
    /// Parameters of encryption.
    ObjectRange {
        /// The first object.
        first: u64,
        /// How many slots.
        slots: u64,
    },
    /// Content left out.
    Redact {
        /// Of which object.
        object: u64,
        /// Where in it, bytes.
        offset: u64,
        /// How much of it, bytes.
        bytes: u64,
    },
}

/// What a BEGIN record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin {
    /// A package of several streams (`zfs send -R`, `-I`), not a stream.
    pub is_package: bool,
    /// Bits as in `DMU_BACKUP_FEATURE_*`.
    pub features: u64,
    /// The snapshot that comes; 0 in a package.
    pub to_guid: Guid,
    /// The snapshot it starts from, unless it is full.
    pub from_guid: Option<Guid>,
    /// When the snapshot was taken, seconds since 1970.
    pub creation_seconds: u64,
    /// The snapshot's name where it was sent, as text for people: bytes that
    /// are none, and control characters, are replaced.
    pub name: String,
}

/// Size of a name in the record, with its final zero.
const NAME_BYTES: usize = 256;

fn name(bytes: &[u8; NAME_BYTES]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    let text = String::from_utf8_lossy(&bytes[..end.unwrap_or(NAME_BYTES)]);
    text.replace(char::is_control, "\u{fffd}")
}

impl Record {
    /// Which type it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Begin(_) => Kind::Begin,
            Self::Object { .. } => Kind::Object,
            Self::FreeObjects { .. } => Kind::FreeObjects,
            Self::Write { .. } => Kind::Write,
            Self::Free { .. } => Kind::Free,
            Self::End { .. } => Kind::End,
            Self::WriteByRef { .. } => Kind::WriteByRef,
            Self::Spill { .. } => Kind::Spill,
            Self::WriteEmbedded { .. } => Kind::WriteEmbedded,
            Self::ObjectRange { .. } => Kind::ObjectRange,
            Self::Redact { .. } => Kind::Redact,
        }
    }

    /// Reads a header, and how many bytes of payload follow it.
    ///
    /// # Errors
    /// [`Damage`] if the type is unknown or a size is more than ZFS allows.
    pub(super) fn parse(bytes: &[u8; RECORD_BYTES], order: Order) -> Result<(Self, u64), Damage> {
        let at32 = |at| order.word32(u32::from_ne_bytes(field(bytes, at)));
        let at64 = |at| order.word64(u64::from_ne_bytes(field(bytes, at)));
        let number = at32(0);
        let kind = usize::try_from(number)
            .ok()
            .and_then(|number| KINDS.get(number).copied())
            .ok_or(Damage::RecordType(number))?;
        let bounded = |payload: u64, most: u64| {
            if payload <= most && payload.is_multiple_of(4) {
                Ok(payload)
            } else {
                Err(Damage::Payload {
                    kind,
                    bytes: payload,
                })
            }
        };
        let (object, offset) = (at64(8), at64(24));
        Ok(match kind {
            Kind::Begin => {
                let version = at64(16);
                let begin = Begin {
                    is_package: version & 3 == HEADER_PACKAGE,
                    features: (version >> 2) & ((1 << 56) - 1),
                    creation_seconds: at64(24),
                    to_guid: Guid(at64(40)),
                    from_guid: Some(Guid(at64(48))).filter(|guid| guid.0 != 0),
                    name: name(&field(bytes, 56)),
                };
                let most = if begin.is_package {
                    PACKAGE_PAYLOAD_BYTES_MAX
                } else {
                    BLOCK_BYTES_MAX
                };
                (
                    Self::Begin(Box::new(begin)),
                    bounded(u64::from(at32(4)), most)?,
                )
            }
            Kind::Object => {
                let (bonus, raw_bonus) = (at32(28), at32(36));
                let payload = match raw_bonus {
                    0 => u64::from(bonus).next_multiple_of(8),
                    raw => u64::from(raw),
                };
                let object = Self::Object {
                    object,
                    block_bytes: at32(24),
                    bonus_bytes: bonus,
                };
                (object, bounded(payload, BONUS_BYTES_MAX)?)
            }
            Kind::FreeObjects => {
                let count = at64(16);
                (
                    Self::FreeObjects {
                        first: object,
                        count,
                    },
                    0,
                )
            }
            Kind::Write => {
                let logical_bytes = at64(32);
                bounded(logical_bytes, BLOCK_BYTES_MAX)?;
                let compressed_bytes = (bytes[50] != 0).then(|| at64(96));
                let write = Self::Write {
                    object,
                    offset,
                    logical_bytes,
                    compressed_bytes,
                };
                let payload = compressed_bytes.unwrap_or(logical_bytes);
                (write, bounded(payload, logical_bytes)?)
            }
            Kind::Free => {
                let (offset, bytes) = (at64(16), at64(24));
                let free = Self::Free {
                    object,
                    offset,
                    bytes,
                };
                (free, 0)
            }
            Kind::End => {
                let sums = [8, 16, 24, 32].map(at64);
                (Self::End { sums }, 0)
            }
            Kind::WriteByRef => {
                let write = Self::WriteByRef {
                    object,
                    offset: at64(16),
                    logical_bytes: at64(24),
                };
                (write, 0)
            }
            Kind::Spill => {
                let (length, compressed) = (at64(16), at64(40));
                let payload = if compressed == 0 { length } else { compressed };
                let spill = Self::Spill {
                    object,
                    bytes: length,
                };
                (spill, bounded(payload, BLOCK_BYTES_MAX)?)
            }
            Kind::WriteEmbedded => {
                let write = Self::WriteEmbedded {
                    object,
                    offset: at64(16),
                    logical_bytes: at64(24),
                };
                let payload = u64::from(at32(52)).next_multiple_of(8);
                (write, bounded(payload, EMBEDDED_BYTES_MAX)?)
            }
            Kind::ObjectRange => {
                let slots = at64(16);
                (
                    Self::ObjectRange {
                        first: object,
                        slots,
                    },
                    0,
                )
            }
            Kind::Redact => {
                let redact = Self::Redact {
                    object,
                    offset: at64(16),
                    bytes: at64(24),
                };
                (redact, 0)
            }
        })
    }
}

/// `DMU_COMPOUNDSTREAM`.
const HEADER_PACKAGE: u64 = 2;
