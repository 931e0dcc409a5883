//! Foreign bytes for every parser: the entry points of the fuzzers.
//!
//! In the way of the data: beside it, and never part of the product (feature
//! `fuzzing`). Each function takes any bytes, gives them to what reads such
//! bytes from the other side or from a file, and panics if a claim about that
//! does not hold: that nothing panics is one of them. `fuzz/` has a target of
//! cargo-fuzz for each; `tests/corpora.rs` gives them everything that is kept in
//! `fuzz/corpus`. What is found goes there, and into a test beside the parser.

mod files;
mod forms;
mod links;
mod messages;
mod plan;
mod stream;
mod words;

pub use files::{config, state};
pub use links::bundle;
pub use messages::{hello, messages, worker};
pub use plan::plan;
pub use stream::{begin, frames, inbound, scan, scan_summed};
pub use words::{durations, known_hosts, names, printable, schedule};

/// Takes any bytes; panics if a claim does not hold.
pub type Entry = fn(&[u8]);

/// Every entry point, by the name that its target and its corpus have.
pub const TARGETS: [(&str, Entry); 17] = [
    ("begin", begin),
    ("bundle", bundle),
    ("config", config),
    ("durations", durations),
    ("frames", frames),
    ("hello", hello),
    ("inbound", inbound),
    ("known_hosts", known_hosts),
    ("messages", messages),
    ("names", names),
    ("plan", plan),
    ("printable", printable),
    ("scan", scan),
    ("scan_summed", scan_summed),
    ("schedule", schedule),
    ("state", state),
    ("worker", worker),
];

/// Text of the other side, or made of it, moves no cursor and forges no line.
///
/// # Panics
/// If it would.
pub fn assert_printable(text: &str) {
    let steers = |c: char| c.is_control() && c != '\n';
    assert!(
        !text.contains(steers),
        "it would steer a terminal: {text:?}"
    );
}
