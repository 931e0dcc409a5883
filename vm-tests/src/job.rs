//! A local process with captured output and a time limit.
//!
//! Both kinds of guests end in one: an ssh client, or a command in this
//! machine's own namespaces. End of file on both of its outputs is the sign that
//! it has ended; nothing polls.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use std::os::unix::process::ExitStatusExt;

use anyhow::{Context, Result};

use crate::script::{OUTPUT_BYTES_MAX, Outcome, Output};

/// Limit of reading what a killed process had printed: its outputs are closed
/// by then, unless it left children that hold them open.
const LAST_WORDS_TIME_LIMIT: Duration = Duration::from_secs(5);

/// A started process.
#[derive(Debug)]
pub struct Job {
    child: Child,
    started: Instant,
    stdout: Capture,
    stderr: Capture,
}

impl Job {
    /// Starts it and feeds it `input` from a thread of its own.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start(command: &mut Command, input: Vec<u8>) -> Result<Self> {
        let stdin = if input.is_empty() {
            Stdio::null()
        } else {
            Stdio::piped()
        };
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("running {}", command.get_program().display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command may well end without reading all of its input.
            std::thread::spawn(move || {
                let _ = stdin.write_all(&input);
            });
        }
        let stdout = Capture::of(child.stdout.take().expect("stdout was asked for as a pipe"));
        let stderr = Capture::of(child.stderr.take().expect("stderr was asked for as a pipe"));
        Ok(Self {
            child,
            started: Instant::now(),
            stdout,
            stderr,
        })
    }

    /// Waits for its end, at most until `limit` after its start. A job that is
    /// late is only reported: what to kill, and where, is the caller's to know.
    ///
    /// # Errors
    /// If waiting itself fails.
    pub fn wait(&mut self, limit: Duration) -> Result<Result<Output, Outcome>> {
        let end = self.started + limit;
        for capture in [&mut self.stdout, &mut self.stderr] {
            if !capture.finish(end) {
                return Ok(Err(Outcome::TimedOut(limit)));
            }
        }
        let status = self.child.wait()?;
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        if stdout.len().max(stderr.len()) as u64 >= OUTPUT_BYTES_MAX {
            return Ok(Err(Outcome::TooMuchOutput));
        }
        Ok(Ok(Output {
            stdout,
            stderr,
            code: exit_code(status),
        }))
    }

    /// Kills the local process, and returns what it had printed. What it stands
    /// for in a guest may live on.
    pub fn kill(&mut self) -> Option<Output> {
        self.child.kill().ok()?;
        self.wait(self.started.elapsed() + LAST_WORDS_TIME_LIMIT)
            .ok()?
            .ok()
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// One output stream, read by a thread until its end.
#[derive(Debug)]
struct Capture {
    end: Receiver<Vec<u8>>,
    read: Option<Vec<u8>>,
}

impl Capture {
    fn of(mut stream: impl Read + Send + 'static) -> Self {
        let (sender, end) = channel();
        std::thread::spawn(move || {
            let mut read = Vec::new();
            let _ = stream
                .by_ref()
                .take(OUTPUT_BYTES_MAX)
                .read_to_end(&mut read);
            // Past the limit go on reading, or the writer would never end.
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
            let _ = sender.send(read);
        });
        Self { end, read: None }
    }

    fn finish(&mut self, end: Instant) -> bool {
        if self.read.is_none() {
            let left = end.saturating_duration_since(Instant::now());
            self.read = match self.end.recv_timeout(left) {
                Ok(read) => Some(read),
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => Some(Vec::new()),
            };
        }
        true
    }

    fn take(&mut self) -> Vec<u8> {
        self.read.take().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_output_and_exit_code_are_the_commands_own() {
        let mut command = Command::new("sh");
        command.args(["-c", "cat; echo err >&2; exit 7"]);
        let mut job = Job::start(&mut command, b"in".to_vec()).unwrap();
        let output = job.wait(Duration::from_secs(60)).unwrap().unwrap();
        assert_eq!(
            (output.text(), output.error_text(), output.code),
            ("in".into(), "err".into(), 7)
        );
    }

    #[test]
    fn a_job_beyond_its_time_limit_is_reported_late() {
        let mut command = Command::new("sleep");
        let mut job = Job::start(command.arg("600"), Vec::new()).unwrap();
        let late = job.wait(Duration::from_millis(50)).unwrap();
        assert!(matches!(late, Err(Outcome::TimedOut(_))));
        job.kill();
    }
}
