//! A service: its file read, checked for all nodes, and asked by one.
//!
//! Brings the steps of this folder together. Everything is evaluated while the
//! file is read; the questions afterwards only look up.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::check::{self, Findings};
use super::cluster::{self, Cluster, Settings};
use super::ini::{CONFIG_BYTES_MAX, Document};
use super::lookup::Lookup;
use super::mistake::{ConfigError, Notice};
use super::mount::Mounts;
use super::names::{NodeName, Rid, ServiceName};
use super::resource::{ReceivesFrom, Reception, Resource};
use super::views;
use crate::error::Family;
use crate::image::{self, Image};

/// `topology`: how many nodes run the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// One node at a time.
    Failover,
    /// Several; only the flex_primary sends.
    Flex,
}

/// Why a node's view of a service cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The node is in neither list.
    #[error(
        "node {node} is not listed in service {service} (nodes and drpnodes name {listed}; names compare exactly)"
    )]
    NodeNotListed {
        /// The service.
        service: ServiceName,
        /// The node that was asked for.
        node: NodeName,
        /// The nodes that are listed, joined by blanks.
        listed: String,
    },
}

impl ResolveError {
    /// The family of this error.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::Refused
    }
}

/// A service whose configuration has no mistakes.
#[derive(Debug, Clone)]
pub struct Service {
    name: ServiceName,
    file: PathBuf,
    /// What the file says, to be evaluated again when more is known.
    text: Vec<u8>,
    notices: Vec<Notice>,
    settings: Settings,
    /// What each listed node sees; all have the same resources in the order
    /// of the file.
    views: BTreeMap<NodeName, Vec<Resource>>,
}

impl Service {
    /// Reads and checks `dir/NAME.conf`.
    ///
    /// # Errors
    /// [`ConfigError`]; with all mistakes of the file if it was readable.
    pub fn load(dir: &Path, name: &ServiceName) -> Result<Self, ConfigError> {
        let file = dir.join(format!("{name}.conf"));
        let read = || -> io::Result<Vec<u8>> {
            let mut text = Vec::new();
            // One byte more than allowed: enough to know that it is too much.
            File::open(&file)?
                .take(CONFIG_BYTES_MAX + 1)
                .read_to_end(&mut text)?;
            Ok(text)
        };
        match read() {
            Ok(text) => Self::parse(name, &file, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ConfigError::Missing { file })
            }
            Err(source) => Err(ConfigError::Read { file, source }),
        }
    }

    /// Checks `text`, which was read from `file`.
    ///
    /// # Errors
    /// [`ConfigError::Mistakes`], [`ConfigError::TooLarge`].
    pub fn parse(name: &ServiceName, file: &Path, text: &[u8]) -> Result<Self, ConfigError> {
        Self::parse_with(name, file, text, Mounts::new())
    }

    /// The same file, with what is mounted on its nodes.
    pub(super) fn again(&self, mounts: Mounts) -> Result<Self, ConfigError> {
        Self::parse_with(&self.name, &self.file, &self.text, mounts)
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.settings.cluster
    }

    pub(super) fn views(&self) -> &BTreeMap<NodeName, Vec<Resource>> {
        &self.views
    }

    /// What is mounted on its nodes, as far as it was told.
    pub(super) fn mounts(&self) -> &Mounts {
        &self.settings.mounts
    }

    fn parse_with(
        name: &ServiceName,
        file: &Path,
        text: &[u8],
        mounts: Mounts,
    ) -> Result<Self, ConfigError> {
        if text.len() as u64 > CONFIG_BYTES_MAX {
            return Err(ConfigError::TooLarge {
                file: file.to_owned(),
                bytes_max: CONFIG_BYTES_MAX,
            });
        }
        let mut findings = Findings::default();
        let document = Document::parse(text, &mut findings.mistakes);
        let mut settings = cluster::read(&document, name, &mut findings.mistakes);
        let rids = check::check(&document, &settings.cluster, &mut findings);
        let cluster = settings.cluster.clone();
        let lookup = Lookup {
            document: &document,
            service: name,
            cluster: &cluster,
            node: None,
        };
        settings.mounts = mounts;
        settings.node_envs = cluster::node_envs(lookup, &mut findings.mistakes);
        cluster::note_envs(lookup, &settings, &mut findings.notices);
        let views = views::all(lookup, &settings, &rids, &mut findings);
        let Findings {
            mut mistakes,
            mut notices,
        } = findings;
        if !mistakes.is_empty() {
            // A mistake that all nodes meet is one mistake.
            mistakes.sort_by_cached_key(|mistake| (mistake.place.line, mistake.to_string()));
            mistakes.dedup();
            return Err(ConfigError::Mistakes {
                file: file.to_owned(),
                mistakes,
            });
        }
        notices.sort_by_cached_key(|notice| (notice.place.line, notice.to_string()));
        notices.dedup();
        Ok(Self {
            name: name.clone(),
            file: file.to_owned(),
            text: text.to_owned(),
            notices,
            settings,
            views,
        })
    }

    /// The services that have a configuration file in `dir`, by name. Files
    /// whose stem is no service name are left out.
    ///
    /// # Errors
    /// [`ConfigError::Read`].
    pub fn list(dir: &Path) -> Result<Vec<ServiceName>, ConfigError> {
        let read = || -> io::Result<Vec<ServiceName>> {
            let mut names = Vec::new();
            for entry in dir.read_dir()? {
                let file_name = entry?.file_name();
                let stem = file_name
                    .to_str()
                    .and_then(|name| name.strip_suffix(".conf"));
                names.extend(stem.and_then(|stem| ServiceName::parse(stem).ok()));
            }
            names.sort();
            Ok(names)
        };
        read().map_err(|source| ConfigError::Read {
            file: dir.to_owned(),
            source,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ServiceName {
        &self.name
    }

    /// The file it was read from.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What the file says to no effect, in the order of lines.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// `nodes`, in order.
    #[must_use]
    pub fn nodes(&self) -> &[NodeName] {
        &self.settings.cluster.nodes
    }

    /// `drpnodes`, in order.
    #[must_use]
    pub fn drpnodes(&self) -> &[NodeName] {
        &self.settings.cluster.drpnodes
    }

    /// `topology`; failover by default.
    #[must_use]
    pub fn topology(&self) -> Topology {
        self.settings.topology
    }

    /// `flex_primary`; the first of `nodes` by default.
    #[must_use]
    pub fn flex_primary(&self) -> Option<&NodeName> {
        self.settings.cluster.flex_primary.as_ref()
    }

    /// `env`, for example `PRD`.
    #[must_use]
    pub fn env(&self) -> Option<&str> {
        self.settings.env.as_deref()
    }

    /// `node_env` of `node`, for example `PRD`.
    #[must_use]
    pub fn node_env(&self, node: &NodeName) -> Option<&str> {
        self.settings.node_envs.get(node).map(String::as_str)
    }

    /// `lock_timeout`: how long to wait for another run; 60 s by default.
    #[must_use]
    pub fn lock_timeout(&self) -> Duration {
        self.settings.lock_timeout
    }

    /// The ids of all resources of type zfs, in the order of the file.
    pub fn rids(&self) -> impl Iterator<Item = &Rid> {
        self.views
            .values()
            .next()
            .into_iter()
            .flat_map(|resources| resources.iter().map(|resource| &resource.rid))
    }

    /// Every resource of type zfs as `node` sees it, in the order of the file.
    ///
    /// # Errors
    /// [`ResolveError::NodeNotListed`].
    pub fn resolve(&self, node: &NodeName) -> Result<Vec<Resource>, ResolveError> {
        self.view(node).cloned()
    }

    /// `image`: the pools of `node` that are in files, of all resources
    /// together. Empty for a node that is not listed.
    #[must_use]
    pub fn images(&self, node: &NodeName) -> Vec<Image> {
        let mut images = Vec::new();
        for resource in self.views.get(node).into_iter().flatten() {
            image::join(&mut images, resource.images.iter().cloned())
                .expect("the file was refused if resources contradict each other");
        }
        images
    }

    /// What `node` may receive from other nodes (not its own local targets),
    /// in the order of the file. Senders on which the resource is disabled are
    /// left out.
    ///
    /// # Errors
    /// [`ResolveError::NodeNotListed`].
    pub fn receives_for(&self, node: &NodeName) -> Result<Vec<Reception>, ResolveError> {
        let receptions = self.view(node)?.iter().map(|resource| Reception {
            rid: resource.rid.clone(),
            disabled: resource.disabled,
            optional: resource.optional,
            sync_max_delay: resource.sync_max_delay,
            names: resource.names.clone(),
            from: self.senders(&resource.rid, node).collect(),
        });
        Ok(receptions
            .filter(|reception| !reception.from.is_empty())
            .collect())
    }

    fn view(&self, node: &NodeName) -> Result<&Vec<Resource>, ResolveError> {
        self.views.get(node).ok_or_else(|| {
            let listed: Vec<&str> = self.settings.cluster.all().map(NodeName::as_str).collect();
            ResolveError::NodeNotListed {
                service: self.name.clone(),
                node: node.clone(),
                listed: listed.join(" "),
            }
        })
    }

    fn senders(&self, rid: &Rid, receiver: &NodeName) -> impl Iterator<Item = ReceivesFrom> {
        let others = self
            .settings
            .cluster
            .all()
            .filter(move |node| *node != receiver);
        others.filter_map(move |node| {
            let resources = self.views.get(node)?;
            let resource = resources
                .iter()
                .find(|resource| resource.rid == *rid && !resource.disabled)?;
            let target = resource
                .targets()
                .iter()
                .find(|target| target.node == *receiver)?;
            Some(ReceivesFrom {
                node: node.clone(),
                kind: target.kind,
                src: resource.sends().map(|sends| sends.src.clone()),
                dst: target.dst.clone(),
                recursive: resource.recursive,
            })
        })
    }
}
