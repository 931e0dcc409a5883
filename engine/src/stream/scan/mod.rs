//! A walk over a send stream, in pieces of any size, with ZFS's own checksum
//! verified on the way.
//!
//! A stream is a sequence of records of 312 bytes, each followed by its
//! payload. The checksum, fletcher-4, begins anew at BEGIN and runs over each
//! record up to its last 32 bytes, over those, and over the payload; every
//! record but BEGIN carries in its last 32 bytes what it is up to there, and
//! END carries what it is up to END. A package (`zfs send -R`, `-I`) is a
//! stream without records that describes it, then streams, then an END whose
//! checksum is zero. Reference: OpenZFS `module/zfs/dmu_send.c` `dump_record`,
//! `lib/libzfs/libzfs_sendrecv.c` `dump_filesystems`.

mod features;
mod fletcher;
mod record;
#[cfg(feature = "fuzzing")]
mod repair;

use std::ops::ControlFlow;

pub use features::feature_names;
use fletcher::Fletcher4;
pub use record::{Begin, KINDS, Kind, Record};
#[cfg(feature = "fuzzing")]
pub(crate) use repair::with_right_sums;

use super::record::{Order, RECORD_BYTES};

/// The description of a package lists all its datasets and snapshots.
const PACKAGE_PAYLOAD_BYTES_MAX: u64 = 1 << 30;
/// Where a record's own checksum is: its last bytes.
const CHECKSUM_AT: usize = RECORD_BYTES - 32;
/// `DMU_BACKUP_MAGIC`.
const MAGIC: u64 = 0x2_f5ba_cbac;

/// What is wrong with a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It does not begin like one.
    #[error("it does not begin with a ZFS BEGIN record")]
    NotAStream,
    /// A type that no version of ZFS has.
    #[error("a record has the unknown type {0}")]
    RecordType(u32),
    /// A payload larger than ZFS ever writes, or no whole number of words.
    #[error("a {} record announces a payload of {bytes} bytes", kind.name())]
    Payload {
        /// Of which type the record is.
        kind: Kind,
        /// Announced bytes.
        bytes: u64,
    },
    /// A record where none of its type can be.
    #[error("a {} record stands where none can be", .0.name())]
    OutOfPlace(Kind),
    /// The checksum in the stream is not the one of what arrived.
    #[error("the checksum of a {} record is wrong: it says {}, and what came has {}",
        kind.name(), sums_text(.said), sums_text(.found))]
    Checksum {
        /// Of which type the record is.
        kind: Kind,
        /// What the record says.
        said: [u64; 4],
        /// What was computed.
        found: [u64; 4],
    },
    /// Bytes after the end.
    #[error("it goes on after its end")]
    GoesOn,
    /// It stops before its end.
    #[error("it is cut off")]
    CutOff,
}

/// [`Damage`], and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stream is damaged at byte {at}, in record {record}: {damage}")]
pub struct ScanError {
    /// Bytes before the record, or before the end of what came.
    pub at: u64,
    /// Records before it.
    pub record: u64,
    /// What is wrong.
    pub damage: Damage,
}

/// As `zstream dump` writes a checksum.
#[must_use]
pub fn sums_text(sums: &[u64; 4]) -> String {
    let [a, b, c, d] = sums;
    format!("{a:x}/{b:x}/{c:x}/{d:x}")
}

/// How many records and bytes of payload there were of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Records.
    pub records: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
}

/// What a stream, or the part that came so far, consists of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// By kind, in the order of [`KINDS`].
    by_kind: [Count; KINDS.len()],
    /// Bytes of blocks as programs see them.
    pub logical_bytes: u64,
    /// All bytes of the stream.
    pub stream_bytes: u64,
}

impl Counts {
    /// Records and payload of one kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Count {
        self.by_kind[kind as usize]
    }

    /// Records of all kinds.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.by_kind.iter().map(|count| count.records).sum()
    }

    /// Payload of all kinds, bytes.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        self.by_kind.iter().map(|count| count.payload_bytes).sum()
    }
}

/// Where in the stream the next byte belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a header, of which so many bytes are there.
    Header(usize),
    /// In a payload, of which so many bytes are missing.
    Payload(u64),
}

/// In what the next record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// Nothing has come.
    Before,
    /// A stream: between BEGIN and END.
    Stream,
    /// The description of a package.
    Description,
    /// Between the streams of a package.
    Package,
    /// The end has come.
    After,
}

/// Walks over a stream. Memory: one record header.
#[derive(Debug, Clone)]
pub struct Scanner {
    place: Place,
    level: Level,
    in_package: bool,
    order: Order,
    header: [u8; RECORD_BYTES],
    /// Bytes of a word of payload whose rest has not come.
    word: ([u8; 4], usize),
    checksum: Fletcher4,
    counts: Counts,
    record_at: u64,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            place: Place::Header(0),
            level: Level::Before,
            in_package: false,
            order: Order::Native,
            header: [0; RECORD_BYTES],
            word: ([0; 4], 0),
            checksum: Fletcher4::default(),
            counts: Counts::default(),
            record_at: 0,
        }
    }
}

impl Scanner {
    /// What has come so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// True once the stream, or the package, has come to its end.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.level == Level::After
    }

    /// Goes on with `bytes`. `seen` is told of every record whose header is
    /// complete and right, before its payload comes; it may end the walk.
    ///
    /// # Errors
    /// [`ScanError`] at the first damage. The scanner is of no use after that.
    pub fn feed<B>(
        &mut self,
        mut bytes: &[u8],
        mut seen: impl FnMut(&Record) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, ScanError> {
        while !bytes.is_empty() {
            match self.place {
                Place::Header(have) => {
                    if self.level == Level::After {
                        return Err(self.damaged(Damage::GoesOn));
                    }
                    let take = bytes.len().min(RECORD_BYTES - have);
                    let (now, later) = bytes.split_at(take);
                    self.header[have..have + take].copy_from_slice(now);
                    self.counts.stream_bytes += take as u64;
                    bytes = later;
                    self.place = Place::Header(have + take);
                    if have + take == RECORD_BYTES {
                        let record = self.record().map_err(|damage| self.damaged(damage))?;
                        if let ControlFlow::Break(stop) = seen(&record) {
                            return Ok(ControlFlow::Break(stop));
                        }
                    }
                }
                Place::Payload(missing) => {
                    let most = usize::try_from(missing).unwrap_or(usize::MAX);
                    let (now, later) = bytes.split_at(bytes.len().min(most));
                    self.add_payload(now);
                    self.counts.stream_bytes += now.len() as u64;
                    bytes = later;
                    self.expect(missing - now.len() as u64);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Goes on with `bytes`, which nobody else looks at.
    ///
    /// # Errors
    /// As [`feed`](Self::feed).
    pub fn check(&mut self, bytes: &[u8]) -> Result<(), ScanError> {
        let walked = self.feed(bytes, |_| {
            ControlFlow::<std::convert::Infallible>::Continue(())
        })?;
        match walked {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(never) => match never {},
        }
    }

    /// Nothing more comes.
    ///
    /// # Errors
    /// [`Damage::CutOff`] if the end has not come; [`Damage::NotAStream`] if
    /// nothing has.
    pub fn finish(&self) -> Result<Counts, ScanError> {
        match self.level {
            Level::After => Ok(self.counts),
            Level::Before => Err(self.damaged(Damage::NotAStream)),
            _ => Err(ScanError {
                at: self.counts.stream_bytes,
                ..self.damaged(Damage::CutOff)
            }),
        }
    }

    fn damaged(&self, damage: Damage) -> ScanError {
        ScanError {
            at: self.record_at,
            record: self.counts.records(),
            damage,
        }
    }

    /// So many bytes of payload come next.
    fn expect(&mut self, payload: u64) {
        self.place = match payload {
            0 => {
                self.record_at = self.counts.stream_bytes;
                Place::Header(0)
            }
            bytes => Place::Payload(bytes),
        };
    }

    /// Takes a complete header.
    fn record(&mut self) -> Result<Record, Damage> {
        let is_begin = matches!(self.level, Level::Before | Level::Package);
        let magic = self.header.first_chunk::<16>().map(|head| {
            let [_, magic] = head.as_chunks::<8>().0 else {
                return 0;
            };
            u64::from_ne_bytes(*magic)
        });
        if is_begin && magic == Some(MAGIC) {
            self.order = Order::Native;
        } else if is_begin && magic == Some(MAGIC.swap_bytes()) {
            self.order = Order::Swapped;
        } else if self.level == Level::Before {
            return Err(Damage::NotAStream);
        }
        let (record, payload) = Record::parse(&self.header, self.order)?;
        self.check_place(&record)?;
        self.check_sums(&record)?;
        let count = &mut self.counts.by_kind[record.kind() as usize];
        count.records += 1;
        count.payload_bytes += payload;
        if let Record::Write { logical_bytes, .. } | Record::WriteEmbedded { logical_bytes, .. } =
            record
        {
            let all = &mut self.counts.logical_bytes;
            *all = all.saturating_add(logical_bytes);
        }
        self.expect(payload);
        Ok(record)
    }

    /// Whether the record may come now, and what may come after it.
    fn check_place(&mut self, record: &Record) -> Result<(), Damage> {
        let wrong = Err(Damage::OutOfPlace(record.kind()));
        self.level = match (self.level, record) {
            (Level::Before, Record::Begin(begin)) if begin.is_package => {
                self.in_package = true;
                Level::Description
            }
            (Level::Before, Record::Begin(_)) => Level::Stream,
            (Level::Package, Record::Begin(begin)) if !begin.is_package => Level::Stream,
            (Level::Description, Record::End { .. }) => Level::Package,
            (Level::Package, Record::End { .. }) => Level::After,
            (Level::Stream, Record::End { .. }) if self.in_package => Level::Package,
            (Level::Stream, Record::End { .. }) => Level::After,
            (_, Record::Begin(_)) => return wrong,
            (Level::Stream, _) => Level::Stream,
            _ => return wrong,
        };
        Ok(())
    }

    fn check_sums(&mut self, record: &Record) -> Result<(), Damage> {
        let kind = record.kind();
        if kind == Kind::Begin {
            self.checksum = Fletcher4::default();
        } else if self.level == Level::After && self.in_package {
            // The end of a package is not counted, and says zero.
            self.checksum = Fletcher4::default();
        }
        if let Record::End { sums } = record {
            self.compare(kind, *sums)?;
        }
        let (before, own) = self.header.split_at(CHECKSUM_AT);
        self.checksum.update(before, self.order);
        let (words, _) = own.as_chunks::<8>();
        let said = std::array::from_fn(|n| self.order.word64(u64::from_ne_bytes(words[n])));
        // Versions before 2014 left it zero.
        if kind != Kind::Begin && said != [0; 4] {
            self.compare(kind, said)?;
        }
        self.checksum.update(own, self.order);
        Ok(())
    }

    fn compare(&self, kind: Kind, said: [u64; 4]) -> Result<(), Damage> {
        let found = self.checksum.sums;
        if said == found {
            return Ok(());
        }
        Err(Damage::Checksum { kind, said, found })
    }

    /// Sums up payload that is cut anywhere; payloads are whole words.
    fn add_payload(&mut self, mut bytes: &[u8]) {
        let (word, have) = &mut self.word;
        if *have > 0 {
            let take = bytes.len().min(4 - *have);
            word[*have..*have + take].copy_from_slice(&bytes[..take]);
            *have += take;
            bytes = &bytes[take..];
            if *have < 4 {
                return;
            }
            self.checksum.update(&*word, self.order);
            *have = 0;
        }
        let (whole, rest) = bytes.split_at(bytes.len() & !3);
        self.checksum.update(whole, self.order);
        word[..rest.len()].copy_from_slice(rest);
        *have = rest.len();
    }
}

#[cfg(test)]
mod tests;
