//! How a script becomes a command line in a guest, and how its process is found
//! again for a signal.
//!
//! The process notes its id in a file before it becomes the script. It leads a
//! session of its own, so all that it started can be ended with it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::script::{Script, quote};

static JOBS: AtomicU64 = AtomicU64::new(0);

/// A script's place in a guest.
#[derive(Clone, Debug)]
pub struct Place {
    directory: String,
    pid_file: String,
}

impl Place {
    /// A place in `directory` that no other job of this run or an earlier one has.
    pub fn fresh(directory: &str) -> Self {
        let number = JOBS.fetch_add(1, Ordering::Relaxed);
        Self {
            directory: quote(directory),
            pid_file: quote(&format!("{directory}/{}-{number}", std::process::id())),
        }
    }

    /// Command line for the guest's login shell.
    pub fn command_line(&self, script: &Script) -> String {
        format!(
            "mkdir -p {} && echo $$ > {} && exec bash -o pipefail -ec {}",
            self.directory,
            self.pid_file,
            quote(script.text())
        )
    }

    /// Prints the process id, as soon as there is one.
    pub fn pid_command(&self) -> String {
        let file = &self.pid_file;
        format!("until [ -s {file} ]; do sleep 0.05; done; cat {file}")
    }

    /// Kills the script with everything in its session's process group.
    pub fn kill_command(&self) -> String {
        format!("kill -KILL -- -$(cat {})", self.pid_file)
    }
}
