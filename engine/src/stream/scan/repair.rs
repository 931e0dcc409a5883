//! Streams whose checksums are right, for fuzzers: what stands behind a
//! checksum is reached by no luck.

use super::record::Record;
use super::{CHECKSUM_AT, Fletcher4, Level, MAGIC, Order, RECORD_BYTES};

/// `stream` with every checksum in it set to what comes before it, as far as
/// there are records.
pub(crate) fn with_right_sums(stream: &[u8]) -> Vec<u8> {
    let mut out = stream.to_vec();
    let mut rest = out.as_mut_slice();
    let mut sums = Fletcher4::default();
    let mut order = Order::Native;
    let mut level = Level::Before;
    let mut in_package = false;
    while let Some((header, after)) = rest.split_first_chunk_mut::<RECORD_BYTES>() {
        let mut magic = [0; 8];
        magic.copy_from_slice(&header[8..16]);
        if header[..4] == [0; 4] {
            order = match u64::from_ne_bytes(magic) {
                MAGIC => Order::Native,
                magic if magic.swap_bytes() == MAGIC => Order::Swapped,
                _ => break,
            };
        }
        let Ok((record, payload)) = Record::parse(header, order) else {
            break;
        };
        if let Record::Begin(begin) = &record {
            sums = Fletcher4::default();
            in_package |= level == Level::Before && begin.is_package;
            level = Level::Stream;
        } else if matches!(record, Record::End { .. }) {
            let is_last = in_package && level == Level::Package;
            if is_last {
                sums = Fletcher4::default();
            }
            put(&mut header[8..40], sums.sums, order);
            level = if in_package && !is_last {
                Level::Package
            } else {
                Level::After
            };
        }
        sums.update(&header[..CHECKSUM_AT], order);
        if !matches!(record, Record::Begin(_)) {
            put(&mut header[CHECKSUM_AT..], sums.sums, order);
        }
        sums.update(&header[CHECKSUM_AT..], order);
        let payload = usize::try_from(payload)
            .unwrap_or(usize::MAX)
            .min(after.len());
        let (payload, after) = after.split_at_mut(payload);
        sums.update(payload, order);
        rest = after;
    }
    out
}

fn put(place: &mut [u8], sums: [u64; 4], order: Order) {
    for (place, sum) in place.chunks_mut(8).zip(sums) {
        place.copy_from_slice(&order.word64(sum).to_ne_bytes());
    }
}

#[test]
fn a_stream_of_zfs_is_right_already() {
    let stream = include_bytes!("../../../../userland/tests/streams/clone-origin.zs");
    assert!(with_right_sums(stream) == stream);
    let mut damaged = stream.to_vec();
    damaged[312 + 40] ^= 1;
    let mut scanner = super::Scanner::default();
    assert!(scanner.check(&damaged).is_err());
    let mut scanner = super::Scanner::default();
    scanner.check(&with_right_sums(&damaged)).unwrap();
    assert!(scanner.finish().is_ok());
}
