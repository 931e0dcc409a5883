//! Buffers of one frame each, used again and again.
//!
//! A transfer makes thousands of frames of a megabyte. Fresh memory for each
//! would come from the system, page by page, and cost more than its hash.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::frame::{DATA_BYTES_MAX, HEADER_BYTES};

/// Length of a buffer, in bytes: the largest frame of a stream.
pub(super) const BUFFER_BYTES: usize = HEADER_BYTES + DATA_BYTES_MAX;

/// Buffers that are kept while nobody uses them, 8 MiB in all; those in use are
/// bounded by the queues that they pass.
const IDLE_MAX: usize = 8;

/// Where buffers come from and go back to. Clones are the same.
#[derive(Clone, Default)]
pub struct Pool(Arc<Mutex<Vec<Box<[u8]>>>>);

impl Pool {
    /// A buffer of [`BUFFER_BYTES`], with whatever was in it before.
    pub(super) fn take(&self) -> Buffer {
        let idle = self.idle().pop();
        Buffer {
            bytes: idle.unwrap_or_else(|| vec![0; BUFFER_BYTES].into()),
            pool: self.clone(),
        }
    }

    /// How many buffers are kept.
    #[cfg(test)]
    pub(crate) fn idle_buffers(&self) -> usize {
        self.idle().len()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Box<[u8]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} idle)", self.idle().len())
    }
}

/// A buffer that goes back to its pool when nobody uses it any more.
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    pool: Pool,
}

impl Buffer {
    /// The first `length` bytes, to be shared.
    pub(super) fn into_bytes(self, length: usize) -> Bytes {
        debug_assert!(length <= self.len(), "what was written fits");
        Bytes::from_owner(Filled {
            buffer: self,
            length,
        })
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut idle = self.pool.idle();
        if idle.len() < IDLE_MAX {
            idle.push(std::mem::take(&mut self.bytes));
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len())
    }
}

/// What of a buffer was filled.
struct Filled {
    buffer: Buffer,
    length: usize,
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_the_last_who_shares_it_is_done() {
        let pool = Pool::default();
        let mut buffer = pool.take();
        buffer[..3].copy_from_slice(b"abc");
        let address = buffer.as_ptr();
        let bytes = buffer.into_bytes(3);
        let part = bytes.slice(1..);
        drop(bytes);
        assert!(pool.idle().is_empty());
        assert_eq!(&part[..], b"bc");
        drop(part);
        assert_eq!(pool.take().as_ptr(), address);
    }

    #[test]
    fn no_more_are_kept_than_is_worth_while() {
        let pool = Pool::default();
        let taken: Vec<Buffer> = (0..2 * IDLE_MAX).map(|_| pool.take()).collect();
        drop(taken);
        assert_eq!(pool.idle().len(), IDLE_MAX);
    }
}
