//! Pools in files, through the real worker.
//!
//! Where the build found no libzpool, only the tests of [`workers`] have
//! something to say; the others say loudly that they were skipped.

#![expect(
    clippy::unwrap_used,
    reason = "a fixture that fails is a test that fails"
)]
#![expect(clippy::print_stderr, reason = "seeds, counts, and what was skipped")]

mod hostile;
mod images;
mod killed;
mod lab;
mod lifecycle;
mod random;
mod records;
mod tokens;
mod workers;
