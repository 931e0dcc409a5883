//! What a run shows, and where: stdout is the result, stderr the rest.
//!
//! Commands return an [`Outcome`] or a [`Failure`]; meanwhile the engine tells
//! events to the observer of [`Console::observer`]. Both are turned into text
//! here: for people ([`human`]) or for programs ([`json`]).
//! Nothing else in this program prints.

pub mod human;
pub mod json;
pub mod progress;

use std::io::{self, Write};

use engine::event::Observer;

use crate::args::Global;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::signals::Stop;

/// The result of a command.
#[derive(Debug)]
pub struct Outcome {
    /// How the process ends.
    pub exit: Exit,
    /// The result for people: lines, each with its end.
    pub human: String,
    /// The same for programs.
    pub json: serde_json::Value,
    /// What failed, where that does not fail the whole.
    pub failures: Vec<Failure>,
}

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A person.
    Human,
    /// A program: JSON Lines.
    Json,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors alone.
    Quiet,
    /// The result, progress, and what is worth knowing.
    Normal,
    /// Steps too.
    Steps,
    /// Everything.
    Everything,
}

/// The two streams of a process, and how to use them.
#[derive(Debug, Clone, Copy)]
pub struct Console {
    /// Who reads.
    pub form: Form,
    /// How much is said.
    pub verbosity: Verbosity,
}

impl Console {
    /// As the command line says.
    pub fn new(global: &Global) -> Self {
        Self {
            form: if global.json { Form::Json } else { Form::Human },
            verbosity: match (global.quiet, global.verbose) {
                (true, _) => Verbosity::Quiet,
                (false, 0) => Verbosity::Normal,
                (false, 1) => Verbosity::Steps,
                (false, _) => Verbosity::Everything,
            },
        }
    }

    /// For a process whose standard output is not for results.
    pub fn errors_only() -> Self {
        Self {
            form: Form::Human,
            verbosity: Verbosity::Quiet,
        }
    }

    /// Takes the engine's events. `steps_from` is the verbosity from which on
    /// steps are shown to people.
    pub fn observer(self, steps_from: Verbosity) -> Box<dyn Observer> {
        match self.form {
            Form::Human => Box::new(human::Events::new(self.verbosity, steps_from)),
            Form::Json => Box::new(json::Events::new(self.verbosity)),
        }
    }

    /// A remark that changes nothing.
    pub fn notice(self, text: &str) {
        if self.verbosity == Verbosity::Quiet {
            return;
        }
        match self.form {
            Form::Human => complain(&format!("note: {text}\n")),
            Form::Json => {
                // If nobody reads, the result finds out.
                let _ = print(&json::notice(text));
            }
        }
    }

    /// Shows a result and returns how the process ends.
    pub fn outcome(self, outcome: &Outcome) -> Exit {
        let printed = match self.form {
            Form::Json => print(&json::result(outcome)),
            Form::Human => {
                for failure in &outcome.failures {
                    complain(&human::failure(failure));
                }
                if self.verbosity == Verbosity::Quiet {
                    Ok(())
                } else {
                    print(&outcome.human)
                }
            }
        };
        match printed {
            Ok(()) => outcome.exit,
            // Whoever read it has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => outcome.exit,
            Err(error) => {
                complain(&format!("error: cannot write standard output: {error}\n"));
                match outcome.exit {
                    Exit::Done => Exit::Failed,
                    worse => worse,
                }
            }
        }
    }

    /// Shows why a command failed and returns how the process ends.
    pub fn failure(self, failure: &Failure) -> Exit {
        let exit = Exit::from(failure.family);
        match self.form {
            Form::Human => complain(&human::failure(failure)),
            Form::Json => {
                let _ = print(&json::error(failure, exit));
            }
        }
        exit
    }

    /// Says that a signal ended the command.
    pub fn stopped(self, stop: Stop) -> Exit {
        let exit = Exit::Signal(stop.number());
        match self.form {
            Form::Human => complain(&format!(
                "error: stopped by {stop}\nstate: what had arrived completely stays, nothing of \
                 the rest does\nnext: run the same command again; it goes on from there\n"
            )),
            Form::Json => {
                let _ = print(&json::stopped(stop, exit));
            }
        }
        exit
    }
}

/// Writes to standard output.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes to standard error. If that fails there is nobody left to tell.
pub fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
