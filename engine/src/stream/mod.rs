//! The stream between the two pipes: records as ZFS writes them, frames as
//! they cross the network.
//!
//! `record` reads the first record of a send stream, so that both sides know
//! what travels before ZFS does.

pub mod record;
