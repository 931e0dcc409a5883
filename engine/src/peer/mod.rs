//! The near end of a conversation with a helper.
//!
//! [`wire`] turns a link into frames and does the handshake, for both ends.
//! [`Peer`] is what the driver holds: typed questions and their answers. A
//! helper in this process and one on another machine are the same to it.

mod client;
mod error;
mod questions;
mod sessions;
mod stall;
pub mod wire;

pub use client::Peer;
pub use error::{PeerCause, PeerError};
pub use sessions::{Connections, Parallel, TRANSFERS_DEFAULT, TRANSFERS_MAX};
pub use stall::{STALL_DEFAULT, Stalled};
