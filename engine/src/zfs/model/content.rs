//! Blocks, and the room they take in a pool.
//!
//! As in ZFS, a block carries the transaction group of its birth, and what a
//! snapshot and its dataset have in common is stored once. An incremental
//! stream is what was born after the base; that works from a bookmark too,
//! since a freed block leaves a hole that has a birth of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::name::CreateTxg;
use crate::zfs::ZfsErrorKind;

/// Written with every change beside the data, bytes: property `written` of a
/// changed dataset is never just the size of the data, and that of a new and
/// empty one is not 0. OpenZFS shows 24 KiB for a new file system.
pub const METADATA_BYTES: u64 = 24 << 10;

/// The room of one pool.
#[derive(Debug)]
pub(super) struct Space {
    capacity_bytes: u64,
    used_bytes: AtomicU64,
}

impl Space {
    pub(super) fn new(capacity_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            capacity_bytes,
            used_bytes: AtomicU64::new(0),
        })
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::SeqCst)
    }

    pub(super) fn left_bytes(&self) -> u64 {
        self.capacity_bytes.saturating_sub(self.used_bytes())
    }

    /// Stores `bytes`, or finds the pool full.
    pub(super) fn store(self: &Arc<Self>, bytes: &[u8]) -> Result<Arc<Extent>, ZfsErrorKind> {
        self.used_bytes
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| {
                used.checked_add(bytes.len() as u64)
                    .filter(|&sum| sum <= self.capacity_bytes)
            })
            .map_err(|_| ZfsErrorKind::NoSpace)?;
        Ok(Arc::new(Extent {
            space: Arc::clone(self),
            bytes: bytes.into(),
        }))
    }
}

/// Data in a pool. The last owner to go frees its room.
#[derive(Debug)]
pub(super) struct Extent {
    space: Arc<Space>,
    bytes: Box<[u8]>,
}

impl Extent {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        self.space
            .used_bytes
            .fetch_sub(self.bytes.len() as u64, Ordering::SeqCst);
    }
}

/// One block: its data, or `None` for a hole.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) birth: CreateTxg,
    pub(super) data: Option<Arc<Extent>>,
}

/// State of a dataset at one moment. Clones share the blocks.
#[derive(Debug, Clone)]
pub(super) struct Content {
    blocks: Arc<BTreeMap<u64, Block>>,
    /// When it last changed, be it by a write, a freed block or its creation.
    pub(super) modified: CreateTxg,
}

impl Content {
    pub(super) fn empty(created: CreateTxg) -> Self {
        Self {
            blocks: Arc::default(),
            modified: created,
        }
    }

    /// Puts data (or a hole) at `number`.
    pub(super) fn put(&mut self, number: u64, block: Block) {
        self.modified = self.modified.max(block.birth);
        Arc::make_mut(&mut self.blocks).insert(number, block);
    }

    /// Blocks and holes born after `base`, by number.
    pub(super) fn born_after(&self, base: CreateTxg) -> impl Iterator<Item = (u64, &Block)> {
        self.blocks
            .iter()
            .filter(move |(_, block)| block.birth > base)
            .map(|(&number, block)| (number, block))
    }

    /// Every block that has data, by number.
    pub(super) fn data_blocks(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.blocks
            .iter()
            .filter_map(|(&number, block)| Some((number, block.data.as_ref()?.bytes())))
    }

    /// Property `written`: what was born after `base`, and the metadata that
    /// goes with any change.
    pub(super) fn written_bytes(&self, base: CreateTxg) -> u64 {
        if self.modified <= base {
            return 0;
        }
        let data = self
            .born_after(base)
            .filter_map(|(_, block)| block.data.as_ref());
        METADATA_BYTES + data.map(|extent| extent.bytes().len() as u64).sum::<u64>()
    }

    /// Equal for equal data at equal block numbers, whatever the history.
    pub(super) fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for (number, bytes) in self.data_blocks() {
            hasher.update(&number.to_le_bytes());
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
        hasher.finalize()
    }
}
