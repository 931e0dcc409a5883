//! Names and identities of what ZFS keeps, validated once and then trusted.
//!
//! Every name that enters the engine (from a command line, a configuration
//! file, a peer, or the kernel) passes through a constructor of this module.
//! What comes out is a name ZFS accepts, so no later layer escapes, quotes or
//! checks it again. Identity is not here: snapshots are matched by [`Guid`],
//! names only say where something is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest name ZFS takes, in bytes, without the terminating NUL
/// (`ZFS_MAX_DATASET_NAME_LEN` is 256).
pub const NAME_BYTES_MAX: usize = 255;

/// Words that a pool may not be called (zpoolconcepts(7): reserved vdev names).
const POOL_NAMES_RESERVED: [&str; 5] = ["mirror", "raidz", "draid", "spare", "log"];

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("a dataset name is missing")]
    Empty,
    /// Longer than ZFS can store.
    #[error("name `{0}…` is longer than {NAME_BYTES_MAX} bytes")]
    TooLong(String),
    /// A character outside `A-Z a-z 0-9 - _ . :` and space.
    #[error("name `{name}` contains {character:?}, which ZFS does not allow in a name")]
    BadCharacter {
        /// The name as given, with control characters escaped.
        name: String,
        /// The first offending character.
        character: char,
    },
    /// `a//b`, a leading or a trailing slash.
    #[error("name `{0}` has an empty component (a doubled, leading or trailing `/`)")]
    EmptyComponent(String),
    /// `.` or `..` as a component.
    #[error("name `{0}` has `.` or `..` as a component; dataset names are not paths")]
    DotComponent(String),
    /// The pool part does not begin with a letter, or is a reserved word.
    #[error("`{0}` cannot be a pool name (a letter first, and no reserved word)")]
    BadPool(String),
    /// A snapshot or bookmark where a dataset was expected.
    #[error("`{0}` names a snapshot or bookmark; a dataset is expected here")]
    NotADataset(String),
    /// No `@` where a snapshot was expected.
    #[error("`{0}` is no snapshot name (dataset@name)")]
    NotASnapshot(String),
}

fn check_characters(name: &str) -> Result<(), NameError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | ' ');
    match name.chars().find(|&c| !allowed(c) && c != '/') {
        None => Ok(()),
        Some(character) => Err(NameError::BadCharacter {
            name: name.escape_debug().to_string(),
            character,
        }),
    }
}

fn check_length(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        let head: String = name.chars().take(32).collect();
        return Err(NameError::TooLong(head.escape_debug().to_string()));
    }
    Ok(())
}

/// A filesystem or volume: `pool` or `pool/child/…`.
///
/// The rules are those of `dataset_namecheck` and `pool_namecheck`
/// (OpenZFS `zfs_namecheck.c`), without the internal `%` names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DatasetName(String);

impl DatasetName {
    /// Checks `text` and takes it as a dataset name.
    ///
    /// # Errors
    /// [`NameError`] says which rule of ZFS the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_length(text)?;
        if text.contains(['@', '#']) {
            return Err(NameError::NotADataset(text.escape_debug().to_string()));
        }
        check_characters(text)?;
        for component in text.split('/') {
            match component {
                "" => return Err(NameError::EmptyComponent(text.to_owned())),
                "." | ".." => return Err(NameError::DotComponent(text.to_owned())),
                _ => {}
            }
        }
        let pool = text.split('/').next().unwrap_or_default();
        let reserved = POOL_NAMES_RESERVED.iter().any(|word| match *word {
            // These are prefixes of vdev types ("raidz2"), the others whole words.
            "mirror" | "raidz" | "draid" | "spare" => pool.starts_with(word),
            _ => pool == *word,
        });
        if !pool.starts_with(|c: char| c.is_ascii_alphabetic()) || reserved {
            return Err(NameError::BadPool(pool.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as ZFS writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The pool this dataset lives in.
    #[must_use]
    pub fn pool(&self) -> &str {
        self.0.split('/').next().unwrap_or(&self.0)
    }

    /// The dataset above, or `None` for the root dataset of a pool.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0
            .rsplit_once('/')
            .map(|(parent, _)| Self(parent.to_owned()))
    }

    /// The names from the pool down to the parent, topmost first.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        self.0
            .match_indices('/')
            .map(|(at, _)| Self(self.0[..at].to_owned()))
    }

    /// True if this is `other` or lies below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0
            .strip_prefix(other.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The name this dataset has when the tree at `from` is kept at `to`:
    /// `tank/a/x` rebased from `tank/a` to `backup/b` is `backup/b/x`.
    ///
    /// # Errors
    /// `NotADataset` if this name does not lie within `from`, `TooLong` if the
    /// result does not fit.
    pub fn rebase(&self, from: &Self, to: &Self) -> Result<Self, NameError> {
        let rest = self
            .0
            .strip_prefix(from.as_str())
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
            .ok_or_else(|| NameError::NotADataset(self.0.clone()))?;
        let name = format!("{to}{rest}");
        check_length(&name)?;
        Ok(Self(name))
    }

    /// The snapshot of this dataset with the given short name.
    ///
    /// # Errors
    /// `TooLong` if the joined name does not fit.
    pub fn snapshot(&self, short: &ShortName) -> Result<SnapshotName, NameError> {
        SnapshotName::new(self.clone(), short.clone())
    }
}

/// What stands after `@` or `#`: the part of a name that a rename changes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShortName(String);

impl ShortName {
    /// Checks `text` (without `@` or `#`).
    ///
    /// # Errors
    /// [`NameError`] says which rule of ZFS the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_length(text)?;
        if text.contains('/') {
            return Err(NameError::BadCharacter {
                name: text.escape_debug().to_string(),
                character: '/',
            });
        }
        check_characters(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The text, without `@` or `#`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One snapshot of one dataset: `dataset@short`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SnapshotName {
    /// The dataset it belongs to.
    pub dataset: DatasetName,
    /// The part after `@`.
    pub short: ShortName,
}

impl SnapshotName {
    /// Joins the two parts.
    ///
    /// # Errors
    /// `TooLong` if the joined name does not fit.
    pub fn new(dataset: DatasetName, short: ShortName) -> Result<Self, NameError> {
        check_length(&format!("{dataset}@{short}"))?;
        Ok(Self { dataset, short })
    }

    /// Checks `text` as `dataset@short`.
    ///
    /// # Errors
    /// [`NameError`] says which rule of ZFS the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (dataset, short) = text
            .split_once('@')
            .ok_or_else(|| NameError::NotASnapshot(text.escape_debug().to_string()))?;
        Self::new(DatasetName::parse(dataset)?, ShortName::parse(short)?)
    }
}

/// One bookmark of one dataset: `dataset#short`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BookmarkName {
    /// The dataset it belongs to.
    pub dataset: DatasetName,
    /// The part after `#`.
    pub short: ShortName,
}

macro_rules! text_form {
    ($type:ident) => {
        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.to_string()
            }
        }
        impl std::str::FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "`{self}`")
            }
        }
    };
}
text_form!(DatasetName);
text_form!(ShortName);
text_form!(SnapshotName);

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Display for ShortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Display for BookmarkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.dataset, self.short)
    }
}
impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.dataset, self.short)
    }
}

/// Identity of a snapshot or bookmark: equal on every machine that holds the
/// same state, unchanged by renames and by send and receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Guid(pub u64);

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Identity of the encrypted blocks of a snapshot (property `ivsetguid`). A raw
/// stream keeps it; every other way to a snapshot, a plain stream included,
/// gives it one of its own. Equal ones mean equal blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ivset(pub u64);

impl fmt::Display for Ivset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Transaction group of creation: the order of snapshots inside one pool. It
/// is not preserved by send and receive, so it never compares across pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CreateTxg(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(text: &str) -> DatasetName {
        DatasetName::parse(text).unwrap()
    }

    #[test]
    fn names_that_zfs_takes_are_taken() {
        for name in [
            "tank",
            "tank/a",
            "tank/a-b_c.d:e",
            "tank/with space",
            "t1/x/y/z",
        ] {
            assert_eq!(dataset(name).as_str(), name);
        }
    }

    #[test]
    fn names_that_zfs_refuses_are_refused_with_the_rule() {
        assert_eq!(DatasetName::parse(""), Err(NameError::Empty));
        for (name, rule) in [
            ("/tank", "empty component"),
            ("tank/", "empty component"),
            ("tank//a", "empty component"),
            ("tank/../a", "not paths"),
            ("1tank", "pool name"),
            ("raidz2", "pool name"),
            ("log", "pool name"),
            ("tank/a%b", "does not allow"),
            ("tank/ä", "does not allow"),
            ("tank/a\n", "does not allow"),
            ("tank/a;rm", "does not allow"),
            ("tank/a@b", "snapshot or bookmark"),
        ] {
            let error = DatasetName::parse(name).unwrap_err().to_string();
            assert!(error.contains(rule), "{name}: {error}");
        }
        let long = format!("tank/{}", "a".repeat(300));
        assert!(matches!(
            DatasetName::parse(&long),
            Err(NameError::TooLong(_))
        ));
    }

    #[test]
    fn a_name_is_within_its_parents_but_not_within_a_namesake() {
        assert!(dataset("tank/a/b").is_within(&dataset("tank/a")));
        assert!(dataset("tank/a").is_within(&dataset("tank/a")));
        assert!(!dataset("tank/ab").is_within(&dataset("tank/a")));
        assert!(!dataset("tank").is_within(&dataset("tank/a")));
    }

    #[test]
    fn rebasing_keeps_what_lies_below() {
        let (from, to) = (dataset("tank/a"), dataset("backup/b"));
        assert_eq!(
            dataset("tank/a/x/y").rebase(&from, &to),
            Ok(dataset("backup/b/x/y"))
        );
        assert_eq!(dataset("tank/a").rebase(&from, &to), Ok(to.clone()));
        assert!(dataset("tank/ab").rebase(&from, &to).is_err());
    }

    #[test]
    fn ancestors_come_topmost_first() {
        let names: Vec<_> = dataset("a/b/c").ancestors().map(String::from).collect();
        assert_eq!(names, ["a", "a/b"]);
    }

    #[test]
    fn a_name_from_a_peer_is_checked_while_it_is_parsed() {
        assert!(serde_json::from_str::<SnapshotName>("\"tank/a@b\"").is_ok());
        assert!(serde_json::from_str::<SnapshotName>("\"tank/a\"").is_err());
        assert!(serde_json::from_str::<SnapshotName>("\"tank/a@b@c\"").is_err());
        assert!(serde_json::from_str::<DatasetName>("\"tank/$(id)\"").is_err());
    }
}
