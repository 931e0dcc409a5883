//! Whether and how hard to compress: decided frame by frame.
//!
//! On a link faster than the processor, compression only costs; on a slow one
//! it multiplies the rate. So frames start stored, and the level rises while
//! frames wait for the link and falls while the link waits for frames. Data
//! that does not shrink is left alone for a while.

use super::frame::Codec;

/// zstd levels from cheap to thorough; index 0 is "stored".
const LEVELS: [i32; 3] = [-3, 1, 3];
/// A frame that keeps more than this share of its size is not worth decoding.
const WORTH_KEEPING_PERCENT: usize = 94;
/// After data that does not shrink, at most this many frames go uncompressed
/// before the next attempt.
const PAUSE_FRAMES_MAX: u32 = 32;

/// Whether the link kept up with the last frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// The queue to the link has room: the link waits for us.
    Waiting,
    /// The queue is full: we wait for the link.
    Full,
}

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As this module's text says.
    #[default]
    Adaptive,
    /// Never.
    Off,
}

/// The state of the decision, and the zstd context it reuses.
pub struct Compressor {
    compression: Compression,
    /// 0: stored; n: `LEVELS[n - 1]`.
    effort: usize,
    pause_frames: u32,
    pause_length_frames: u32,
    context: Option<(i32, zstd::bulk::Compressor<'static>)>,
    coded: Vec<u8>,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor")
            .field("effort", &self.effort)
            .finish_non_exhaustive()
    }
}

impl Compressor {
    /// Starts with stored frames.
    #[must_use]
    pub fn new(compression: Compression) -> Self {
        Self {
            compression,
            effort: 0,
            pause_frames: 0,
            pause_length_frames: 1,
            context: None,
            coded: Vec::new(),
        }
    }

    /// Codes one block: the codec and the bytes to send.
    pub fn code<'a>(&'a mut self, raw: &'a [u8], link: Link) -> (Codec, &'a [u8]) {
        self.effort = match (self.compression, link) {
            (Compression::Off, _) => 0,
            (Compression::Adaptive, Link::Full) => (self.effort + 1).min(LEVELS.len()),
            (Compression::Adaptive, Link::Waiting) => self.effort.saturating_sub(1),
        };
        if self.effort == 0 {
            return (Codec::Stored, raw);
        }
        if self.pause_frames > 0 {
            self.pause_frames -= 1;
            return (Codec::Stored, raw);
        }
        if self.compress(raw) {
            self.pause_length_frames = 1;
            return (Codec::Zstd, &self.coded);
        }
        self.pause_frames = self.pause_length_frames;
        self.pause_length_frames = (self.pause_length_frames * 2).min(PAUSE_FRAMES_MAX);
        (Codec::Stored, raw)
    }

    /// True if `self.coded` holds a form of `raw` that is worth sending.
    fn compress(&mut self, raw: &[u8]) -> bool {
        let level = LEVELS[self.effort - 1];
        if self
            .context
            .as_ref()
            .is_none_or(|(current, _)| *current != level)
        {
            // Without a context the frame travels stored: slower, never wrong.
            self.context = zstd::bulk::Compressor::new(level)
                .ok()
                .map(|context| (level, context));
        }
        let Some((_, context)) = &mut self.context else {
            return false;
        };
        self.coded.clear();
        self.coded
            .reserve(zstd::zstd_safe::compress_bound(raw.len()));
        let worth_bytes = raw.len() / 100 * WORTH_KEEPING_PERCENT;
        context
            .compress_to_buffer(raw, &mut self.coded)
            .is_ok_and(|coded| coded < worth_bytes)
    }
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

    #[test]
    fn a_fast_link_gets_stored_frames() {
        let mut compressor = Compressor::new(Compression::Adaptive);
        let text = vec![b'a'; 4096];
        for _ in 0..10 {
            assert_eq!(compressor.code(&text, Link::Waiting).0, Codec::Stored);
        }
    }

    #[test]
    fn a_slow_link_gets_compressed_frames_until_it_keeps_up() {
        let mut compressor = Compressor::new(Compression::Adaptive);
        let text = vec![b'a'; 4096];
        for _ in 0..5 {
            assert_eq!(compressor.code(&text, Link::Full).0, Codec::Zstd);
        }
        let codecs: Vec<_> = (0..4)
            .map(|_| compressor.code(&text, Link::Waiting).0)
            .collect();
        assert_eq!(codecs.last(), Some(&Codec::Stored));
    }

    #[test]
    fn data_that_does_not_shrink_is_tried_ever_more_rarely() {
        let mut compressor = Compressor::new(Compression::Adaptive);
        let noise = noise(1 << 16);
        for _ in 0..100 {
            let (codec, bytes) = compressor.code(&noise, Link::Full);
            assert_eq!(codec, Codec::Stored);
            assert_eq!(bytes.len(), noise.len());
        }
        assert_eq!(compressor.pause_length_frames, PAUSE_FRAMES_MAX);
    }

    #[test]
    fn off_means_off() {
        let mut compressor = Compressor::new(Compression::Off);
        assert_eq!(compressor.code(&[b'a'; 4096], Link::Full).0, Codec::Stored);
    }
}
