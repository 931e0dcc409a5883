//! The stream between the two pipes: records as ZFS writes them, frames as
//! they cross the network.
//!
//! On the sending side `outbound` cuts what ZFS writes into blocks of 1 MiB,
//! hashes each (blake3), compresses it (`compress`) if that pays (`levels`, which
//! asks `tuner`) and puts it into a frame. On the receiving side `decoder` cuts what came into
//! frames, and `inbound` checks order, length and hash and gives back the bytes.
//! The end is a frame of its own with a digest over the whole stream: data that
//! merely stops has not arrived. Both sides walk over the records (`scan`), and
//! use their buffers again (`pool`).
//!
//! Everything here is a function of its input: no I/O, no clock, no runtime. The
//! time that something took comes in as a number.

pub mod compress;
pub mod decoder;
pub mod frame;
pub mod inbound;
pub mod levels;
pub mod outbound;
pub mod overlap;
pub mod pool;
pub mod record;
pub mod scan;
pub mod tuner;
