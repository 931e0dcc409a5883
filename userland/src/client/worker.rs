//! Where the worker's executable is, and how patient its client is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Name of the executable.
const NAME: &str = "zferry-zpool";

/// Asks the executable what it runs; anything else it refuses.
pub const VERSION_WORD: &str = "--version";

/// When a worker counts as hung. Times are those the client itself saw pass: a
/// client that was stopped, or whose machine slept, blames nobody for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Between two looks at a call that has not ended.
    pub look: Duration,
    /// A worker with work, but without input or output of any kind.
    pub quiet: Duration,
    /// A call whose pipe could move, but whose thread moves nothing, although
    /// the process does: other calls may keep it busy.
    pub stuck: Duration,
    /// A call that neither moves data nor grows with the pool.
    pub short: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            // Cheap (two files of /proc), and short against the others.
            look: Duration::from_secs(1),
            // A disk that spins up or a busy NFS server takes some ten seconds.
            quiet: Duration::from_secs(60),
            // A stream may search the metadata of a huge volume for its next
            // changed block before it has something to write.
            stuck: Duration::from_secs(600),
            // One or two transaction groups; each takes seconds, and may wait
            // for a receive that fills the disk's queue.
            short: Duration::from_secs(600),
        }
    }
}

/// How to start workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    candidates: Vec<PathBuf>,
    patience: Patience,
}

impl Worker {
    /// The executable at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            candidates: vec![path.into()],
            patience: Patience::default(),
        }
    }

    /// The executable that belongs to the program `current_exe`: beside it, or
    /// in `../libexec/zferry/`. The first that exists is taken, at the time of
    /// each start.
    #[must_use]
    pub fn beside(current_exe: &Path) -> Self {
        let folder = current_exe.parent().unwrap_or(Path::new("."));
        let installed = folder.parent().map(|up| up.join("libexec/zferry"));
        Self {
            candidates: [Some(folder.to_owned()), installed]
                .into_iter()
                .flatten()
                .map(|folder| folder.join(NAME))
                .collect(),
            patience: Patience::default(),
        }
    }

    /// The same with another patience.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Where it is looked for.
    #[must_use]
    pub fn candidates(&self) -> &[PathBuf] {
        &self.candidates
    }

    /// The executable, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        let mut candidates = self.candidates.iter().map(PathBuf::as_path);
        candidates.find(|candidate| candidate.is_file())
    }

    /// The OpenZFS that it runs, in its own words. Starts it for a moment.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn version(&self) -> Result<String, Unavailable> {
        let Some(worker) = self.path() else {
            return Err(Unavailable::Missing(self.candidates.clone()));
        };
        let unusable = |detail: String| Unavailable::Unusable {
            worker: worker.to_owned(),
            detail,
        };
        let output = Command::new(worker)
            .arg(VERSION_WORD)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| unusable(error.to_string()))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            // The system's loader speaks there too.
            Err(unusable(text(&output.stderr)))
        }
    }

    pub(super) fn patience(&self) -> Patience {
        self.patience
    }
}

/// Why a worker does not say what it runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The executable is not installed.
    #[error("the worker for pools in files is missing: {}", list(.0))]
    Missing(Vec<PathBuf>),
    /// It is there and cannot do its work on this machine.
    #[error("{} cannot run here: {detail}", worker.display())]
    Unusable {
        /// The executable.
        worker: PathBuf,
        /// What it, or the system, says is missing.
        detail: String,
    },
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    paths.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_found_beside_the_program_before_the_installed_one() {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("bin");
        let libexec = root.path().join("libexec/zferry");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::create_dir_all(&libexec).unwrap();
        let worker = Worker::beside(&bin.join("zferry"));
        assert_eq!(worker.path(), None);
        std::fs::write(libexec.join(NAME), "").unwrap();
        assert_eq!(worker.path(), Some(libexec.join(NAME).as_path()));
        std::fs::write(bin.join(NAME), "").unwrap();
        assert_eq!(worker.path(), Some(bin.join(NAME).as_path()));
    }
}
