//! Frames, and what they carry.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::forms::{self, Piece};
use crate::stream::compress::Compression;
use crate::stream::decoder::Decoder;
use crate::stream::frame::{DATA_BYTES_MAX, Frame, FrameError, Kind, MESSAGE_BYTES_MAX};
use crate::stream::inbound::Inbound;
use crate::stream::outbound::Outbound;
use crate::stream::pool::Pool;
use crate::stream::record::{BeginRecord, RECORD_BYTES};
use crate::stream::scan::{Counts, Record, ScanError, Scanner, feature_names, with_right_sums};

/// Bytes of a connection are the same frames however they are cut, and each is
/// what was on the wire.
pub fn frames(data: &[u8]) {
    let Some((&size, wire)) = data.split_first() else {
        return;
    };
    let (whole, whole_end) = decoded(wire, wire.len().max(1));
    let (pieces, pieces_end) = decoded(wire, usize::from(size).max(1));
    assert_eq!(
        whole_end.is_ok(),
        pieces_end.is_ok(),
        "{whole_end:?} {pieces_end:?}"
    );
    assert_eq!(whole.len(), pieces.len());
    let mut at = 0;
    for (a, b) in whole.into_iter().zip(pieces) {
        assert!(a.header.raw_bytes <= MESSAGE_BYTES_MAX);
        assert_eq!(a.header, b.header);
        let again = a.into_wire();
        assert_eq!(again, b.into_wire());
        assert_eq!(again, wire[at..at + again.len()]);
        at += again.len();
    }
}

fn decoded(wire: &[u8], piece: usize) -> (Vec<Frame>, Result<(), FrameError>) {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    for chunk in wire.chunks(piece) {
        decoder.push(Bytes::copy_from_slice(chunk));
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    super::assert_printable(&error.to_string());
                    return (frames, Err(error));
                }
            }
        }
    }
    (frames, decoder.finish())
}

/// Frames with right and wrong hashes, in and out of order, compressed by us,
/// by anybody, or not at all: what is let through is what its hash says, and
/// the end is believed only after all of it. What we frame ourselves comes in.
pub fn inbound(data: &[u8]) {
    let pieces = forms::pieces(data);
    let Ok(mut inbound) = Inbound::new(forms::TRANSFER, &Pool::default()) else {
        return;
    };
    let mut digest = forms::Arrived::default();
    for piece in &pieces {
        let wire = piece.wire(&digest);
        let (frames, _) = decoded(&wire, wire.len().max(1));
        for frame in &frames {
            if frame.header.kind == Kind::End {
                if let Ok(end) = inbound.end(frame) {
                    assert_eq!(end, digest.end(), "an end that is not that of what came");
                }
            } else if let Ok(raw) = inbound.data(frame) {
                assert!(raw.len() <= DATA_BYTES_MAX);
                assert_eq!(blake3::hash(&raw).as_bytes(), &frame.header.hash);
                digest.add(&frame.header);
            }
        }
    }
    ours_comes_in(&pieces);
}

fn ours_comes_in(pieces: &[Piece]) {
    let pool = Pool::default();
    let mut out = Outbound::new(forms::TRANSFER, Compression::Level(1), &pool);
    let Ok(mut inbound) = Inbound::new(forms::TRANSFER, &Pool::default()) else {
        return;
    };
    for piece in pieces {
        let frame = out.data(&piece.payload);
        let wire = frame.into_wire();
        let (frames, end) = decoded(&wire, 1000);
        assert_eq!((frames.len(), end), (1, Ok(())));
        assert_eq!(inbound.data(&frames[0]).as_deref(), Ok(&piece.payload[..]));
    }
    assert!(inbound.end(&out.end()).is_ok());
}

/// The first record of a stream, as the receiving side compares it with what was
/// agreed, says what the walk over the stream finds there.
pub fn begin(data: &[u8]) {
    let Some(head) = data.first_chunk::<RECORD_BYTES>() else {
        return;
    };
    let parsed = match BeginRecord::parse(head) {
        Ok(parsed) => parsed,
        Err(error) => return super::assert_printable(&error.to_string()),
    };
    assert_eq!(parsed.bytes(), head);
    super::assert_printable(&format!("{:?}", feature_names(parsed.features)));
    let mut walked = None;
    let _ = Scanner::default().feed(head, |record| {
        walked = Some(record.clone());
        ControlFlow::<()>::Continue(())
    });
    if let Some(Record::Begin(walked)) = walked {
        assert_eq!(walked.to_guid, parsed.to_guid);
        assert_eq!(walked.from_guid, parsed.from_guid);
        assert_eq!(walked.features, parsed.features);
        super::assert_printable(&walked.name.escape_debug().to_string());
    }
}

/// A walk over any bytes ends the same way however they are cut.
pub fn scan(data: &[u8]) {
    let Some((&size, stream)) = data.split_first() else {
        return;
    };
    let whole = walk(stream, stream.len().max(1));
    let pieces = walk(stream, usize::from(size).max(1));
    assert_eq!(whole, pieces);
    let (records, end) = whole;
    match end {
        Ok(counts) => {
            assert_eq!(counts.stream_bytes, stream.len() as u64);
            assert_eq!(counts.records(), records.len() as u64);
        }
        Err(error) => {
            assert!(error.at <= stream.len() as u64);
            super::assert_printable(&error.to_string());
        }
    }
}

/// The same after every checksum in it was made right, so that the walk goes on
/// into what stands behind.
pub fn scan_summed(data: &[u8]) {
    let Some((&size, stream)) = data.split_first() else {
        return;
    };
    let mut repaired = vec![size];
    repaired.extend(with_right_sums(stream));
    scan(&repaired);
}

fn walk(stream: &[u8], piece: usize) -> (Vec<Record>, Result<Counts, ScanError>) {
    let mut scanner = Scanner::default();
    let mut records = Vec::new();
    for piece in stream.chunks(piece) {
        let fed = scanner.feed(piece, |record| {
            records.push(record.clone());
            ControlFlow::<()>::Continue(())
        });
        if let Err(error) = fed {
            return (records, Err(error));
        }
    }
    (records, scanner.finish())
}
