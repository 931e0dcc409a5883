//! The replication engine.

pub mod error;
pub mod name;
pub mod protocol;
pub mod stream;
pub mod zfs;
