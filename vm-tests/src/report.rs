//! What the harness says: results on stdout, everything else on stderr.
//!
//! The only module that prints; the others return what they have to say. A
//! reader that has gone away (`vm-tests list | head`) is no error.

use std::io::{Write, stderr, stdout};

/// One line of the result.
pub fn result(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}

/// One line for whoever watches: progress, hints, warnings.
pub fn note(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}

/// An error with its causes, one below the other.
pub fn causes(error: &anyhow::Error) -> String {
    let texts: Vec<String> = error.chain().map(ToString::to_string).collect();
    texts.join("\n  because: ")
}
