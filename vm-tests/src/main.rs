//! Command line of the harness; the way of a run is told in the library.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::sync::mpsc::channel;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use vm_tests::bench::{self, Method};
use vm_tests::cache::Cache;
use vm_tests::cases::{self, Needs};
use vm_tests::guest::qemu::{QemuGuest, System};
use vm_tests::guest::{Guest, Role};
use vm_tests::host::{Host, Leftovers};
use vm_tests::image::{self, ZfsRelease};
use vm_tests::keys::Keys;
use vm_tests::pair::Pair;
use vm_tests::rundir::{self, RunDirectory};
use vm_tests::{report, runner, zferry};

/// Two machines with a real ZFS, and what zferry has to do on them.
#[derive(Parser)]
#[command(name = "vm-tests", version)]
struct Args {
    /// OpenZFS of the source: 2.1, 2.3 or 2.4
    #[arg(
        long,
        global = true,
        env = "ZFERRY_VM_SOURCE_ZFS",
        default_value = "2.3"
    )]
    source_zfs: ZfsRelease,
    /// OpenZFS of the target: 2.1, 2.3 or 2.4
    #[arg(
        long,
        global = true,
        env = "ZFERRY_VM_TARGET_ZFS",
        default_value = "2.3"
    )]
    target_zfs: ZfsRelease,
    /// The binary to test; by default the workspace's newest, built if missing
    #[arg(long, global = true, value_name = "PATH")]
    zferry: Option<PathBuf>,
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Boots both guests and runs cases: all, or those named
    Run {
        /// Names of cases, or parts of names
        cases: Vec<String>,
        /// Keeps guests and data for a look until interrupted
        #[arg(long)]
        keep: bool,
    },
    /// Lists the cases
    List,
    /// Builds the images and nothing else
    Build,
    /// Boots both guests and keeps them until interrupted
    Boot,
    /// Measures zferry beside plain shell and syncoid
    Bench {
        /// How often
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
        rounds: u16,
        /// Which of shell, syncoid and zferry
        #[arg(long, value_delimiter = ',', default_value = "shell,syncoid,zferry")]
        methods: Vec<Method>,
    },
    /// Runs a command in a guest that `boot` or `run --keep` holds
    Shell {
        /// source or target
        guest: String,
        /// The command; without one, an interactive shell
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    match work(&Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            report::note(&format!("error: {error:?}"));
            ExitCode::FAILURE
        }
    }
}

fn work(args: &Args) -> Result<ExitCode> {
    match &args.command {
        Task::List => {
            for case in cases::all() {
                report::result(case.name);
            }
        }
        Task::Build => {
            let cache = Cache::open()?;
            for role in Role::BOTH {
                let image = image::provide(&cache, args.zfs(role))?;
                report::result(&format!("{role}: {}", image.root.display()));
            }
        }
        Task::Boot => {
            with_pair(args, Needs::Zfs, Leftovers::Keep, |pair| {
                wait_for_interrupt(pair);
                Ok(())
            })?;
        }
        Task::Run { cases: names, keep } => {
            let cases = runner::select(&cases::all(), names)?;
            let needs = if cases.iter().any(|case| case.needs == Needs::Zferry) {
                Needs::Zferry
            } else {
                Needs::Zfs
            };
            let leftovers = if *keep {
                Leftovers::Keep
            } else {
                Leftovers::Remove
            };
            let tally = with_pair(args, needs, leftovers, |pair| {
                let tally = runner::run(pair, &cases);
                report::result(&tally.line());
                if *keep {
                    wait_for_interrupt(pair);
                }
                Ok(tally)
            })?;
            if tally.failed > 0 {
                return Ok(ExitCode::FAILURE);
            }
        }
        Task::Bench { rounds, methods } => {
            let zferry = methods.contains(&Method::Zferry);
            let needs = if zferry { Needs::Zferry } else { Needs::Zfs };
            with_pair(args, needs, Leftovers::Remove, |pair| {
                bench::run(pair, methods, usize::from(*rounds))
            })?;
        }
        Task::Shell { guest, command } => return shell(guest, command),
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn zfs(&self, role: Role) -> ZfsRelease {
        match role {
            Role::Source => self.source_zfs,
            Role::Target => self.target_zfs,
        }
    }
}

/// Boots a pair for as long as `work` takes. Whatever ends it, the guests and
/// the run's directory go with it.
fn with_pair<T>(
    args: &Args,
    needs: Needs,
    leftovers: Leftovers,
    work: impl FnOnce(&Pair) -> Result<T>,
) -> Result<T> {
    let cache = Cache::open()?;
    let zferry = zferry::provide(args.zferry.as_deref(), needs)?;
    let mut images = Vec::new();
    for role in Role::BOTH {
        images.push(image::provide(&cache, args.zfs(role))?);
    }
    let run = RunDirectory::create()?;
    let path = run.path().to_owned();
    ctrlc::set_handler(move || {
        rundir::clear(&path);
        std::process::exit(130);
    })?;
    let zferry = zferry
        .map(|binary| zferry::slim(&binary, run.path()))
        .transpose()?;
    let keys = Rc::new(Keys::generate(run.path().join("keys"))?);
    let mut hosts = Vec::new();
    for (role, image) in Role::BOTH.into_iter().zip(images) {
        let system = System::Debian {
            image,
            zferry: zferry.clone(),
        };
        let guest = QemuGuest::new(role, system, Rc::clone(&keys), run.path())?;
        hosts.push(Host::new(Box::new(guest) as Box<dyn Guest>, leftovers));
    }
    let (Some(target), Some(source)) = (hosts.pop(), hosts.pop()) else {
        unreachable!("a host was made per role");
    };
    let pair = Pair::boot(source, target, keys)?;
    work(&pair)
}

fn wait_for_interrupt(pair: &Pair) {
    for role in Role::BOTH {
        let login = pair.host(role).login();
        report::note(&format!("{role}: {login}"));
    }
    report::note("or `vm-tests shell source COMMAND`; interrupt this (Ctrl-C) to end the guests");
    // Nothing is ever sent: the interrupt's handler ends the process.
    let (_keep, never) = channel::<()>();
    let _ = never.recv();
}

fn shell(guest: &str, command: &[String]) -> Result<ExitCode> {
    let directory = RunDirectory::find_alive()?.join(guest);
    let control = directory.join("ssh.ctl");
    anyhow::ensure!(
        Path::new(&control).exists(),
        "no guest {guest} is up; there are source and target"
    );
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "none", "-S"])
        .arg(&control)
        .args(["-o", "ProxyCommand=false"]);
    if command.is_empty() {
        ssh.arg("-t");
    }
    let status = ssh
        .arg("root@guest")
        .args(command)
        .status()
        .context("running ssh")?;
    Ok(ExitCode::from(
        status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1),
    ))
}
