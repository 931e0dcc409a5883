//! fletcher-4, the running checksum of send streams.
//!
//! Four sums over 32-bit words: `a += word; b += a; c += b; d += c`, modulo
//! 2^64. It shows accidental damage and authenticates nothing. Reference:
//! OpenZFS `module/zcommon/zfs_fletcher.c`, `fletcher_4_scalar_native`.

use super::super::record::Order;

use pulp::{Arch, Simd, WithSimd};

/// Words are dealt out to this many sums that do not wait for each other.
const LANES: usize = 4;

/// From so many bytes on it pays to ask for the processor's instructions.
const LONG_BYTES: usize = 1024;

/// The sums so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fletcher4 {
    /// `a`, `b`, `c`, `d`.
    pub sums: [u64; 4],
}

impl Fletcher4 {
    /// Goes on over `bytes`, whose words are in `order`. Bytes behind the last
    /// whole word do not count.
    pub(super) fn update(&mut self, bytes: &[u8], order: Order) {
        match order {
            Order::Native => self.add(bytes, |word| word),
            Order::Swapped => self.add(bytes, u32::swap_bytes),
        }
    }

    fn add(&mut self, bytes: &[u8], word: impl Fn(u32) -> u32 + Copy) {
        let (blocks, rest) = bytes.as_chunks::<{ 4 * LANES }>();
        if !blocks.is_empty() {
            let sums = if bytes.len() < LONG_BYTES {
                lanes(blocks, word)
            } else {
                Arch::new().dispatch(Lanes { blocks, word })
            };
            *self = self.followed_by(sums, (blocks.len() * LANES) as u64);
        }
        let (words, _) = rest.as_chunks::<4>();
        let [mut a, mut b, mut c, mut d] = self.sums;
        for bytes in words {
            a = a.wrapping_add(u64::from(word(u32::from_ne_bytes(*bytes))));
            b = b.wrapping_add(a);
            c = c.wrapping_add(b);
            d = d.wrapping_add(c);
        }
        self.sums = [a, b, c, d];
    }

    /// These sums, when `count` words come after them whose own sums are
    /// `next`. A word that is followed by n others counts once in `a`, n + 1
    /// times in `b`, and so on: each sum is passed on to those after it with
    /// the number of ways to get there.
    fn followed_by(self, next: [u64; 4], count: u64) -> Self {
        let [a, b, c, d] = self.sums;
        let n = u128::from(count);
        // Blocks are far below 2^32 words, so that nothing here overflows; the
        // sums are modulo 2^64 anyway.
        #[expect(clippy::cast_possible_truncation, reason = "modulo 2^64")]
        let [once, twice, thrice] =
            [n, n * (n + 1) / 2, n * (n + 1) * (n + 2) / 6].map(|n| n as u64);
        let sum = |terms: [u64; 3]| terms.into_iter().fold(0, u64::wrapping_add);
        let times = u64::wrapping_mul;
        Self {
            sums: [
                a.wrapping_add(next[0]),
                b.wrapping_add(times(once, a)).wrapping_add(next[1]),
                sum([c, times(once, b), times(twice, a)]).wrapping_add(next[2]),
                sum([times(once, c), times(twice, b), times(thrice, a)])
                    .wrapping_add(d)
                    .wrapping_add(next[3]),
            ],
        }
    }
}

/// [`lanes`], to be compiled for each set of vector instructions.
struct Lanes<'a, F> {
    blocks: &'a [[u8; 4 * LANES]],
    word: F,
}

impl<F: Fn(u32) -> u32 + Copy> WithSimd for Lanes<'_, F> {
    type Output = [u64; 4];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [u64; 4] {
        lanes(self.blocks, self.word)
    }
}

/// The sums over whole blocks, each lane for itself, then joined.
///
/// A word of lane j that x words of its lane follow, itself included, has
/// n = 4x - j words from it to the end. It belongs n times into `b`,
/// n(n+1)/2 times into `c` and n(n+1)(n+2)/6 times into `d`; expressed by what
/// the lane has summed for x, that gives the factors below.
#[inline(always)]
fn lanes(blocks: &[[u8; 4 * LANES]], word: impl Fn(u32) -> u32 + Copy) -> [u64; 4] {
    let [mut a, mut b, mut c, mut d] = [[0u64; LANES]; 4];
    for block in blocks {
        // One sum of all lanes after the other: that is how vectors add.
        let (words, _) = block.as_chunks::<4>();
        for (sum, bytes) in a.iter_mut().zip(words) {
            *sum = sum.wrapping_add(u64::from(word(u32::from_ne_bytes(*bytes))));
        }
        add_all(&mut b, &a);
        add_all(&mut c, &b);
        add_all(&mut d, &c);
    }
    let mut joined = [0u64; 4];
    for (lane, j) in (0..LANES).zip(0u64..) {
        let less = |sum: u64, factor: u64| 0u64.wrapping_sub(sum.wrapping_mul(factor));
        let more = |sum: u64, factor: u64| sum.wrapping_mul(factor);
        let terms = [
            [a[lane], 0, 0, 0],
            [more(b[lane], 4), less(a[lane], j), 0, 0],
            [
                more(c[lane], 16),
                less(b[lane], 6 + 4 * j),
                more(a[lane], j * j.saturating_sub(1) / 2),
                0,
            ],
            [
                more(d[lane], 64),
                less(c[lane], 48 + 16 * j),
                more(b[lane], 4 + 4 * j + 2 * j * j),
                less(a[lane], j * j.saturating_sub(1) * j.saturating_sub(2) / 6),
            ],
        ];
        for (sum, terms) in joined.iter_mut().zip(terms) {
            *sum = terms.into_iter().fold(*sum, u64::wrapping_add);
        }
    }
    joined
}

#[inline(always)]
fn add_all(sums: &mut [u64; LANES], more: &[u64; LANES]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum = sum.wrapping_add(*more);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As it is defined.
    fn plainly(bytes: &[u8], order: Order) -> [u64; 4] {
        let mut sums = [0u64; 4];
        for word in bytes.chunks_exact(4) {
            let word = order.word32(u32::from_ne_bytes(word.try_into().unwrap()));
            let mut carried = u64::from(word);
            for sum in &mut sums {
                *sum = sum.wrapping_add(carried);
                carried = *sum;
            }
        }
        sums
    }

    proptest! {
        #[test]
        fn however_the_words_are_cut_the_sums_are_those_of_the_definition(
            words in prop::collection::vec(any::<u32>(), 0..1000),
            cuts in prop::collection::vec(0usize..1000, 0..6),
            swapped: bool,
        ) {
            let order = if swapped { Order::Swapped } else { Order::Native };
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.min(&words.len()) * 4).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let mut fletcher = Fletcher4::default();
            let mut from = 0;
            for cut in cuts {
                fletcher.update(&bytes[from..cut], order);
                from = cut;
            }
            prop_assert_eq!(fletcher.sums, plainly(&bytes, order));
        }
    }

    #[test]
    fn sums_that_overflow_are_still_those_of_the_definition() {
        let bytes = vec![0xff; 4 << 20];
        let mut fletcher = Fletcher4::default();
        for _ in 0..2 {
            fletcher.update(&bytes, Order::Native);
        }
        assert_eq!(
            fletcher.sums,
            plainly(&[&bytes[..], &bytes].concat(), Order::Native)
        );
    }
}
