//! Commands in a guest over one ssh master connection.
//!
//! A handshake costs an emulated CPU most of a second, another channel of an
//! open connection about a tenth of that.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::guest::shell::Place;
use crate::guest::{Role, Running};
use crate::job::Job;
use crate::script::{CommandError, Outcome, Output, Script};

/// Limit of one attempt to log in: ssh waits for as long as a guest takes to
/// start its sshd, since QEMU accepts connections before that.
const LOGIN_TIME_LIMIT: Duration = Duration::from_secs(30);

/// Pause between attempts, for the case that the port refuses at once.
const LOGIN_PAUSE: Duration = Duration::from_millis(200);

/// Limit of the small commands that the harness adds of its own.
const OWN_TIME_LIMIT: Duration = Duration::from_secs(60);

/// Where the process ids of jobs are noted in a guest.
const JOBS_DIRECTORY: &str = "/tmp/vm-tests-jobs";

/// Where and how to reach a guest.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) role: Role,
    pub(super) port: u16,
    pub(super) key: PathBuf,
    /// Without one, the host key is not checked: a foreign image's is not known.
    pub(super) known_hosts: Option<PathBuf>,
    pub(super) control: PathBuf,
}

impl Connection {
    /// Opens the master connection, trying until `deadline`.
    pub(super) fn open_until(&self, deadline: Instant) -> Result<()> {
        let _ = fs::remove_file(&self.control);
        loop {
            // It goes to the background once logged in, and ends with the guest.
            let log = self.control.with_extension("log");
            let status = self
                .options()
                .args(["-f", "-M", "-N", "root@127.0.0.1"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(File::create(&log)?)
                .status()
                .context("running ssh")?;
            if status.success() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let said = fs::read(&log).unwrap_or_default();
                bail!("ssh could not log in:\n{}", crate::tail::lines(&said, 10));
            }
            std::thread::sleep(LOGIN_PAUSE);
        }
    }

    /// Ends the master connection, if there is one.
    pub(super) fn close(&self) {
        if self.control.exists() {
            let mut command = self.options();
            command.args(["-O", "exit", "root@127.0.0.1"]);
            let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }

    fn options(&self) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes"]);
        command
            .arg("-o")
            .arg(format!("ConnectTimeout={}", LOGIN_TIME_LIMIT.as_secs()));
        // The cheapest for a CPU whose AES instructions are emulated one by one.
        command.args([
            "-o",
            "Ciphers=aes128-gcm@openssh.com",
            "-o",
            "IdentitiesOnly=yes",
        ]);
        command
            .arg("-i")
            .arg(&self.key)
            .arg("-S")
            .arg(&self.control);
        command.arg("-p").arg(self.port.to_string());
        match &self.known_hosts {
            Some(path) => {
                command
                    .arg("-o")
                    .arg(format!("UserKnownHostsFile={}", path.display()));
                command.args(["-o", "StrictHostKeyChecking=yes"]);
            }
            None => {
                command.args(["-o", "UserKnownHostsFile=/dev/null"]);
                command.args(["-o", "StrictHostKeyChecking=no"]);
            }
        }
        command
    }

    fn start(&self, script: &Script) -> Result<Remote> {
        let place = Place::fresh(JOBS_DIRECTORY);
        let mut command = self.options();
        // Never log in anew: that would hide that the connection was lost.
        command.args([
            "-o",
            "ControlMaster=no",
            "-o",
            "ProxyCommand=false",
            "root@127.0.0.1",
        ]);
        command.arg(place.command_line(script));
        let job = Job::start(&mut command, script.input().to_vec())?;
        Ok(Remote {
            connection: self.clone(),
            job,
            place,
            script: script.clone(),
        })
    }

    pub(super) fn run(&self, script: &Script) -> Result<Output> {
        self.start(script)?.wait()
    }

    pub(super) fn spawn(&self, script: &Script) -> Result<Remote> {
        self.start(script)
    }

    pub(super) fn login(&self) -> String {
        let known_hosts = match &self.known_hosts {
            Some(path) => format!("-o UserKnownHostsFile={}", path.display()),
            None => "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null".to_owned(),
        };
        format!(
            "ssh -F none -i {} -p {} {known_hosts} root@127.0.0.1",
            self.key.display(),
            self.port
        )
    }
}

/// A command under way in a guest.
#[derive(Debug)]
pub(super) struct Remote {
    connection: Connection,
    job: Job,
    place: Place,
    script: Script,
}

impl Running for Remote {
    fn pid(&self) -> Result<u32> {
        let script = Script::bash(self.place.pid_command()).within(OWN_TIME_LIMIT);
        let text = self.connection.run(&script)?.text();
        text.parse()
            .with_context(|| format!("a process id was expected, not {text:?}"))
    }

    fn wait(&mut self) -> Result<Output> {
        match self.job.wait(self.script.time_limit())? {
            Ok(output) => Ok(output),
            Err(outcome) => {
                if matches!(outcome, Outcome::TimedOut(_)) {
                    // Directly, not by `run`: this must not end up here again.
                    let mut kill = self.connection.options();
                    kill.args(["-o", "ProxyCommand=false", "root@127.0.0.1"]);
                    kill.arg(self.place.kill_command());
                    if let Ok(mut kill) = Job::start(&mut kill, Vec::new()) {
                        let _ = kill.wait(OWN_TIME_LIMIT);
                        kill.kill();
                    }
                }
                Err(CommandError {
                    guest: self.connection.role.to_string(),
                    command: self.script.text().to_owned(),
                    outcome,
                    output: self.job.kill(),
                }
                .into())
            }
        }
    }
}
