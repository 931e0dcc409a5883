//! A command for a guest, and what came of it.
//!
//! Every command has a time limit: a guest that is paused or cut off would
//! otherwise hang its caller for ever. Running it is the guests' business.

use std::fmt;
use std::time::Duration;

/// Limit of a command that names none: about ten times what the slowest
/// ordinary ZFS command takes in an emulated guest on a busy machine.
pub const TIME_LIMIT: Duration = Duration::from_secs(120);

/// Captured output of one stream beyond this is an error, not a swap storm.
pub const OUTPUT_BYTES_MAX: u64 = 64 << 20;

/// A command with its input and its time limit.
#[derive(Clone, Debug)]
pub struct Script {
    text: String,
    stdin: Vec<u8>,
    time_limit: Duration,
}

impl Script {
    /// Lines of bash; any failing command, also inside a pipeline, ends it.
    pub fn bash(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            stdin: Vec::new(),
            time_limit: TIME_LIMIT,
        }
    }

    /// One program with its arguments. It replaces the shell, so a signal to
    /// the background job's pid reaches the program itself.
    pub fn program<I: IntoIterator<Item = S>, S: AsRef<str>>(argv: I) -> Self {
        let words: Vec<String> = argv.into_iter().map(|word| quote(word.as_ref())).collect();
        Self::bash(format!("exec {}", words.join(" ")))
    }

    /// Bytes to feed to its standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Another time limit.
    #[must_use]
    pub fn within(mut self, time_limit: Duration) -> Self {
        self.time_limit = time_limit;
        self
    }

    /// The time limit.
    pub fn time_limit(&self) -> Duration {
        self.time_limit
    }

    /// What goes to standard input.
    pub fn input(&self) -> &[u8] {
        &self.stdin
    }

    /// The shell text as the caller wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl From<&str> for Script {
    fn from(text: &str) -> Self {
        Self::bash(text)
    }
}

impl From<String> for Script {
    fn from(text: String) -> Self {
        Self::bash(text)
    }
}

impl From<&String> for Script {
    fn from(text: &String) -> Self {
        Self::bash(text.as_str())
    }
}

/// One word for a POSIX shell, quoted only where it has to be.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%_+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// What a finished command left.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// Its exit code; 128 + number if a signal ended it.
    pub code: i32,
}

impl Output {
    /// Standard output as text, without the line break at its end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    /// Standard error as text, without the line break at its end.
    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim_end().to_owned()
    }

    /// Whether the command succeeded.
    pub fn ok(&self) -> bool {
        self.code == 0
    }
}

/// A command that ran and did not end the way its caller needs.
#[derive(Debug, thiserror::Error)]
pub struct CommandError {
    /// The guest that it ran in.
    pub guest: String,
    /// The command's text.
    pub command: String,
    /// What went wrong.
    pub outcome: Outcome,
    /// What it had printed by then.
    pub output: Option<Output>,
}

/// How a command went wrong.
#[derive(Debug)]
pub enum Outcome {
    /// It ended with this exit code.
    Exit(i32),
    /// It was still running after its time limit, and was killed.
    TimedOut(Duration),
    /// It printed more than [`OUTPUT_BYTES_MAX`].
    TooMuchOutput,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Exit(code) => write!(f, "exit code {code} on {}", self.guest)?,
            Outcome::TimedOut(limit) => {
                write!(f, "no end within {} s on {}", limit.as_secs(), self.guest)?;
            }
            Outcome::TooMuchOutput => write!(f, "too much output on {}", self.guest)?,
        }
        write!(f, "\n  command: {}", indent(&self.command))?;
        if let Some(output) = &self.output {
            for (stream, text) in [("stdout", output.text()), ("stderr", output.error_text())] {
                if !text.is_empty() {
                    write!(f, "\n  {stream}: {}", indent(tail(&text)))?;
                }
            }
        }
        Ok(())
    }
}

fn indent(text: &str) -> String {
    text.replace('\n', "\n    ")
}

/// The end of a long text: what a command said last explains its failure.
fn tail(text: &str) -> &str {
    const SHOWN_BYTES_MAX: usize = 4000;
    let mut start = text.len().saturating_sub(SHOWN_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_with_a_quote_survives_the_shell() {
        for word in ["", "a b", "it's", "$HOME", "tank/a@b", "*"] {
            let echoed = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quote(word))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(echoed.stdout).unwrap(), word);
        }
    }
}
