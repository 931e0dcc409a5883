//! Virtual machines with a real zfs.ko, and the cases that run in them.
//!
//! Way of a run: an image is provided (`image`, kept by `cache`), two guests
//! boot from it (`guest`) inside the run's own directory (`rundir`) with keys of
//! their own (`keys`), a `pair` of `host`s hands them to `cases`, and `runner`
//! counts. See docs/vm-tests.md for how to use it.

pub mod bench;
pub mod cache;
pub mod cases;
pub mod contents;
pub mod data;
pub mod dataset;
pub mod demo;
pub mod guest;
pub mod host;
pub mod image;
mod job;
pub mod keys;
pub mod lab;
pub mod pair;
pub mod report;
pub mod rundir;
pub mod runner;
pub mod script;
pub mod slow;
mod tail;
pub mod zferry;
