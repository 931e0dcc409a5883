//! `zferry config`: what configuration files say, and whether they can.

mod check;
mod policy;
mod show;

use super::Context;
use crate::args::config::{Action, Config};
use crate::failure::Failure;
use crate::output::Outcome;

/// Runs the command.
pub async fn run(context: &Context, args: Config) -> Result<Outcome, Failure> {
    match args.action {
        Action::Check(args) => check::run(context, &args),
        Action::Show(args) => show::run(context, &args).await,
    }
}
