//! ZFS of this machine, as a command is told of it: images, and the kernel.
//!
//! Opened once per process, whoever asks first: an image has one user at a
//! time, and two conversations of one process are one user.

use std::sync::Arc;

use engine::error::Family;
use engine::image::Image;
use engine::zfs::kernel::Kernel;
use engine::zfs::userland::{self, ImagePool, Worker};
use engine::zfs::{Pools, Zfs, ZfsError, ZfsErrorKind};
use tokio::sync::OnceCell;

use crate::environment;
use crate::failure::Failure;

/// ZFS of this machine, opened when it is first used.
pub struct Machine {
    images: Vec<Image>,
    opened: OnceCell<Arc<dyn Zfs>>,
}

/// Why there is no ZFS on this machine, and what to do about it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("this machine: {error}")]
pub struct NoZfs {
    /// What failed.
    pub error: Box<ZfsError>,
    /// The image it was about, if that is known.
    image: Option<Image>,
}

impl Machine {
    /// With these images; paths are absolute.
    pub fn new(images: Vec<Image>) -> Self {
        Self {
            images,
            opened: OnceCell::new(),
        }
    }

    /// Opens it, or gives what was opened before.
    ///
    /// # Errors
    /// [`NoZfs`] if an image cannot be opened, or if there is none and the
    /// kernel has no ZFS.
    pub async fn open(&self) -> Result<Arc<dyn Zfs>, NoZfs> {
        let open = || async {
            let images = self.images.clone();
            tokio::task::spawn_blocking(move || open(&images))
                .await
                .expect("opening pools does not panic")
        };
        self.opened.get_or_try_init(open).await.cloned()
    }
}

fn open(images: &[Image]) -> Result<Arc<dyn Zfs>, NoZfs> {
    // Without images what is missing is told at once, not at the first request.
    if images.is_empty() {
        return Kernel::open().map_err(|error| NoZfs {
            error: Box::new(error),
            image: None,
        });
    }
    let there: Vec<userland::Image> = images.iter().map(image_there).collect();
    let pools = Pools::open(&worker(), &there).map_err(|error| NoZfs {
        // The error names the file; which one it is, is for its way out.
        image: images
            .iter()
            .find(|image| error.object == image.file().display().to_string())
            .cloned(),
        error: Box::new(error),
    })?;
    Ok(Arc::new(pools))
}

/// Opens one image.
///
/// # Errors
/// As [`Machine::open`].
pub fn open_image(image: &Image) -> Result<ImagePool, NoZfs> {
    ImagePool::open(&worker(), &image_there(image)).map_err(|error| NoZfs {
        error: Box::new(error),
        image: Some(image.clone()),
    })
}

/// The program that runs pools in files.
pub fn worker() -> Worker {
    Worker::beside(&environment::program())
}

/// An image in the words of the backend.
pub fn image_there(image: &Image) -> userland::Image {
    userland::Image {
        pool: image.pool().to_string(),
        path: image.file().to_owned(),
    }
}

impl NoZfs {
    /// The exit-code family.
    pub fn family(&self) -> Family {
        self.error.family()
    }

    /// What to do next.
    pub fn remedies(&self) -> Vec<String> {
        let Some(image) = &self.image else {
            return Vec::new();
        };
        let text = match self.error.kind {
            ZfsErrorKind::NotFound => {
                format!(
                    "correct the path, or make a new one: zferry image create {image} --size 256M"
                )
            }
            ZfsErrorKind::Busy => {
                "run the same command again when the other process has ended".to_owned()
            }
            ZfsErrorKind::Unavailable => {
                "put zferry-zpool, which is built together with zferry on \
                 a machine with libzfslinux-dev, beside it or into ../libexec/zferry/"
                    .to_owned()
            }
            ZfsErrorKind::NotSupported => {
                "use a zferry that was built with the OpenZFS that made the pool, or a newer one"
                    .to_owned()
            }
            ZfsErrorKind::Permission => {
                format!("become the owner of {}", image.file().display())
            }
            _ => format!(
                "see that {} is the image of pool {}, whole and unchanged",
                image.file().display(),
                image.pool()
            ),
        };
        vec![text]
    }
}

impl From<NoZfs> for Failure {
    fn from(error: NoZfs) -> Self {
        Self {
            message: error.error.to_string(),
            remedies: error.remedies(),
            ..Self::of(error.family(), &error)
        }
    }
}
