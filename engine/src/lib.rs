//! The replication engine.

pub mod error;
pub mod name;
pub mod plan;
pub mod protocol;
pub mod stream;
pub mod transport;
pub mod sync;
pub mod zfs;
