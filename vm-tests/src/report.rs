//! What the harness says: results on stdout, everything else on stderr.
//!
//! The only module that prints; the others return what they have to say.

/// One line of the result.
#[expect(clippy::print_stdout, reason = "the harness' result goes to stdout")]
pub fn result(line: &str) {
    println!("{line}");
}

/// One line for whoever watches: progress, hints, warnings.
#[expect(clippy::print_stderr, reason = "the harness' progress goes to stderr")]
pub fn note(line: &str) {
    eprintln!("{line}");
}
