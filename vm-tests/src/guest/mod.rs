//! A machine with ZFS that cases run on, whatever it is.
//!
//! Three kinds: a Debian image that we built (`qemu`), somebody else's disk
//! image (also `qemu`), and this machine with its own ZFS (`machine`). All of
//! them are reached by running commands; the trait asks for no more than a case
//! needs, and the conveniences live in `host`.

pub mod machine;
pub mod qemu;
pub mod shell;

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::script::{Output, Script, quote};

/// Which of the two guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Where data comes from.
    Source,
    /// Where data goes to.
    Target,
}

impl Role {
    /// Both, in the order that they are started.
    pub const BOTH: [Self; 2] = [Self::Source, Self::Target];

    /// The opposite one.
    pub fn other(self) -> Self {
        match self {
            Self::Source => Self::Target,
            Self::Target => Self::Source,
        }
    }

    /// Address on the link between the two.
    pub fn address(self) -> &'static str {
        match self {
            Self::Source => "10.77.0.1",
            Self::Target => "10.77.0.2",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}

/// State of the link between the guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Packets pass.
    Up,
    /// Packets vanish, and neither side is told: a dead network, not a closed one.
    Down,
}

/// A signal for a process in a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ends it at once, with no say of its own.
    Kill,
    /// Asks it to end.
    Terminate,
    /// As typed by a user.
    Interrupt,
    /// Freezes it: it lives, and does nothing.
    Stop,
    /// Thaws it.
    Continue,
}

impl Signal {
    /// The name that `kill` knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Terminate => "TERM",
            Self::Interrupt => "INT",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        }
    }
}

/// A copy between this machine and a guest.
#[derive(Clone, Copy, Debug)]
pub struct Copy<'a> {
    /// Path on this machine.
    pub here: &'a Path,
    /// Path in the guest.
    pub there: &'a str,
}

/// Something that this kind of guest cannot do. A case that needs it is skipped.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not to be had here")]
pub struct Unsupported(pub &'static str);

/// A command that runs in the background of a guest.
pub trait Running {
    /// Process id in the guest.
    ///
    /// # Errors
    /// If the guest does not answer.
    fn pid(&self) -> Result<u32>;

    /// Waits for the end; the script's time limit counts from its start.
    ///
    /// # Errors
    /// [`crate::script::CommandError`] if it does not end in time.
    fn wait(&mut self) -> Result<Output>;
}

/// A machine with ZFS.
pub trait Guest {
    /// Which one it is.
    fn role(&self) -> Role;

    /// Starts booting; [`Guest::await_boot`] waits for the end of it.
    ///
    /// # Errors
    /// If it cannot be started.
    fn start(&mut self) -> Result<()>;

    /// Waits until commands can be run. After a [`Guest::power_off`], start and
    /// await bring the guest back with its disks as they were.
    ///
    /// # Errors
    /// If it does not come up in time; with the end of what it said on its console.
    fn await_boot(&mut self) -> Result<()>;

    /// Whether it is there to run commands.
    fn is_up(&mut self) -> bool;

    /// Runs a command to its end, whatever its exit code.
    ///
    /// # Errors
    /// [`crate::script::CommandError`] if it does not end in time.
    fn run(&self, script: &Script) -> Result<Output>;

    /// Starts a command and leaves it running.
    ///
    /// # Errors
    /// If it cannot be started.
    fn spawn(&self, script: &Script) -> Result<Box<dyn Running>>;

    /// Copies a file into the guest.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    fn copy_in(&self, copy: Copy<'_>) -> Result<()>;

    /// Copies a file out of the guest.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    fn copy_out(&self, copy: Copy<'_>) -> Result<()>;

    /// Cuts or restores the link to the other guest.
    ///
    /// # Errors
    /// If the guest cannot do that.
    fn set_link(&mut self, link: Link) -> Result<()>;

    /// Ends the guest as a power cut would.
    ///
    /// # Errors
    /// If the guest cannot do that.
    fn power_off(&mut self) -> Result<()>;

    /// Prefix that every pool's name has to have here; may be empty.
    fn pool_prefix(&self) -> &str;

    /// Directory that pools have to be mounted in, where that is not the root.
    fn mount_root(&self) -> Option<String> {
        None
    }

    /// Paths of devices or files that pools can be made of, one pool each.
    fn vdevs(&self) -> Vec<String>;

    /// How a person logs in.
    fn login(&self) -> String;
}

fn copy_in_by_cat(guest: &dyn Guest, copy: Copy<'_>) -> Result<()> {
    let bytes = fs::read(copy.here).with_context(|| format!("reading {}", copy.here.display()))?;
    // The mode goes along, since programs are copied too.
    let mode = fs::metadata(copy.here)?.permissions().mode() & 0o777;
    let there = quote(copy.there);
    let script = format!("cat > {there}; chmod {mode:o} {there}");
    let output = guest.run(&Script::bash(script).stdin(bytes))?;
    ensure!(
        output.ok(),
        "writing {} in {}: {}",
        copy.there,
        guest.role(),
        output.error_text()
    );
    Ok(())
}

fn copy_out_by_cat(guest: &dyn Guest, copy: Copy<'_>) -> Result<()> {
    let output = guest.run(&Script::bash(format!("cat {}", quote(copy.there))))?;
    ensure!(
        output.ok(),
        "reading {} in {}: {}",
        copy.there,
        guest.role(),
        output.error_text()
    );
    fs::write(copy.here, output.stdout).with_context(|| format!("writing {}", copy.here.display()))
}
