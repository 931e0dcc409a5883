//! The commands, one file each.
//!
//! Between the command line and the engine: a command checks what options mean
//! together, opens conversations, calls the engine, and returns what came of
//! it. None of them prints.

pub mod helper;
pub mod replicate;
pub mod status;
pub mod sync;
pub mod version;

use engine::error::Family;
use engine::sync::config::NodeName;

use crate::args::{Command, Global};
use crate::environment;
use crate::failure::Failure;
use crate::output::{Console, Outcome};

/// What every command may need.
pub struct Context {
    /// Options of all commands.
    pub global: Global,
    /// Where to say things.
    pub console: Console,
}

impl Context {
    /// The name of this machine in messages.
    pub fn node_text(&self) -> String {
        match &self.global.node {
            Some(node) => node.to_string(),
            None => environment::host_name(),
        }
    }

    /// The name of this machine as configuration files have it.
    fn node(&self) -> Result<NodeName, Failure> {
        if let Some(node) = &self.global.node {
            return Ok(node.clone());
        }
        NodeName::parse(&environment::host_name()).map_err(|error| {
            Failure::of(Family::Usage, &error)
                .remedy("say with --node how the configuration calls this machine")
        })
    }
}

/// Runs a command to its end.
pub async fn run(context: &Context, command: Command) -> Result<Outcome, Failure> {
    match command {
        Command::Replicate(args) => replicate::run(context, args).await,
        Command::Sync(args) => sync::run(context, args).await,
        Command::Status(args) => status::run(context, &args),
        Command::Helper(args) => helper::run(context, args).await,
    }
}
