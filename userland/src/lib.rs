//! Real ZFS in user space: pools in files, without a kernel module.
//!
//! libzpool is the SPA, DSL and DMU of OpenZFS, compiled for a process. It
//! asserts, it starts some hundred threads, and its structures change with
//! each version; so it lives in a process of its own, the worker
//! `zferry-zpool`, and only that is linked to it. This crate is what the rest
//! of zferry uses:
//!
//! ```text
//! Pool (client) ──control socket──▶ worker ──▶ shim (C) ──▶ libzpool ──▶ image
//!      └───────── stream data over a passed descriptor ──────────┘
//! ```
//!
//! - [`client`]: [`Pool`] locks an image, starts a worker for it, passes calls
//!   on, notices a worker that died or hangs, and starts another one.
//! - [`protocol`]: what the two say to each other.
//! - [`wire`]: how the words and descriptors travel.
//!
//! One worker serves one pool in one file. What ZFS answers is passed on as it
//! is, as an errno; what libzpool cannot do is named `ENOTSUP`.
//!
//! # What survives a crash
//! ZFS is transactional and the image is written by ZFS alone. Client or worker
//! may be killed at any moment: the image holds the last synced transaction
//! group, and the next [`Pool::open`] imports it.

pub mod client;
pub mod protocol;
pub mod wire;

pub use client::{
    Ended, Error, IMAGE_BYTES_MIN, Image, Patience, Pool, Unavailable, VERSION_WORD, Worker,
};

/// Exit code of a worker that was built without libzpool; it says on standard
/// error what is missing (`EX_UNAVAILABLE`).
pub const EXIT_UNUSABLE: u8 = 69;
/// Exit code of a worker that was started by hand (`EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;
/// Exit code of a worker whose client broke the protocol (`EX_PROTOCOL`).
pub const EXIT_PROTOCOL: u8 = 76;
