//! One run at a time for one pair of datasets, or one service.
//!
//! A lock is a file under `STATE/lock`, locked with flock(2): the kernel
//! releases it when the process ends, however it ends. The file stays; what is
//! in it is for people, and for [`Lock::remembered`].

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::error::Family;

use crate::failure::Failure;

/// How often a lock that another run holds is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Most of a lock file that is read, in bytes: what a run writes is shorter.
const CONTENT_BYTES_MAX: u64 = 4096;

/// Held until dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run has it.
    #[error("another run of {what} is going on (it holds {})", file.display())]
    Held { what: String, file: PathBuf },
    /// The operating system says no.
    #[error("cannot {operation} {}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        match &error {
            LockError::Held { .. } => Self::of(Family::Transient, &error)
                .remedy("run the same command again when the other one has ended"),
            LockError::Io { .. } => Self::of(Family::Failed, &error)
                .remedy("name a folder that this user may write to with --state, or run as root"),
        }
    }
}

/// What is to be locked.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The folder of states, `--state`.
    pub state: &'a Path,
    /// Name of the lock file, without suffix: one for each thing to lock.
    pub file: &'a str,
    /// What it is, for messages.
    pub what: &'a str,
}

impl Lock {
    /// Takes the lock, or fails at once.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn take(subject: Subject<'_>) -> Result<Self, LockError> {
        let dir = subject.state.join("lock");
        let failed = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| LockError::Io {
                operation,
                path,
                source,
            }
        };
        std::fs::create_dir_all(&dir).map_err(failed("create", &dir))?;
        let path = dir.join(format!("{}.lock", subject.file));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file, path }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held {
                what: subject.what.to_owned(),
                file: path,
            }),
            Err(TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
        }
    }

    /// Takes the lock, waiting up to `patience` for another run to end.
    ///
    /// # Errors
    /// [`LockError`].
    pub async fn wait(subject: Subject<'_>, patience: Duration) -> Result<Self, LockError> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            match Self::take(subject) {
                Err(LockError::Held { .. }) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
                ended => return ended,
            }
        }
    }

    /// The first line of what the last holder left with [`Self::remember`].
    pub fn remembered(&mut self) -> Option<String> {
        let mut text = String::new();
        self.file.rewind().ok()?;
        let mut file = (&self.file).take(CONTENT_BYTES_MAX);
        file.read_to_string(&mut text).ok()?;
        text.lines().next().map(str::to_owned)
    }

    /// Leaves a text for the next holder.
    ///
    /// # Errors
    /// [`LockError::Io`].
    pub fn remember(&mut self, text: &str) -> Result<(), LockError> {
        let written = self
            .file
            .rewind()
            .and_then(|()| self.file.set_len(0))
            .and_then(|()| self.file.write_all(text.as_bytes()));
        written.map_err(|source| LockError::Io {
            operation: "write",
            path: self.path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(state: &Path) -> Subject<'_> {
        Subject {
            state,
            file: "pair",
            what: "a test",
        }
    }

    #[test]
    fn a_second_holder_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(subject(dir.path())).unwrap();
        let error = Lock::take(subject(dir.path())).unwrap_err();
        assert!(matches!(error, LockError::Held { .. }), "{error:?}");
        assert_eq!(Failure::from(error).family, Family::Transient);
        drop(first);
        Lock::take(subject(dir.path())).unwrap();
    }

    #[test]
    fn what_one_holder_leaves_the_next_one_finds() {
        let dir = tempfile::tempdir().unwrap();
        let mut lock = Lock::take(subject(dir.path())).unwrap();
        assert_eq!(lock.remembered(), None);
        lock.remember("a much longer text\nmore\n").unwrap();
        lock.remember("short\n").unwrap();
        drop(lock);
        let mut lock = Lock::take(subject(dir.path())).unwrap();
        assert_eq!(lock.remembered().as_deref(), Some("short"));
        assert_eq!(lock.remembered().as_deref(), Some("short"));
    }

    #[test]
    fn a_state_folder_that_cannot_be_made_is_named_with_the_option() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let failure = Failure::from(Lock::take(subject(&file)).unwrap_err());
        assert!(failure.message.contains("file/lock"), "{failure:?}");
        assert!(failure.remedies[0].contains("--state"), "{failure:?}");
    }
}
