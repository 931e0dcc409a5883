//! The replication engine behind zferry.
//!
//! It brings a state of a dataset from one machine to another and proves that
//! it is there. The way of the data:
//!
//! source dataset → [`plan`] → send → [`stream`]: frame · hash · compress →
//! [`transport`] → verify · decompress → receive → commit → state
//!
//! Two kinds of actors take part. A **helper** ([`helper`]) sits where the data
//! is and carries out typed requests ([`protocol`]) on its machine's [`zfs`];
//! it decides nothing. The **driver** ([`replicate`], [`sync`]) decides; it
//! holds one conversation ([`peer`]) with a helper on each side, asks what is
//! there, plans, and passes frames from one to the other unopened. A dataset of
//! the driver's own machine is served by a helper in its own process, so push,
//! pull and local replication are one code path.
//!
//! What never changes: snapshots are matched by guid; the end of a stream is
//! not success, the receiver's word is; nothing is received by force; a crash
//! at any instant leaves a base on both sides. The tables in [`replicate`] and
//! [`sync::run`] say what each step leaves behind and how the next run goes on.
//!
//! The engine prints nothing and reads no environment: it tells an
//! [`event::Observer`] what happens, and gets paths, names and the time from
//! its caller.

pub mod copies;
pub mod error;
pub mod event;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod helper;
pub mod hold;
pub mod image;
pub mod limit;
pub mod name;
pub mod peer;
pub mod plan;
pub mod protocol;
pub mod replicate;
pub mod retry;
pub mod stream;
pub mod sync;
pub mod transport;
pub mod zfs;
