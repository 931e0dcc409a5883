//! This machine's own ZFS in place of virtual machines: the same cases on the
//! OpenZFS that is really installed here, without emulation.
//!
//! Each guest is a set of namespaces (mounts, network, processes, host name) with a veth
//! link, an sshd and an `/etc/hosts` of its own, so a case sees what it sees in
//! a virtual machine. ZFS itself is the machine's, with all its pools: only
//! file-backed pools whose names begin with [`POOL_PREFIX`] are ever created or
//! destroyed, and only if the operator says so in [`CONSENT_VARIABLE`].

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::shell::Place;
use super::{Copy, Guest, Link, Role, Running, Unsupported};
use crate::job::Job;
use crate::keys::{HOST_KEY_KINDS, Keys};
use crate::report;
use crate::rundir::{PID_FILE, kill};
use crate::script::{CommandError, Outcome, Output, Script, quote};

/// Every pool of a test has a name that begins with this.
pub const POOL_PREFIX: &str = "zferry_test_";

/// The operator's word that pools with that prefix may be destroyed.
pub const CONSENT_VARIABLE: &str = "ZFERRY_TEST_HOST_ZFS";

/// What [`CONSENT_VARIABLE`] has to say; long, so that nobody sets it by chance.
pub const CONSENT: &str = "yes-destroy-zferry_test-pools";

/// Files that pools are made of, one each; sparse.
const DISKS: usize = 4;
const DISK_BYTES: u64 = 4 << 30;

const OWN_TIME_LIMIT: Duration = Duration::from_secs(60);

/// Nobody's address on the link: frames for it vanish.
const NOBODY: &str = "02:00:00:00:77:ff";

/// Checks that the operator agrees and the machine can do it.
///
/// # Errors
/// If not, with what is missing.
pub fn check() -> Result<()> {
    let consent = std::env::var(CONSENT_VARIABLE).unwrap_or_default();
    ensure!(
        consent == CONSENT,
        "tests on this machine's own ZFS destroy pools whose names begin with {POOL_PREFIX}; \
         to agree set {CONSENT_VARIABLE}={CONSENT}"
    );
    ensure!(
        fs::metadata("/proc/self")?.uid() == 0,
        "tests on this machine's own ZFS need root"
    );
    ensure!(
        Path::new("/dev/zfs").exists(),
        "there is no /dev/zfs: load the zfs module first"
    );
    Ok(())
}

/// Destroys the pools of an earlier run, and no other pool.
///
/// # Errors
/// If one cannot be destroyed.
pub fn clear_pools() -> Result<()> {
    let list = Command::new("zpool")
        .args(["list", "-H", "-o", "name"])
        .output();
    let list = list.context("running zpool")?;
    ensure!(
        list.status.success(),
        "zpool list: {}",
        String::from_utf8_lossy(&list.stderr)
    );
    for pool in String::from_utf8_lossy(&list.stdout).lines() {
        if !pool.starts_with(POOL_PREFIX) {
            continue;
        }
        let status = Command::new("zpool")
            .args(["destroy", "-f", pool])
            .status()?;
        ensure!(status.success(), "zpool destroy {pool} failed");
    }
    Ok(())
}

/// A guest made of namespaces.
#[derive(Debug)]
pub struct MachineGuest {
    role: Role,
    directory: PathBuf,
    zferry: Option<PathBuf>,
    life: Option<Life>,
}

impl MachineGuest {
    /// Prepares a guest below the run's directory; nothing is started yet.
    ///
    /// # Errors
    /// If its files cannot be made.
    pub fn new(
        role: Role,
        zferry: Option<PathBuf>,
        keys: &Rc<Keys>,
        run_directory: &Path,
    ) -> Result<Self> {
        let directory = run_directory.join(role.to_string());
        fs::create_dir_all(directory.join("mnt"))?;
        keys.lay_out(role, &directory.join("keys"))?;
        let guest = Self {
            role,
            directory,
            zferry,
            life: None,
        };
        for number in 0..DISKS {
            File::create(guest.disk(number))?.set_len(DISK_BYTES)?;
        }
        Ok(guest)
    }

    fn disk(&self, number: usize) -> PathBuf {
        self.directory.join(format!("disk{number}"))
    }

    /// What the first process of the namespaces runs: it lays out the guest, says
    /// so, and keeps its sshd running.
    fn set_up(&self) -> Result<String> {
        let directory = quote(&self.directory.display().to_string()).to_string();
        let mut sshd = String::from(
            "UsePAM no\nStrictModes no\nPidFile none\nPermitRootLogin prohibit-password\n\
             AuthorizedKeysFile /root/.ssh/authorized_keys\nLogLevel ERROR\n",
        );
        for kind in HOST_KEY_KINDS {
            let keys = self.directory.join("keys");
            writeln!(sshd, "HostKey {}/ssh_host_{kind}_key", keys.display())?;
        }
        fs::write(self.directory.join("sshd_config"), sshd)?;
        fs::write(
            self.directory.join("hosts"),
            "127.0.0.1 localhost\n10.77.0.1 source\n10.77.0.2 target\n",
        )?;
        let bin = self.directory.join("bin");
        fs::create_dir_all(&bin)?;
        if let Some(zferry) = &self.zferry {
            fs::copy(zferry, bin.join("zferry"))?;
        }
        Ok(format!(
            "set -e
             hostname {role}
             ip link set lo up
             mkdir -p /root/.ssh /run/sshd /usr/local/bin
             mount --bind {directory}/hosts /etc/hosts
             mount --bind {directory}/keys/root /root/.ssh
             chmod 700 /root/.ssh; chmod 600 /root/.ssh/*
             mount -t overlay -o lowerdir={directory}/bin:/usr/local/bin none /usr/local/bin
             echo ready
             exec > /dev/null
             while :; do /usr/sbin/sshd -D -e -f {directory}/sshd_config || sleep 1; done",
            role = self.role,
        ))
    }

    fn life(&self) -> Result<&Life> {
        self.life
            .as_ref()
            .with_context(|| format!("{} is not running", self.role))
    }

    fn start_job(&self, script: &Script) -> Result<Inside> {
        let place = Place::fresh(&self.directory.join("jobs").display().to_string());
        let inside = self.life()?.first;
        let mut command = inside.command();
        command.args(["setsid", "bash", "-c", &place.command_line(script)]);
        let job = Job::start(&mut command, script.input().to_vec())?;
        Ok(Inside {
            role: self.role,
            first: inside,
            job,
            place,
            script: script.clone(),
        })
    }

    /// Joins the two guests by a link, once both of them have namespaces.
    fn join(&self, other: u32) -> Result<()> {
        // Only the second one has anybody to be joined with.
        let own = self.life()?.first.0.to_string();
        // From inside: outside there may be a card of that name.
        let status = Command::new("nsenter")
            .args([
                "--net", "--target", &own, "ip", "link", "add", "eth1", "type", "veth",
            ])
            .args(["peer", "name", "eth1", "netns", &other.to_string()])
            .status()
            .context("running ip")?;
        ensure!(
            status.success(),
            "ip link add failed: is there veth in this kernel?"
        );
        for (pid, role) in [(own, self.role), (other.to_string(), self.role.other())] {
            let status = Command::new("nsenter")
                .args(["--net", "--target", &pid, "sh", "-ec"])
                .arg(format!(
                    "ip addr add {}/24 dev eth1; ip link set eth1 up",
                    role.address()
                ))
                .status()
                .context("running nsenter")?;
            ensure!(status.success(), "the link of {role} cannot be set up");
        }
        Ok(())
    }
}

impl Guest for MachineGuest {
    fn role(&self) -> Role {
        self.role
    }

    fn start(&mut self) -> Result<()> {
        let script = self.set_up()?;
        // If the harness dies in whatever way, its guests go with it.
        let mut holder = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "unshare",
                "--mount",
                "--net",
                "--uts",
                "--pid",
            ])
            .args([
                "--propagation",
                "slave",
                "--fork",
                "--kill-child=KILL",
                "--mount-proc",
            ])
            .args(["bash", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(self.directory.join("holder.log"))?)
            .spawn()
            .context("running unshare")?;
        let stdout = holder
            .stdout
            .take()
            .expect("stdout was asked for as a pipe");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.trim() != "ready" {
            let log = fs::read(self.directory.join("holder.log")).unwrap_or_default();
            let _ = holder.wait();
            bail!(
                "namespaces of {} cannot be set up:\n{}",
                self.role,
                crate::tail::lines(&log, 10)
            );
        }
        let children = format!("/proc/{pid}/task/{pid}/children", pid = holder.id());
        let first = fs::read_to_string(&children).with_context(|| format!("reading {children}"))?;
        let first: u32 = first.trim().parse().context("unshare has one child")?;
        fs::write(self.directory.join(PID_FILE), first.to_string())?;
        self.life = Some(Life {
            holder,
            first: First(first),
        });
        let other = self
            .directory
            .with_file_name(self.role.other().to_string())
            .join(PID_FILE);
        match fs::read_to_string(other) {
            Ok(pid) => self.join(pid.trim().parse()?),
            Err(_) => Ok(()),
        }
    }

    fn await_boot(&mut self) -> Result<()> {
        // `start` has waited for everything but the sshd, which binds in an instant.
        let knock = "until (exec 3<> /dev/tcp/127.0.0.1/22) 2> /dev/null; do sleep 0.05; done";
        let output = self.run(&Script::bash(knock).within(OWN_TIME_LIMIT))?;
        ensure!(
            output.ok(),
            "sshd of {}: {}",
            self.role,
            output.error_text()
        );
        Ok(())
    }

    fn is_up(&mut self) -> bool {
        self.life
            .as_mut()
            .is_some_and(|life| matches!(life.holder.try_wait(), Ok(None)))
    }

    fn run(&self, script: &Script) -> Result<Output> {
        self.start_job(script)?.wait()
    }

    fn spawn(&self, script: &Script) -> Result<Box<dyn Running>> {
        Ok(Box::new(self.start_job(script)?))
    }

    fn copy_in(&self, copy: Copy<'_>) -> Result<()> {
        super::copy_in_by_cat(self, copy)
    }

    fn copy_out(&self, copy: Copy<'_>) -> Result<()> {
        super::copy_out_by_cat(self, copy)
    }

    fn set_link(&mut self, link: Link) -> Result<()> {
        // Frames for an address that nobody has vanish, while the carrier stays.
        let other = self.role.other().address();
        let script = match link {
            Link::Down => {
                format!("ip neigh replace {other} lladdr {NOBODY} nud permanent dev eth1")
            }
            Link::Up => format!("ip neigh del {other} dev eth1 2> /dev/null || true"),
        };
        let output = self.run(&Script::bash(script))?;
        ensure!(
            output.ok(),
            "link of {}: {}",
            self.role,
            output.error_text()
        );
        Ok(())
    }

    fn power_off(&mut self) -> Result<()> {
        Err(Unsupported("a power cut of this very machine").into())
    }

    fn pool_prefix(&self) -> &str {
        POOL_PREFIX
    }

    fn mount_root(&self) -> Option<String> {
        Some(self.directory.join("mnt").display().to_string())
    }

    fn vdevs(&self) -> Vec<String> {
        (0..DISKS)
            .map(|number| self.disk(number).display().to_string())
            .collect()
    }

    fn login(&self) -> String {
        match &self.life {
            Some(life) => format!("{} bash", life.first.words().join(" ")),
            None => format!("{} is off", self.role),
        }
    }
}

impl Drop for MachineGuest {
    fn drop(&mut self) {
        let Some(mut life) = self.life.take() else {
            return;
        };
        // With the first process goes every other one, and with the last the mounts.
        kill(life.first.0);
        let _ = life.holder.wait();
        let _ = fs::remove_file(self.directory.join(PID_FILE));
        // Pools of both may go once neither guest uses its own any more.
        let other = self.directory.with_file_name(self.role.other().to_string());
        if !other.join(PID_FILE).exists()
            && let Err(error) = clear_pools()
        {
            report::note(&format!("warning: {error:#}"));
        }
    }
}

/// A guest that is running.
#[derive(Debug)]
struct Life {
    holder: Child,
    first: First,
}

/// First process of a guest's namespaces: the way into them.
#[derive(Clone, Copy, Debug)]
struct First(u32);

impl First {
    fn words(self) -> Vec<String> {
        let words = "nsenter --mount --net --uts --pid --wd=/root --target";
        words
            .split(' ')
            .map(str::to_owned)
            .chain([self.0.to_string()])
            .collect()
    }

    /// A command inside, still without the program to run.
    fn command(self) -> Command {
        let words = self.words();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear();
        command
            .env("HOME", "/root")
            .env("USER", "root")
            .env("LOGNAME", "root");
        command.env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        );
        command
    }

    /// Runs a few words of shell inside, of the harness' own.
    fn run(self, script: &str) -> Result<Result<Output, Outcome>> {
        let mut command = self.command();
        let mut job = Job::start(command.args(["bash", "-c", script]), Vec::new())?;
        let outcome = job.wait(OWN_TIME_LIMIT)?;
        if outcome.is_err() {
            job.kill();
        }
        Ok(outcome)
    }
}

/// A command under way inside a guest's namespaces.
#[derive(Debug)]
struct Inside {
    role: Role,
    first: First,
    job: Job,
    place: Place,
    script: Script,
}

impl Running for Inside {
    fn pid(&self) -> Result<u32> {
        match self.first.run(&self.place.pid_command())? {
            Ok(output) => output.text().parse().context("a process id was expected"),
            Err(_) => bail!(
                "{} did not start in time: {}",
                self.role,
                self.script.text()
            ),
        }
    }

    fn wait(&mut self) -> Result<Output> {
        match self.job.wait(self.script.time_limit())? {
            Ok(output) => Ok(output),
            Err(outcome) => {
                if matches!(outcome, Outcome::TimedOut(_)) {
                    let _ = self.first.run(&self.place.kill_command());
                }
                Err(CommandError {
                    guest: self.role.to_string(),
                    command: self.script.text().to_owned(),
                    outcome,
                    output: self.job.kill(),
                }
                .into())
            }
        }
    }
}
