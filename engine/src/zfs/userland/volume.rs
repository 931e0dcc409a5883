//! Files in volumes: what a machine without block devices does with a pool.
//!
//! A file goes to the beginning of a volume. A volume's size is a multiple of
//! its block size and a file's is not, so where they differ the last
//! [`FOOTER_BYTES`] of the volume say how long the file is; all between is
//! zero. The footer lies in the volume and not in a property, since a snapshot
//! keeps the volume as it was and shares its dataset's properties, and since
//! streams carry it everywhere.
//!
//! ```text
//! | file … | 0 … 0 | magic (16) | length (8, little endian) | checksum (8) |
//! ```
//!
//! A volume without a footer is read as a whole; that of a file which fills its
//! volume exactly needs none.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::thread;

use ::userland::protocol::{self as wire, Answer, Call};

use super::ImagePool;
use super::translate::Tried;
use crate::name::{DatasetName, NameError, SnapshotName};
use crate::zfs::{Scope, ZfsError, ZfsErrorKind};

/// Block size of the volumes that are made here, bytes: the default of
/// OpenZFS since 2.2.
const BLOCK_BYTES: u64 = 16 << 10;
/// Size of a footer, bytes: a sector, so that whoever partitions a disk in the
/// volume loses no more.
const FOOTER_BYTES: usize = 512;
const MAGIC: &[u8; 16] = b"zferry file end\n";
/// Zeros are written in pieces of this many bytes.
const PIECE_BYTES: usize = 64 << 10;

/// A file that was put into a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Length of the file, bytes.
    pub bytes: u64,
    /// Size of the volume, bytes.
    pub volume_bytes: u64,
    /// The volume was made for it.
    pub created: bool,
}

/// A volume, or a snapshot of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// What is in the volume now.
    Volume(DatasetName),
    /// What was in it.
    Snapshot(SnapshotName),
}

impl Contents {
    /// Reads `pool/volume` or `pool/volume@snapshot`.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match text.contains('@') {
            true => SnapshotName::parse(text).map(Self::Snapshot),
            false => DatasetName::parse(text).map(Self::Volume),
        }
    }

    /// The volume.
    #[must_use]
    pub fn dataset(&self) -> &DatasetName {
        match self {
            Self::Volume(name) => name,
            Self::Snapshot(name) => &name.dataset,
        }
    }
}

impl std::fmt::Display for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Volume(name) => name.fmt(f),
            Self::Snapshot(name) => name.fmt(f),
        }
    }
}

/// What follows a file of this length in a volume of that size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// Nothing: it fills the volume.
    Nothing,
    /// So many zeros, and a footer.
    Footer { zeros: u64 },
    /// It does not fit.
    TooLong,
}

fn tail(bytes: u64, volume_bytes: u64) -> Tail {
    match volume_bytes.checked_sub(bytes) {
        Some(0) => Tail::Nothing,
        Some(room) => match room.checked_sub(FOOTER_BYTES as u64) {
            Some(zeros) => Tail::Footer { zeros },
            None => Tail::TooLong,
        },
        None => Tail::TooLong,
    }
}

/// The smallest volume that takes a file of this length; `None` beyond 2⁶⁴.
fn volume_bytes_for(bytes: u64) -> Option<u64> {
    match bytes {
        1.. if bytes.is_multiple_of(BLOCK_BYTES) => Some(bytes),
        _ => bytes
            .checked_add(FOOTER_BYTES as u64)?
            .checked_next_multiple_of(BLOCK_BYTES),
    }
}

fn footer(bytes: u64) -> [u8; FOOTER_BYTES] {
    let mut footer = [0; FOOTER_BYTES];
    let said = FOOTER_BYTES - 32;
    footer[said..said + 16].copy_from_slice(MAGIC);
    footer[said + 16..said + 24].copy_from_slice(&bytes.to_le_bytes());
    let sum = blake3::hash(&footer[..said + 24]);
    footer[said + 24..].copy_from_slice(&sum.as_bytes()[..8]);
    footer
}

/// The length that the end of a volume names, if it is a footer.
fn read_footer(end: &[u8], volume_bytes: u64) -> Option<u64> {
    let start = end.len().checked_sub(FOOTER_BYTES)?;
    let end: &[u8; FOOTER_BYTES] = end[start..].try_into().ok()?;
    let length = FOOTER_BYTES - 16;
    let bytes = u64::from_le_bytes(end[length..length + 8].try_into().ok()?);
    let fits = matches!(tail(bytes, volume_bytes), Tail::Footer { .. });
    (fits && *end == footer(bytes)).then_some(bytes)
}

/// What is left to read of a regular file; `None` for anything else.
fn remaining_bytes(file: &mut File) -> Option<u64> {
    let facts = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let position = file.stream_position().ok()?;
    Some(facts.len().saturating_sub(position))
}

impl ImagePool {
    /// Writes what `from` gives, up to its end, into a volume. A volume that
    /// does not exist is created (its parent exists) as large as needed, for
    /// which `from` has to be a regular file. One that exists is overwritten.
    ///
    /// Not one transaction: a crash midway leaves a mix of old and new content.
    /// Snapshots are whole.
    ///
    /// # Errors
    /// `NoSpace` if the volume is too small or the pool full, `Invalid` if the
    /// name is taken by a file system or the length of a new volume is unknown,
    /// `NotFound` without a parent. If the length is unknown, the volume may
    /// hold a part of the file then; otherwise nothing was written.
    pub fn put(&self, volume: &DatasetName, from: OwnedFd) -> Result<Stored, ZfsError> {
        let tried = Tried::new("write", volume);
        let mut file = File::from(from);
        let known = remaining_bytes(&mut file);
        let (volume_bytes, created) = match self.volume_bytes(&tried, volume)? {
            Some(volume_bytes) => (volume_bytes, false),
            None => (self.create_volume_for(&tried, volume, known)?, true),
        };
        if known.is_some_and(|bytes| tail(bytes, volume_bytes) == Tail::TooLong) {
            return Err(too_long(&tried, volume_bytes));
        }
        let bytes = self.write(&tried, volume, &mut file, volume_bytes)?;
        Ok(Stored {
            bytes,
            volume_bytes,
            created,
        })
    }

    /// Writes the file that [`Self::put`] stored into `into`, and returns its
    /// length; the whole volume if there is no such file in it.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` if it is a file system, `Io` if `into` does not
    /// take it or a block of the pool is damaged.
    pub fn get(&self, of: &Contents, into: OwnedFd) -> Result<u64, ZfsError> {
        let tried = Tried::new("read", of);
        let volume_bytes = self
            .volume_bytes(&tried, of.dataset())?
            .ok_or_else(|| tried.refused(ZfsErrorKind::NotFound, ""))?;
        let mut end = Vec::new();
        let offset = volume_bytes.saturating_sub(FOOTER_BYTES as u64);
        self.read(&tried, of, offset, |mut pipe| pipe.read_to_end(&mut end))?;
        let limit = read_footer(&end, volume_bytes).unwrap_or(volume_bytes);
        let mut into = File::from(into);
        self.read(&tried, of, 0, |pipe| {
            io::copy(&mut pipe.take(limit), &mut into)
        })
    }

    /// Size of a volume; `None` if it does not exist.
    fn volume_bytes(&self, tried: &Tried, name: &DatasetName) -> Result<Option<u64>, ZfsError> {
        let found = self.listed(tried, name, Scope::One)?.unwrap_or_default();
        match found.first() {
            None => Ok(None),
            Some(found) if found.kind == wire::Kind::Volume => Ok(Some(found.volume_bytes)),
            Some(_) => Err(tried.refused(
                ZfsErrorKind::Invalid,
                "it is a file system, whose files only a kernel can reach; name a volume",
            )),
        }
    }

    fn create_volume_for(
        &self,
        tried: &Tried,
        name: &DatasetName,
        bytes: Option<u64>,
    ) -> Result<u64, ZfsError> {
        let bytes = bytes.ok_or_else(|| {
            tried.refused(
                ZfsErrorKind::Invalid,
                "a new volume takes its size from a regular file",
            )
        })?;
        let volume_bytes = volume_bytes_for(bytes)
            .ok_or_else(|| tried.refused(ZfsErrorKind::Invalid, "the file is too large"))?;
        self.create_volume(name, volume_bytes)?;
        Ok(volume_bytes)
    }

    /// Creates an empty volume of `bytes`, a multiple of 16 KiB.
    ///
    /// # Errors
    /// `Exists`, `NotFound` without a parent, `Invalid` for another size,
    /// `NoSpace`.
    pub fn create_volume(&self, name: &DatasetName, bytes: u64) -> Result<(), ZfsError> {
        let call = Call::CreateVolume {
            name: name.to_string(),
            bytes,
            block_bytes: BLOCK_BYTES,
            properties: Vec::new(),
        };
        self.order(&Tried::new("create", name), call)
    }

    /// Writes file and tail through a pipe; returns the length of the file.
    fn write(
        &self,
        tried: &Tried,
        volume: &DatasetName,
        file: &mut File,
        volume_bytes: u64,
    ) -> Result<u64, ZfsError> {
        let (reader, writer) = pipe(tried)?;
        let call = Call::WriteVolume {
            name: volume.to_string(),
            offset: 0,
        };
        let (written, fed) = thread::scope(|scope| {
            let feeder = scope.spawn(|| feed(file, writer, volume_bytes));
            let written = self.ask_with(tried, call, reader.into());
            (written, feeder.join())
        });
        let Ok(fed) = fed else {
            return Err(tried.refused(ZfsErrorKind::Io, "the thread that reads the file failed"));
        };
        match (fed, written) {
            // A worker that failed closes the pipe: its reason comes first.
            (_, Err(error)) => Err(error),
            (Err(Unfed::TooLong), _) => Err(too_long(tried, volume_bytes)),
            (Err(Unfed::Failed(error)), _) => {
                Err(tried.refused(ZfsErrorKind::Io, format!("reading the file: {error}")))
            }
            (Ok(bytes), Ok(Answer::Bytes(taken))) if taken == volume_bytes => Ok(bytes),
            (Ok(_), Ok(_)) => Err(tried.confused()),
        }
    }

    /// Has the content from `offset` on written into a pipe that `take` reads,
    /// as far as it wants to.
    fn read<T: Send>(
        &self,
        tried: &Tried,
        of: &Contents,
        offset: u64,
        take: impl FnOnce(PipeReader) -> io::Result<T> + Send,
    ) -> Result<T, ZfsError> {
        let (reader, writer) = pipe(tried)?;
        let call = Call::ReadVolume {
            name: of.to_string(),
            offset,
        };
        let (read, taken) = thread::scope(|scope| {
            let taker = scope.spawn(move || take(reader));
            let read = self.ask_with(tried, call, writer.into());
            (read, taker.join())
        });
        let Ok(taken) = taken else {
            return Err(tried.refused(ZfsErrorKind::Io, "the thread that takes the content failed"));
        };
        match (taken, read) {
            (Err(error), _) => {
                Err(tried.refused(ZfsErrorKind::Io, format!("writing the content: {error}")))
            }
            // Whoever has enough closes the pipe.
            (Ok(taken), Err(error)) if error.kind == ZfsErrorKind::Interrupted => Ok(taken),
            (Ok(_), Err(error)) => Err(error),
            (Ok(taken), Ok(Answer::Bytes(_))) => Ok(taken),
            (Ok(_), Ok(_)) => Err(tried.confused()),
        }
    }
}

fn pipe(tried: &Tried) -> Result<(PipeReader, PipeWriter), ZfsError> {
    io::pipe().map_err(|error| tried.refused(ZfsErrorKind::Io, format!("no pipe: {error}")))
}

fn too_long(tried: &Tried, volume_bytes: u64) -> ZfsError {
    tried.refused(
        ZfsErrorKind::NoSpace,
        format!(
            "a volume of {volume_bytes} bytes takes files of as many, or of {FOOTER_BYTES} less"
        ),
    )
}

/// Why a volume was not filled.
enum Unfed {
    TooLong,
    Failed(io::Error),
}

impl From<io::Error> for Unfed {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Writes the file and what follows it; returns the length of the file.
fn feed(file: &mut File, mut pipe: PipeWriter, volume_bytes: u64) -> Result<u64, Unfed> {
    let bytes = io::copy(&mut file.take(volume_bytes), &mut pipe)?;
    if bytes == volume_bytes && file.read(&mut [0])? > 0 {
        return Err(Unfed::TooLong);
    }
    match tail(bytes, volume_bytes) {
        Tail::Nothing => Ok(bytes),
        Tail::TooLong => Err(Unfed::TooLong),
        Tail::Footer { zeros } => {
            let mut left = zeros;
            while left > 0 {
                let piece = left.min(PIECE_BYTES as u64);
                let length = usize::try_from(piece).expect("at most PIECE_BYTES");
                pipe.write_all(&[0; PIECE_BYTES][..length])?;
                left -= piece;
            }
            pipe.write_all(&footer(bytes))?;
            Ok(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_fits_into_the_volume_made_for_it_and_is_found_again() {
        let block = BLOCK_BYTES;
        for bytes in [
            0,
            1,
            511,
            512,
            block - 513,
            block - 512,
            block - 511,
            block - 1,
        ] {
            for blocks in [0, 1, 7] {
                let bytes = bytes + blocks * block;
                let volume_bytes = volume_bytes_for(bytes).unwrap();
                assert!(
                    volume_bytes > 0 && volume_bytes.is_multiple_of(block),
                    "{bytes}"
                );
                assert!(volume_bytes <= bytes + 2 * block, "{bytes}");
                match tail(bytes, volume_bytes) {
                    Tail::Footer { zeros } => {
                        assert_eq!(bytes + zeros + 512, volume_bytes);
                        assert_eq!(read_footer(&footer(bytes), volume_bytes), Some(bytes));
                    }
                    Tail::Nothing => assert_eq!(bytes, volume_bytes),
                    Tail::TooLong => panic!("{bytes} in {volume_bytes}"),
                }
            }
        }
        assert_eq!(tail(block, volume_bytes_for(block).unwrap()), Tail::Nothing);
        assert_eq!(volume_bytes_for(u64::MAX), None);
    }

    #[test]
    fn what_is_no_footer_is_content() {
        let footer = footer(100);
        assert_eq!(read_footer(&footer, BLOCK_BYTES), Some(100));
        assert_eq!(read_footer(&footer[1..], BLOCK_BYTES), None);
        // Of a larger volume, or changed in any place.
        assert_eq!(read_footer(&footer, 512), None);
        for at in 0..FOOTER_BYTES {
            let mut damaged = footer;
            damaged[at] ^= 1;
            assert_eq!(read_footer(&damaged, BLOCK_BYTES), None, "byte {at}");
        }
    }
}
