//! Frames out of any bytes: such that their hash, which no luck finds, is right
//! as often as it is wrong.

use arbitrary::{Arbitrary, Unstructured};

use crate::stream::frame::{DATA_BYTES_MAX, HEADER_BYTES, Header};
use crate::stream::outbound::{Digest, StreamEnd};

/// The transfer that all frames but strangers belong to.
pub(super) const TRANSFER: u64 = 3;
/// Most frames of one input.
const PIECES_MAX: usize = 8;

/// One frame.
#[derive(Debug, Arbitrary)]
pub(super) struct Piece {
    kind: u8,
    is_zstd: bool,
    /// Distance from the number that is due.
    off: i8,
    is_stranger: bool,
    announced: Announced,
    hash: Hash,
    pub payload: Vec<u8>,
}

#[derive(Debug, Arbitrary)]
enum Announced {
    Right,
    Other(u32),
}

#[derive(Debug, Arbitrary)]
enum Hash {
    Right,
    OfCoded,
    Other(u8),
}

pub(super) fn pieces(data: &[u8]) -> Vec<Piece> {
    let mut input = Unstructured::new(data);
    let mut pieces = Vec::new();
    while pieces.len() < PIECES_MAX && !input.is_empty() {
        let Ok(piece) = Piece::arbitrary(&mut input) else {
            break;
        };
        pieces.push(piece);
    }
    pieces
}

impl Piece {
    /// As it travels after what has `arrived`.
    pub(super) fn wire(&self, arrived: &Arrived) -> Vec<u8> {
        let is_end = self.kind % 4 == 3;
        let end = serde_json::to_vec(&arrived.end()).unwrap_or_default();
        let coded = match (is_end, &self.hash) {
            (true, Hash::Right) => &end,
            _ => &self.payload,
        };
        let raw = match self.is_zstd && !is_end {
            true => zstd::bulk::decompress(coded, DATA_BYTES_MAX).unwrap_or_default(),
            false => coded.clone(),
        };
        let announced = match self.announced {
            Announced::Right => u32::try_from(raw.len()).unwrap_or(u32::MAX),
            Announced::Other(bytes) => bytes,
        };
        let mut hash = *match self.hash {
            Hash::OfCoded => blake3::hash(coded),
            _ => blake3::hash(&raw),
        }
        .as_bytes();
        if let Hash::Other(changed) = self.hash {
            hash[usize::from(changed) % 32] ^= changed | 1;
        }
        let mut wire = vec![0; HEADER_BYTES];
        wire[..4].copy_from_slice(b"zfry");
        wire[4] = 1;
        wire[5] = if is_end { 3 } else { 2 };
        wire[6] = u8::from(self.is_zstd && !is_end);
        let sequence = arrived
            .0
            .end()
            .frames
            .wrapping_add_signed(i64::from(self.off));
        wire[8..16].copy_from_slice(&sequence.to_le_bytes());
        wire[16..20].copy_from_slice(&announced.to_le_bytes());
        let coded_bytes = u32::try_from(coded.len()).unwrap_or(u32::MAX);
        wire[20..24].copy_from_slice(&coded_bytes.to_le_bytes());
        let transfer = TRANSFER + u64::from(self.is_stranger);
        wire[24..32].copy_from_slice(&transfer.to_le_bytes());
        wire[32..].copy_from_slice(&hash);
        wire.extend_from_slice(coded);
        wire
    }
}

/// What was let through.
#[derive(Debug, Default)]
pub(super) struct Arrived(Digest);

impl Arrived {
    pub(super) fn add(&mut self, header: &Header) {
        self.0.add(header);
    }

    pub(super) fn end(&self) -> StreamEnd {
        self.0.end()
    }
}
