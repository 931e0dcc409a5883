//! Mount points as `src`: which they are, and the same file with what is
//! mounted there.
//!
//! A configuration is read without asking ZFS. What is mounted on a node only
//! that node can say, when it sends; then the file is evaluated again with the
//! answers, so that every check of datasets holds for them too. A receiver
//! never needs them: `dst` has to be written in such a resource.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::mistake::ConfigError;
use super::names::{NodeName, Rid};
use super::resource::Role;
use super::service::Service;
use super::value::{Wrong, shown};
use crate::name::DatasetName;

/// What is mounted where, on each node of which it is known.
pub(super) type Mounts = BTreeMap<NodeName, BTreeMap<PathBuf, DatasetName>>;

/// A mount point that a node has as `src`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// The resource.
    pub rid: Rid,
    /// An absolute path on the node.
    pub path: PathBuf,
    /// `disable` is set: nothing is sent.
    pub disabled: bool,
}

/// What `src` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Dataset(DatasetName),
    MountPoint(PathBuf),
}

/// Reads `src`.
pub(super) fn source(text: &str) -> Result<Source, Wrong> {
    if text.starts_with('/') {
        return mount_point(text).map(Source::MountPoint);
    }
    DatasetName::parse(text)
        .map(Source::Dataset)
        .map_err(|error| Wrong::new(error.to_string(), "write a dataset such as `tank/data`"))
}

/// The text as the system lists it: one spelling for each mount point.
fn mount_point(text: &str) -> Result<PathBuf, Wrong> {
    let is_plain = |part: &str| !matches!(part, "" | "." | "..");
    let has_control = text.contains(char::is_control);
    if text == "/" || (text[1..].split('/').all(is_plain) && !has_control) {
        Ok(PathBuf::from(text))
    } else {
        Err(Wrong::new(
            format!(
                "`{}` is no mount point as the system writes it",
                shown(text)
            ),
            "write it as `zfs list -o mountpoint` does, without `//`, `.`, `..` and a `/` at its end",
        ))
    }
}

impl Service {
    /// The mount points that `node` has as `src` and that are not resolved, in
    /// the order of the file. Empty for a node that is not listed.
    #[must_use]
    pub fn mount_points(&self, node: &NodeName) -> Vec<MountPoint> {
        let resources = self.resolve(node).unwrap_or_default().into_iter();
        let unresolved = resources.filter_map(|resource| match resource.role {
            Role::SenderByMount(sends) => Some(MountPoint {
                rid: resource.rid,
                path: sends.mount_point,
                disabled: resource.disabled,
            }),
            _ => None,
        });
        unresolved.collect()
    }

    /// The same service, with what is mounted on `node`. A mount point that
    /// `mounted` does not have stays unresolved.
    ///
    /// # Errors
    /// [`ConfigError::Mistakes`] if the datasets collide or lie in one pool
    /// with their local copies: what the file alone cannot show.
    pub fn with_mounts(
        &self,
        node: &NodeName,
        mounted: &BTreeMap<PathBuf, DatasetName>,
    ) -> Result<Self, ConfigError> {
        let mut mounts = self.mounts().clone();
        let of_node = mounts.entry(node.clone()).or_default();
        of_node.extend(
            mounted
                .iter()
                .map(|(path, dataset)| (path.clone(), dataset.clone())),
        );
        self.again(mounts)
    }
}

/// The dataset that `source` is on `node`, if that is known.
pub(super) fn resolved<'a>(
    source: &'a Source,
    node: &NodeName,
    mounts: &'a Mounts,
) -> (Option<&'a DatasetName>, Option<&'a Path>) {
    match source {
        Source::Dataset(dataset) => (Some(dataset), None),
        Source::MountPoint(path) => {
            let dataset = mounts.get(node).and_then(|mounted| mounted.get(path));
            (dataset, Some(path))
        }
    }
}
