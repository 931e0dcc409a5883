//! `zferry`: replicates ZFS datasets.
//!
//! Command line → command → engine → outcome → exit code. This crate is all
//! that prints, reads the environment, or knows an exit code; the engine does
//! the work.

mod args;
mod command;
mod connect;
mod endpoint;
mod environment;
mod exit;
mod failure;
mod image_remedies;
mod lock;
mod output;
mod pair;
mod remote_command;
mod signals;
mod size;
mod zfs;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use engine::error::Family;
use tokio::runtime::Runtime;

use crate::args::image::{Action, Images};
use crate::args::{Args, Command};
use crate::command::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Console, Form, Verbosity};
use crate::signals::{Ended, Signals, wind_down};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return unparsed(&error).into(),
    };
    let console = match args.command {
        // Their standard output belongs to the other side, and to content.
        Command::Helper(_)
        | Command::Images(Images {
            action: Action::Get(_),
        }) => Console::errors_only(),
        _ => Console::new(&args.global),
    };
    let ran = std::panic::catch_unwind(AssertUnwindSafe(|| run(args, console)));
    let exit = ran.unwrap_or_else(|_| {
        // What panicked has said so on standard error.
        let failure = Failure::new(Family::Bug, "zferry met a defect of its own")
            .remedy("please report it, with the lines above and the output of zferry --version");
        console.failure(&failure)
    });
    exit.into()
}

fn run(args: Args, console: Console) -> Exit {
    let prepared = tokio::runtime::Builder::new_current_thread()
        .thread_name("transfer")
        .enable_all()
        .build()
        .and_then(|runtime| {
            let signals = runtime.block_on(async { Signals::catch() })?;
            Ok((runtime, signals))
        });
    let (runtime, mut signals): (Runtime, Signals) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return console.failure(&Failure::of(Family::Failed, &error)),
    };
    let context = Context {
        global: args.global,
        console,
    };
    let work = command::run(&context, args.command);
    let ended = runtime.block_on(signals.until_stopped(Box::pin(work)));
    let exit = match ended {
        Ended::Finished(Ok(outcome)) => console.outcome(&outcome),
        Ended::Finished(Err(failure)) => console.failure(&failure),
        Ended::Stopped(stop) => console.stopped(stop),
    };
    wind_down(runtime, signals);
    exit
}

/// Help, version, and mistakes in the command line.
fn unparsed(error: &clap::Error) -> Exit {
    match error.kind() {
        ErrorKind::DisplayVersion => {
            let printed = output::print(&command::version::text());
            printed.map_or(Exit::Failed, |()| Exit::Done)
        }
        ErrorKind::DisplayHelp => {
            // A reader that has seen enough is no failure.
            let _ = error.print();
            Exit::Done
        }
        _ if std::env::args_os().any(|word| word == "--json") => {
            let text = error.render().to_string();
            let message = text.trim().trim_start_matches("error: ");
            let console = Console {
                form: Form::Json,
                verbosity: Verbosity::Normal,
            };
            console.failure(&Failure::new(Family::Usage, message))
        }
        _ => {
            let _ = error.print();
            Exit::Usage
        }
    }
}
