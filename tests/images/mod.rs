//! The binary on pools in files: real ZFS, driven end to end.
//!
//! Each test has a folder of its own with its own images, and skips itself,
//! loudly, where there is no libzpool to run them.

mod commands;
mod conflicts;
mod cuts;
mod faults;
mod history;
mod holds;
pub mod lab;
mod listen;
mod log;
mod loss;
mod more;
mod mounts;
mod progress;
mod repairs;
mod replicate;
mod scheme;
mod ssh;
mod status;
mod sync;
mod three;
