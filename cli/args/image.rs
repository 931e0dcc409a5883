//! `zferry image`: what may be written after it.

use std::str::FromStr;

use clap::Subcommand;
use engine::image::{Image, ImageError};
use engine::name::{DatasetName, SnapshotName};
use engine::zfs::userland::Contents;

use crate::size::Size;

/// Pools in files, without a kernel module
///
/// An image is a file that holds a whole ZFS pool. The real OpenZFS code runs
/// in a worker process, so that no kernel module, no root and no mount is
/// needed; in exchange files inside file systems cannot be reached. Volumes
/// hold data, and `put` and `get` move it. With --image POOL=FILE every other
/// command finds the pool in that file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  zferry image create tank=/var/tmp/tank.img --size 256M
  zferry --image tank=/var/tmp/tank.img image put tank/vol < disk.raw
  zferry --image tank=/var/tmp/tank.img image get tank/vol@daily > disk.raw
  zferry --image tank=a.img --image backup=b.img replicate tank/vol backup/vol")]
pub struct Images {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What `image` does.
#[derive(Debug, Subcommand)]
pub enum Action {
    Create(Create),
    List(List),
    Put(Put),
    Get(Get),
    Check(Check),
    Rollback(Rollback),
    Rename(Rename),
    Abort(Abort),
    Destroy(Destroy),
}

/// Make a new file with an empty pool in it
///
/// Never replaces a file that exists.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// The pool and its file
    #[arg(value_name = "POOL=FILE")]
    pub image: Image,
    /// Size of the file, which is sparse: at least 64M
    #[arg(long, value_name = "SIZE")]
    pub size: Size,
}

/// Show what images hold: space, datasets, snapshots with their guids
#[derive(Debug, clap::Args)]
pub struct List {
    /// Which images [default: all that --image names]
    #[arg(value_name = "POOL[=FILE]")]
    pub which: Vec<Which>,
}

/// Write standard input into a volume, from its beginning
///
/// Creates the volume if it does not exist, and the file systems above it. What
/// `get` gives back has exactly the length of what was put.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  zferry --image tank=/var/tmp/tank.img image put tank/vol < disk.raw")]
pub struct Put {
    /// The volume; its pool is one of --image
    #[arg(value_name = "VOLUME")]
    pub volume: DatasetName,
    /// Size of the volume if it is created [default: that of the input, if it is a file]
    #[arg(long, value_name = "SIZE")]
    pub size: Option<Size>,
}

/// Write a volume, or a snapshot of one, to standard output
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  zferry --image tank=/var/tmp/tank.img image get tank/vol@daily > disk.raw")]
pub struct Get {
    /// The volume or snapshot; its pool is one of --image
    #[arg(value_name = "VOLUME[@SNAPSHOT]", value_parser = Contents::parse)]
    pub contents: Contents,
}

/// Read every block of images and verify it (a scrub)
#[derive(Debug, clap::Args)]
pub struct Check {
    /// Which images [default: all that --image names]
    #[arg(value_name = "POOL[=FILE]")]
    pub which: Vec<Which>,
}

/// Roll a dataset back to its newest snapshot (zfs rollback)
///
/// What was written since is lost.
#[derive(Debug, clap::Args)]
pub struct Rollback {
    /// The snapshot, which has to be the newest of its dataset
    #[arg(value_name = "DATASET@SNAPSHOT", value_parser = SnapshotName::parse)]
    pub to: SnapshotName,
}

/// Rename a dataset or a snapshot (zfs rename)
#[derive(Debug, clap::Args)]
pub struct Rename {
    /// What to rename
    #[arg(value_name = "OLD", value_parser = Contents::parse)]
    pub from: Contents,
    /// Its new name, of the same kind and in the same pool
    #[arg(value_name = "NEW", value_parser = Contents::parse)]
    pub to: Contents,
}

/// Give up the part of a stream that a cut transfer left (zfs receive -A)
#[derive(Debug, clap::Args)]
pub struct Abort {
    /// The dataset that it was to go to
    #[arg(value_name = "DATASET")]
    pub dataset: DatasetName,
}

/// Destroy a snapshot (zfs destroy)
#[derive(Debug, clap::Args)]
pub struct Destroy {
    /// The snapshot
    #[arg(value_name = "DATASET@SNAPSHOT", value_parser = SnapshotName::parse)]
    pub snapshot: SnapshotName,
}

/// An image: by the name of its pool, if `--image` says the rest, or in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// Its pool.
    Named(DatasetName),
    /// Pool and file.
    At(Image),
}

impl FromStr for Which {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        if text.contains('=') {
            return Ok(Self::At(text.parse()?));
        }
        // A path is more likely a forgotten POOL= than a dataset.
        if text.contains('/') || text.contains(".img") {
            return Err(ImageError::NoFile(text.escape_debug().to_string()));
        }
        Ok(Self::Named(DatasetName::parse(text)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_by_its_pool_or_in_full() {
        let named: Which = "tank".parse().unwrap();
        assert_eq!(named, Which::Named(DatasetName::parse("tank").unwrap()));
        let at: Which = "tank=/x".parse().unwrap();
        assert_eq!(at, Which::At("tank=/x".parse().unwrap()));
        for text in ["/var/tmp/tank.img", "tank.img", "tank/a"] {
            let error = text.parse::<Which>().unwrap_err().to_string();
            assert!(error.contains("POOL=FILE"), "{text}: {error}");
        }
    }
}
