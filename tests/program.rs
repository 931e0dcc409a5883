//! Runs of the binary, in an environment that knows no user and no service.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::sshd::Sshd;

pub const ZFERRY: &str = env!("CARGO_BIN_EXE_zferry");

/// How long anything here may take before it counts as hanging.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Folders of its own for configuration, state and home, gone with the last
/// clone.
#[derive(Clone)]
pub struct Place {
    dir: Rc<TempDir>,
}

impl Place {
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        for name in ["config", "state", "home"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir: Rc::new(dir) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes `config/NAME.conf`.
    pub fn configure(&self, name: &str, text: &str) {
        std::fs::write(self.path("config").join(format!("{name}.conf")), text).unwrap();
    }

    /// The binary, told of these folders and that it runs on node `n1`.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(ZFERRY);
        command
            .arg("--config")
            .arg(self.path("config"))
            .arg("--state")
            .arg(self.path("state"))
            .args(["--node", "n1"])
            .args(at_once(words))
            .env("HOME", self.path("home"))
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, words: &[&str]) -> Ran {
        Ran::of(&mut self.command(words))
    }

    /// `zferry replicate` from a dataset behind `sshd`, with the right key,
    /// where `remote` is what is started instead of a helper.
    pub fn fetch(&self, sshd: &Sshd, remote: &str, words: &[&str]) -> Command {
        let mut all = vec!["replicate"];
        all.extend(words.iter().copied().filter(|word| word.starts_with('-')));
        let mut command = self.command(&all);
        command
            .arg("--identity")
            .arg(sshd.path("user"))
            .arg("--known-hosts")
            .arg(sshd.path("known_hosts"))
            .args(["--remote-command", remote])
            .args(words.iter().filter(|word| !word.starts_with('-')));
        // Unless the words name a pair themselves.
        if words.iter().all(|word| word.starts_with('-')) {
            command.args([&behind(sshd, "tank/a"), "tank/b"]);
        }
        command
    }
}

/// The same words, and that a failure is told at once, unless they are about
/// that themselves.
fn at_once<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let mut words = words.to_vec();
    let moving = |word: &&str| ["replicate", "sync"].contains(word);
    if !words.iter().any(|word| word.starts_with("--retry-for"))
        && let Some(at) = words.iter().position(moving)
    {
        words.splice(at + 1..at + 1, ["--retry-for", "0"]);
    }
    words
}

/// A dataset behind `sshd`.
pub fn behind(sshd: &Sshd, dataset: &str) -> String {
    format!(
        "{}@127.0.0.1:{}:{dataset}",
        crate::sshd::user(),
        sshd.port()
    )
}

/// A run that has ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(command: &mut Command) -> Self {
        Self::after(start(command))
    }

    /// The end of a run that goes on already.
    pub fn after(child: Child) -> Self {
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output().unwrap();
        Self {
            code: status.code(),
            // A helper's greeting is no text.
            out: String::from_utf8_lossy(&stdout).into_owned(),
            err: String::from_utf8(stderr).unwrap(),
        }
    }

    /// Checks the exit code, and that standard error has each of `texts`.
    #[track_caller]
    pub fn fails(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for text in texts {
            assert!(self.err.contains(text), "{text:?} is not in {self:#?}");
        }
    }

    /// The last line of standard output, which is JSON.
    #[track_caller]
    pub fn last_json(&self) -> Value {
        let line = self.out.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// Starts a run whose output is kept. The process ends by itself at the latest
/// when its own time limits do.
pub fn start(command: &mut Command) -> Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Polls until `path` exists.
#[track_caller]
pub fn wait_for(path: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while !path.exists() {
        assert!(Instant::now() < deadline, "waited too long for {path:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// True, with a word about it, on a machine where what is tested cannot happen.
#[expect(clippy::print_stdout, reason = "belongs to the test's result")]
pub fn machine_has_zfs() -> bool {
    let exists = Path::new("/dev/zfs").exists();
    if exists {
        println!("not tested: this machine has ZFS");
    }
    exists
}
