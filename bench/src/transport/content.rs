//! What is carried: a send stream as ZFS would write it, over content of a
//! known kind.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;

/// Size of a record header, bytes.
const RECORD_BYTES: usize = 312;
/// Where a record's own checksum is.
const CHECKSUM_AT: usize = RECORD_BYTES - 32;
/// `DMU_BACKUP_MAGIC`.
const MAGIC: u64 = 0x2_f5ba_cbac;
/// The block size of a file system, bytes.
const BLOCK_BYTES: usize = 128 * 1024;
/// The guid of the snapshot in every stream here.
pub const GUID: u64 = 0x5eed;

/// `DMU_BACKUP_FEATURE_LZ4` and `DMU_BACKUP_FEATURE_COMPRESSED`.
const FEATURE_LZ4: u64 = 1 << 17;
const FEATURE_COMPRESSED: u64 = 1 << 22;
/// `ZIO_COMPRESS_LZ4`
const COMPRESS_LZ4: u8 = 15;

const BEGIN: u32 = 0;
const OBJECT: u32 = 1;
const WRITE: u32 = 3;
const END: u32 = 5;

/// What the blocks hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Noise: what is encrypted or was compressed before.
    Random,
    /// Words, as in logs and sources.
    Text,
    /// Blocks of noise and of words, in turn.
    Mix,
    /// Words that ZFS had compressed with LZ4, and sends so.
    Compressed,
    /// Zeros.
    Zeros,
}

impl Kind {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Text => "text",
            Self::Mix => "mix",
            Self::Compressed => "compressed",
            Self::Zeros => "zeros",
        }
    }
}

/// Writes a stream of `length` bytes, or a little more, to `path`; the same every
/// time. Returns its length, bytes.
pub fn write(path: &Path, kind: Kind, length: u64) -> Result<u64> {
    let file = std::fs::File::create(path).with_context(|| format!("{}", path.display()))?;
    let mut stream = Stream {
        out: BufWriter::with_capacity(1 << 20, file),
        sums: [0; 4],
        written: 0,
    };
    let mut begin = record(BEGIN);
    put64(&mut begin, 8, MAGIC);
    // DMU_SUBSTREAM, and the features above it.
    let features = match kind {
        Kind::Compressed => FEATURE_LZ4 | FEATURE_COMPRESSED,
        _ => 0,
    };
    put64(&mut begin, 16, 1 | features << 2);
    // DMU_OST_ZFS
    begin[32..36].copy_from_slice(&2u32.to_le_bytes());
    put64(&mut begin, 40, GUID);
    begin[56..71].copy_from_slice(b"tank/data@bench");
    stream.add(begin, &[])?;
    let mut object = record(OBJECT);
    put64(&mut object, 8, 2);
    object[24..28].copy_from_slice(&(BLOCK_BYTES as u32).to_le_bytes());
    put64(&mut object, 48, GUID);
    stream.add(object, &[])?;
    let mut content = Content::new(kind);
    let mut block = vec![0; BLOCK_BYTES];
    for n in 0.. {
        if stream.written >= length {
            break;
        }
        content.fill(&mut block, n);
        let mut write = record(WRITE);
        put64(&mut write, 8, 2);
        put64(&mut write, 24, n * BLOCK_BYTES as u64);
        put64(&mut write, 32, BLOCK_BYTES as u64);
        put64(&mut write, 40, GUID);
        if kind == Kind::Compressed {
            let coded = as_on_disk(&block);
            write[50] = COMPRESS_LZ4;
            put64(&mut write, 96, coded.len() as u64);
            stream.add(write, &coded)?;
        } else {
            stream.add(write, &block)?;
        }
    }
    let mut end = record(END);
    for (n, sum) in stream.sums.into_iter().enumerate() {
        put64(&mut end, 8 + 8 * n, sum);
    }
    put64(&mut end, 40, GUID);
    stream.add(end, &[])?;
    stream.out.flush()?;
    Ok(stream.written)
}

/// A block as `lz4_compress_zfs` leaves it: the length of what is coded before it,
/// whole sectors.
fn as_on_disk(block: &[u8]) -> Vec<u8> {
    let coded = lz4_flex::block::compress(block);
    let mut sectors = u32::try_from(coded.len())
        .expect("a block is short")
        .to_be_bytes()
        .to_vec();
    sectors.extend(coded);
    sectors.resize(sectors.len().next_multiple_of(512), 0);
    sectors
}

fn record(kind: u32) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..4].copy_from_slice(&kind.to_le_bytes());
    record
}

fn put64(record: &mut [u8; RECORD_BYTES], at: usize, value: u64) {
    record[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// A stream that is being written, with fletcher-4 over what there is.
struct Stream<W> {
    out: W,
    sums: [u64; 4],
    written: u64,
}

impl<W: Write> Stream<W> {
    fn add(&mut self, mut record: [u8; RECORD_BYTES], payload: &[u8]) -> Result<()> {
        self.sum(&record[..CHECKSUM_AT]);
        // BEGIN has none.
        if record[..4] != [0; 4] {
            for n in 0..4 {
                put64(&mut record, CHECKSUM_AT + 8 * n, self.sums[n]);
            }
        }
        self.sum(&record[CHECKSUM_AT..]);
        self.sum(payload);
        self.out.write_all(&record)?;
        self.out.write_all(payload)?;
        self.written += (record.len() + payload.len()) as u64;
        Ok(())
    }

    fn sum(&mut self, bytes: &[u8]) {
        let [mut a, mut b, mut c, mut d] = self.sums;
        for word in bytes.as_chunks::<4>().0 {
            a = a.wrapping_add(u64::from(u32::from_le_bytes(*word)));
            b = b.wrapping_add(a);
            c = c.wrapping_add(b);
            d = d.wrapping_add(c);
        }
        self.sums = [a, b, c, d];
    }
}

/// Content, block by block.
struct Content {
    kind: Kind,
    noise: blake3::OutputReader,
}

impl Content {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            noise: blake3::Hasher::new().finalize_xof(),
        }
    }

    fn fill(&mut self, block: &mut [u8], number: u64) {
        match self.kind {
            Kind::Random => self.noise.fill(block),
            Kind::Zeros => block.fill(0),
            Kind::Text | Kind::Compressed => self.words(block),
            Kind::Mix if number.is_multiple_of(2) => self.words(block),
            Kind::Mix => self.noise.fill(block),
        }
    }

    /// Words of a small vocabulary, the short ones more often: it shrinks about
    /// as logs do.
    fn words(&mut self, block: &mut [u8]) {
        const WORDS: [&str; 32] = [
            "the",
            "of",
            "and",
            "to",
            "in",
            "is",
            "was",
            "for",
            "zpool",
            "error",
            "info",
            "warn",
            "daemon",
            "request",
            "completed",
            "failed",
            "connection",
            "from",
            "192.168.0.",
            "timeout",
            "after",
            "retry",
            "session",
            "opened",
            "closed",
            "user",
            "root",
            "bytes",
            "written",
            "read",
            "checksum",
            "scrub",
        ];
        let mut choices = [0; 4096];
        let mut at = 0;
        while at < block.len() {
            self.noise.fill(&mut choices);
            for pair in choices.as_chunks::<2>().0 {
                let word = WORDS[usize::from(pair[0] & pair[0] >> 3) % WORDS.len()];
                let number = pair[1].to_string();
                let text = match pair[1] % 5 {
                    0 => [word, number.as_str(), "\n"],
                    1 => [word, number.as_str(), " "],
                    _ => [word, " ", ""],
                };
                for byte in text.iter().flat_map(|text| text.bytes()) {
                    if at < block.len() {
                        block[at] = byte;
                        at += 1;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::stream::record::BeginRecord;
    use engine::stream::scan::Scanner;

    use super::*;

    #[test]
    fn every_kind_is_a_stream_that_the_engine_takes_for_one() {
        let folder = tempfile::tempdir().unwrap();
        for kind in Kind::value_variants() {
            let path = folder.path().join(kind.name());
            let wanted = 20 * BLOCK_BYTES as u64;
            let length = write(&path, *kind, wanted).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!(bytes.len() as u64, length);
            assert!((wanted..wanted + 2 * BLOCK_BYTES as u64).contains(&length));
            let mut scanner = Scanner::default();
            scanner.check(&bytes).unwrap();
            let counts = scanner.finish().unwrap();
            let blocks = counts.logical_bytes / BLOCK_BYTES as u64;
            match kind {
                Kind::Compressed => assert!((40..100).contains(&blocks), "{blocks}"),
                _ => assert_eq!(blocks, 20),
            }
            let begin = BeginRecord::parse(bytes.first_chunk().unwrap()).unwrap();
            assert_eq!(begin.to_guid.0, GUID);
        }
    }

    #[test]
    fn kinds_shrink_as_they_should() {
        let folder = tempfile::tempdir().unwrap();
        let ratio = |kind: Kind| {
            let path = folder.path().join(kind.name());
            write(&path, kind, 2 << 20).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let coded = zstd::bulk::compress(&bytes, 1).unwrap();
            coded.len() as f64 / bytes.len() as f64
        };
        assert!(ratio(Kind::Random) > 0.99);
        assert!((0.15..0.5).contains(&ratio(Kind::Text)));
        assert!((0.5..0.75).contains(&ratio(Kind::Mix)));
        assert!((0.5..0.95).contains(&ratio(Kind::Compressed)));
        assert!(ratio(Kind::Zeros) < 0.01);
    }
}
