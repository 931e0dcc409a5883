//! A guest in QEMU, emulated: no KVM needed, so it runs anywhere.
//!
//! Boots our own Debian image or a disk image of somebody else's; from the
//! moment that ssh answers, the two are alike. Commands go over one ssh master
//! connection (`ssh`), the link is cut through QEMU's monitor (`monitor`), and
//! `arguments` decides what the machine looks like.

mod arguments;
mod console;
mod monitor;
mod ssh;

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{Copy, Guest, Link, Role, Running};
use crate::guest;
use crate::image::Image;
use crate::keys::{HOST_KEY_KINDS, Keys};
use crate::report;
use crate::rundir::PID_FILE;
use crate::script::{Output, Script};
use console::{Booted, Console};
use ssh::Connection;

/// Limit of a boot until ssh answers. An idle machine of two cores needs 15 s.
const BOOT_TIME_LIMIT: Duration = Duration::from_secs(180);

/// Limit of a foreign image's boot: disks, services and a boot loader to emulate.
const FOREIGN_BOOT_TIME_LIMIT: Duration = Duration::from_secs(900);

/// Times that QEMU is started anew because somebody took its port meanwhile.
const PORT_ATTEMPTS_MAX: u32 = 5;

/// Scratch disks, one pool each: the two standing pools use the first.
const DISKS: usize = 4;

/// Size of each scratch disk; the files are sparse.
const DISK_BYTES: u64 = 4 << 30;

/// Where a guest's system comes from.
#[derive(Clone, Debug)]
pub enum System {
    /// Our image. `zferry` is the binary to put into it.
    Debian {
        /// What to boot.
        image: Image,
        /// The zferry binary, already small enough to be copied about.
        zferry: Option<PathBuf>,
    },
    /// Somebody else's bootable disk with ZFS and sshd.
    Foreign {
        /// The disk; it is not written to.
        disk: PathBuf,
        /// Private key that logs in as root.
        key: PathBuf,
        /// A zferry built for that system, unless it has one.
        zferry: Option<PathBuf>,
    },
}

/// A virtual machine.
#[derive(Debug)]
pub struct QemuGuest {
    role: Role,
    system: System,
    cpus: u8,
    keys: Rc<Keys>,
    directory: PathBuf,
    link_socket: PathBuf,
    vdevs: Vec<String>,
    life: Option<Life>,
}

/// What exists from one start to the next power-off.
#[derive(Debug)]
struct Life {
    qemu: Child,
    console: Console,
    connection: Connection,
}

impl QemuGuest {
    /// Prepares a guest below the run's directory; nothing is started yet.
    ///
    /// # Errors
    /// If its files cannot be made.
    pub fn new(
        role: Role,
        system: System,
        cpus: u8,
        keys: Rc<Keys>,
        run_directory: &std::path::Path,
    ) -> Result<Self> {
        let directory = run_directory.join(role.to_string());
        let guest = Self {
            role,
            system,
            cpus,
            keys,
            link_socket: run_directory.join("link.sock"),
            directory,
            vdevs: (b'b'..)
                .take(DISKS)
                .map(|letter| format!("/dev/vd{}", char::from(letter)))
                .collect(),
            life: None,
        };
        fs::create_dir_all(guest.share())?;
        guest.keys.lay_out(role, &guest.share().join("keys"))?;
        if let System::Debian {
            zferry: Some(binary),
            ..
        } = &guest.system
        {
            let bin = guest.share().join("bin");
            fs::create_dir_all(&bin)?;
            fs::copy(binary, bin.join("zferry"))
                .with_context(|| format!("copying {}", binary.display()))?;
        }
        for number in 0..DISKS {
            File::create(guest.disk(number))?.set_len(DISK_BYTES)?;
        }
        Ok(guest)
    }

    fn share(&self) -> PathBuf {
        self.directory.join("share")
    }

    fn disk(&self, number: usize) -> PathBuf {
        self.directory.join(format!("disk{number}.raw"))
    }

    fn life(&self) -> Result<&Life> {
        self.life
            .as_ref()
            .with_context(|| format!("{} is not running", self.role))
    }

    /// Whether QEMU ended because another process had its ssh port.
    fn port_was_taken(&self) -> bool {
        let log = fs::read_to_string(self.directory.join("qemu.log")).unwrap_or_default();
        log.contains("Could not set up host forwarding rule")
    }

    fn time_limit(&self) -> Duration {
        match self.system {
            System::Debian { .. } => BOOT_TIME_LIMIT,
            System::Foreign { .. } => FOREIGN_BOOT_TIME_LIMIT,
        }
    }

    fn launch(&self) -> Result<Life> {
        // Free at this moment; if it is not when QEMU asks, `start` tries again.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let _ = fs::remove_file(self.directory.join("monitor.sock"));
        // If the harness dies in whatever way, its guests go with it.
        let mut qemu = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
            .args(self.arguments(port))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(self.directory.join("qemu.log"))?)
            .spawn()
            .context("running qemu-system-x86_64")?;
        fs::write(self.directory.join(PID_FILE), qemu.id().to_string())?;
        let stdout = qemu.stdout.take().expect("stdout was asked for as a pipe");
        let console = Console::follow(stdout, self.directory.join("serial.log"))?;
        let key = match &self.system {
            System::Debian { .. } => self.keys.harness_key(),
            System::Foreign { key, .. } => key.clone(),
        };
        let known_hosts = match &self.system {
            System::Debian { .. } => {
                let path = self.directory.join("known_hosts");
                let name = format!("[127.0.0.1]:{port}");
                fs::write(&path, self.keys.known_hosts(self.role, &name)?)?;
                Some(path)
            }
            System::Foreign { .. } => None,
        };
        let control = self.directory.join("ssh.ctl");
        let connection = Connection {
            role: self.role,
            port,
            key,
            known_hosts,
            control,
        };
        Ok(Life {
            qemu,
            console,
            connection,
        })
    }

    /// What the guest and QEMU said last, for the error of a failed boot.
    fn last_words(&self) -> String {
        let mut words = String::new();
        for name in ["serial.log", "qemu.log"] {
            let log = fs::read(self.directory.join(name)).unwrap_or_default();
            words += &format!(
                "\n  the end of its {name}:\n{}",
                crate::tail::lines(&log, 25)
            );
        }
        words
    }

    /// Gives a foreign guest its address, host keys and users' keys: what our
    /// own image finds in the shared directory at boot. Asks for its disks.
    fn set_up_foreign(&mut self) -> Result<()> {
        let keys = self.share().join("keys");
        let copy = |name: &str, there: &str| {
            self.copy_in(Copy {
                here: &keys.join(name),
                there,
            })
        };
        let sh = |script: Script| {
            let output = self.run(&script)?;
            let said = output.error_text();
            ensure!(
                output.ok(),
                "{} cannot be set up: {}: {said}",
                self.role,
                script.text()
            );
            Ok(output.text())
        };
        sh(Script::bash(
            "mkdir -p /root/.ssh /usr/local/bin && chmod 700 /root/.ssh",
        ))?;
        for name in ["id_ed25519", "id_ed25519.pub", "known_hosts"] {
            copy(&format!("root/{name}"), &format!("/root/.ssh/{name}"))?;
        }
        let welcome = fs::read(keys.join("root/authorized_keys"))?;
        sh(Script::bash("cat >> /root/.ssh/authorized_keys").stdin(welcome))?;
        for kind in HOST_KEY_KINDS {
            let name = format!("ssh_host_{kind}_key");
            copy(&name, &format!("/etc/ssh/{name}"))?;
            copy(&format!("{name}.pub"), &format!("/etc/ssh/{name}.pub"))?;
        }
        if let System::Foreign {
            zferry: Some(zferry),
            ..
        } = &self.system
        {
            self.copy_in(Copy {
                here: zferry,
                there: "/usr/local/bin/zferry",
            })?;
        }
        let (role, address) = (self.role, self.role.address());
        let disks = sh(Script::bash(format!(
            "chmod 600 /root/.ssh/* /etc/ssh/ssh_host_*_key; /root/vm-tests-setup {role} {address}"
        )))?;
        // Names of disks are the foreign system's own affair: it has to tell them.
        self.vdevs = disks.lines().map(str::to_owned).collect();
        ensure!(
            !self.vdevs.is_empty(),
            "/root/vm-tests-setup of {role} named no disks"
        );
        Ok(())
    }
}

impl Guest for QemuGuest {
    fn role(&self) -> Role {
        self.role
    }

    fn start(&mut self) -> Result<()> {
        if self.life.is_some() {
            self.power_off()?;
        }
        let life = self
            .launch()
            .with_context(|| format!("starting {}", self.role))?;
        self.life = Some(life);
        Ok(())
    }

    fn await_boot(&mut self) -> Result<()> {
        let deadline = Instant::now() + self.time_limit();
        let foreign = matches!(self.system, System::Foreign { .. });
        for attempt in 1.. {
            let life = self
                .life
                .as_mut()
                .context("a guest has to be started before it boots")?;
            let waited = if foreign {
                life.connection.open_until(deadline).map(|()| Booted::Ready)
            } else {
                life.console.await_ready(deadline)
            };
            match waited {
                Ok(Booted::Ready) => break,
                Ok(Booted::Ended) if attempt < PORT_ATTEMPTS_MAX && self.port_was_taken() => {
                    report::note(&format!("{}: port taken meanwhile, once more", self.role));
                    self.start()?;
                }
                Ok(Booted::Ended) => {
                    bail!("{} ended while booting{}", self.role, self.last_words())
                }
                Ok(Booted::Failed(why)) => bail!("{}: {why}{}", self.role, self.last_words()),
                Err(error) => bail!("{}: {error:#}{}", self.role, self.last_words()),
            }
        }
        if foreign {
            return self.set_up_foreign();
        }
        let opened = self.life()?.connection.open_until(deadline);
        opened.with_context(|| format!("{} does not answer ssh{}", self.role, self.last_words()))
    }

    fn is_up(&mut self) -> bool {
        self.life
            .as_mut()
            .is_some_and(|life| matches!(life.qemu.try_wait(), Ok(None)))
            && self
                .run(&Script::bash("true").within(Duration::from_secs(30)))
                .is_ok_and(|out| out.ok())
    }

    fn run(&self, script: &Script) -> Result<Output> {
        self.life()?.connection.run(script)
    }

    fn spawn(&self, script: &Script) -> Result<Box<dyn Running>> {
        Ok(Box::new(self.life()?.connection.spawn(script)?))
    }

    fn copy_in(&self, copy: Copy<'_>) -> Result<()> {
        guest::copy_in_by_cat(self, copy)
    }

    fn copy_out(&self, copy: Copy<'_>) -> Result<()> {
        guest::copy_out_by_cat(self, copy)
    }

    fn set_link(&mut self, link: Link) -> Result<()> {
        self.life()?;
        monitor::set_link(
            &self.directory.join("monitor.sock"),
            arguments::LINK_PORT,
            link,
        )
    }

    fn power_off(&mut self) -> Result<()> {
        let Some(mut life) = self.life.take() else {
            bail!("{} is off already", self.role)
        };
        life.qemu.kill()?;
        life.qemu.wait()?;
        let _ = fs::remove_file(self.directory.join(PID_FILE));
        life.connection.close();
        Ok(())
    }

    fn pool_prefix(&self) -> &str {
        ""
    }

    fn vdevs(&self) -> Vec<String> {
        self.vdevs.clone()
    }

    fn login(&self) -> String {
        match &self.life {
            Some(life) => life.connection.login(),
            None => format!("{} is off", self.role),
        }
    }
}

impl Drop for QemuGuest {
    fn drop(&mut self) {
        if self.life.is_some() {
            let _ = self.power_off();
        }
    }
}
