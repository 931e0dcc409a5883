//! Every call on real pools, with its typical faults.
//!
//! libzpool starts once in a process and asserts; so each test runs in a
//! process of its own: the test executable again, with the test's name.

mod datasets;
mod layout;
mod opening;
mod properties;
mod receives;
mod sends;
mod snapshots;
mod volumes;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use tempfile::TempDir;
use userland::protocol::{
    Answer, Base, Call, Dataset, Fault, Opening, Outcome, PROTOCOL, Property, PropertyValue,
    ReceiveRequest, Scope, SendFlags, SendRequest, Start, StartFault,
};

use super::Zpool;

const MIB: u64 = 1 << 20;
const POOL_BYTES: u64 = 128 * MIB;
const BEGIN_BYTES: usize = 312;
const PLAIN: SendFlags = SendFlags {
    embed_data: false,
    large_block: false,
    compress: false,
    raw: false,
};

/// `ZFS_ERR_BADPROP`: a number that stands for no word.
const BAD_PROPERTY: i32 = 1044;

/// Tells a process which stage of a test it is.
const STAGE: &str = "ZFERRY_TEST_STAGE";
/// Tells it where the images of its test are.
const FOLDER: &str = "ZFERRY_TEST_FOLDER";

/// How a stage of a test ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Well,
    /// By [`die`].
    Killed,
}

/// A stage of a test: how it ends, and what it does.
type Stage = (Ends, fn(&Lab));

/// Runs the stages of `test` one after the other, each in its own process.
fn in_processes(test: &str, stages: &[Stage]) {
    if let Ok(stage) = std::env::var(STAGE) {
        let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
        let (ends, body) = stages[stage.parse::<usize>().unwrap()];
        body(&Lab { folder });
        assert_eq!(ends, Ends::Well, "this stage was to die");
        return;
    }
    let (_, path) = test.split_once("::").unwrap();
    let folder = TempDir::new().unwrap();
    for (number, (ends, _)) in stages.iter().enumerate() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([path, "--exact", "--nocapture"])
            .env(STAGE, number.to_string())
            .env(FOLDER, folder.path())
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        let out = String::from_utf8_lossy(&output.stdout);
        match ends {
            Ends::Well => {
                assert!(
                    output.status.success(),
                    "stage {number}: {}\n{out}{words}",
                    output.status
                );
                assert!(out.contains("1 passed"), "no such test: {path}");
            }
            Ends::Killed => assert_eq!(
                std::os::unix::process::ExitStatusExt::signal(&output.status),
                Some(9),
                "stage {number}: {}\n{out}{words}",
                output.status
            ),
        }
    }
}

/// Tests of one stage.
macro_rules! claims {
    ($(fn $name:ident($lab:ident: &Lab) $body:block)+) => {$(
        #[test]
        fn $name() {
            fn body($lab: &crate::zpool::tests::Lab) $body
            crate::zpool::tests::in_processes(
                concat!(module_path!(), "::", stringify!($name)),
                &[(crate::zpool::tests::Ends::Well, body)],
            );
        }
    )+};
}
use claims;

/// Ends the process as a power cut would.
fn die() {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
        .unwrap();
    thread::park();
}

/// A folder with images.
struct Lab {
    folder: PathBuf,
}

impl Lab {
    fn image(&self, pool: &str) -> PathBuf {
        self.folder.join(format!("{pool}.img"))
    }

    fn start(&self, pool: &str, opening: Opening) -> Result<Pool, StartFault> {
        let start = Start {
            protocol: PROTOCOL,
            pool: pool.to_owned(),
            image: self.image(pool).to_str().unwrap().to_owned(),
            opening,
        };
        Zpool::start(&start).map(|(zpool, guid)| Pool { zpool, guid })
    }

    fn create(&self, pool: &str) -> Pool {
        File::create(self.image(pool))
            .unwrap()
            .set_len(POOL_BYTES)
            .unwrap();
        self.start(pool, Opening::Create).unwrap()
    }

    fn import(&self, pool: &str) -> Pool {
        self.start(pool, Opening::Import).unwrap()
    }
}

/// A pool, and short words for its calls.
#[derive(Debug)]
struct Pool {
    zpool: Zpool,
    guid: u64,
}

impl Pool {
    fn try_with(&self, call: Call, fd: Option<OwnedFd>) -> Result<Answer, Fault> {
        match self.zpool.carry_out(call, fd) {
            Outcome::Answer(answer) => Ok(answer),
            Outcome::Fault(fault) => Err(fault),
        }
    }

    fn call(&self, call: Call) -> Answer {
        self.try_with(call.clone(), None)
            .unwrap_or_else(|fault| panic!("{call:?}: {fault:?}"))
    }

    /// The fault of a call that has to fail.
    fn fault(&self, call: Call) -> Fault {
        self.try_with(call, None).unwrap_err()
    }

    fn errno(&self, call: Call) -> i32 {
        self.fault(call).errno
    }

    fn volume(&self, name: &str, bytes: u64) {
        self.call(Call::CreateVolume {
            name: name.to_owned(),
            bytes,
            block_bytes: 8192,
            properties: Vec::new(),
        });
    }

    fn filesystem(&self, name: &str) {
        self.call(Call::CreateFilesystem {
            name: name.to_owned(),
            properties: Vec::new(),
        });
    }

    fn try_write(&self, name: &str, offset: u64, data: Vec<u8>) -> Result<u64, Fault> {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let feeder = thread::spawn(move || writer.write_all(&data));
        let call = Call::WriteVolume {
            name: name.to_owned(),
            offset,
        };
        let answer = self.try_with(call, Some(reader.into()));
        // A write that was refused leaves the rest of the data to nobody.
        let _ = feeder.join().unwrap();
        answer.map(|answer| match answer {
            Answer::Bytes(bytes) => bytes,
            other => panic!("{other:?}"),
        })
    }

    fn write(&self, name: &str, offset: u64, data: Vec<u8>) {
        let bytes = data.len() as u64;
        assert_eq!(self.try_write(name, offset, data).unwrap(), bytes);
    }

    fn read(&self, name: &str) -> Vec<u8> {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let taker = thread::spawn(move || {
            let mut data = Vec::new();
            reader.read_to_end(&mut data).unwrap();
            data
        });
        let call = Call::ReadVolume {
            name: name.to_owned(),
            offset: 0,
        };
        let answer = self.try_with(call, Some(writer.into())).unwrap();
        let data = taker.join().unwrap();
        assert_eq!(answer, Answer::Bytes(data.len() as u64));
        data
    }

    fn snapshot(&self, name: &str) {
        self.call(Call::Snapshot {
            names: vec![name.to_owned()],
        });
    }

    fn try_send(&self, request: SendRequest) -> Result<Vec<u8>, Fault> {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let taker = thread::spawn(move || {
            let mut data = Vec::new();
            reader.read_to_end(&mut data).unwrap();
            data
        });
        let answer = self.try_with(Call::Send(request), Some(writer.into()));
        let stream = taker.join().unwrap();
        answer.map(|_| stream)
    }

    fn send(&self, snapshot: &str, base: Option<Base>) -> Vec<u8> {
        self.try_send(request(snapshot, base)).unwrap()
    }

    fn try_receive(&self, request: ReceiveRequest, rest: &[u8]) -> Result<Answer, Fault> {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let rest = rest.to_vec();
        let feeder = thread::spawn(move || writer.write_all(&rest));
        let answer = self.try_with(Call::Receive(request), Some(reader.into()));
        let _ = feeder.join().unwrap();
        answer
    }

    /// Receives a whole stream; the refused properties.
    fn receive(&self, snapshot: &str, stream: &[u8]) -> Result<Answer, Fault> {
        self.try_receive(plain(snapshot, stream), &stream[BEGIN_BYTES..])
    }

    fn trees(&self, root: &str) -> Vec<Dataset> {
        match self.call(Call::Tree {
            root: root.to_owned(),
            scope: Scope::Recursive,
        }) {
            Answer::Tree(tree) => tree.unwrap_or_default(),
            other => panic!("{other:?}"),
        }
    }

    fn find(&self, name: &str) -> Option<Dataset> {
        self.trees(name).into_iter().next()
    }

    fn dataset(&self, name: &str) -> Dataset {
        self.find(name)
            .unwrap_or_else(|| panic!("{name} is not there"))
    }

    /// Short names of its snapshots.
    fn shorts(&self, name: &str) -> Vec<String> {
        self.dataset(name)
            .snapshots
            .into_iter()
            .map(|snapshot| snapshot.short)
            .collect()
    }
}

fn request(snapshot: &str, base: Option<Base>) -> SendRequest {
    SendRequest {
        snapshot: snapshot.to_owned(),
        base,
        flags: PLAIN,
        resume: None,
    }
}

fn plain(snapshot: &str, stream: &[u8]) -> ReceiveRequest {
    ReceiveRequest {
        snapshot: snapshot.to_owned(),
        begin: stream[..BEGIN_BYTES].to_vec(),
        origin: None,
        resumable: false,
        received: Vec::new(),
        local: Vec::new(),
    }
}

fn number(name: &str, number: u64) -> Property {
    Property {
        name: name.to_owned(),
        value: PropertyValue::Number(number),
    }
}

fn words(name: &str, text: &str) -> Property {
    Property {
        name: name.to_owned(),
        value: PropertyValue::Text(text.to_owned()),
    }
}

fn from_snapshot(name: &str) -> Option<Base> {
    Some(Base::Snapshot(name.to_owned()))
}

/// Bytes that do not compress, different for each seed.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

/// A stream recorded from a kernel: see `tests/streams/README.md`.
fn recorded(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/streams");
    std::fs::read(folder.join(name)).unwrap()
}
