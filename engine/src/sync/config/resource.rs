//! A service as one node sees it: resources, targets, connection settings.
//!
//! These are the results of [`super::Service::resolve`] and
//! [`super::Service::receives_for`]: everything expanded, checked and with its
//! default in place. The sync driver reads them and never looks at a keyword.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::command::{Requirement, Triggers};
use super::names::{NodeName, Rid};
use crate::image::Image;
use crate::limit::BandwidthLimit;
use crate::name::{DatasetName, NameError, ShortName};
use crate::sync::schedule::Schedule;
use crate::transport::Dscp;

/// `sync_max_delay` if it is not set, one day: the default of the cluster
/// agents, so that a copy that nobody refreshes never stays up for ever.
pub const SYNC_MAX_DELAY_DEFAULT: Duration = Duration::from_secs(86_400);

/// How the snapshots of a resource are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Naming {
    /// `@sent`, `@tosend`.
    Plain,
    /// `@sync.1.sent`, `@sync.1.tosend`: several resources may share a source.
    Rid,
}

/// `keep_old`: what becomes of a copy that a full transfer replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeepOld {
    /// It stays until an operator says that it may go.
    #[default]
    Confirm,
    /// It goes after the next run that succeeds for that target.
    Next,
    /// It goes as soon as the new copy is in its place.
    No,
}

impl KeepOld {
    pub(super) const WORDS: [(&'static str, Self); 3] = [
        ("confirm", Self::Confirm),
        ("next", Self::Next),
        ("no", Self::No),
    ];

    /// The word of the keyword.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Next => "next",
            Self::No => "no",
        }
    }
}

/// `rollback`: what becomes of a target that was written to since the base.
/// Snapshots that were taken there are never a matter of this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnModified {
    /// Nothing: it is told, and nothing is sent (`never`).
    #[default]
    Never,
    /// What was written is discarded (`modified`).
    RollBack,
}

impl OnModified {
    pub(super) const WORDS: [(&'static str, Self); 2] =
        [("never", Self::Never), ("modified", Self::RollBack)];

    /// The word of the keyword.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::RollBack => "modified",
        }
    }
}

/// The short names of the snapshots that belong to one resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotNames {
    /// The last state that both sides are known to share.
    pub sent: ShortName,
    /// The state that is being sent.
    pub tosend: ShortName,
    /// The former `sent` between the two renames of a rotation.
    pub aside: ShortName,
}

impl SnapshotNames {
    /// The names that `naming` gives to the resource `rid`.
    #[must_use]
    pub fn new(naming: Naming, rid: &Rid) -> Self {
        let prefix = match naming {
            Naming::Plain => String::new(),
            Naming::Rid => format!("{}.", rid.dotted()),
        };
        let name = |word: &str| -> Result<ShortName, NameError> {
            ShortName::parse(&format!("{prefix}{word}"))
        };
        let because = "a resource id holds only characters and lengths that a snapshot name may";
        Self {
            sent: name("sent").expect(because),
            tosend: name("tosend").expect(because),
            aside: name("sent.old").expect(because),
        }
    }
}

/// One resource on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its id.
    pub rid: Rid,
    /// What this node does for it.
    pub role: Role,
    /// `image`: pools of this node that are in files.
    pub images: Vec<Image>,
    /// `disable`: skipped, status n/a.
    pub disabled: bool,
    /// `optional`: its failure does not fail the command.
    pub optional: bool,
    /// `recursive`: the datasets below src too.
    pub recursive: bool,
    /// `intermediary`: also the snapshots taken between `@sent` and `@tosend`.
    pub intermediary: bool,
    /// `sync_max_delay`: data older than this turn the status to warn.
    pub sync_max_delay: Duration,
    /// `tags`, for example `delay_snap`.
    pub tags: BTreeSet<String>,
    /// `subset`, a word for `--subsets`.
    pub subset: Option<String>,
    /// `schedule`: when `sync all` sends it.
    pub schedule: Schedule,
    /// `timeout`: how long the transfers of one run may take in all; `None`
    /// for as long as they need.
    pub timeout: Option<Duration>,
    /// `retry_for`: how long a target that fails for a passing reason is tried
    /// again while it gets nowhere; zero: not at all; `None`: as the action
    /// has it.
    pub retry_for: Option<Duration>,
    /// `stall_timeout`: how long a transfer may stand still; zero: for ever.
    pub stall_timeout: Duration,
    /// `bandwidth_limit`: how fast transfers to other machines may go; `None`:
    /// as fast as they can.
    pub bandwidth_limit: Option<BandwidthLimit>,
    /// Commands before and after an action.
    pub triggers: Triggers,
    /// `presnap_trigger`: program and arguments, started before the group of
    /// snapshots is taken.
    pub presnap_trigger: Option<Vec<String>>,
    /// `postsnap_trigger`: the same after it.
    pub postsnap_trigger: Option<Vec<String>>,
    /// `sync_nodes_requires` and so on, in the order of actions.
    pub requires: Vec<Requirement>,
    /// `active_check`: a command that exits with 0 if the service is up on
    /// this node, which is what makes it the sender.
    pub active_check: Option<Vec<String>>,
    /// `alert_command`: what is started when a chain of deltas is broken.
    pub alert_command: Option<Vec<String>>,
    /// `keep_old`: what becomes of the old copy after a full beside it.
    pub keep_old: KeepOld,
    /// `hold_base`: whether `@sent` is held on the targets between two runs.
    pub hold_base: bool,
    /// `rollback`: what becomes of a target that was written to.
    pub on_modified: OnModified,
    /// `legacy_state`: where this node also writes the one-line state file of
    /// the cluster agents. Absolute.
    pub legacy_state: Option<PathBuf>,
    /// `comment`, the text as written.
    pub comment: Option<String>,
    /// `naming`.
    pub naming: Naming,
    /// The snapshot names that follow from it.
    pub names: SnapshotNames,
}

impl Resource {
    /// What this node sends, if it sends at all.
    #[must_use]
    pub fn sends(&self) -> Option<&Sends> {
        match &self.role {
            Role::Sender(sends) => Some(sends),
            Role::SenderByMount(_) | Role::ReceiverOnly(_) => None,
        }
    }

    /// Where this node sends it, also if it is not known yet what it sends.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        match &self.role {
            Role::Sender(sends) => &sends.targets,
            Role::SenderByMount(sends) => &sends.targets,
            Role::ReceiverOnly(_) => &[],
        }
    }
}

/// What a node does for a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// It may send: which node of several does so now is not a matter of the
    /// configuration.
    Sender(Sends),
    /// It may send as well, and its `src` is a mount point: what is mounted
    /// there is asked when it sends, see [`super::Service::with_mounts`].
    SenderByMount(SendsByMount),
    /// It never sends; what it receives is in [`super::Service::receives_for`].
    ReceiverOnly(WhyReceiver),
}

/// Why a node never sends a resource. Displayed as a clause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhyReceiver {
    /// No `src` applies to this node.
    #[error("no `src` applies to this node")]
    NoSource,
    /// The topology is `flex` and another node is its primary.
    #[error("in a flex topology only the flex_primary sends, which is {primary}")]
    NotFlexPrimary {
        /// The node that sends.
        primary: NodeName,
    },
}

/// What a sender sends, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sends {
    /// The dataset to send, on this node.
    pub src: DatasetName,
    /// The mount point that `src` names, if it is one; `src` is mounted there.
    pub mount_point: Option<PathBuf>,
    /// Where each target keeps it (the same on all of them).
    pub dst: DatasetName,
    /// The targets in the order of `target`, `nodes` and `drpnodes`, without
    /// this node. May be empty: a service on one node only.
    pub targets: Vec<Target>,
    /// Nodes that are no targets and learn of the state all the same: where
    /// only `drpnodes` are, the other `nodes`.
    pub informed: Vec<Target>,
}

/// What a sender sends whose dataset is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendsByMount {
    /// `src`: an absolute path on this node.
    pub mount_point: PathBuf,
    /// As in [`Sends`].
    pub dst: DatasetName,
    /// As in [`Sends`].
    pub targets: Vec<Target>,
}

/// The group a target belongs to.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// Another node of the service.
    Nodes,
    /// A disaster recovery node.
    DrpNodes,
    /// Another pool of this machine.
    Local,
}

impl TargetKind {
    /// The word of the `target` keyword.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::DrpNodes => "drpnodes",
            Self::Local => "local",
        }
    }
}

impl fmt::Display for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One place where a resource is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The node; this very node for [`TargetKind::Local`].
    pub node: NodeName,
    /// Its group.
    pub kind: TargetKind,
    /// The dataset there.
    pub dst: DatasetName,
    /// How to reach the node; `None` for [`TargetKind::Local`].
    pub connection: Option<Connection>,
}

/// How to reach a node. What describes the peer (address, user, port, remote
/// command, images) was evaluated with the peer's name as scope; the two files and the
/// code point are this machine's and were evaluated with this node's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// `address`: host name or IP address; the node's name by default.
    pub address: String,
    /// `ssh_user`.
    pub user: Option<String>,
    /// `ssh_port`.
    pub port: Option<u16>,
    /// `ssh_identity`: absolute path of a private key on this machine.
    pub identity: Option<PathBuf>,
    /// `ssh_known_hosts`: absolute path of a known hosts file on this machine.
    pub known_hosts: Option<PathBuf>,
    /// `remote_command`: what to start on the peer, the text as written.
    pub remote_command: Option<String>,
    /// `image`: pools of the peer that are in files of the peer.
    pub images: Vec<Image>,
    /// `dscp`: the code point of the packets that this machine sends to it.
    pub dscp: Option<Dscp>,
}

/// What a node may receive for one resource from other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reception {
    /// The resource.
    pub rid: Rid,
    /// `disable`, on the receiving node.
    pub disabled: bool,
    /// `optional`, on the receiving node.
    pub optional: bool,
    /// `sync_max_delay`.
    pub sync_max_delay: Duration,
    /// The snapshot names.
    pub names: SnapshotNames,
    /// Every node that may send it here. Never empty.
    pub from: Vec<ReceivesFrom>,
}

/// One sender of a [`Reception`], with the keywords evaluated on the sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivesFrom {
    /// The sending node.
    pub node: NodeName,
    /// The group in which the sender addresses this node.
    pub kind: TargetKind,
    /// The dataset on the sender; `None` if only the sender knows it, since
    /// its `src` is a mount point.
    pub src: Option<DatasetName>,
    /// The dataset here.
    pub dst: DatasetName,
    /// Whether the datasets below it come too.
    pub recursive: bool,
}
