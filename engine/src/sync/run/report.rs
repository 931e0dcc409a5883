//! What came of a sync.

use super::error::TargetError;
use crate::name::DatasetName;
use crate::sync::config::{NodeName, Rid};
use crate::sync::state::Synced;

/// Of the whole service.
#[derive(Debug, Default)]
pub struct SyncReport {
    /// In the order of the configuration.
    pub resources: Vec<ResourceReport>,
}

/// Of one resource.
#[derive(Debug)]
pub struct ResourceReport {
    /// The resource.
    pub rid: Rid,
    /// Its failure does not fail the command.
    pub optional: bool,
    /// Why nothing was done for it, if that is no failure.
    pub skipped: Option<String>,
    /// Its targets.
    pub targets: Vec<TargetReport>,
}

/// Of one target of one resource.
#[derive(Debug)]
pub struct TargetReport {
    /// The node that keeps the copy.
    pub node: NodeName,
    /// The dataset there.
    pub dst: DatasetName,
    /// What the target has now, or why not.
    pub outcome: Result<Synced, TargetError>,
}
