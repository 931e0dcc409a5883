//! `zferry config`: what may be written after it.

use clap::Subcommand;
use engine::sync::config::ServiceName;

/// Check the configuration of services, or show what a node would do
///
/// Reads the folder of --config and changes nothing. What holds for another
/// node is shown with --node.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  zferry config check
  zferry config show web --node beta")]
pub struct Config {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What `zferry config` does.
#[derive(Debug, Subcommand)]
pub enum Action {
    Check(Check),
    Show(Show),
}

/// Tell all mistakes of configuration files, with line and remedy
///
/// A file is checked for all of its nodes. Files that are checked together are
/// compared with each other as well: two services must not work on one
/// dataset. Ends with code 2 if there is a mistake.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// The services [default: all that are configured]
    pub services: Vec<ServiceName>,
}

/// Show what a node would do for a service
///
/// Sources, copies, targets and how they are reached, names of snapshots,
/// schedule, policies and commands, with everything expanded. A mount point is
/// looked up unless --node names another machine.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// The service: the name of its configuration file without `.conf`
    pub service: ServiceName,
}
