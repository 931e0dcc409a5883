//! One step of the image build: a shell script with a log.
//!
//! A step that fails is explained by the end of its log, so nobody has to go
//! looking for it first.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Lines of a failed step's log that go into the error.
const LOG_LINES_SHOWN: usize = 30;

/// A script of `image/` about to run.
pub(super) struct Recipe {
    command: Command,
    name: String,
    log: PathBuf,
}

impl Recipe {
    pub(super) fn new(steps: &Path, name: &str, log: PathBuf) -> Self {
        let mut command = Command::new("bash");
        command.arg(steps.join(format!("{name}.sh")));
        // Scripts read the output of tools: keep it the untranslated one.
        command
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive");
        Self {
            command,
            name: name.to_owned(),
            log,
        }
    }

    pub(super) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it with all output in the log.
    pub(super) fn run(mut self, args: &[&str]) -> Result<()> {
        let log = self.open_log()?;
        self.command.stdout(log.try_clone()?).stderr(log);
        let status = self
            .command
            .args(args)
            .stdin(Stdio::null())
            .status()
            .context("running bash")?;
        self.check(status)
    }

    /// Runs it for what it prints; only its messages go to the log.
    pub(super) fn output(mut self, args: &[&str]) -> Result<String> {
        let log = self.open_log()?;
        self.command.stderr(log);
        let output = self
            .command
            .args(args)
            .stdin(Stdio::null())
            .output()
            .context("running bash")?;
        self.check(output.status)?;
        String::from_utf8(output.stdout).with_context(|| format!("output of {}.sh", self.name))
    }

    fn open_log(&self) -> Result<File> {
        if let Some(directory) = self.log.parent() {
            fs::create_dir_all(directory)?;
        }
        File::create(&self.log).with_context(|| format!("making {}", self.log.display()))
    }

    fn check(&self, status: std::process::ExitStatus) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        let log = fs::read(&self.log).unwrap_or_default();
        bail!(
            "step {} of the image build failed ({status}); the end of {}:\n{}",
            self.name,
            self.log.display(),
            crate::tail::lines(&log, LOG_LINES_SHOWN)
        );
    }
}
