//! Commands that the configuration names: triggers, checks and alerts.
//!
//! The engine says what to start, with which facts in the environment and for
//! how long; who starts it is the caller. Nothing is given to a shell.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use crate::sync::config::duration_text;

/// How long a trigger may take if its resource has no `timeout`: an hour, which
/// is more than freezing a database or unmounting takes, and less than a day
/// lost to a script that waits for somebody.
pub const TRIGGER_MAX: Duration = Duration::from_secs(60 * 60);

/// How long an activity check or an alert may take: they only ask or tell.
pub const CHECK_MAX: Duration = Duration::from_secs(60);

/// What to start.
#[derive(Debug, Clone)]
pub struct Command<'a> {
    /// Program (an absolute path) and arguments. Never empty.
    pub argv: &'a [String],
    /// What is added to the environment: `ZFERRY_…` variables.
    pub facts: Vec<(&'static str, String)>,
    /// After this it is ended.
    pub limit: Duration,
}

/// Why a command did not end with exit code 0.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("{program} cannot be started")]
    NotStarted {
        /// The program.
        program: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// It ended in another way.
    #[error("{program} ended with {ending}")]
    Failed {
        /// The program.
        program: String,
        /// For example `exit code 3`, `signal 9`.
        ending: String,
    },
    /// It did not end in time and was ended.
    #[error("{program} was ended because it took longer than {}", duration_text(*limit))]
    TimedOut {
        /// The program.
        program: String,
        /// The time it had.
        limit: Duration,
    },
}

/// A future of [`Commands`].
pub type Running<'a> = Pin<Box<dyn Future<Output = Result<(), CommandError>> + 'a>>;

/// Starts commands.
pub trait Commands {
    /// Starts one and waits for its end. Dropping the future ends it.
    fn run<'a>(&'a self, command: Command<'a>) -> Running<'a>;
}

/// A command as a person would type it, for the log.
pub(super) fn shown(argv: &[String]) -> String {
    shell_words::join(argv)
}
