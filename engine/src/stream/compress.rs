//! Blocks with zstd, at the level that they are given (`levels` knows it).
//!
//! Data that does not shrink is noticed before it is compressed, by the bytes
//! that occur in a sample of it.

use serde::{Deserialize, Serialize};

/// A frame that keeps more than this share of its size is not worth decoding.
const WORTH_KEEPING_PERCENT: usize = 94;
/// Levels of zstd that may be asked for. Lower ones save next to nothing, and
/// higher ones take more memory than a frame is worth.
pub const LEVEL_MIN: i32 = -7;
/// See [`LEVEL_MIN`].
pub const LEVEL_MAX: i32 = 19;

/// Of each so many bytes this many are looked at.
const SAMPLE_EVERY_BYTES: usize = 64 * 1024;
const SAMPLE_BYTES: usize = 4 * 1024;
/// Samples with more bits per byte than this do not shrink. Encrypted and
/// compressed data has 7.98 or more in a sample of 64 KiB.
const HOPELESS_BITS: f64 = 7.97;

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// What is fastest, as [`super::tuner`] finds out.
    #[default]
    Adaptive,
    /// Never.
    Off,
    /// Always at this level of zstd, from [`LEVEL_MIN`] to [`LEVEL_MAX`]; what
    /// does not shrink is stored all the same.
    Level(i32),
}

impl Compression {
    /// The same where both ends are on one machine. Nothing there is slower than
    /// a processor that compresses, so that nothing has to be found out.
    #[must_use]
    pub fn on_one_machine(self) -> Self {
        match self {
            Self::Adaptive => Self::Off,
            said => said,
        }
    }
}

/// A zstd context that is used again. Each thread that compresses has its own.
#[derive(Default)]
pub struct Compressor {
    /// With the level it is set to.
    context: Option<(i32, zstd::bulk::Compressor<'static>)>,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

impl Compressor {
    /// Codes a block into `into` at `level`: the number of bytes, or `None` if
    /// it is to be stored, since it does not shrink. `into` has room for `raw`.
    pub fn code(&mut self, level: i32, raw: &[u8], into: &mut [u8]) -> Option<usize> {
        if is_hopeless(raw) {
            return None;
        }
        self.compress(level.clamp(LEVEL_MIN, LEVEL_MAX), raw, into)
    }

    fn compress(&mut self, level: i32, raw: &[u8], into: &mut [u8]) -> Option<usize> {
        // Without a context the block travels stored: slower, never wrong.
        match &mut self.context {
            Some((current, _)) if *current == level => {}
            Some((current, context)) => {
                context.set_compression_level(level).ok()?;
                *current = level;
            }
            None => {
                let context = zstd::bulk::Compressor::new(level).ok()?;
                self.context = Some((level, context));
            }
        }
        let (_, context) = self.context.as_mut()?;
        // Where it does not fit it is not worth keeping.
        let room = into.len().min(raw.len() / 100 * WORTH_KEEPING_PERCENT);
        context.compress_to_buffer(raw, &mut into[..room]).ok()
    }
}

/// True if `raw` looks like noise: compressed before, or encrypted.
fn is_hopeless(raw: &[u8]) -> bool {
    if raw.len() < SAMPLE_EVERY_BYTES {
        return false;
    }
    // Four tables, since a processor waits for a count it has just changed.
    let mut counts = [[0u32; 256]; 4];
    let mut sampled = 0u32;
    for part in raw.chunks(SAMPLE_EVERY_BYTES) {
        let (quads, _) = part[..part.len().min(SAMPLE_BYTES)].as_chunks::<4>();
        for quad in quads {
            for (count, byte) in counts.iter_mut().zip(quad) {
                count[usize::from(*byte)] += 1;
            }
        }
        sampled += u32::try_from(quads.len() * 4).expect("a sample is small");
    }
    let all = f64::from(sampled);
    let bits: f64 = (0..256)
        .map(|byte| f64::from(counts.iter().map(|count| count[byte]).sum::<u32>()))
        .filter(|count| *count > 0.0)
        .map(|count| count / all * (all / count).log2())
        .sum();
    // A small sample of noise is less even than noise.
    bits > HOPELESS_BITS - 256.0 / all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut reader = blake3::Hasher::new().finalize_xof();
        let mut out = vec![0; length];
        reader.fill(&mut out);
        out
    }

    fn text(length: usize) -> Vec<u8> {
        let words = b"any words will do as long as they come again and again ";
        words.iter().copied().cycle().take(length).collect()
    }

    #[test]
    fn what_was_coded_at_any_level_comes_back() {
        let raw = text(1 << 20);
        let mut into = vec![0; raw.len()];
        for level in [LEVEL_MIN, 1, LEVEL_MAX, 1000] {
            let mut compressor = Compressor::default();
            let coded = compressor.code(level, &raw, &mut into).unwrap();
            let back = zstd::bulk::decompress(&into[..coded], raw.len()).unwrap();
            assert_eq!(back, raw);
        }
    }

    #[test]
    fn noise_is_noticed_before_it_is_compressed_and_nothing_else_is_taken_for_it() {
        for bytes in [SAMPLE_EVERY_BYTES, 300_000, 1 << 20] {
            assert!(is_hopeless(&noise(bytes)), "{bytes}");
        }
        assert!(!is_hopeless(&text(1 << 20)));
        // Half of it is worth the while.
        let mixed: Vec<u8> = noise(1 << 20)
            .chunks(128 * 1024)
            .zip(text(1 << 20).chunks(128 * 1024))
            .enumerate()
            .flat_map(|(n, (noise, text))| if n % 2 == 0 { noise } else { text }.to_vec())
            .collect();
        assert!(!is_hopeless(&mixed));
        // As is anything with seven and a half bits per byte.
        let narrow: Vec<u8> = noise(1 << 20).iter().map(|byte| byte % 182).collect();
        assert!(!is_hopeless(&narrow));
    }

    #[test]
    fn what_does_not_shrink_is_stored() {
        let raw: Vec<u8> = noise(60_000);
        let mut into = vec![0; raw.len()];
        let mut compressor = Compressor::default();
        assert_eq!(compressor.code(3, &raw, &mut into), None);
    }
}
