//! Seeded test data: the same seed makes the same bytes on every machine.
//!
//! A mix as file systems hold it: text that compresses, random bytes that do
//! not, and many small files. It is made here and travels to a guest as a tar
//! archive, so the guest needs no generator.

use std::time::Duration;

/// Bytes of one file of the small ones, at most.
const SMALL_BYTES_MAX: u64 = 4000;

const TAR_BLOCK_BYTES: usize = 512;

/// Which data, and how much.
#[derive(Clone, Copy, Debug)]
pub struct Data {
    /// What makes its bytes.
    pub seed: u64,
    /// All files together, about.
    pub bytes: usize,
}

impl Data {
    /// Time that a guest may take to store it: 1 MiB per second and some more.
    pub fn time_limit(&self) -> Duration {
        Duration::from_secs(120 + (self.bytes >> 20) as u64)
    }

    /// Only random bytes, exactly as many as said.
    pub fn random(&self) -> Vec<u8> {
        Generator(self.seed).bytes(self.bytes)
    }

    /// All files as an archive.
    pub(crate) fn tar(&self) -> Vec<u8> {
        let mut generator = Generator(self.seed);
        let mut archive = Archive::default();
        archive.file("text", &generator.text(self.bytes * 2 / 5));
        archive.file("random", &generator.bytes(self.bytes / 2));
        let mut left = self.bytes / 10;
        let mut number = 0;
        while left > 0 {
            let size = (generator.next() % SMALL_BYTES_MAX) as usize + 1;
            let size = size.min(left);
            archive.file(
                &format!("small/{}/{number}", number % 8),
                &generator.bytes(size),
            );
            left -= size;
            number += 1;
        }
        archive.file("small/empty", b"");
        archive.finish()
    }
}

/// SplitMix64: any seed will do, and it is fast enough not to matter.
struct Generator(u64);

impl Generator {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }

    fn text(&mut self, count: usize) -> Vec<u8> {
        const WORDS: [&str; 16] = [
            "pool", "dataset", "snapshot", "bookmark", "stream", "record", "block", "pointer",
            "source", "target", "resume", "token", "of", "the", "and", "\n",
        ];
        let mut text = Vec::with_capacity(count + 16);
        while text.len() < count {
            let number = self.next();
            for shift in (0..64).step_by(4) {
                text.extend_from_slice(WORDS[(number >> shift) as usize % WORDS.len()].as_bytes());
                text.push(b' ');
            }
        }
        text.truncate(count);
        text
    }
}

/// A POSIX ustar archive of plain files.
#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    fn file(&mut self, name: &str, contents: &[u8]) {
        let mut header = [0_u8; TAR_BLOCK_BYTES];
        let mut field = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        field(0, name.as_bytes());
        field(100, b"0000644\0");
        field(108, b"0000000\0");
        field(116, b"0000000\0");
        field(124, format!("{:011o}\0", contents.len()).as_bytes());
        // Any fixed time: the same data is the same archive.
        field(136, format!("{:011o}\0", 1_700_000_000).as_bytes());
        field(148, b"        ");
        field(156, b"0");
        field(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(contents);
        self.0
            .resize(self.0.len().next_multiple_of(TAR_BLOCK_BYTES), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * TAR_BLOCK_BYTES, 0);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_one_that_tar_reads() {
        let data = Data {
            seed: 7,
            bytes: 100_000,
        };
        let mut child = std::process::Command::new("tar")
            .args(["-tvf", "-"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, &data.tar()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let list = String::from_utf8(output.stdout).unwrap();
        let bytes: usize = list
            .lines()
            .filter_map(|l| l.split_whitespace().nth(2)?.parse::<usize>().ok())
            .sum();
        assert_eq!(bytes, data.bytes);
    }

    #[test]
    fn another_seed_makes_other_bytes_of_the_same_size() {
        let (one, two) = (
            Data {
                seed: 1,
                bytes: 999,
            },
            Data {
                seed: 2,
                bytes: 999,
            },
        );
        assert_eq!(one.random(), one.random());
        assert_ne!(one.random(), two.random());
        assert_eq!(two.random().len(), 999);
    }
}
