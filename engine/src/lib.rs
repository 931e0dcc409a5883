//! The replication engine.

pub mod error;
pub mod name;
pub mod stream;
pub mod zfs;
