//! Placeholder.

pub mod error;
pub mod transport;
