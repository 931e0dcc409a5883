//! The file that holds a pool, and the lock on it.
//!
//! Two writers destroy a pool without any error. So whoever uses an image holds
//! an exclusive `flock` on it. The lock belongs to the open file, which client
//! and worker share: it is free only when both have let go, and a new client
//! can never meet a worker that outlives its own by some moments.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use super::error::Error;

/// Smallest image in bytes: ZFS refuses a vdev below this (`SPA_MINDEVSIZE`).
pub const IMAGE_BYTES_MIN: u64 = 64 << 20;
/// How long the worker of a client that was killed may need to end.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// Between two attempts at the lock, which can tell nobody when it is free.
const LOCK_LOOK: Duration = Duration::from_millis(20);
/// Below this a disk counts as full: the largest block that ZFS writes at once
/// is 16 MiB, the usual ones 1 MiB at most.
const DISK_BYTES_MIN: u64 = 1 << 20;
/// Pool images hold whatever the datasets hold.
const MODE: u32 = 0o600;

/// A pool and the file it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The pool's name.
    pub pool: String,
    /// The file.
    pub path: PathBuf,
}

impl fmt::Display for Image {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "pool `{}` in {}", self.pool, self.path.display())
    }
}

/// An image that nobody else uses.
#[derive(Debug)]
pub(super) struct Locked {
    pub image: Image,
    pub file: File,
    /// The path with which the worker opens it.
    pub absolute: String,
}

impl Locked {
    /// Makes a new file.
    pub fn create(image: &Image, bytes: u64) -> Result<Self, Error> {
        if bytes < IMAGE_BYTES_MIN {
            return Err(Error::ImageTooSmall {
                image: Box::new(image.clone()),
                bytes,
            });
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(&image.path)
            .map_err(|source| match source.kind() {
                io::ErrorKind::AlreadyExists => Error::Exists(Box::new(image.clone())),
                _ => failed(image, "create the image", source),
            })?;
        let made = lock(image, &file).and_then(|()| {
            let grown = file.set_len(bytes);
            grown.map_err(|source| failed(image, "give the image its size", source))?;
            absolute(image)
        });
        match made {
            Ok(absolute) => Ok(Self {
                image: image.clone(),
                file,
                absolute,
            }),
            Err(error) => {
                remove(&image.path);
                Err(error)
            }
        }
    }

    /// Takes an existing one.
    pub fn open(image: &Image) -> Result<Self, Error> {
        // Without NONBLOCK a FIFO would wait for its other end.
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(i32::try_from(flags.bits()).expect("flags of open are small"))
            .open(&image.path)
            .map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => Error::ImageMissing(Box::new(image.clone())),
                io::ErrorKind::IsADirectory => Error::NotAFile(Box::new(image.clone())),
                _ if source.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
                    Error::NotAFile(Box::new(image.clone()))
                }
                _ => failed(image, "open the image", source),
            })?;
        let facts = file
            .metadata()
            .map_err(|source| failed(image, "examine the image", source))?;
        if !facts.is_file() {
            return Err(Error::NotAFile(Box::new(image.clone())));
        }
        if facts.len() < IMAGE_BYTES_MIN {
            return Err(Error::ImageTooSmall {
                image: Box::new(image.clone()),
                bytes: facts.len(),
            });
        }
        lock(image, &file)?;
        Ok(Self {
            image: image.clone(),
            absolute: absolute(image)?,
            file,
        })
    }

    /// Whether the disk has no room for what ZFS wants to write next.
    pub fn disk_is_full(&self) -> bool {
        rustix::fs::fstatvfs(&self.file)
            .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < DISK_BYTES_MIN)
    }

    /// Removes the file of a pool that was not created after all.
    pub fn discard(self) {
        remove(&self.image.path);
    }
}

fn failed(image: &Image, action: &'static str, source: io::Error) -> Error {
    Error::Io {
        image: Box::new(image.clone()),
        action,
        source,
    }
}

/// What cannot be removed stays: it holds no pool, and says so when opened.
fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}

fn absolute(image: &Image) -> Result<String, Error> {
    let path = image
        .path
        .canonicalize()
        .map_err(|source| failed(image, "find the image", source))?;
    path.into_os_string().into_string().map_err(|_| {
        let source = io::Error::new(io::ErrorKind::InvalidFilename, "it is not UTF-8");
        failed(image, "use the path of the image", source)
    })
}

fn lock(image: &Image, file: &File) -> Result<(), Error> {
    let begin = Instant::now();
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if begin.elapsed() < LOCK_WAIT => thread::sleep(LOCK_LOOK),
            Err(Errno::WOULDBLOCK) => return Err(Error::ImageInUse(Box::new(image.clone()))),
            Err(errno) => return Err(failed(image, "lock the image", errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn image(folder: &tempfile::TempDir, name: &str) -> Image {
        Image {
            pool: "tank".to_owned(),
            path: folder.path().join(name),
        }
    }

    #[test]
    fn an_image_has_one_user_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let image = image(&folder, "a.img");
        let first = Locked::create(&image, IMAGE_BYTES_MIN).unwrap();
        assert!(matches!(Locked::open(&image), Err(Error::ImageInUse(_))));
        let shared = first.file.try_clone().unwrap();
        drop(first);
        assert!(matches!(Locked::open(&image), Err(Error::ImageInUse(_))));
        drop(shared);
        Locked::open(&image).unwrap();
    }

    #[test]
    fn an_image_that_was_just_let_go_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let image = image(&folder, "a.img");
        let first = Locked::create(&image, IMAGE_BYTES_MIN).unwrap();
        let waiting = {
            let image = image.clone();
            thread::spawn(move || Locked::open(&image).map(drop))
        };
        drop(first);
        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn what_cannot_hold_a_pool_is_refused_by_its_kind() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Locked::open(&image(&folder, "missing"));
        assert!(matches!(missing, Err(Error::ImageMissing(_))));

        let here = Image {
            pool: "tank".to_owned(),
            path: folder.path().to_owned(),
        };
        assert!(matches!(Locked::open(&here), Err(Error::NotAFile(_))));

        let fifo = image(&folder, "fifo");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo.path,
            rustix::fs::FileType::Fifo,
            mode,
            0,
        )
        .unwrap();
        assert!(matches!(Locked::open(&fifo), Err(Error::NotAFile(_))));

        let small = image(&folder, "small");
        std::fs::write(&small.path, [0; 1000]).unwrap();
        let refused = Locked::open(&small);
        assert!(matches!(
            refused,
            Err(Error::ImageTooSmall { bytes: 1000, .. })
        ));
    }

    #[test]
    fn creating_never_touches_a_file_that_exists() {
        let folder = tempfile::tempdir().unwrap();
        let image = image(&folder, "a.img");
        std::fs::write(&image.path, "letters").unwrap();
        let refused = Locked::create(&image, IMAGE_BYTES_MIN);
        assert!(matches!(refused, Err(Error::Exists(_))));
        assert_eq!(std::fs::read(&image.path).unwrap(), b"letters");
        let small = Locked::create(&image, IMAGE_BYTES_MIN - 1);
        assert!(matches!(small, Err(Error::ImageTooSmall { .. })));
    }

    #[test]
    fn a_new_image_takes_no_space_and_is_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let image = image(&folder, "a.img");
        Locked::create(&image, IMAGE_BYTES_MIN).unwrap();
        let facts = std::fs::metadata(&image.path).unwrap();
        assert_eq!(facts.len(), IMAGE_BYTES_MIN);
        assert_eq!(facts.mode() & 0o777, 0o600);
        assert!(facts.blocks() < 100);
    }
}
