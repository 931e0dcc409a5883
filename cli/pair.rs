//! Two datasets between which data goes: what locks and names of snapshots are
//! derived from.
//!
//! `replicate` and `sync` of one pair take the same lock, since both would
//! receive into one dataset.

use crate::endpoint::Endpoint;

/// How much of the pair's hash is in the names of its snapshots, in hex
/// digits: enough to tell the pairs of one machine apart, and a name that can
/// still be read.
const SERIES_HEX_DIGITS: usize = 8;

/// How much of it is in the name of its lock, where a collision would make two
/// pairs wait for each other.
const LOCK_HEX_DIGITS: usize = 32;

/// Source and target.
pub struct Pair {
    /// For people.
    pub shown: String,
    /// blake3 of both identities, in hex digits.
    hash: String,
}

impl Pair {
    /// `node` is the name of this machine.
    pub fn new(source: &Endpoint, target: &Endpoint, node: &str) -> Self {
        let identity = format!("{}\0{}", source.identity(node), target.identity(node));
        Self {
            shown: format!("{source} to {target}"),
            hash: blake3::hash(identity.as_bytes()).to_hex().to_string(),
        }
    }

    /// What tells it from the other pairs of this machine.
    pub fn id(&self) -> &str {
        &self.hash[..SERIES_HEX_DIGITS]
    }

    /// Beginning of the names of all snapshots of this pair, and of no others.
    pub fn series(&self) -> String {
        format!("zferry-{}-", self.id())
    }

    /// Name of the lock file.
    pub fn lock_file(&self) -> String {
        format!("replicate-{}", &self.hash[..LOCK_HEX_DIGITS])
    }
}
