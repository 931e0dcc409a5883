//! Why a pool in a file could not be used.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use super::IMAGE_BYTES_MIN;
use super::image::Image;
use crate::protocol::{Fault, StartFault};
use crate::wire::WireError;

/// A pool in a file could not be used, or a call on it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The executable is not installed.
    #[error(
        "{image}: the worker for user-space pools is missing; looked for {}",
        list(looked_at)
    )]
    NoWorker {
        /// The image that was wanted.
        image: Box<Image>,
        /// Where it was looked for.
        looked_at: Vec<PathBuf>,
    },
    /// The executable is there and cannot do its work on this machine.
    #[error("{image}: the worker {} cannot run here: {detail}", worker.display())]
    WorkerUnusable {
        /// The image that was wanted.
        image: Box<Image>,
        /// The executable.
        worker: PathBuf,
        /// What it, or the system, says is missing.
        detail: String,
    },
    /// There is no such file.
    #[error("{0}: there is no such image")]
    ImageMissing(Box<Image>),
    /// Another process uses the file, or this one does already.
    #[error("{0}: the image is in use")]
    ImageInUse(Box<Image>),
    /// It is no regular file.
    #[error("{0}: not a regular file")]
    NotAFile(Box<Image>),
    /// It is smaller than [`IMAGE_BYTES_MIN`].
    #[error("{image}: {bytes} bytes are too few for a pool; it takes {IMAGE_BYTES_MIN} at least")]
    ImageTooSmall {
        /// Which.
        image: Box<Image>,
        /// Its size.
        bytes: u64,
    },
    /// There is a file where one was to be created; it is as it was.
    #[error("{0}: the file exists already")]
    Exists(Box<Image>),
    /// There is no usable pool in the file.
    #[error("{image}: {fault}")]
    Start {
        /// Which.
        image: Box<Image>,
        /// Why not.
        #[source]
        fault: StartFault,
    },
    /// ZFS answered that it did not do it.
    #[error("{image}: `{call}`: {}", Reason(fault))]
    Fault {
        /// Which pool.
        image: Box<Image>,
        /// What was asked.
        call: &'static str,
        /// ZFS' answer.
        fault: Fault,
    },
    /// The worker ended during a call. What the call changed may be there or
    /// not, but never half: the last synced transaction group holds.
    #[error("{image}: the worker ended ({ended}) during `{call}`{}", Said(said))]
    WorkerDied {
        /// Which pool.
        image: Box<Image>,
        /// During which call; `import` or `create` for a start.
        call: &'static str,
        /// How.
        ended: Ended,
        /// How often in a row: above 1 only for starts.
        times: u32,
        /// The end of what it wrote to standard error.
        said: String,
    },
    /// The worker did nothing for too long and was killed. As for
    /// [`Error::WorkerDied`], nothing is half done.
    #[error("{image}: the worker hung in `{call}` and was ended after {} s: {rule}{}",
        after.as_secs_f32().round(), Said(said))]
    WorkerHung {
        /// Which pool.
        image: Box<Image>,
        /// In which call.
        call: &'static str,
        /// How long it was given, of the time the client itself saw.
        after: Duration,
        /// What it did not do.
        rule: &'static str,
        /// The end of what it wrote to standard error.
        said: String,
    },
    /// The worker ended or hung, and the file system that holds the image is
    /// full: ZFS waits for room then. Nothing that was synced is lost.
    #[error("{image}: no space is left on the disk under the image; `{call}` was given up")]
    DiskFull {
        /// Which pool.
        image: Box<Image>,
        /// During which call.
        call: &'static str,
    },
    /// The system refused.
    #[error("{image}: cannot {action}")]
    Io {
        /// Which pool.
        image: Box<Image>,
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The two sides do not understand each other: a bug, or parts of two
    /// builds.
    #[error("{image}: the worker's answer to `{call}` is no answer")]
    Protocol {
        /// Which pool.
        image: Box<Image>,
        /// What was asked.
        call: &'static str,
        /// What is wrong with it.
        #[source]
        source: WireError,
    },
}

impl Error {
    /// Whether the same call may succeed without anybody's doing: the pool is
    /// imported again by the next call.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::WorkerDied { times, .. } => *times <= 1,
            Self::WorkerHung { .. } | Self::ImageInUse(_) => true,
            _ => false,
        }
    }

    /// ZFS' own answer, if it gave one.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Fault { fault, .. } => Some(fault),
            _ => None,
        }
    }
}

/// How a worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit code.
    Exit(i32),
    /// By a signal: 6 is an assertion of libzpool, 9 somebody else or the
    /// system's lack of memory.
    Signal(i32),
    /// The client ended it, for the sake of another call or because it closed
    /// a call without an answer.
    Killed,
}

impl Ended {
    pub(super) fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exit(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => unreachable!("a process that was waited for has ended"),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(out, "exit code {code}"),
            Self::Signal(signal) => write!(out, "signal {signal}"),
            Self::Killed => out.write_str("it had to be killed"),
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    paths.join(", ")
}

/// An errno with its words, and the detail after it.
struct Reason<'a>(&'a Fault);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { errno, detail, .. } = self.0;
        write!(out, "{}", io::Error::from_raw_os_error(*errno))?;
        if !detail.is_empty() {
            write!(out, " ({detail})")?;
        }
        Ok(())
    }
}

/// What a worker said, on one line.
struct Said<'a>(&'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.0.lines().filter(|line| !line.trim().is_empty());
        if let Some(first) = lines.next() {
            write!(out, ": {first}")?;
            lines.try_for_each(|line| write!(out, " | {line}"))?;
        }
        Ok(())
    }
}
