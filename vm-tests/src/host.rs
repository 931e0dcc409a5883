//! A guest as cases see it: checked commands, pools and datasets to work on.
//!
//! Everything here is made of the few operations that `guest::Guest` offers.

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::dataset::Dataset;
use crate::guest::{Copy, Guest, Link, Role, Running, Signal};
use crate::report;
use crate::script::{CommandError, Outcome, Output, Script, quote};

/// What becomes of a case's pools and files when the case is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// They make room for the next case.
    Remove,
    /// They stay for a look.
    Keep,
}

/// One of the two guests.
pub struct Host {
    role: Role,
    guest: RefCell<Box<dyn Guest>>,
    /// None before the first boot: only a booted guest knows its disks.
    free_vdevs: RefCell<Option<Vec<String>>>,
    leftovers: Leftovers,
    prefix: String,
}

impl Host {
    /// Wraps a guest that need not be started yet.
    pub fn new(guest: Box<dyn Guest>, leftovers: Leftovers) -> Self {
        Self {
            role: guest.role(),
            prefix: guest.pool_prefix().to_owned(),
            guest: RefCell::new(guest),
            free_vdevs: RefCell::default(),
            leftovers,
        }
    }

    /// Which one it is; as text also its host name.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Runs a command that has to succeed, and returns its standard output.
    ///
    /// # Errors
    /// [`CommandError`] if it fails or does not end in time.
    pub fn sh(&self, script: impl Into<Script>) -> Result<String> {
        let script = script.into();
        let output = self.run(script.clone())?;
        if output.ok() {
            Ok(output.text())
        } else {
            Err(self.error(&script, output))
        }
    }

    /// Runs a command that has to fail, and returns what it printed.
    ///
    /// # Errors
    /// If it succeeds or does not end in time.
    pub fn fails(&self, script: impl Into<Script>) -> Result<Output> {
        let script = script.into();
        let output = self.run(script.clone())?;
        if output.ok() {
            return Err(self.error(&script, output).context("this had to fail"));
        }
        Ok(output)
    }

    /// Runs a command, whatever its exit code.
    ///
    /// # Errors
    /// [`CommandError`] if it does not end in time.
    pub fn run(&self, script: impl Into<Script>) -> Result<Output> {
        self.guest.borrow().run(&script.into())
    }

    /// Starts a command in the background.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(&self, script: impl Into<Script>) -> Result<Box<dyn Running>> {
        self.guest.borrow().spawn(&script.into())
    }

    /// The zferry of this guest with these arguments, ready to run or spawn.
    pub fn zferry<I: IntoIterator<Item = S>, S: AsRef<str>>(&self, args: I) -> Script {
        let args: Vec<String> = args
            .into_iter()
            .map(|arg| arg.as_ref().to_owned())
            .collect();
        Script::program(std::iter::once("zferry".to_owned()).chain(args))
    }

    /// Sends a signal to a process.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn signal(&self, pid: u32, signal: Signal) -> Result<()> {
        self.sh(format!("kill -{} {pid}", signal.name())).map(drop)
    }

    /// Waits until a command succeeds, trying again every tenth of a second.
    ///
    /// # Errors
    /// If it does not within `limit`.
    pub fn wait_until(&self, condition: &str, limit: Duration) -> Result<()> {
        let script = format!("until {{ {condition}; }} > /dev/null 2>&1; do sleep 0.1; done");
        let script = Script::bash(script).within(limit);
        self.sh(script)
            .map(drop)
            .with_context(|| format!("waiting for: {condition}"))
    }

    /// Cuts or restores the link to the other guest.
    ///
    /// # Errors
    /// If the guest cannot do that.
    pub fn set_link(&self, link: Link) -> Result<()> {
        self.guest.borrow_mut().set_link(link)
    }

    /// Ends the guest as a power cut would; [`Host::boot`] brings it back.
    ///
    /// # Errors
    /// If the guest cannot do that.
    pub fn power_off(&self) -> Result<()> {
        self.guest.borrow_mut().power_off()
    }

    /// Starts the guest without waiting for it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&self) -> Result<()> {
        self.guest.borrow_mut().start()
    }

    /// Waits until a started guest can run commands.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn await_boot(&self) -> Result<()> {
        let mut guest = self.guest.borrow_mut();
        guest.await_boot()?;
        // Those that are in use after a power cut are so still.
        if self.free_vdevs.borrow().is_none() {
            let vdevs = guest.vdevs().into_iter().rev().collect();
            self.free_vdevs.replace(Some(vdevs));
        }
        Ok(())
    }

    /// Boots the guest again after a power cut, with the pools that it had.
    ///
    /// # Errors
    /// If it does not come up, or a pool cannot be imported.
    pub fn boot(&self) -> Result<()> {
        self.start()?;
        self.await_boot()?;
        // Disks are found by name once udev is through, where there is one.
        self.sh("[ ! -x /usr/bin/udevadm ] || udevadm settle; zpool import -f -a")
            .map(drop)
    }

    /// Whether the guest runs commands.
    pub fn is_up(&self) -> bool {
        self.guest.borrow_mut().is_up()
    }

    /// Copies a file into the guest.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn copy_in(&self, here: &Path, there: &str) -> Result<()> {
        self.guest.borrow().copy_in(Copy { here, there })
    }

    /// Copies a file out of the guest.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn copy_out(&self, there: &str, here: &Path) -> Result<()> {
        self.guest.borrow().copy_out(Copy { here, there })
    }

    /// CPU time that everything in this Linux guest has used since its boot.
    ///
    /// # Errors
    /// If its kernel does not tell.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let text = self.sh("getconf CLK_TCK; head -n 1 /proc/stat")?;
        let (per_second, line) = text.split_once('\n').context("two lines were expected")?;
        let ticks: Vec<f64> = line
            .split_whitespace()
            .skip(1)
            .filter_map(|word| word.parse().ok())
            .collect();
        // user, nice, system, idle, iowait, irq, softirq: see proc(5).
        let [user, nice, system, _idle, _iowait, irq, softirq, ..] = ticks[..] else {
            bail!("no CPU times in {line:?}");
        };
        Ok((user + nice + system + irq + softirq) / per_second.parse::<f64>()?)
    }

    /// How a person logs in.
    pub fn login(&self) -> String {
        self.guest.borrow().login()
    }

    /// Name of the pool that is always there: `tank` on the source and `backup`
    /// on the target, behind a prefix where pools need one.
    pub fn standing_pool(&self) -> String {
        self.pool_name(match self.role {
            Role::Source => "tank",
            Role::Target => "backup",
        })
    }

    /// A handle on `NAME` in the standing pool. It creates nothing.
    pub fn dataset(&self, name: &str) -> Dataset<'_> {
        Dataset::new(self, format!("{}/{name}", self.standing_pool()))
    }

    /// Creates a pool of its own for a case, on the next free disk.
    ///
    /// # Errors
    /// If there is no free disk or the pool cannot be created.
    pub fn pool(&self, name: &str) -> Result<Pool<'_>> {
        let name = self.pool_name(name);
        let vdev = self.free_vdevs.borrow_mut().as_mut().and_then(Vec::pop);
        let vdev = vdev.with_context(|| format!("no free disk left in {}", self.role))?;
        self.create_pool(&name, &vdev)?;
        Ok(Pool {
            host: self,
            name,
            vdev,
        })
    }

    /// Creates the standing pool, which nothing removes but the end of the guest.
    pub(crate) fn create_standing_pool(&self) -> Result<()> {
        let mut pool = self.pool(match self.role {
            Role::Source => "tank",
            Role::Target => "backup",
        })?;
        // A pool without a disk to give back stays.
        pool.vdev.clear();
        Ok(())
    }

    fn pool_name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn create_pool(&self, name: &str, vdev: &str) -> Result<()> {
        self.check_pool_name(name)?;
        let mountpoint = match self.guest.borrow().mount_root() {
            Some(root) => format!("-m {}", quote(&format!("{root}/{name}"))),
            None => String::new(),
        };
        let (name, vdev) = (quote(name), quote(vdev));
        // No cache file: nothing shall look for this pool after the test.
        self.sh(format!(
            "[ -e {vdev} ] || truncate -s 4G {vdev}
             zpool create -f -o cachefile=none {mountpoint} -O atime=off -O compression=lz4 \
                 {name} {vdev}"
        ))
        .map(drop)
    }

    fn check_pool_name(&self, name: &str) -> Result<()> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        ensure!(
            name.starts_with(&self.prefix) && name.len() > self.prefix.len(),
            "pool {name} is not one of ours: the name has to begin with {:?}",
            self.prefix
        );
        ensure!(
            name.chars().all(legal),
            "{name:?} is no name for a pool of a test"
        );
        Ok(())
    }

    fn error(&self, script: &Script, output: Output) -> anyhow::Error {
        CommandError {
            guest: self.role.to_string(),
            command: script.text().to_owned(),
            outcome: Outcome::Exit(output.code),
            output: Some(output),
        }
        .into()
    }
}

/// A pool of one case; dropped, it is destroyed.
pub struct Pool<'a> {
    host: &'a Host,
    name: String,
    vdev: String,
}

impl<'a> Pool<'a> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A handle on a dataset in it. It creates nothing.
    pub fn dataset(&self, name: &str) -> Dataset<'a> {
        Dataset::new(self.host, format!("{}/{name}", self.name))
    }
}

impl Drop for Pool<'_> {
    fn drop(&mut self) {
        if self.vdev.is_empty() || self.host.leftovers == Leftovers::Keep {
            return;
        }
        let destroyed = self.host.check_pool_name(&self.name).and_then(|()| {
            self.host
                .sh(format!("zpool destroy -f {}", quote(&self.name)))
        });
        match destroyed {
            Ok(_) => {
                let vdev = std::mem::take(&mut self.vdev);
                self.host
                    .free_vdevs
                    .borrow_mut()
                    .get_or_insert_default()
                    .push(vdev);
            }
            Err(error) => report::note(&format!("warning: pool {} stays: {error:#}", self.name)),
        }
    }
}
