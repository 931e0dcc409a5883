//! What came of a sync.

use super::admission::{NotRun, Refusal};
use super::error::{ResourceError, TargetError};
use crate::name::DatasetName;
use crate::sync::config::{NodeName, Rid};
use crate::sync::state::Synced;

/// Of the whole service.
#[derive(Debug, Default)]
pub struct SyncReport {
    /// Why this node may not start anything of this service.
    pub refused: Option<Refusal>,
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
    pub not_run: Option<NotRun>,
    /// What failed for the resource as a whole.
    pub failure: Option<ResourceError>,
    /// Targets that it may not go to from here.
    pub refused: Vec<(NodeName, Refusal)>,
    /// The others.
    pub targets: Vec<TargetReport>,
}

impl ResourceReport {
    /// True if every target it may go to has its data.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.failure.is_none() && self.targets.iter().all(|target| target.outcome.is_ok())
    }
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
