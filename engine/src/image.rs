//! `POOL=FILE`: which file holds a pool that runs in user space.
//!
//! Names only: a command line or a configuration says where images are, and
//! the backends of [`crate::zfs`] open them. What is checked here holds without
//! a look at the file: the name is one that a pool may have, and neither a pool
//! nor a file is named twice.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;

use crate::name::{DatasetName, NameError};

/// Most images of one process: each is served by a worker with more than a
/// hundred threads, and their names have to fit a greeting.
pub const IMAGES_MAX: usize = 8;

/// Longest path of an image in bytes (`PATH_MAX` without its NUL).
const PATH_BYTES_MAX: usize = 4095;

/// A pool and the file it lives in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Image {
    pool: DatasetName,
    file: PathBuf,
}

/// Why a text names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// There is no `=`.
    #[error("`{0}` names no image; write POOL=FILE, for example tank=/var/tmp/tank.img")]
    NoFile(String),
    /// The part before `=` is no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The part before `=` has a `/`.
    #[error("`{0}` is a dataset; an image holds a whole pool, so write `{1}=FILE`")]
    NotAPool(DatasetName, String),
    /// No file can be called so.
    #[error("`{0}` cannot be the name of a file")]
    BadPath(String),
    /// Two files for one pool.
    #[error("pool {pool} is said to be in {first} and in {second}")]
    TwoFiles {
        /// The pool.
        pool: String,
        /// The file named first.
        first: String,
        /// The file named next.
        second: String,
    },
    /// One file for two pools.
    #[error("{file} is said to hold the pools {first} and {second}; an image holds one")]
    TwoPools {
        /// The file.
        file: String,
        /// The pool named first.
        first: String,
        /// The pool named next.
        second: String,
    },
    /// More than [`IMAGES_MAX`].
    #[error("more than {IMAGES_MAX} images cannot be used at once")]
    TooMany,
}

impl Image {
    /// The image of `pool` in `file`.
    ///
    /// # Errors
    /// [`ImageError::NotAPool`], [`ImageError::BadPath`].
    pub fn new(pool: DatasetName, file: PathBuf) -> Result<Self, ImageError> {
        if pool.parent().is_some() {
            let name = pool.pool().to_owned();
            return Err(ImageError::NotAPool(pool, name));
        }
        let fits = |text: &str| {
            !text.is_empty() && text.len() <= PATH_BYTES_MAX && !text.contains(char::is_control)
        };
        // The path goes to other processes as text.
        if !file.to_str().is_some_and(fits) {
            let shown: String = file.to_string_lossy().chars().take(80).collect();
            return Err(ImageError::BadPath(shown.escape_debug().to_string()));
        }
        Ok(Self { pool, file })
    }

    /// The pool, as the dataset that is its root.
    #[must_use]
    pub fn pool(&self) -> &DatasetName {
        &self.pool
    }

    /// The file; relative paths are the caller's.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }
}

impl FromStr for Image {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let Some((pool, file)) = text.split_once('=') else {
            let shown: String = text.chars().take(80).collect();
            return Err(ImageError::NoFile(shown.escape_debug().to_string()));
        };
        Self::new(DatasetName::parse(pool)?, PathBuf::from(file))
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.pool, self.file.display())
    }
}

/// Joins `more` to `images`. What is named twice in the same way is one image.
///
/// # Errors
/// [`ImageError::TwoFiles`], [`ImageError::TwoPools`], [`ImageError::TooMany`].
pub fn join(
    images: &mut Vec<Image>,
    more: impl IntoIterator<Item = Image>,
) -> Result<(), ImageError> {
    for image in more {
        if images.contains(&image) {
            continue;
        }
        if let Some(first) = images.iter().find(|first| first.pool == image.pool) {
            return Err(ImageError::TwoFiles {
                pool: image.pool.to_string(),
                first: first.file.display().to_string(),
                second: image.file.display().to_string(),
            });
        }
        if let Some(first) = images.iter().find(|first| first.file == image.file) {
            return Err(ImageError::TwoPools {
                file: image.file.display().to_string(),
                first: first.pool.to_string(),
                second: image.pool.to_string(),
            });
        }
        if images.len() == IMAGES_MAX {
            return Err(ImageError::TooMany);
        }
        images.push(image);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(text: &str) -> Image {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_shown_means_the_same_when_it_is_read_again() {
        for text in ["tank=/var/tmp/tank.img", "tank=a=b", "t:x=./o o.img"] {
            assert_eq!(image(text).to_string(), text);
        }
        let image = image("tank=/a=b.img");
        assert_eq!(image.pool().as_str(), "tank");
        assert_eq!(image.file(), Path::new("/a=b.img"));
    }

    #[test]
    fn a_mistake_is_named_with_what_would_be_right() {
        for (text, says) in [
            ("tank", "POOL=FILE"),
            ("/var/tmp/tank.img", "POOL=FILE"),
            ("=/a", "missing"),
            ("tank=", "name of a file"),
            ("tank=a\nb", "name of a file"),
            ("tank/a=/x", "write `tank=FILE`"),
            ("9tank=/x", "pool name"),
            ("mirror=/x", "pool name"),
        ] {
            let error = text.parse::<Image>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
            assert!(!error.chars().any(char::is_control), "{text}: {error:?}");
        }
    }

    #[test]
    fn neither_a_pool_nor_a_file_may_be_named_twice() {
        let mut images = vec![image("a=/x")];
        join(&mut images, [image("a=/x"), image("b=/y")]).unwrap();
        assert_eq!(images.len(), 2);
        let error = join(&mut images, [image("a=/z")]).unwrap_err();
        assert!(matches!(error, ImageError::TwoFiles { .. }), "{error}");
        let error = join(&mut images, [image("c=/y")]).unwrap_err();
        assert!(matches!(error, ImageError::TwoPools { .. }), "{error}");
    }

    #[test]
    fn the_names_of_all_images_fit_a_greeting() {
        let name = "n".repeat(crate::name::NAME_BYTES_MAX);
        assert!(IMAGES_MAX * (name.len() + 3) < crate::protocol::hello::ABOUT_BYTES_MAX * 3 / 4);
        let mut images = Vec::new();
        let more = |n: usize| image(&format!("p{n}=/{n}"));
        join(&mut images, (0..IMAGES_MAX).map(more)).unwrap();
        let error = join(&mut images, [more(IMAGES_MAX)]).unwrap_err();
        assert_eq!(error, ImageError::TooMany);
    }
}
