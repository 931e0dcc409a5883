//! A folder with images, and what a person would type about them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::program::{Place, Ran, ZFERRY, start};

/// Size of images unless a test needs small ones; they are sparse.
const ROOMY: &str = "512M";

/// Twice what a pool takes at least.
pub const SMALL: &str = "128M";

/// Images `tank` and `backup` in a place of their own.
pub struct Lab {
    pub place: Place,
    /// `--image` and its value, for each.
    images: Vec<String>,
}

/// A lab, or `None` where user-space ZFS cannot run, which is said. With
/// `ZFERRY_TEST_LIBZPOOL` set it has to run.
pub fn lab() -> Option<Lab> {
    lab_of(ROOMY)
}

/// The same with images of this size.
pub fn lab_of(size: &str) -> Option<Lab> {
    let lab = bare()?;
    for pool in ["tank", "backup"] {
        lab.create(pool, size);
    }
    Some(lab)
}

/// The same without images.
pub fn bare() -> Option<Lab> {
    if let Err(why) = worker() {
        let required = std::env::var_os("ZFERRY_TEST_LIBZPOOL").is_some();
        assert!(!required, "user-space ZFS is required here: {why}");
        skipped(&format!("no user-space ZFS here: {why}"));
        return None;
    }
    Some(
        Lab {
            place: Place::new(),
            images: Vec::new(),
        }
        .with("tank")
        .with("backup"),
    )
}

/// Says that a test did not run, past the capture of tests: nobody shall take
/// that for a success.
pub fn skipped(why: &str) {
    let line = format!("SKIPPED: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Whether there is a worker that can run; built first, since a test of one
/// package does not build the programs of another.
fn worker() -> Result<(), &'static str> {
    static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build
            .args(["build", "--quiet", "-p", "zferry-userland"])
            .arg("--bin=zferry-zpool")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            // Where the program under test is: target/PROFILE/zferry.
            .arg("--target-dir")
            .arg(Path::new(ZFERRY).ancestors().nth(2).unwrap());
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let built = build.output().unwrap();
        assert!(
            built.status.success(),
            "the worker does not build: {}",
            String::from_utf8_lossy(&built.stderr)
        );
        let version = Place::new().run(&["--version"]);
        let line = version.out.lines().find(|line| line.contains("user space"));
        match line {
            Some(line) if !line.starts_with("no ") => Ok(()),
            Some(line) => Err(line.to_owned()),
            None => panic!("zferry --version says nothing of it: {version:?}"),
        }
    });
    found.as_ref().copied().map_err(String::as_str)
}

impl Lab {
    fn with(mut self, pool: &str) -> Self {
        let image = format!("{pool}={}", self.file(pool).display());
        self.images.extend(["--image".to_owned(), image]);
        self
    }

    /// The same place with another image of `pool` and no more than that: as
    /// one of several nodes sees it that call their pools alike.
    pub fn with_only(&self, pool: &str, file: &str) -> Self {
        Self {
            place: self.place.clone(),
            images: vec![
                "--image".to_owned(),
                format!("{pool}={}", self.place.path(file).display()),
            ],
        }
    }

    /// Where the image of `pool` is.
    pub fn file(&self, pool: &str) -> PathBuf {
        self.place.path(&format!("{pool}.img"))
    }

    /// `POOL=FILE`.
    pub fn image(&self, pool: &str) -> String {
        format!("{pool}={}", self.file(pool).display())
    }

    /// Makes the image of `pool`.
    #[track_caller]
    pub fn create(&self, pool: &str, size: &str) {
        self.done(&["image", "create", &self.image(pool), "--size", size]);
    }

    /// The binary, told of both images.
    pub fn command(&self, words: &[&str]) -> Command {
        let images: Vec<&str> = self.images.iter().map(String::as_str).collect();
        self.place.command(&[images.as_slice(), words].concat())
    }

    pub fn run(&self, words: &[&str]) -> Ran {
        Ran::of(&mut self.command(words))
    }

    /// Types the command that ends a way out, as an operator would.
    #[track_caller]
    pub fn follow(&self, remedy: &str) {
        let (_, command) = remedy.rsplit_once("zferry ").expect("it names a command");
        let words: Vec<&str> = command.split_whitespace().collect();
        let ran = Ran::of(&mut self.place.command(&words));
        assert_eq!(ran.code, Some(0), "{remedy}: {ran:#?}");
    }

    /// A run that has to succeed.
    #[track_caller]
    pub fn done(&self, words: &[&str]) -> Ran {
        let ran = self.run(words);
        assert_eq!(ran.code, Some(0), "{words:?}: {ran:#?}");
        ran
    }

    /// `zferry image put VOLUME` with these bytes.
    pub fn try_put(&self, volume: &str, bytes: &[u8]) -> Ran {
        let file = self.place.path("put");
        std::fs::write(&file, bytes).unwrap();
        let mut command = self.command(&["image", "put", volume]);
        Ran::of(command.stdin(std::fs::File::open(&file).unwrap()))
    }

    #[track_caller]
    pub fn put(&self, volume: &str, bytes: &[u8]) {
        let ran = self.try_put(volume, bytes);
        assert_eq!(ran.code, Some(0), "put {volume}: {ran:#?}");
    }

    /// What `zferry image get` writes.
    #[track_caller]
    pub fn get(&self, content: &str) -> Vec<u8> {
        let child = start(&mut self.command(&["image", "get", content]));
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "get {content}: {said}");
        output.stdout
    }

    /// Starts `zferry image get`, whose output nobody reads: it keeps the
    /// image until it is killed.
    pub fn occupy(&self, content: &str) -> std::process::Child {
        let mut child = start(&mut self.command(&["image", "get", content]));
        let mut first = [0];
        let out = child.stdout.as_mut().unwrap();
        std::io::Read::read_exact(out, &mut first).unwrap();
        child
    }

    /// The dataset as `image list` shows it, or `Null`.
    #[track_caller]
    pub fn dataset(&self, name: &str) -> Value {
        let pool = name.split('/').next().unwrap();
        let listed = self.done(&["--json", "image", "list", pool]).last_json();
        let datasets = listed["result"]["images"][0]["datasets"].as_array();
        let datasets = datasets.unwrap_or_else(|| panic!("{listed:#}"));
        let found = datasets.iter().find(|dataset| dataset["name"] == name);
        found.cloned().unwrap_or(Value::Null)
    }

    /// The snapshots of a dataset, oldest first: short names and guids.
    #[track_caller]
    pub fn snapshots(&self, name: &str) -> Vec<(String, String)> {
        let dataset = self.dataset(name);
        let snapshots = dataset["snapshots"].as_array();
        let snapshots = snapshots.unwrap_or_else(|| panic!("{name}: {dataset:#}"));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let pair = |snapshot: &Value| (text(&snapshot["name"]), text(&snapshot["guid"]));
        snapshots.iter().map(pair).collect()
    }

    /// What zferry holds in both images: snapshot and tag of each.
    #[track_caller]
    pub fn holds(&self) -> Vec<String> {
        let listed = self.done(&["--json", "holds", "list"]).last_json();
        let holds = listed["result"]["holds"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let held = holds.map(|held| format!("{} {}", text(&held["snapshot"]), text(&held["tag"])));
        held.collect()
    }

    /// `target` has what `source` has: its newest snapshot, with these bytes.
    #[track_caller]
    pub fn in_step(&self, source: &str, target: &str, bytes: &[u8]) {
        let (ours, theirs) = (self.snapshots(source), self.snapshots(target));
        let newest = ours.last().expect("the source has a snapshot");
        assert_eq!(Some(newest), theirs.last(), "{ours:?} {theirs:?}");
        for dataset in [source, target] {
            let content = self.get(&format!("{dataset}@{}", newest.0));
            assert!(content == bytes, "the content of {dataset} differs");
        }
    }
}

/// Processes called `name` that have `file` open.
pub fn users_of(file: &Path, name: &str) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let name = entry.unwrap().file_name();
        name.to_str()?.parse::<u32>().ok()
    });
    let uses = |pid: &u32| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        if comm.is_ok_and(|comm| comm.trim() != name) {
            return false;
        }
        // Whoever has ended meanwhile uses nothing.
        let Ok(fds) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
            return false;
        };
        fds.filter_map(Result::ok)
            .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|link| link == file))
    };
    pids.filter(uses).collect()
}

/// Ends a process as nothing can prevent.
pub fn kill(pid: u32) {
    let sent = Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Bytes that do not compress, different for each seed.
pub fn data(seed: u64, bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut out);
    out
}

/// A command with what it reads.
pub fn fed(command: &mut Command, bytes: &[u8]) -> Ran {
    let mut child = start(command.stdin(Stdio::piped()));
    // A command that refuses its input early has said so.
    let _ = child.stdin.take().unwrap().write_all(bytes);
    Ran::after(child)
}
