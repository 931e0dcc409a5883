//! The command line: what may be written, and the help that says so.
//!
//! First step of every run. Values are checked while they are parsed, so that
//! what a command gets is well-formed; clap ends with code 2 otherwise. What
//! options mean together is checked by the commands.

pub mod config;
pub mod holds;
pub mod image;
pub mod inspect;
pub mod listen;
mod transfer;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use engine::image::Image;
use engine::limit::BandwidthLimit;
use engine::name::{DatasetName, ShortName};
use engine::peer::STALL_DEFAULT;
use engine::plan::{OnModified, OnNewer, OnPartial};
use engine::sync::config::{NodeName, Rid, ServiceName, TargetKind, duration_of};
use engine::sync::selection::{Selection, TagExpression};

pub use transfer::Transfer;

use crate::endpoint::Endpoint;

const EXIT_CODES: &str = "\
Exit codes:
  0  done; status: up               5  try again later (network, busy, locked)
  1  failed, an operator is needed  6  refused (key, host key, policy)
  2  mistake in usage or config     7  no usable ZFS
  3  status: warn                   8  the peer speaks another protocol
  4  broken chain, conflict         9  status: undef
  10 sync: this node may not start it, which is no failure
  11 status: n/a                    70 a defect in zferry
  128+N  stopped by signal N";

/// Replicates ZFS datasets, one command at a time or as services.
#[derive(Debug, Parser)]
#[command(
    name = "zferry",
    version,
    arg_required_else_help = true,
    after_help = EXIT_CODES,
    max_term_width = 100
)]
pub struct Args {
    /// Options of all commands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of all commands.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Folder of the services' configuration files (NAME.conf)
    #[arg(long, global = true, value_name = "DIR", default_value = "/etc/zferry")]
    pub config: PathBuf,
    /// Folder of locks and of the services' states
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/var/lib/zferry"
    )]
    pub state: PathBuf,
    /// Name of this machine, as configuration files spell it [default: the host name]
    #[arg(long, global = true, value_name = "NAME")]
    pub node: Option<NodeName>,
    /// A pool of this machine that is in a file (repeatable); see `zferry image`
    #[arg(long, global = true, value_name = "POOL=FILE")]
    pub image: Vec<Image>,
    /// Write JSON Lines: events, and as the last line the result or error
    #[arg(long, global = true)]
    pub json: bool,
    /// Say more; twice: everything
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    Replicate(Replicate),
    Sync(Sync),
    Status(Status),
    Config(config::Config),
    #[command(name = "image")]
    Images(image::Images),
    Holds(holds::Holds),
    Inspect(inspect::Inspect),
    Helper(Helper),
    Listen(listen::Listen),
}

/// Replicate one dataset, or a tree, to exactly the named target
///
/// Takes a snapshot of SRC (or uses the one given by --snapshot) and sends it
/// to DST: incrementally if DST has an earlier snapshot of it, in full if DST
/// does not exist. Snapshots are matched by guid, not by name. Nothing on the
/// target is overwritten, and without --rollback or --destroy-newer-snapshots
/// nothing is lost: if it cannot be reached by sending a stream, the command says
/// why and changes nothing.
///
/// SRC and DST are [[user@]host[:port]:]dataset. A `:` before the first `/`
/// makes a side remote; it is reached over SSH and needs zferry installed. One
/// of the two sides has to be this machine. An empty host (`:tank:x/a`) means
/// this machine, for pools with a colon in their name.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  zferry replicate tank/data backup/data
  zferry replicate -r tank/vm root@backup.example.org:pool/vm
  zferry replicate -n backup.example.org:2222:tank/vm tank/restored
  zferry replicate --snapshot monthly --raw tank/secret [2001:db8::7]:pool/secret")]
pub struct Replicate {
    /// Replicate this existing snapshot (`name` or `@name`) instead of a new one
    #[arg(long, value_name = "NAME", value_parser = short_name)]
    pub snapshot: Option<ShortName>,
    /// With all datasets below
    #[arg(short, long)]
    pub recursive: bool,
    /// Also send the snapshots that were taken since the base, each by a stream of
    /// its own, except those of zferry itself
    #[arg(short = 'I', long)]
    pub intermediary: bool,
    /// Send encrypted blocks as they are: the target needs no key
    #[arg(short = 'w', long)]
    pub raw: bool,
    /// Hold what both sides have now on the target, so that nobody destroys it before
    /// the next run; without this option such a hold of an earlier run is released
    #[arg(long)]
    pub hold_base: bool,
    /// Change nothing; show what would be sent, with estimated sizes
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// If no stream leads to the target without a loss, rename it to
    /// DST.zferry-archive-GUID, with all below it, and send everything. Nothing is
    /// destroyed; a copy that is found under another name stays there
    #[arg(long)]
    pub archive_target: bool,
    /// The dataset to replicate
    #[arg(value_name = "SRC")]
    pub source: Endpoint,
    /// What it becomes
    #[arg(value_name = "DST")]
    pub target: Endpoint,
    #[command(flatten)]
    pub loss: Loss,
    /// How long the whole may take, retries included [default: as long as it needs]
    #[arg(long, value_name = "DURATION", value_parser = positive, help_heading = "Patience")]
    pub timeout: Option<Duration>,
    #[command(flatten)]
    pub patience: Patience,
    #[command(flatten)]
    pub transfer: Transfer,
    #[command(flatten)]
    pub speed: Speed,
}

/// Synchronize configured services to their other nodes
///
/// Sends what changed since the last run to every target of the services, and
/// records the state for `zferry status`. The failure of one target does not
/// keep the others from their data. What the configuration does not allow this
/// node to start is refused with exit code 10, and nothing is done.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  zferry sync update web
  zferry sync update web mail --rid sync#1,sync#2 --dry-run
  zferry sync nodes --all --target nodes
  zferry sync all                  what a timer runs, every few minutes
  zferry sync full --identity /root/.ssh/zferry web")]
pub struct Sync {
    /// Which targets, and how
    #[arg(value_enum)]
    pub action: SyncAction,
    /// The services: names of configuration files without `.conf`
    /// [`sync all`: all that are configured]
    pub service: Vec<ServiceName>,
    /// All services that are configured
    #[arg(long, conflicts_with = "service")]
    pub all: bool,
    #[command(flatten)]
    pub select: Select,
    /// Only targets of these groups
    #[arg(long, value_name = "GROUP[,GROUP]", value_delimiter = ',')]
    pub target: Vec<Group>,
    /// Change nothing; show the steps of each target
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Start although the activity check says that the service is not up here
    #[arg(long)]
    pub force: bool,
    /// How long to wait for another run of a resource: 90, 1m30s
    /// [default: lock_timeout of the service; `sync all`: not at all]
    #[arg(long, value_name = "DURATION", value_parser = waiting)]
    pub waitlock: Option<Duration>,
    #[command(flatten)]
    pub loss: Loss,
    #[command(flatten)]
    pub patience: Patience,
    #[command(flatten)]
    pub transfer: Transfer,
    #[command(flatten)]
    pub speed: Speed,
}

/// What `sync` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SyncAction {
    /// Everything again, beside what is there, whose place it takes
    Full,
    /// To all targets: full the first time, then incrementally
    Update,
    /// The same, for resources that do not target drpnodes
    Nodes,
    /// The same, for resources that target drpnodes alone
    Drp,
    /// As update, for resources that are due by their schedule
    All,
    /// Destroy the old copies that full syncs have put aside
    Confirm,
}

/// A group of targets, as in the keyword `target`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// Other nodes
    Nodes,
    /// Disaster recovery nodes
    Drpnodes,
    /// Other pools of this machine
    Local,
}

impl Group {
    /// The same in the engine's words.
    pub fn kind(self) -> TargetKind {
        match self {
            Self::Nodes => TargetKind::Nodes,
            Self::Drpnodes => TargetKind::DrpNodes,
            Self::Local => TargetKind::Local,
        }
    }
}

/// Show whether the copies of services are up to date
///
/// Reads configuration and recorded states on this machine, and its snapshots
/// where a state is lost; connects nowhere.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  zferry status
  zferry status web mail --json
  zferry status web --rid sync#1")]
pub struct Status {
    /// The services [default: all that are configured]
    pub service: Vec<ServiceName>,
    #[command(flatten)]
    pub select: Select,
    /// Print the one-line state file of the cluster agents, of one service and one --rid
    #[arg(long, requires_all = ["service", "rid"])]
    pub legacy: bool,
}

/// Which resources of the services; the options add up.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Selection")]
pub struct Select {
    /// Only these resources
    #[arg(long, value_name = "RID[,RID]", value_delimiter = ',')]
    pub rid: Vec<Rid>,
    /// Only resources with one of these tags; TAG+TAG for both
    #[arg(long, value_name = "TAG[,TAG]", value_delimiter = ',')]
    pub tags: Vec<TagExpression>,
    /// Only resources of these subsets
    #[arg(long, value_name = "NAME[,NAME]", value_delimiter = ',')]
    pub subsets: Vec<String>,
}

impl Select {
    /// The same for the engine.
    pub fn selection(&self) -> Selection {
        Selection {
            rids: self.rid.clone(),
            tags: self.tags.clone(),
            subsets: self.subsets.clone(),
        }
    }
}

/// The far side of a replication, started over SSH; not for a terminal
///
/// Answers requests on standard input and output until the input ends.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, in ~/.ssh/authorized_keys on the machine that is to receive:
  restrict,command=\"zferry helper --allow pool/backup\" ssh-ed25519 AAAA… zferry")]
pub struct Helper {
    /// Serve only this dataset and what lies below it (repeatable) [default: all]
    #[arg(long, value_name = "DATASET")]
    pub allow: Vec<DatasetName>,
    /// With each state that is delivered, write the cluster agents' one-line state file here
    #[arg(long, value_name = "DIR")]
    pub legacy_state: Option<PathBuf>,
    /// How long to wait for the greeting of the other side
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub connect_timeout: Duration,
}

/// What may be given up on a target. Nothing is, unless it is named here.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "What may be lost on the target")]
pub struct Loss {
    /// Roll a target that was changed since the base back to it
    #[arg(long)]
    pub rollback: bool,
    /// The same, and destroy snapshots that are newer than the base and unknown to
    /// the source; never one that is held or has a clone
    #[arg(long, visible_alias = "discard-newer")]
    pub destroy_newer_snapshots: bool,
    /// Give up the part that a cut receive left, where this run cannot use it and it
    /// is not known to be zferry's own
    #[arg(long)]
    pub discard_partial: bool,
}

impl Loss {
    /// What of a target a plan may give up.
    pub fn allowed(self) -> engine::plan::Loss {
        engine::plan::Loss {
            on_modified: if self.rollback || self.destroy_newer_snapshots {
                OnModified::RollBack
            } else {
                OnModified::Never
            },
            on_newer: if self.destroy_newer_snapshots {
                OnNewer::Destroy
            } else {
                OnNewer::Refuse
            },
            on_partial: if self.discard_partial {
                OnPartial::Discard
            } else {
                OnPartial::Report
            },
        }
    }
}

/// How fast data may go.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct Speed {
    /// How many bytes a second may pass, by the time of day if need be: 20M, 160Mbit,
    /// or 10M@08:00-18:00 mon-fri,100M, of which the first that applies counts; shared by
    /// all transfers [default: unlimited; sync: bandwidth_limit of the resource]
    #[arg(long, value_name = "LIMIT")]
    pub bandwidth_limit: Option<BandwidthLimit>,
}

/// How long to try. A bare number is seconds.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
#[command(next_help_heading = "Patience")]
pub struct Patience {
    /// How long to go on trying again after passing failures (network, a peer that
    /// restarts or is busy) while nothing gets on; 0: not at all
    /// [default: 5m; sync: retry_for of the resource, or 5m; sync all: or 1m]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub retry_for: Option<Duration>,
    /// How long a transfer may stand still, or an answer take; 0: for ever
    /// [default: 10m; sync: stall_timeout of the resource]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub stall_timeout: Option<Duration>,
}

impl Patience {
    /// How long nothing may move.
    pub fn stall_max(self) -> Option<Duration> {
        let stall = self.stall_timeout.unwrap_or(STALL_DEFAULT);
        (!stall.is_zero()).then_some(stall)
    }
}

/// Longest time that can be waited for a connection, in seconds: a day.
const TIMEOUT_SECONDS_MAX: u64 = 24 * 60 * 60;

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=TIMEOUT_SECONDS_MAX) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!(
            "a whole number from 1 to {TIMEOUT_SECONDS_MAX} is due"
        )),
    }
}

/// A duration as in the configuration; a bare number is seconds here.
fn waiting(text: &str) -> Result<Duration, String> {
    match duration_of(text) {
        Ok(duration) if duration.as_secs() <= TIMEOUT_SECONDS_MAX => Ok(duration),
        Ok(_) => Err(format!("more than {TIMEOUT_SECONDS_MAX} seconds")),
        Err(problem) => Err(problem),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    duration_of(text)
}

fn positive(text: &str) -> Result<Duration, String> {
    match duration_of(text) {
        Ok(duration) if duration.is_zero() => Err("nothing is sent in no time".to_owned()),
        other => other,
    }
}

/// What is relative here need not be so there.
fn remote_image(text: &str) -> Result<Image, String> {
    let image: Image = text
        .parse()
        .map_err(|error: engine::image::ImageError| error.to_string())?;
    if image.file().is_absolute() {
        Ok(image)
    } else {
        Err("a path of another machine begins with `/`".to_owned())
    }
}

fn short_name(text: &str) -> Result<ShortName, engine::name::NameError> {
    ShortName::parse(text.strip_prefix('@').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_snapshot_may_be_written_with_or_without_its_at() {
        assert_eq!(short_name("@daily"), short_name("daily"));
        for text in ["", "@", "@@x", "tank/a@x"] {
            assert!(short_name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_image_of_another_machine_has_an_absolute_path() {
        assert!(remote_image("tank=/i/tank.img").is_ok());
        for text in ["tank=tank.img", "tank=./x", "tank"] {
            assert!(remote_image(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_limit_of_no_time_or_of_ages_is_refused() {
        for text in ["0", "-1", "x", "86401", "18446744073709551616"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert_eq!(seconds("1"), Ok(Duration::from_secs(1)));
    }
}
