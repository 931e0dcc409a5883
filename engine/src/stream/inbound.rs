//! From frames back to the bytes of the stream, checked.
//!
//! [`Inbound`] does it frame by frame. Verifying and decompressing
//! ([`Unpacker`]) may also be done of several frames at the same time: their
//! places are checked as they arrive, and the digest follows in their order.

use bytes::Bytes;

use super::frame::{Codec, Frame, FrameError, Header, Kind};
use super::outbound::{Digest, StreamEnd};
use super::pool::Pool;

/// Decompresses and verifies blocks. Each stands for itself here: several may
/// work on the frames of one transfer, in any order.
pub struct Unpacker {
    context: zstd::bulk::Decompressor<'static>,
    /// For what is decompressed.
    pool: Pool,
}

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacker").finish_non_exhaustive()
    }
}

impl Unpacker {
    /// Unpacks into buffers of `pool`.
    ///
    /// # Errors
    /// If zstd cannot allocate its context.
    pub fn new(pool: &Pool) -> std::io::Result<Self> {
        Ok(Self {
            context: zstd::bulk::Decompressor::new()?,
            pool: pool.clone(),
        })
    }

    /// The bytes of a data frame; without a copy if it was stored.
    ///
    /// # Errors
    /// [`FrameError`] if it is damaged.
    pub fn unpack(&mut self, frame: &Frame) -> Result<Bytes, FrameError> {
        let header = &frame.header;
        let raw = match header.codec {
            Codec::Stored => frame.payload_bytes(),
            Codec::Zstd => {
                let wrong = FrameError::Codec(header.sequence);
                let mut raw = self.pool.take();
                let Some(room) = raw.get_mut(..header.raw_bytes) else {
                    return Err(wrong);
                };
                match self.context.decompress_to_buffer(frame.payload(), room) {
                    Ok(length) if length == header.raw_bytes => raw.into_bytes(length),
                    _ => return Err(wrong),
                }
            }
        };
        if blake3::hash(&raw).as_bytes() != &header.hash {
            return Err(FrameError::Hash(header.sequence));
        }
        Ok(raw)
    }
}

/// Checks and decodes the frames of one transfer.
#[derive(Debug)]
pub struct Inbound {
    transfer: u64,
    /// Of the frame that is due.
    sequence: u64,
    digest: Digest,
    unpacker: Unpacker,
}

impl Inbound {
    /// Expects the frames of transfer number `transfer`.
    ///
    /// # Errors
    /// If zstd cannot allocate its context.
    pub fn new(transfer: u64, pool: &Pool) -> std::io::Result<Self> {
        Ok(Self {
            transfer,
            sequence: 0,
            digest: Digest::default(),
            unpacker: Unpacker::new(pool)?,
        })
    }

    /// The bytes of the next data frame; without a copy if it was stored.
    ///
    /// # Errors
    /// [`FrameError`] if it is out of order, damaged, or not a data frame.
    pub fn data(&mut self, frame: &Frame) -> Result<Bytes, FrameError> {
        self.check_place(frame, Kind::Data)?;
        let raw = self.unpacker.unpack(frame)?;
        self.sequence += 1;
        self.digest.add(&frame.header);
        Ok(raw)
    }

    /// The next data frame is here, and is unpacked elsewhere.
    ///
    /// # Errors
    /// [`FrameError`] if it is out of order or not a data frame.
    pub fn arrived(&mut self, frame: &Frame) -> Result<(), FrameError> {
        self.check_place(frame, Kind::Data)?;
        self.sequence += 1;
        Ok(())
    }

    /// The frame with this header was unpacked elsewhere, and found whole. In
    /// the order in which frames have arrived.
    pub fn verified(&mut self, header: &Header) {
        self.digest.add(header);
    }

    /// Compares the end frame with what arrived.
    ///
    /// # Errors
    /// [`FrameError::Digest`] if anything is missing or different.
    pub fn end(&self, frame: &Frame) -> Result<StreamEnd, FrameError> {
        self.check_place(frame, Kind::End)?;
        let claimed: StreamEnd = serde_json::from_slice(frame.verified_payload()?)
            .map_err(|_| FrameError::Digest("the end frame is malformed"))?;
        let arrived = self.digest.end();
        if claimed.frames != arrived.frames || claimed.raw_bytes != arrived.raw_bytes {
            return Err(FrameError::Digest("length"));
        }
        if claimed.digest != arrived.digest {
            return Err(FrameError::Digest("content"));
        }
        Ok(arrived)
    }

    fn check_place(&self, frame: &Frame, kind: Kind) -> Result<(), FrameError> {
        let header = &frame.header;
        if header.kind != kind {
            return Err(FrameError::Unexpected(header.kind));
        }
        if header.transfer != self.transfer {
            return Err(FrameError::Transfer {
                expected: self.transfer,
                got: header.transfer,
            });
        }
        if header.sequence != self.sequence {
            return Err(FrameError::Order {
                expected: self.sequence,
                got: header.sequence,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::compress::Compression;
    use crate::stream::outbound::Outbound;

    fn blocks() -> Vec<Vec<u8>> {
        (0..6u8).map(|n| vec![n; 1000 + usize::from(n)]).collect()
    }

    fn framed(compression: Compression) -> (Vec<Frame>, Frame) {
        let mut outbound = Outbound::new(3, compression, &Pool::default());
        let frames = blocks().iter().map(|block| outbound.data(block)).collect();
        (frames, outbound.end())
    }

    #[test]
    fn what_went_out_comes_in_stored_or_compressed() {
        for (compression, codec) in [
            (Compression::Off, Codec::Stored),
            (Compression::Level(1), Codec::Zstd),
        ] {
            let (frames, end) = framed(compression);
            assert_eq!(frames[0].header.codec, codec);
            let mut inbound = Inbound::new(3, &Pool::default()).unwrap();
            for (frame, block) in frames.iter().zip(blocks()) {
                assert_eq!(inbound.data(frame).unwrap(), block);
            }
            assert_eq!(inbound.end(&end).unwrap().frames, 6);
        }
    }

    #[test]
    fn what_compression_came_to_is_read_leniently_and_never_fails_a_stream() {
        let outbound = Outbound::new(3, Compression::Adaptive, &Pool::default());
        assert!(StreamEnd::came_to(&outbound.end()).is_some());
        let end = StreamEnd {
            came_to: Some(Compression::Level(i32::MAX)),
            ..Digest::default().end()
        };
        let text = serde_json::to_string(&end).unwrap();
        for (told, came_to) in [
            (text.clone(), end.came_to),
            (text.replace("level", "dictionary"), None),
        ] {
            let frame = Frame::stored(Kind::End, 3, 0, told.as_bytes());
            assert_eq!(StreamEnd::came_to(&frame), came_to, "{told}");
            let inbound = Inbound::new(3, &Pool::default()).unwrap();
            inbound.end(&frame).unwrap();
        }
    }

    #[test]
    fn a_missing_doubled_or_exchanged_frame_is_refused() {
        let (frames, end) = framed(Compression::Off);
        for order in [vec![0, 2], vec![0, 0], vec![1]] {
            let mut inbound = Inbound::new(3, &Pool::default()).unwrap();
            let result: Result<(), FrameError> = order
                .iter()
                .try_for_each(|&n: &usize| inbound.data(&frames[n]).map(|_| ()));
            assert!(
                matches!(result, Err(FrameError::Order { .. })),
                "{order:?}: {result:?}"
            );
        }
        let mut inbound = Inbound::new(3, &Pool::default()).unwrap();
        inbound.data(&frames[0]).unwrap();
        assert!(matches!(inbound.end(&end), Err(FrameError::Order { .. })));
    }

    #[test]
    fn a_changed_byte_is_refused_wherever_it_is() {
        let (frames, _) = framed(Compression::Level(1));
        let wire = frames[0].clone().into_wire();
        for at in 0..wire.len() {
            let mut bytes = wire.to_vec();
            bytes[at] ^= 0x41;
            let mut decoder = crate::stream::decoder::Decoder::default();
            decoder.push(Bytes::from(bytes));
            let outcome = match decoder.next_frame() {
                Ok(Some(frame)) => Inbound::new(3, &Pool::default()).unwrap().data(&frame),
                // A longer frame is being waited for: the connection's end tells.
                Ok(None) => decoder.finish().map(|()| Bytes::new()),
                Err(error) => Err(error),
            };
            assert!(outcome.is_err(), "byte {at} changed without notice");
        }
    }

    #[test]
    fn frames_of_another_transfer_are_refused() {
        let (frames, _) = framed(Compression::Off);
        let error = Inbound::new(4, &Pool::default())
            .unwrap()
            .data(&frames[0])
            .unwrap_err();
        assert_eq!(
            error,
            FrameError::Transfer {
                expected: 4,
                got: 3
            }
        );
    }
}
