//! The engine on real ZFS in user space: pools in files, no kernel module.
//!
//! The worker is built by the tests themselves, for cargo gives the programs of
//! another crate to none. On a machine whose worker cannot run, for there is no
//! libzpool, each test says so and ends.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests: they end where something fails, and say what they cannot try"
)]

mod conformance;
mod pools;
mod replicate;
mod sweep;
mod volumes;

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use engine::name::{DatasetName, SnapshotName};
use engine::zfs::userland::{Image, ImagePool, Worker};
use engine::zfs::{Pools, ZfsErrorKind};

/// Size of an image, bytes: room for some dozens of small volumes.
const IMAGE_BYTES: u64 = 128 << 20;

/// The worker, built once.
fn worker() -> Worker {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let path = BUILT.get_or_init(|| {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "zferry-userland"])
            .args(["--bin", "zferry-zpool"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(status.success(), "the worker cannot be built");
        // This test is target/PROFILE/deps/userland-…; dev builds are debug.
        let exe = std::env::current_exe().unwrap();
        let target = exe.ancestors().nth(3).unwrap();
        target.join("debug/zferry-zpool")
    });
    Worker::new(path)
}

fn dataset(name: &str) -> DatasetName {
    DatasetName::parse(name).unwrap()
}

fn snapshot(name: &str) -> SnapshotName {
    SnapshotName::parse(name).unwrap()
}

/// A folder for images.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// In memory, where the machine has such a place: what is killed here is a
    /// process, and its files are whole either way.
    fn in_memory() -> Self {
        let shared = Path::new("/dev/shm");
        match tempfile::tempdir_in(shared) {
            Ok(folder) => Self(folder),
            Err(_) => Self::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn image(&self, pool: &str) -> Image {
        Image {
            pool: pool.to_owned(),
            path: self.path(&format!("{pool}.img")),
        }
    }

    /// Makes an image; `None` if no worker can run here, which is a failure with
    /// `ZFERRY_TEST_LIBZPOOL` set.
    fn create(&self, pool: &str) -> Option<ImagePool> {
        self.create_image(&self.image(pool), IMAGE_BYTES)
    }

    /// The same for another file and size.
    fn create_image(&self, image: &Image, bytes: u64) -> Option<ImagePool> {
        match ImagePool::create(&worker(), image, bytes) {
            Ok(pool) => Some(pool),
            Err(error) if error.kind == ZfsErrorKind::Unavailable => {
                let required = std::env::var_os("ZFERRY_TEST_LIBZPOOL").is_some();
                assert!(!required, "user-space ZFS is required here: {error}");
                println!("not tested: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Fresh images, opened together.
struct Images {
    pools: Arc<Pools>,
    folder: Folder,
}

impl Images {
    /// `None` if no worker can run here.
    fn create(names: &[&str]) -> Option<Self> {
        let folder = Folder::new();
        for name in names {
            folder.create(name)?.close().unwrap();
        }
        let images: Vec<Image> = names.iter().map(|name| folder.image(name)).collect();
        let pools = Pools::open(&worker(), &images).unwrap();
        Some(Self {
            pools: Arc::new(pools),
            folder,
        })
    }

    fn pool(&self, name: &str) -> &ImagePool {
        self.pools.image(name).unwrap()
    }
}

impl Deref for Images {
    type Target = Pools;
    fn deref(&self) -> &Pools {
        &self.pools
    }
}

/// Writes a file and opens it for reading.
fn file(path: &Path, content: &[u8]) -> std::os::fd::OwnedFd {
    std::fs::write(path, content).unwrap();
    std::fs::File::open(path).unwrap().into()
}

/// `bytes` bytes that do not compress, another for each seed.
fn content(seed: u64, bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut content);
    content
}
