//! Send streams as lists of records, to be altered and sealed again.
//!
//! Layout after `dmu_replay_record_t` of OpenZFS' `sys/zfs_ioctl.h`, for
//! streams of this machine's byte order.

pub const RECORD_BYTES: usize = 312;
/// Where each record keeps the checksum over everything before it.
pub const SUM: usize = 280;

pub const BEGIN: u32 = 0;
pub const OBJECT: u32 = 1;
pub const FREEOBJECTS: u32 = 2;
pub const WRITE: u32 = 3;
pub const END: u32 = 5;
pub const SPILL: u32 = 7;
pub const WRITE_EMBEDDED: u32 = 8;
pub const OBJECT_RANGE: u32 = 9;
/// How many types there are.
pub const TYPES: u32 = 11;

/// Payloads of altered lengths are filled up to this.
const PAYLOAD_BYTES_MAX: u64 = 4 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub head: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Record {
    pub fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.head[at..at + 4].try_into().unwrap())
    }

    pub fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.head[at..at + 8].try_into().unwrap())
    }

    pub fn set_u32(&mut self, at: usize, value: u32) {
        self.head[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    pub fn set_u64(&mut self, at: usize, value: u64) {
        self.head[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    pub fn kind(&self) -> u32 {
        self.u32(0)
    }

    /// How much payload ZFS will look for after this record.
    pub fn declared_bytes(&self) -> u64 {
        let up_to_8 = |bytes: u32| (u64::from(bytes) + 7) & !7;
        match self.kind() {
            BEGIN => u64::from(self.u32(4)),
            OBJECT if self.u32(36) != 0 => u64::from(self.u32(36)),
            OBJECT => up_to_8(self.u32(28)),
            WRITE if self.head[50] != 0 => self.u64(96),
            WRITE => self.u64(32),
            SPILL if self.u64(40) != 0 => self.u64(40),
            SPILL => self.u64(16),
            WRITE_EMBEDDED => up_to_8(self.u32(52)),
            _ => 0,
        }
    }

    /// Gives it as much payload as it declares, unless that is absurd.
    pub fn fit(&mut self) {
        let declared = self.declared_bytes();
        if declared <= PAYLOAD_BYTES_MAX {
            self.payload
                .resize(usize::try_from(declared).unwrap(), 0xa5);
        }
    }
}

/// Takes a valid stream apart.
pub fn parse(mut stream: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while !stream.is_empty() {
        let (head, rest) = stream.split_at(RECORD_BYTES);
        let mut record = Record {
            head: head.to_vec(),
            payload: Vec::new(),
        };
        let bytes = usize::try_from(record.declared_bytes()).unwrap();
        let (payload, rest) = rest.split_at(bytes);
        record.payload = payload.to_vec();
        records.push(record);
        stream = rest;
    }
    records
}

/// Puts records together with checksums that ZFS finds right.
pub fn seal(records: &[Record]) -> Vec<u8> {
    let mut sum = Fletcher4::default();
    let mut stream = Vec::new();
    for record in records {
        let mut record = record.clone();
        if record.kind() == BEGIN {
            sum = Fletcher4::default();
        }
        if record.kind() == END {
            record.head[8..40].copy_from_slice(&sum.bytes());
        }
        sum.add(&record.head[..SUM]);
        if record.kind() != BEGIN {
            record.head[SUM..].copy_from_slice(&sum.bytes());
        }
        sum.add(&record.head[SUM..]);
        sum.add(&record.payload);
        stream.extend(&record.head);
        stream.extend(&record.payload);
    }
    stream
}

/// The checksum of streams: over words of 32 bits.
#[derive(Debug, Default, Clone, Copy)]
struct Fletcher4([u64; 4]);

impl Fletcher4 {
    fn add(&mut self, bytes: &[u8]) {
        for word in bytes.chunks_exact(4) {
            let word = u64::from(u32::from_le_bytes(word.try_into().unwrap()));
            let [a, b, c, d] = &mut self.0;
            *a = a.wrapping_add(word);
            *b = b.wrapping_add(*a);
            *c = c.wrapping_add(*b);
            *d = d.wrapping_add(*c);
        }
    }

    fn bytes(self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}
