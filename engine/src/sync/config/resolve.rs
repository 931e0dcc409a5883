//! One node's view of every resource: keywords → typed values with defaults.
//!
//! Runs once per node while a file is read, so that a mistake that only one
//! node would meet is found on all of them. Mistakes are collected; a resource
//! that has one is left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cluster::Settings;
use super::command::{
    Requirement, SyncAction, Trigger, Triggers, When, argv, requirements, requires_keyword,
    trigger_keyword,
};
use super::lookup::Lookup;
use super::mistake::{Mistake, MistakeKind, Place};
use super::mount::{self, Source, source};
use super::names::{NodeName, Rid};
use super::resource::{
    Connection, KeepOld, Naming, Resource, Role, SYNC_MAX_DELAY_DEFAULT, Sends, SendsByMount,
    SnapshotNames, Target, TargetKind, WhyReceiver,
};
use super::service::Topology;
use super::typed::{
    absolute_path, address, bandwidth_limit, dataset, dscp, images, max_delay, on_modified,
    one_line, one_word, patience, port, timeout, user,
};
use super::value::{Wrong, boolean, choice};
use crate::image::Image;
use crate::name::DatasetName;
use crate::peer::STALL_DEFAULT;
use crate::sync::schedule::{SCHEDULE_DEFAULT, Schedule};
use crate::transport::Dscp;

/// The words of `target`.
const TARGET_WORDS: [(&str, TargetKind); 3] = [
    ("nodes", TargetKind::Nodes),
    ("drpnodes", TargetKind::DrpNodes),
    ("local", TargetKind::Local),
];

/// How others reach each node for one resource; the same for all senders, so
/// it is read once and not by each of them.
pub(super) type Peers<'a> = BTreeMap<&'a NodeName, Peer>;

/// What describes one peer.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    address: String,
    user: Option<String>,
    port: Option<u16>,
    remote_command: Option<String>,
    images: Vec<Image>,
}

/// What this node uses to reach its peers.
#[derive(Debug)]
struct Means {
    identity: Option<PathBuf>,
    known_hosts: Option<PathBuf>,
    dscp: Option<Dscp>,
}

/// Reads how each node is reached for the resource `rid`.
pub(super) fn peers<'a>(
    lookup: Lookup<'_>,
    settings: &'a Settings,
    rid: &Rid,
    mistakes: &mut Vec<Mistake>,
) -> Peers<'a> {
    let mut read = |node: &NodeName| {
        let mut reader = Reader {
            lookup: Lookup {
                node: Some(node),
                ..lookup
            },
            node,
            rid,
            mistakes: &mut *mistakes,
        };
        let address = reader.unless_empty("address", address);
        Peer {
            address: address.unwrap_or_else(|| node.to_string()),
            user: reader.unless_empty("ssh_user", user),
            port: reader.unless_empty("ssh_port", port),
            remote_command: reader.unless_empty("remote_command", one_line),
            images: reader.unless_empty("image", images).unwrap_or_default(),
        }
    };
    settings
        .cluster
        .all()
        .map(|node| (node, read(node)))
        .collect()
}

/// Reads the resource `rid` as `node` sees it; `None` if it has a mistake.
pub(super) fn resource(
    lookup: Lookup<'_>,
    settings: &Settings,
    peers: &Peers<'_>,
    Seen { node, rid }: Seen<'_>,
    mistakes: &mut Vec<Mistake>,
) -> Option<Resource> {
    let mistakes_before = mistakes.len();
    let lookup = Lookup {
        node: Some(node),
        ..lookup
    };
    let mut reader = Reader {
        lookup,
        node,
        rid,
        mistakes,
    };
    let naming = reader.value("naming", |text| {
        choice(text, &[("plain", Naming::Plain), ("rid", Naming::Rid)])
    });
    let naming = naming.unwrap_or(Naming::Plain);
    let sync_max_delay = reader.value("sync_max_delay", max_delay);
    let tags = reader.text("tags").unwrap_or_default();
    let role = reader.role(settings, peers);
    // Read with the peers: a mistake in it is told once.
    let images = peers.get(node).map(|peer| peer.images.clone());
    let resource = Resource {
        rid: rid.clone(),
        disabled: reader.flag("disable").unwrap_or(false),
        optional: reader.flag("optional").unwrap_or(false),
        recursive: reader.flag("recursive").unwrap_or(true),
        intermediary: reader.flag("intermediary").unwrap_or(true),
        sync_max_delay: sync_max_delay.unwrap_or(SYNC_MAX_DELAY_DEFAULT),
        tags: tags.split_whitespace().map(str::to_owned).collect(),
        subset: reader.unless_empty("subset", one_word),
        schedule: reader.schedule(),
        timeout: reader.unless_empty("timeout", timeout),
        retry_for: reader.unless_empty("retry_for", patience),
        stall_timeout: reader
            .unless_empty("stall_timeout", patience)
            .unwrap_or(STALL_DEFAULT),
        bandwidth_limit: reader.unless_empty("bandwidth_limit", bandwidth_limit),
        triggers: reader.triggers(),
        presnap_trigger: reader.unless_empty("presnap_trigger", argv),
        postsnap_trigger: reader.unless_empty("postsnap_trigger", argv),
        requires: reader.requires(),
        active_check: reader.unless_empty("active_check", argv),
        alert_command: reader.unless_empty("alert_command", argv),
        keep_old: reader
            .unless_empty("keep_old", |text| choice(text, &KeepOld::WORDS))
            .unwrap_or_default(),
        hold_base: reader.flag("hold_base").unwrap_or(false),
        on_modified: reader
            .unless_empty("rollback", on_modified)
            .unwrap_or_default(),
        legacy_state: reader.unless_empty("legacy_state", absolute_path),
        comment: lookup.find_literal(rid.as_str(), "comment"),
        naming,
        names: SnapshotNames::new(naming, rid),
        role: role?,
        images: images.unwrap_or_default(),
    };
    (mistakes.len() == mistakes_before).then_some(resource)
}

/// Which resource is seen by which node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub node: &'a NodeName,
    pub rid: &'a Rid,
}

struct Reader<'a, 'm> {
    lookup: Lookup<'a>,
    node: &'a NodeName,
    rid: &'a Rid,
    mistakes: &'m mut Vec<Mistake>,
}

impl Reader<'_, '_> {
    /// The text of a keyword, if it is set and not empty.
    fn text(&mut self, keyword: &str) -> Option<String> {
        self.found(keyword).filter(|text| !text.is_empty())
    }

    fn found(&mut self, keyword: &str) -> Option<String> {
        match self.lookup.find(self.rid.as_str(), keyword) {
            Ok(found) => found.map(|found| found.text),
            Err(mistake) => {
                self.mistakes.push(mistake);
                None
            }
        }
    }

    fn place(&self, keyword: &str) -> Place {
        self.lookup.place(self.rid.as_str(), keyword)
    }

    fn wrong(&mut self, keyword: &str, kind: MistakeKind, wrong: Wrong) {
        self.mistakes.push(Mistake {
            place: self.place(keyword),
            kind,
            problem: wrong.problem,
            remedy: wrong.remedy,
        });
    }

    fn parsed<T>(&mut self, keyword: &str, parsed: Result<T, Wrong>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.wrong(keyword, MistakeKind::BadValue, wrong);
                None
            }
        }
    }

    /// A keyword whose empty value is a mistake.
    fn value<T>(
        &mut self,
        keyword: &str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let text = self.found(keyword)?;
        self.parsed(keyword, parse(&text))
    }

    /// A keyword whose empty value means that it is not set.
    fn unless_empty<T>(
        &mut self,
        keyword: &str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let text = self.text(keyword)?;
        self.parsed(keyword, parse(&text))
    }

    fn flag(&mut self, keyword: &str) -> Option<bool> {
        self.value(keyword, boolean)
    }

    fn schedule(&mut self) -> Schedule {
        // One random time for each resource of each node.
        let seed = format!("{}/{}/{}", self.lookup.service, self.rid, self.node);
        let parse = |text: &str| {
            Schedule::parse(text, &seed).map_err(|error| Wrong::new(error.problem, error.remedy))
        };
        self.value("schedule", parse).unwrap_or_else(|| {
            Schedule::parse(SCHEDULE_DEFAULT, &seed).expect("the default is a schedule")
        })
    }

    fn triggers(&mut self) -> Triggers {
        let mut triggers = Triggers::default();
        for action in SyncAction::ALL {
            for when in [When::Pre, When::Post] {
                for blocking in [true, false] {
                    let keyword = trigger_keyword(action, when, blocking);
                    if let Some(argv) = self.unless_empty(&keyword, argv) {
                        triggers.add(action, when, Trigger { argv, blocking });
                    }
                }
            }
        }
        triggers
    }

    fn requires(&mut self) -> Vec<Requirement> {
        let mut all = Vec::new();
        for action in SyncAction::ALL {
            let keyword = requires_keyword(action);
            let list = self.unless_empty(&keyword, |text| requirements(text, action));
            all.extend(list.unwrap_or_default());
        }
        all
    }

    /// The role of the node; `None` if there was a mistake.
    fn role(&mut self, settings: &Settings, peers: &Peers<'_>) -> Option<Role> {
        let mistakes_before = self.mistakes.len();
        let src = self.unless_empty("src", source);
        // A wrong dst or target is a mistake on every node, also on one that
        // does not send now.
        let dst = self.unless_empty("dst", dataset);
        let kinds = self.found("target").map(|text| self.kinds(&text));
        let means = Means {
            identity: self.unless_empty("ssh_identity", absolute_path),
            known_hosts: self.unless_empty("ssh_known_hosts", absolute_path),
            dscp: self.unless_empty("dscp", dscp),
        };
        if self.mistakes.len() > mistakes_before {
            return None;
        }
        let Some(src) = src else {
            return Some(Role::ReceiverOnly(WhyReceiver::NoSource));
        };
        let Some(kinds) = kinds else {
            self.wrong(
                "target",
                MistakeKind::Missing,
                Wrong::new(
                    "it is not said where the data goes",
                    "write `target = nodes`, or a list of nodes, drpnodes and local",
                ),
            );
            return None;
        };
        let (dataset, mount_point) = mount::resolved(&src, self.node, &settings.mounts);
        let dst = match (dst, &src) {
            (Some(dst), _) => dst,
            (None, Source::Dataset(dataset)) => dataset.clone(),
            (None, Source::MountPoint(path)) => {
                self.wrong(
                    "dst",
                    MistakeKind::Missing,
                    Wrong::new(
                        format!(
                            "src is the mount point {}, and a receiver cannot know what is mounted on {}",
                            path.display(),
                            self.node
                        ),
                        "write where the targets keep it: `dst = pool/dataset`",
                    ),
                );
                return None;
            }
        };
        let in_one_pool = dataset.filter(|dataset| dataset.pool() == dst.pool());
        if let Some(src) = in_one_pool.filter(|_| kinds.contains(&TargetKind::Local)) {
            self.wrong(
                "dst",
                MistakeKind::Collision,
                Wrong::new(
                    format!(
                        "with `target = local`, src {src} and dst {dst} are in one pool of {}",
                        self.node
                    ),
                    "set dst to a dataset in another pool",
                ),
            );
            return None;
        }
        let targets = self.targets(settings, (peers, &means), &kinds, &dst);
        let informed = match kinds[..] {
            [TargetKind::DrpNodes] => {
                self.targets(settings, (peers, &means), &[TargetKind::Nodes], &dst)
            }
            _ => Vec::new(),
        };
        let primary = settings.cluster.flex_primary.as_ref();
        match primary.filter(|_| settings.topology == Topology::Flex) {
            Some(primary) if primary != self.node => {
                Some(Role::ReceiverOnly(WhyReceiver::NotFlexPrimary {
                    primary: primary.clone(),
                }))
            }
            _ => Some(match (dataset, mount_point.map(Path::to_owned)) {
                (None, Some(mount_point)) => Role::SenderByMount(SendsByMount {
                    mount_point,
                    dst,
                    targets,
                }),
                (dataset, mount_point) => Role::Sender(Sends {
                    src: dataset.cloned()?,
                    mount_point,
                    dst,
                    targets,
                    informed,
                }),
            }),
        }
    }

    fn kinds(&mut self, text: &str) -> Vec<TargetKind> {
        let mut kinds = Vec::new();
        for word in text.split_whitespace() {
            match self.parsed("target", choice(word, &TARGET_WORDS)) {
                Some(kind) if !kinds.contains(&kind) => kinds.push(kind),
                _ => {}
            }
        }
        kinds
    }

    fn targets(
        &self,
        settings: &Settings,
        (peers, means): (&Peers<'_>, &Means),
        kinds: &[TargetKind],
        dst: &DatasetName,
    ) -> Vec<Target> {
        let mut targets = Vec::new();
        for &kind in kinds {
            let nodes = match kind {
                TargetKind::Nodes => &settings.cluster.nodes,
                TargetKind::DrpNodes => &settings.cluster.drpnodes,
                TargetKind::Local => {
                    targets.push(Target {
                        node: self.node.clone(),
                        kind,
                        dst: dst.clone(),
                        connection: None,
                    });
                    continue;
                }
            };
            let others = nodes.iter().filter(|peer| *peer != self.node);
            for (name, peer) in others.filter_map(|name| Some((name, peers.get(name)?.clone()))) {
                targets.push(Target {
                    node: name.clone(),
                    kind,
                    dst: dst.clone(),
                    connection: Some(Connection {
                        address: peer.address,
                        user: peer.user,
                        port: peer.port,
                        identity: means.identity.clone(),
                        known_hosts: means.known_hosts.clone(),
                        remote_command: peer.remote_command,
                        images: peer.images,
                        dscp: means.dscp,
                    }),
                });
            }
        }
        targets
    }
}
