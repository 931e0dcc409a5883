//! The directory of one run: sockets, disks, logs, keys. Gone when the run ends.
//!
//! A run holds a lock on its directory for as long as it lives. What a crashed
//! run left is therefore told from a living one without guessing, and is ended
//! and removed by the next run.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::report;

/// File that holds the process id of a guest: its QEMU, or the first process of
/// its namespaces, which takes all others with it.
pub const PID_FILE: &str = "guest.pid";

/// This run's directory; dropped, it is removed.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    // The lock lives as long as this descriptor.
    _lock: File,
}

impl RunDirectory {
    /// Makes a directory for this run, after clearing those of crashed ones.
    ///
    /// # Errors
    /// If the temporary directory cannot be written.
    pub fn create() -> Result<Self> {
        let parent = parent_directory()?;
        private_directory(&parent)?;
        // The temporary directory is everybody's: somebody else may have made
        // this one, to have what we find in it taken for ours.
        let metadata = fs::symlink_metadata(&parent)?;
        ensure!(
            metadata.is_dir() && metadata.uid() == user()? && metadata.mode() & 0o077 == 0,
            "{} belongs to somebody else",
            parent.display()
        );
        for stale in directories(&parent)? {
            if !is_alive(&stale) {
                report::note(&format!(
                    "clearing what a crashed run left in {}",
                    stale.display()
                ));
                clear(&stale);
            }
        }
        let path = parent.join(std::process::id().to_string());
        private_directory(&path)?;
        let lock = File::create(path.join("lock"))?;
        lock.lock()?;
        Ok(Self { path, _lock: lock })
    }

    /// The directory of a run that is alive, for a look into its guests: of the
    /// harness with this process id, or of the only one.
    ///
    /// # Errors
    /// If there is none, or more than one to choose from.
    pub fn find_alive(harness: Option<u32>) -> Result<PathBuf> {
        let parent = parent_directory()?;
        let mut alive = if parent.is_dir() {
            directories(&parent)?
        } else {
            Vec::new()
        };
        alive.retain(|path| {
            is_alive(path) && harness.is_none_or(|pid| path.ends_with(pid.to_string()))
        });
        if let [only] = &alive[..] {
            return Ok(only.clone());
        }
        let names: Vec<_> = alive
            .iter()
            .filter_map(|path| path.file_name()?.to_str())
            .collect();
        ensure!(
            names.is_empty(),
            "several runs are alive: choose one by --run {}",
            names.join(" or ")
        );
        bail!("no guests are running; start them with `vm-tests boot`")
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        clear(&self.path);
    }
}

/// Ends the guests that are noted in this directory, and removes it.
pub fn clear(path: &Path) {
    for guest in directories(path).unwrap_or_default() {
        if let Ok(pid) = fs::read_to_string(guest.join(PID_FILE)) {
            end_process(pid.trim(), path);
        }
    }
    if let Err(error) = fs::remove_dir_all(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        report::note(&format!("warning: {} stays: {error}", path.display()));
    }
}

/// Kills a guest's process if its command line names our directory: a process id
/// alone may belong to somebody else by now.
fn end_process(pid: &str, path: &Path) {
    let Ok(command_line) = fs::read(format!("/proc/{pid}/cmdline")) else {
        return;
    };
    let ours = path.as_os_str().as_encoded_bytes();
    if command_line
        .windows(ours.len())
        .any(|window| window == ours)
        && let Ok(pid) = pid.parse()
    {
        kill(pid);
    }
}

/// Kills a process.
pub fn kill(pid: u32) {
    // The command rather than the system call, which would need unsafe code.
    let _ = Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .stderr(Stdio::null())
        .status();
}

fn parent_directory() -> Result<PathBuf> {
    Ok(std::env::temp_dir().join(format!("zferry-vm-{}", user()?)))
}

fn user() -> Result<u32> {
    Ok(fs::metadata("/proc/self")
        .context("asking who we are")?
        .uid())
}

fn private_directory(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("making {}", path.display()))
}

fn directories(path: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("reading {}", path.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn is_alive(path: &Path) -> bool {
    let Ok(lock) = File::open(path.join("lock")) else {
        return false;
    };
    matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
}
