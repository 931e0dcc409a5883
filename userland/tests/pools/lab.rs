//! A folder with images, and the few things all tests do with them.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use userland::protocol::{
    Answer, Base, Call, Checked, Dataset, ReceiveRequest, Scope, SendFlags, SendRequest,
};
use userland::{Error, Image, Patience, Pool, Worker};

pub const MIB: u64 = 1 << 20;
/// Room for tens of MiB of volumes and for what ZFS keeps to itself.
pub const POOL_BYTES: u64 = 256 * MIB;
pub const BLOCK_BYTES: u64 = 8 << 10;
/// The first record of a stream.
pub const BEGIN_BYTES: usize = 312;

pub const PLAIN: SendFlags = SendFlags {
    embed_data: false,
    large_block: false,
    compress: false,
    raw: false,
};

pub struct Lab {
    folder: TempDir,
    pub worker: Worker,
}

impl Lab {
    /// `None`, loudly, where the build found no libzpool. Whether a worker that
    /// was built with it starts is not asked here: that has to work. With
    /// `ZFERRY_TEST_LIBZPOOL` set, skipping is a failure.
    pub fn new() -> Option<Self> {
        Self::with(Patience::default())
    }

    pub fn with(patience: Patience) -> Option<Self> {
        let lab = Self {
            folder: tempfile::tempdir().unwrap(),
            worker: Worker::new(env!("CARGO_BIN_EXE_zferry-zpool")).with_patience(patience),
        };
        let image = lab.image("probe");
        let opened = Pool::create(&lab.worker, &image, userland::IMAGE_BYTES_MIN);
        match opened {
            Err(Error::WorkerUnusable { detail, .. }) if detail.contains("built without") => {
                let required = std::env::var_os("ZFERRY_TEST_LIBZPOOL").is_some();
                assert!(!required, "libzpool is required here: {detail}");
                eprintln!("\n*** SKIPPED: {detail} ***\n");
                None
            }
            opened => {
                opened.unwrap().close().unwrap();
                std::fs::remove_file(image.path).unwrap();
                Some(lab)
            }
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, pool: &str) -> PathBuf {
        self.folder.path().join(format!("{pool}.img"))
    }

    pub fn image(&self, pool: &str) -> Image {
        Image {
            pool: pool.to_owned(),
            path: self.file(pool),
        }
    }

    pub fn create(&self, pool: &str) -> Pool {
        Pool::create(&self.worker, &self.image(pool), POOL_BYTES).unwrap()
    }

    pub fn open(&self, pool: &str) -> Result<Pool, Error> {
        Pool::open(&self.worker, &self.image(pool))
    }
}

/// Short times, for tests in which something hangs. The machine may be slow,
/// and a false alarm would fail the test.
pub fn short_patience() -> Patience {
    Patience {
        look: Duration::from_millis(100),
        quiet: Duration::from_secs(4),
        stuck: Duration::from_secs(20),
        short: Duration::from_secs(60),
    }
}

pub fn volume(pool: &Pool, name: &str, bytes: u64) {
    done(
        pool,
        Call::CreateVolume {
            name: name.to_owned(),
            bytes,
            block_bytes: BLOCK_BYTES,
            properties: Vec::new(),
        },
    );
}

pub fn done(pool: &Pool, call: Call) {
    let answer = pool
        .call(call.clone(), None)
        .unwrap_or_else(|error| panic!("{call:?}: {error}"));
    assert_eq!(answer, Answer::Done, "{call:?}");
}

pub fn snapshot(pool: &Pool, name: &str) {
    let names = vec![name.to_owned()];
    done(pool, Call::Snapshot { names });
}

/// Feeds a call that reads its descriptor.
pub fn fill(pool: &Pool, call: Call, bytes: &[u8]) -> Result<Answer, Error> {
    let (reader, mut writer) = std::io::pipe().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            // The worker may have had enough.
            let _ = writer.write_all(bytes);
        });
        pool.call(call, Some(OwnedFd::from(reader)))
    })
}

/// Collects what a call writes into its descriptor.
pub fn drain(pool: &Pool, call: Call) -> Result<Vec<u8>, Error> {
    let (mut reader, writer) = std::io::pipe().unwrap();
    thread::scope(|scope| {
        let collected = scope.spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let answer = pool.call(call, Some(OwnedFd::from(writer)));
        let bytes = collected.join().unwrap();
        answer.map(|_| bytes)
    })
}

pub fn write(pool: &Pool, name: &str, offset: u64, bytes: &[u8]) {
    let call = Call::WriteVolume {
        name: name.to_owned(),
        offset,
    };
    let answer = fill(pool, call, bytes).unwrap();
    assert_eq!(answer, Answer::Bytes(bytes.len() as u64));
}

pub fn read(pool: &Pool, name: &str) -> Vec<u8> {
    let name = name.to_owned();
    drain(pool, Call::ReadVolume { name, offset: 0 }).unwrap()
}

pub fn request(snapshot: &str, base: Option<Base>) -> SendRequest {
    SendRequest {
        snapshot: snapshot.to_owned(),
        base,
        flags: PLAIN,
        resume: None,
    }
}

pub fn stream(pool: &Pool, snapshot: &str, base: Option<&str>) -> Vec<u8> {
    let base = base.map(|base| Base::Snapshot(base.to_owned()));
    drain(pool, Call::Send(request(snapshot, base))).unwrap()
}

pub fn receive_request(snapshot: &str, begin: &[u8]) -> ReceiveRequest {
    ReceiveRequest {
        snapshot: snapshot.to_owned(),
        begin: begin.to_vec(),
        origin: None,
        resumable: false,
        received: Vec::new(),
        local: Vec::new(),
    }
}

pub fn receive(pool: &Pool, snapshot: &str, stream: &[u8]) -> Result<Answer, Error> {
    let (begin, rest) = stream.split_at(BEGIN_BYTES);
    fill(pool, Call::Receive(receive_request(snapshot, begin)), rest)
}

pub fn receive_resumable(pool: &Pool, snapshot: &str, stream: &[u8]) -> Result<Answer, Error> {
    let (begin, rest) = stream.split_at(BEGIN_BYTES);
    let mut request = receive_request(snapshot, begin);
    request.resumable = true;
    fill(pool, Call::Receive(request), rest)
}

pub fn tree(pool: &Pool, root: &str) -> Vec<Dataset> {
    let call = Call::Tree {
        root: root.to_owned(),
        scope: Scope::Recursive,
    };
    match pool.call(call, None).unwrap() {
        Answer::Tree(datasets) => datasets.unwrap_or_default(),
        other => panic!("{other:?}"),
    }
}

pub fn dataset(pool: &Pool, name: &str) -> Option<Dataset> {
    tree(pool, name)
        .into_iter()
        .find(|found| found.name == name)
}

pub fn scrub(pool: &Pool) -> Checked {
    match pool.call(Call::Scrub, None).unwrap() {
        Answer::Checked(checked) => checked,
        other => panic!("{other:?}"),
    }
}

/// The errno of a call that ZFS refused.
pub fn errno(result: Result<Answer, Error>) -> i32 {
    let error = result.expect_err("it should have been refused");
    error.fault().unwrap_or_else(|| panic!("{error:?}")).errno
}

/// Overwrites part of a file, from outside of ZFS.
pub fn damage(path: &Path, offset: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}
