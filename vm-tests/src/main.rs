//! Command line of the harness; the way of a run is told in the library.

use std::process::{Command, ExitCode};
use std::sync::mpsc::channel;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use vm_tests::bench::{self, Method};
use vm_tests::cache::Cache;
use vm_tests::cases::{self, Needs};
use vm_tests::demo;
use vm_tests::guest::Role;
use vm_tests::host::Leftovers;
use vm_tests::lab::{self, GuestArgs};
use vm_tests::pair::Pair;
use vm_tests::rundir::RunDirectory;
use vm_tests::{image, report, runner};

/// Two machines with a real ZFS, and what zferry has to do on them.
#[derive(Parser)]
#[command(name = "vm-tests", version)]
struct Args {
    #[command(flatten)]
    guests: GuestArgs,
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
    /// Plays zferry's main job for a person to watch
    Demo,
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
    /// Measures what a connection costs that breaks in the middle
    BenchCut {
        /// How often
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
        rounds: u16,
        /// Which of shell, syncoid and zferry
        #[arg(long, value_delimiter = ',', default_value = "shell,syncoid,zferry")]
        methods: Vec<Method>,
    },
    /// Measures many small datasets, beside syncoid
    BenchMany {
        /// How many: a multiple of 20, which is a group of them
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
        datasets: u16,
        /// How often
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
        rounds: u16,
        /// What is to be done (repeatable); by default all of it, in turn
        #[arg(long, value_enum)]
        work: Vec<bench::many::Work>,
    },
    /// Runs a command in a guest that `boot` or `run --keep` holds
    Shell {
        /// Process id of the harness that holds the guest, if there are several
        #[arg(long, value_name = "PID")]
        run: Option<u32>,
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
            report::note(&format!("error: {}", report::causes(&error)));
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
                let image = image::provide(&cache, args.guests.release(role))?;
                report::result(&format!("{role}: {}", image.root.display()));
            }
        }
        Task::Boot => {
            lab::with_pair(&args.guests, Needs::Zfs, Leftovers::Keep, |pair| {
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
            let tally = lab::with_pair(&args.guests, needs, leftovers, |pair| {
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
            lab::with_pair(&args.guests, needs, Leftovers::Remove, |pair| {
                bench::run(pair, methods, usize::from(*rounds))
            })?;
        }
        Task::BenchCut { rounds, methods } => {
            lab::with_pair(&args.guests, Needs::Zferry, Leftovers::Remove, |pair| {
                bench::cut::run(pair, methods, usize::from(*rounds))
            })?;
        }
        Task::BenchMany {
            datasets,
            rounds,
            work,
        } => {
            let work = match &work[..] {
                [] => &bench::many::Work::ALL[..],
                some => some,
            };
            lab::with_pair(&args.guests, Needs::Zferry, Leftovers::Remove, |pair| {
                bench::many::run(pair, usize::from(*datasets), usize::from(*rounds), work)
            })?;
        }
        Task::Demo => {
            lab::with_pair(&args.guests, Needs::Zferry, Leftovers::Remove, demo::run)?;
        }
        Task::Shell {
            run,
            guest,
            command,
        } => return shell(*run, guest, command),
    }
    Ok(ExitCode::SUCCESS)
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

fn shell(run: Option<u32>, guest: &str, command: &[String]) -> Result<ExitCode> {
    let directory = RunDirectory::find_alive(run)?.join(guest);
    let control = directory.join("ssh.ctl");
    anyhow::ensure!(
        control.exists(),
        "no virtual machine {guest} is up; there are source and target"
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
