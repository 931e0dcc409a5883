//! Numbers that look random and are the same in every run with one seed.
//!
//! Guids come from here, and the random histories of the tests. SplitMix64
//! (Steele, Lea, Flood 2014): 64 bits of state, every seed is a good one.

/// A source of numbers that its seed determines.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts the sequence that belongs to `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, all 64 bits of it.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number that can be an identity: ZFS keeps 0 for "none".
    pub fn identity(&mut self) -> u64 {
        self.number().max(1)
    }

    /// A number below `limit`, or 0 if the limit is 0. The slight bias of the
    /// remainder does not matter to a test.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.number().checked_rem(limit).unwrap_or(0)
    }
}
