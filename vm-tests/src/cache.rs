//! What was built once and serves every later run: a directory per key.
//!
//! An entry appears under its key by a rename after it is complete, so an
//! interrupted build leaves nothing that looks finished. A lock keeps two
//! harnesses from building the same thing twice. What belongs to one run (disks,
//! sockets, keys) is never put here: see `rundir`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// How long an entry that nobody asks for is kept. Kernels of Debian change more
/// often than that, and every one makes new entries of some 200 MB.
const KEPT_UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);

/// The cache directory.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `ZFERRY_VM_CACHE`, or a directory of ours below the user's cache.
    ///
    /// # Errors
    /// If neither that nor `XDG_CACHE_HOME` nor `HOME` is set, or it cannot be made.
    pub fn open() -> Result<Self> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let root = if let Some(own) = variable("ZFERRY_VM_CACHE") {
            PathBuf::from(own)
        } else if let Some(cache) = variable("XDG_CACHE_HOME") {
            PathBuf::from(cache).join("zferry-vm")
        } else if let Some(home) = variable("HOME") {
            PathBuf::from(home).join(".cache/zferry-vm")
        } else {
            bail!("none of ZFERRY_VM_CACHE, XDG_CACHE_HOME and HOME says where to keep images");
        };
        fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
        // Steps of a build change their directory; the path must not move with it.
        let root = root.canonicalize()?;
        Ok(Self { root })
    }

    /// Where the build's private package lists are kept.
    pub fn package_lists(&self) -> PathBuf {
        self.root.join("apt")
    }

    /// Where the log of a build step goes.
    pub fn log(&self, step: &str) -> PathBuf {
        self.root.join("log").join(format!("{step}.log"))
    }

    /// Waits until no other harness holds the lock of this name, then holds it.
    ///
    /// # Errors
    /// If the lock file cannot be made.
    pub fn lock(&self, name: &str) -> Result<File> {
        let path = self.root.join("locks").join(name);
        fs::create_dir_all(self.root.join("locks"))?;
        let file = File::create(&path).with_context(|| format!("making {}", path.display()))?;
        file.lock()
            .with_context(|| format!("locking {}", path.display()))?;
        Ok(file)
    }

    /// The entry of this kind and key, built by `build` if it is not there yet.
    /// `build` gets an empty directory for the result and one for scratch.
    ///
    /// # Errors
    /// Those of `build`, and of the file system.
    pub fn entry(
        &self,
        kind: &str,
        key: &Key,
        build: impl FnOnce(&Building<'_>) -> Result<()>,
    ) -> Result<PathBuf> {
        let finished = self.root.join(kind).join(key.hex());
        if !finished.is_dir() {
            let _lock = self.lock(&format!("{kind}-{}", key.hex()))?;
            // Another harness may have built it while we waited.
            if !finished.is_dir() {
                self.build(kind, key, &finished, build)?;
            }
        }
        // The time of its last use, for `forget_unused`.
        File::open(&finished)?.set_modified(SystemTime::now())?;
        Ok(finished)
    }

    fn build(
        &self,
        kind: &str,
        key: &Key,
        finished: &Path,
        build: impl FnOnce(&Building<'_>) -> Result<()>,
    ) -> Result<()> {
        let scratch = self
            .root
            .join("building")
            .join(format!("{kind}-{}", key.hex()));
        if scratch.exists() {
            fs::remove_dir_all(&scratch)
                .with_context(|| format!("clearing {}", scratch.display()))?;
        }
        let (out, work) = (scratch.join("out"), scratch.join("work"));
        fs::create_dir_all(&out)?;
        fs::create_dir_all(&work)?;
        build(&Building {
            out: &out,
            work: &work,
        })?;
        fs::create_dir_all(self.root.join(kind))?;
        fs::rename(&out, finished).with_context(|| format!("keeping {}", finished.display()))?;
        fs::remove_dir_all(&scratch)?;
        self.forget_unused(kind)
    }

    /// Removes entries that nobody has asked for in [`KEPT_UNUSED`].
    fn forget_unused(&self, kind: &str) -> Result<()> {
        for entry in fs::read_dir(self.root.join(kind))? {
            let entry = entry?;
            // A clock that was set back makes an entry look new, which is harmless.
            let unused = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
            if unused > KEPT_UNUSED {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Directories of an entry that is being built.
#[derive(Debug)]
pub struct Building<'a> {
    /// Becomes the entry.
    pub out: &'a Path,
    /// Is thrown away.
    pub work: &'a Path,
}

/// What an entry was made of, as a hash.
#[derive(Clone, Default)]
pub struct Key(Sha256);

impl Key {
    /// Adds a named ingredient.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        // Lengths keep two ingredients from reading as one.
        self.0.update((name.len() as u64).to_le_bytes());
        self.0.update(name);
        self.0.update((value.len() as u64).to_le_bytes());
        self.0.update(value);
        self
    }

    /// Adds the contents of a recipe file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn with_file(self, path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok(self.with(&name, text))
    }

    /// Short enough for a file name, long enough never to meet another.
    pub fn hex(&self) -> String {
        self.0
            .clone()
            .finalize()
            .iter()
            .take(10)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_a_byte_from_name_to_value_changes_the_key() {
        assert_ne!(
            Key::default().with("ab", "c").hex(),
            Key::default().with("a", "bc").hex()
        );
    }

    #[test]
    fn a_failed_build_leaves_no_entry() {
        let root = std::env::temp_dir().join(format!("vm-tests-cache-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let cache = Cache { root: root.clone() };
        let key = Key::default().with("x", "y");
        assert!(cache.entry("image", &key, |_| bail!("no")).is_err());
        let made = cache
            .entry("image", &key, |dirs| {
                Ok(fs::write(dirs.out.join("f"), "z")?)
            })
            .unwrap();
        assert_eq!(fs::read(made.join("f")).unwrap(), b"z");
        cache
            .entry("image", &key, |_| bail!("built twice"))
            .unwrap();
        fs::remove_dir_all(&root).unwrap();
    }
}
