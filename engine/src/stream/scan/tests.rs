//! Streams that ZFS has written, and what can happen to them.

use super::*;

/// Recorded from a kernel: a clone from its origin, a redacted stream, and an
/// incremental one without changes.
const RECORDED: [(&str, &[u8]); 3] = [
    (
        "clone-origin",
        include_bytes!("../../../../userland/tests/streams/clone-origin.zs"),
    ),
    (
        "redacted",
        include_bytes!("../../../../userland/tests/streams/redacted.zs"),
    ),
    (
        "incr-empty",
        include_bytes!("../../../../userland/tests/streams/incr-empty.zs"),
    ),
];

fn scan(bytes: &[u8], piece: usize) -> Result<(Vec<Record>, Counts), ScanError> {
    let mut scanner = Scanner::default();
    let mut records = Vec::new();
    for piece in bytes.chunks(piece) {
        let walked = scanner.feed(piece, |record| {
            records.push(record.clone());
            ControlFlow::<()>::Continue(())
        })?;
        assert!(walked.is_continue());
    }
    Ok((records, scanner.finish()?))
}

/// The same stream as a machine of the other byte order would have sent it:
/// every word of every record swapped. Payloads stay, and so do their sums
/// only if there are none.
fn swapped(stream: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for record in stream.chunks(RECORD_BYTES) {
        let mut bytes: Vec<u8> = record[..8].chunks(4).flat_map(reversed).collect();
        if record[0] == 0 {
            bytes.extend(record[8..32].chunks(8).flat_map(reversed));
            bytes.extend(record[32..40].chunks(4).flat_map(reversed));
            bytes.extend(record[40..56].chunks(8).flat_map(reversed));
            bytes.extend(&record[56..]);
        } else {
            bytes.extend(record[8..].chunks(8).flat_map(reversed));
        }
        out.extend(bytes);
    }
    out
}

fn reversed(word: &[u8]) -> Vec<u8> {
    word.iter().rev().copied().collect()
}

/// Sets the checksums of a stream without payload to what they have to be.
fn summed(mut stream: Vec<u8>, order: Order) -> Vec<u8> {
    let mut sums = Fletcher4::default();
    let put = |bytes: &mut [u8], sums: [u64; 4]| {
        for (place, sum) in bytes.chunks_mut(8).zip(sums) {
            place.copy_from_slice(&order.word64(sum).to_ne_bytes());
        }
    };
    for record in stream.chunks_mut(RECORD_BYTES) {
        let is_begin = record[..4] == [0; 4];
        if !is_begin {
            put(&mut record[8..40], sums.sums);
        }
        sums.update(&record[..CHECKSUM_AT], order);
        if !is_begin {
            put(&mut record[CHECKSUM_AT..], sums.sums);
        }
        sums.update(&record[CHECKSUM_AT..], order);
    }
    stream
}

#[test]
fn recorded_streams_are_walked_and_their_checksums_hold_however_they_are_cut() {
    for (name, stream) in RECORDED {
        let (records, counts) = scan(stream, stream.len()).unwrap();
        assert_eq!(counts.stream_bytes, stream.len() as u64, "{name}");
        assert_eq!(records.len() as u64, counts.records(), "{name}");
        assert!(matches!(records[0], Record::Begin(_)));
        assert!(matches!(records[records.len() - 1], Record::End { .. }));
        for piece in [1, 3, 311, 313, 4096] {
            assert_eq!(
                scan(stream, piece).unwrap(),
                (records.clone(), counts),
                "{name} by {piece}"
            );
        }
    }
}

#[test]
fn records_say_what_zstream_says_of_them() {
    // From `zstream dump -v` of OpenZFS 2.3 over the same file.
    let (records, counts) = scan(RECORDED[0].1, 4096).unwrap();
    let Record::Begin(begin) = &records[0] else {
        panic!("{records:?}")
    };
    assert_eq!(begin.name, "tank/resclone@a");
    assert_eq!(begin.to_guid.0, 0x3b70_7d32_11af_8e53);
    assert_eq!(begin.from_guid.unwrap().0, 0x540e_1791_30a5_c829);
    assert_eq!(begin.features, 4);
    let count = |kind| (counts.of(kind).records, counts.of(kind).payload_bytes);
    assert_eq!(count(Kind::Begin), (1, 0));
    assert_eq!(count(Kind::Object), (7, 352));
    assert_eq!(count(Kind::FreeObjects), (3, 0));
    assert_eq!(count(Kind::Write), (3, 1536));
    assert_eq!(count(Kind::Free), (12, 0));
    let write = Record::Write {
        object: 33,
        offset: 0,
        logical_bytes: 512,
        compressed_bytes: None,
    };
    assert!(records.contains(&write), "{records:#?}");
    let Some(Record::End { sums }) = records.last() else {
        panic!("{records:?}")
    };
    assert_eq!(
        sums_text(sums),
        "565a0b74b3/1996f0262fd94/549e97ba3840669/41f2db5a01580e90"
    );
}

#[test]
fn a_changed_bit_is_noticed_wherever_it_is() {
    let (_, stream) = RECORDED[0];
    for at in 0..stream.len() {
        let mut bytes = stream.to_vec();
        bytes[at] ^= 0x10;
        // A name may say anything; its change shows in the next checksum.
        assert!(
            scan(&bytes, 4096).is_err(),
            "byte {at} changed without notice"
        );
    }
}

#[test]
fn a_stream_that_is_cut_or_goes_on_is_told_with_the_place() {
    let (_, stream) = RECORDED[0];
    for bytes in 1..stream.len() {
        let error = scan(&stream[..bytes], 4096).unwrap_err();
        let damage = if bytes < RECORD_BYTES {
            Damage::NotAStream
        } else {
            Damage::CutOff
        };
        assert_eq!(error.damage, damage, "cut at {bytes}");
    }
    let longer = [stream, b"x"].concat();
    let error = scan(&longer, 4096).unwrap_err();
    assert_eq!(
        (error.at, error.damage),
        (stream.len() as u64, Damage::GoesOn)
    );
    assert_eq!(scan(&[], 1).unwrap_err().damage, Damage::NotAStream);
    let text = scan(&stream[..5000], 4096).unwrap_err().to_string();
    assert!(text.contains("byte 5000"), "{text}");
}

#[test]
fn sizes_that_zfs_never_writes_are_refused_before_anything_is_allocated() {
    let (_, stream) = RECORDED[0];
    let write = (0..stream.len()).step_by(8).find(|at| {
        // WRITE of object 33, as words.
        stream[*at..].starts_with(&[3, 0, 0, 0, 0, 0, 0, 0, 33])
    });
    let at = write.expect("there is such a record");
    let mut bytes = stream.to_vec();
    bytes[at + 32..at + 40].copy_from_slice(&u64::MAX.to_le_bytes());
    let error = scan(&bytes, 4096).unwrap_err();
    let damage = Damage::Payload {
        kind: Kind::Write,
        bytes: u64::MAX,
    };
    assert_eq!((error.at, error.damage), (at as u64, damage));
    let mut bytes = stream.to_vec();
    bytes[at] = 11;
    let error = scan(&bytes, 4096).unwrap_err();
    assert_eq!(error.damage, Damage::RecordType(11));
}

#[test]
fn a_stream_of_a_machine_of_the_other_byte_order_is_read_alike() {
    let (_, stream) = RECORDED[2];
    let other = summed(swapped(stream), Order::Swapped);
    let (here, there) = (scan(stream, 100).unwrap(), scan(&other, 100).unwrap());
    assert_eq!(here.0[0], there.0[0]);
    assert_eq!(here.1, there.1);
}

#[test]
fn a_package_is_a_description_and_streams_and_an_end_that_says_zero() {
    let (_, stream) = RECORDED[2];
    let mut description = stream.to_vec();
    description[16] = description[16] & !3 | 2;
    let description = summed(description, Order::Native);
    let mut end = vec![0; RECORD_BYTES];
    end[0] = 5;
    let whole = [&description[..], stream, RECORDED[0].1, &end].concat();
    let (records, counts) = scan(&whole, 1000).unwrap();
    assert_eq!(counts.of(Kind::Begin).records, 3);
    assert_eq!(counts.of(Kind::End).records, 4);
    assert!(matches!(&records[0], Record::Begin(begin) if begin.is_package));
    // Without its end it is cut off; a package in a package is none.
    let cut = &whole[..whole.len() - RECORD_BYTES];
    assert_eq!(scan(cut, 1000).unwrap_err().damage, Damage::CutOff);
    let nested = [&description[..], &description, &end].concat();
    let error = scan(&nested, 1000).unwrap_err();
    assert_eq!(error.damage, Damage::OutOfPlace(Kind::Begin));
}

#[test]
fn whoever_looks_on_may_end_the_walk() {
    let (_, stream) = RECORDED[0];
    let mut scanner = Scanner::default();
    let walked = scanner.feed(stream, |record| match record.kind() {
        Kind::Write => ControlFlow::Break("seen enough"),
        _ => ControlFlow::Continue(()),
    });
    assert_eq!(walked.unwrap(), ControlFlow::Break("seen enough"));
    assert_eq!(scanner.counts().of(Kind::Write).records, 1);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_scanner_panic(
        noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2000),
        at in 0usize..10_000,
        piece in 1usize..700,
    ) {
        let mut bytes = RECORDED[0].1.to_vec();
        let at = at.min(bytes.len());
        let end = (at + noise.len()).min(bytes.len());
        bytes[at..end].copy_from_slice(&noise[..end - at]);
        let _ = scan(&bytes, piece);
        let _ = scan(&noise, piece);
    }
}
