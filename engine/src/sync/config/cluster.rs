//! The nodes of a service: what scopes and targets are about.
//!
//! Read first, because every scoped lookup needs it, and from unscoped
//! keywords alone: two nodes that disagreed about the list could both believe
//! that they send.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ini::Document;
use super::lookup::{Found, Lookup};
use super::mistake::{Mistake, MistakeKind, Notice};
use super::mount::Mounts;
use super::names::{NodeName, ServiceName};
use super::service::Topology;
use super::value::{BareNumber, Wrong, choice, duration};

/// Most nodes of a service, as `nodes` or as `drpnodes`; clusters end at some
/// dozens.
const NODES_MAX: usize = 64;

/// `lock_timeout` if it is not set.
const LOCK_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// The `env` whose services are never sent to or by a node of another one.
pub const ENV_PRODUCTION: &str = "PRD";

/// Who takes part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cluster {
    /// `nodes`.
    pub nodes: Vec<NodeName>,
    /// `drpnodes`.
    pub drpnodes: Vec<NodeName>,
    /// `flex_primary`, by default the first of `nodes`.
    pub flex_primary: Option<NodeName>,
    /// `drp_flex_primary`, by default the first of `drpnodes`.
    pub drp_flex_primary: Option<NodeName>,
}

impl Cluster {
    /// All nodes, `nodes` first.
    pub(super) fn all(&self) -> impl Iterator<Item = &NodeName> {
        self.nodes.iter().chain(&self.drpnodes)
    }
}

/// Everything in `[DEFAULT]` that is about the service as a whole.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub cluster: Cluster,
    pub topology: Topology,
    pub env: Option<String>,
    /// `node_env` of the nodes that have one; read after the rest, because it
    /// is scoped.
    pub node_envs: BTreeMap<NodeName, String>,
    pub lock_timeout: Duration,
    /// What is mounted where, as far as somebody asked.
    pub mounts: Mounts,
}

/// Reads them from `document`; what is wrong is noted and gets its default.
pub(super) fn read(
    document: &Document,
    service: &ServiceName,
    mistakes: &mut Vec<Mistake>,
) -> Settings {
    let nobody = Cluster::default();
    let lookup = Lookup {
        document,
        service,
        cluster: &nobody,
        node: None,
    };
    let mut reader = Reader { lookup, mistakes };
    let nodes = reader.list("nodes");
    let drpnodes = reader.list("drpnodes");
    reader.check_lists(&nodes, &drpnodes);
    let flex_primary = reader.member("flex_primary", &nodes);
    let drp_flex_primary = reader.member("drp_flex_primary", &drpnodes);
    let topology = reader.value("topology", |text| {
        choice(
            text,
            &[("failover", Topology::Failover), ("flex", Topology::Flex)],
        )
    });
    let lock_timeout = reader.value("lock_timeout", |text| duration(text, BareNumber::Seconds));
    let env = reader.value("env", |text| Ok(text.to_owned()));
    Settings {
        cluster: Cluster {
            nodes,
            drpnodes,
            flex_primary,
            drp_flex_primary,
        },
        topology: topology.unwrap_or(Topology::Failover),
        env: env.filter(|env| !env.is_empty()),
        node_envs: BTreeMap::new(),
        lock_timeout: lock_timeout.unwrap_or(LOCK_TIMEOUT_DEFAULT),
        mounts: Mounts::new(),
    }
}

/// Reads `node_env` of every node that `lookup` knows.
pub(super) fn node_envs(
    lookup: Lookup<'_>,
    mistakes: &mut Vec<Mistake>,
) -> BTreeMap<NodeName, String> {
    let mut envs = BTreeMap::new();
    for node in lookup.cluster.all() {
        let lookup = Lookup {
            node: Some(node),
            ..lookup
        };
        match lookup.find("DEFAULT", "node_env") {
            Ok(Some(found)) if !found.text.is_empty() => {
                envs.insert(node.clone(), found.text);
            }
            Ok(_) => {}
            Err(mistake) => mistakes.push(mistake),
        }
    }
    envs
}

/// Whom the rule about `env = PRD` keeps out, and of whom it says nothing
/// because their own env is not said.
pub(super) fn note_envs(lookup: Lookup<'_>, settings: &Settings, notices: &mut Vec<Notice>) {
    if settings.env.as_deref() != Some(ENV_PRODUCTION) {
        return;
    }
    let mut notice = |text: String| {
        notices.push(Notice {
            place: lookup.place("DEFAULT", "env"),
            text,
        });
    };
    let others = settings.node_envs.iter();
    let others: Vec<&str> = others
        .filter(|(_, env)| *env != ENV_PRODUCTION)
        .map(|(node, _)| node.as_str())
        .collect();
    if !others.is_empty() {
        notice(format!(
            "nothing is sent on or to these nodes, whose `node_env` is not {ENV_PRODUCTION}: {}",
            others.join(" ")
        ));
    }
    let all = settings.cluster.all();
    let unknown: Vec<&str> = all
        .filter(|node| !settings.node_envs.contains_key(*node))
        .map(NodeName::as_str)
        .collect();
    if !unknown.is_empty() {
        notice(format!(
            "it is not said whether these nodes are {ENV_PRODUCTION} too, so none is refused: {}; write `node_env = {ENV_PRODUCTION}`, with a scope where it differs",
            unknown.join(" ")
        ));
    }
}

struct Reader<'a, 'm> {
    lookup: Lookup<'a>,
    mistakes: &'m mut Vec<Mistake>,
}

impl Reader<'_, '_> {
    fn found(&mut self, keyword: &str) -> Option<Found> {
        match self.lookup.find("DEFAULT", keyword) {
            Ok(found) => found,
            Err(mistake) => {
                self.mistakes.push(mistake);
                None
            }
        }
    }

    fn wrong(&mut self, keyword: &str, kind: MistakeKind, wrong: Wrong) {
        self.mistakes.push(Mistake {
            place: self.lookup.place("DEFAULT", keyword),
            kind,
            problem: wrong.problem,
            remedy: wrong.remedy,
        });
    }

    fn value<T>(
        &mut self,
        keyword: &str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let found = self.found(keyword)?;
        match parse(&found.text) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.wrong(keyword, MistakeKind::BadValue, wrong);
                None
            }
        }
    }

    fn list(&mut self, keyword: &str) -> Vec<NodeName> {
        let Some(found) = self.found(keyword) else {
            return Vec::new();
        };
        let mut nodes = Vec::new();
        for word in found.text.split_whitespace() {
            match NodeName::parse(word) {
                Ok(node) if nodes.contains(&node) => self.wrong(
                    keyword,
                    MistakeKind::Duplicate,
                    Wrong::new(format!("it names {node} twice"), "name each node once"),
                ),
                Ok(node) => nodes.push(node),
                Err(error) => self.wrong(
                    keyword,
                    MistakeKind::BadValue,
                    Wrong::new(
                        error.to_string(),
                        "list the names of the nodes, separated by blanks",
                    ),
                ),
            }
        }
        if nodes.len() > NODES_MAX {
            self.wrong(
                keyword,
                MistakeKind::BadValue,
                Wrong::new(
                    format!("it names more than {NODES_MAX} nodes"),
                    "split the service",
                ),
            );
            nodes.truncate(NODES_MAX);
        }
        nodes
    }

    fn check_lists(&mut self, nodes: &[NodeName], drpnodes: &[NodeName]) {
        let is_set = |keyword: &str| matches!(self.lookup.find("DEFAULT", keyword), Ok(Some(_)));
        if !is_set("nodes") && !is_set("drpnodes") {
            self.wrong(
                "nodes",
                MistakeKind::Missing,
                Wrong::new(
                    "the nodes of the service are not named",
                    "write `nodes = node1 node2` in [DEFAULT]",
                ),
            );
        }
        for node in drpnodes.iter().filter(|node| nodes.contains(node)) {
            self.wrong(
                "drpnodes",
                MistakeKind::Duplicate,
                Wrong::new(
                    format!("{node} is also in nodes"),
                    "name each node in one of the two lists",
                ),
            );
        }
    }

    fn member(&mut self, keyword: &str, list: &[NodeName]) -> Option<NodeName> {
        let text = match self.found(keyword) {
            Some(found) if !found.text.is_empty() => found.text,
            _ => return list.first().cloned(),
        };
        let member = list.iter().find(|node| node.as_str() == text);
        if member.is_none() {
            let names: Vec<&str> = list.iter().map(NodeName::as_str).collect();
            self.wrong(
                keyword,
                MistakeKind::BadValue,
                Wrong::new(
                    format!(
                        "`{}` is not in the list of nodes",
                        super::value::shown(&text)
                    ),
                    format!("write one of: {}", names.join(" ")),
                ),
            );
        }
        member.cloned()
    }
}
