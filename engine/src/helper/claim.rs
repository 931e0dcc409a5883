//! One driver at a time for a destination, whatever machine it runs on.
//!
//! A claim is a set of flock(2)s on files below the helper's state folder. The
//! kernel releases them when the process ends, however it ends; the files stay.
//! Every dataset has two: `self`, and `tree` for it with all that is below. A
//! claim of one dataset has `self` for itself and shares `tree` of the dataset
//! and of all its ancestors; a claim of a tree has `tree` for itself and shares
//! `tree` of the ancestors. So a tree excludes whatever is inside of it, and
//! two datasets of one tree do not disturb each other.
//!
//! In the file is who claims it, for the message to whoever comes second.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::name::DatasetName;
use crate::zfs::Scope;

/// How long a claim waits for another one to be released: the helper of a
/// driver that has just ended needs a moment to notice.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is tried meanwhile.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Hex digits of the hash in a file name: no two datasets share a file.
const HASH_HEX_DIGITS: usize = 32;

/// Longest text about a holder, in bytes.
pub const HOLDER_BYTES_MAX: usize = 512;

/// The folder of claims; one for all helpers of a machine that shall know of
/// each other.
#[derive(Debug, Clone)]
pub struct ClaimFolder {
    dir: PathBuf,
    patience: Duration,
}

/// A destination that nobody else may claim until this is dropped.
#[derive(Debug)]
pub struct Claim {
    root: DatasetName,
    scope: Scope,
    _locks: Vec<File>,
}

/// Why there is no claim.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Somebody else has it.
    #[error("it is in use by {0}")]
    Held(String),
    /// The operating system says no.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// In the words of a sentence.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Alone, or with others that do not contradict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    Alone,
    Together,
}

impl ClaimFolder {
    /// Claims below this state folder, which is created with the first one.
    #[must_use]
    pub fn below(state: impl Into<PathBuf>) -> Self {
        Self {
            dir: state.into().join("lock"),
            patience: PATIENCE,
        }
    }

    /// The same with another time to wait for other claims to end.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Claims a destination for `holder`, waiting a little if it is taken.
    /// Blocks.
    ///
    /// # Errors
    /// [`ClaimError`]; nothing is claimed then.
    pub fn claim(
        &self,
        root: &DatasetName,
        scope: Scope,
        holder: &str,
    ) -> Result<Claim, ClaimError> {
        let deadline = Instant::now() + self.patience;
        loop {
            match self.try_claim(root, scope, holder) {
                Err(ClaimError::Held(_)) if Instant::now() < deadline => {
                    std::thread::sleep(RETRY_INTERVAL);
                }
                ended => return ended,
            }
        }
    }

    fn try_claim(
        &self,
        root: &DatasetName,
        scope: Scope,
        holder: &str,
    ) -> Result<Claim, ClaimError> {
        let mut locks = Vec::new();
        // From the top, so that two of them cannot lock each other out.
        let mut ancestors: Vec<_> = root.ancestors().collect();
        ancestors.sort_by_key(|ancestor| ancestor.as_str().len());
        for ancestor in &ancestors {
            locks.push(self.lock(ancestor, "tree", Share::Together, holder)?);
        }
        match scope {
            Scope::Recursive => locks.push(self.lock(root, "tree", Share::Alone, holder)?),
            Scope::One => {
                locks.push(self.lock(root, "tree", Share::Together, holder)?);
                locks.push(self.lock(root, "self", Share::Alone, holder)?);
            }
        }
        Ok(Claim {
            root: root.clone(),
            scope,
            _locks: locks,
        })
    }

    fn lock(
        &self,
        dataset: &DatasetName,
        what: &str,
        share: Share,
        holder: &str,
    ) -> Result<File, ClaimError> {
        let hash = blake3::hash(dataset.as_str().as_bytes()).to_hex();
        let name = format!("dst-{}.{what}.lock", &hash[..HASH_HEX_DIGITS]);
        let path = self.dir.join(name);
        let failed = |operation| {
            let path = path.clone();
            move |source| ClaimError::Io {
                operation,
                path,
                source,
            }
        };
        std::fs::create_dir_all(&self.dir).map_err(failed("create the folder of"))?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed("open"))?;
        let locked = match share {
            Share::Alone => file.try_lock(),
            Share::Together => file.try_lock_shared(),
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ClaimError::Held(holder_of(&mut file))),
            Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
        }
        if share == Share::Alone {
            let text = format!("{holder} ({dataset})");
            let text = cut(&text);
            let written = file
                .set_len(0)
                .and_then(|()| file.write_all(text.as_bytes()));
            written.map_err(failed("write"))?;
        }
        Ok(file)
    }
}

impl Claim {
    /// True if what this claims includes that.
    #[must_use]
    pub fn covers(&self, root: &DatasetName, scope: Scope) -> bool {
        match self.scope {
            Scope::Recursive => root.is_within(&self.root),
            Scope::One => scope == Scope::One && *root == self.root,
        }
    }
}

/// Who has it, of a file that somebody else has locked.
fn holder_of(file: &mut File) -> String {
    // Whoever shares it does not write in it: what is there is older then.
    if file.try_lock_shared().is_ok() {
        return "another run for a dataset below it".to_owned();
    }
    let mut text = Vec::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(HOLDER_BYTES_MAX as u64).read_to_end(&mut text));
    match read {
        Ok(bytes) if bytes > 0 => String::from_utf8_lossy(&text).into_owned(),
        // It is just being written.
        _ => "another run".to_owned(),
    }
}

fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(HOLDER_BYTES_MAX))
        .rev()
        .find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(name: &str) -> DatasetName {
        DatasetName::parse(name).unwrap()
    }

    /// Whether the second claim is refused while the first is there.
    fn exclude(first: (&str, Scope), second: (&str, Scope)) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let folder = ClaimFolder::below(dir.path()).with_patience(Duration::ZERO);
        let held = folder.claim(&dataset(first.0), first.1, "the first");
        let held = held.unwrap();
        let refused = folder.claim(&dataset(second.0), second.1, "the second");
        let refused = match refused {
            Ok(claim) => {
                drop(claim);
                false
            }
            Err(ClaimError::Held(_)) => true,
            Err(error) => panic!("{error}"),
        };
        drop(held);
        folder
            .claim(&dataset(second.0), second.1, "the second")
            .unwrap();
        refused
    }

    #[test]
    fn a_tree_excludes_what_is_inside_of_it_and_nothing_beside_it() {
        use Scope::{One, Recursive};
        for (first, second, refused) in [
            (("b/a", Recursive), ("b/a", Recursive), true),
            (("b/a", One), ("b/a", One), true),
            (("b/a", One), ("b/a", Recursive), true),
            (("b/a", Recursive), ("b/a/c/d", One), true),
            (("b", Recursive), ("b/a/c/d", Recursive), true),
            (("b/a", One), ("b/a/c", One), false),
            (("b/a", One), ("b/a/c", Recursive), false),
            (("b/a", Recursive), ("b/ac", Recursive), false),
            (("b/a", Recursive), ("b", One), false),
        ] {
            assert_eq!(exclude(first, second), refused, "{first:?} {second:?}");
            assert_eq!(exclude(second, first), refused, "{second:?} {first:?}");
        }
    }

    #[test]
    fn whoever_comes_second_learns_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = ClaimFolder::below(dir.path()).with_patience(Duration::ZERO);
        let by_long = "x".repeat(2 * HOLDER_BYTES_MAX);
        for (holder, shown) in [
            ("sync of web from n1", "sync of web from n1"),
            (&by_long, "xxx"),
        ] {
            let _held = folder
                .claim(&dataset("b/a"), Scope::Recursive, holder)
                .unwrap();
            let error = folder
                .claim(&dataset("b/a/c"), Scope::One, "me")
                .unwrap_err();
            let text = error.to_string();
            assert!(text.contains(shown) && text.len() < 600, "{text}");
        }
        // What the last one left in the file is not told of who shares it.
        let _below = folder.claim(&dataset("b/a/c"), Scope::One, "me").unwrap();
        let error = folder
            .claim(&dataset("b/a"), Scope::Recursive, "you")
            .unwrap_err();
        assert!(error.to_string().contains("below it"), "{error}");
    }

    #[test]
    fn a_claim_covers_what_it_excludes() {
        let dir = tempfile::tempdir().unwrap();
        let folder = ClaimFolder::below(dir.path());
        let tree = folder
            .claim(&dataset("b/a"), Scope::Recursive, "me")
            .unwrap();
        assert!(tree.covers(&dataset("b/a/c"), Scope::Recursive));
        assert!(!tree.covers(&dataset("b"), Scope::One));
        let one = folder.claim(&dataset("b/d"), Scope::One, "me").unwrap();
        assert!(one.covers(&dataset("b/d"), Scope::One));
        assert!(!one.covers(&dataset("b/d"), Scope::Recursive));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = ClaimFolder::below(&file)
            .claim(&dataset("b/a"), Scope::One, "me")
            .unwrap_err();
        assert!(matches!(error, ClaimError::Io { .. }), "{error:?}");
        assert!(error.to_string().contains("file/lock"), "{error}");
    }
}
