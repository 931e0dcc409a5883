//! The replication engine.

pub mod error;
pub mod event;
pub mod helper;
pub mod name;
pub mod peer;
pub mod plan;
pub mod protocol;
pub mod replicate;
pub mod stream;
pub mod sync;
pub mod transport;
pub mod zfs;
