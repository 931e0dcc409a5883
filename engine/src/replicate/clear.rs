//! Carrying out what a plan says is lost on the target.
//!
//! Snapshots and bookmarks of the whole tree go first, before anything is
//! sent: the snapshots in one transaction, so that one that was held meanwhile
//! keeps all of them. Each dataset is rolled back right before its first
//! stream. The helper compares guids; ZFS refuses what is held or cloned, and
//! a rollback over a snapshot that was taken meanwhile.

use super::commands::discard_command;
use super::error::ReplicateError;
use super::transfers::Transfers;
use crate::event::Event;
use crate::plan::{Clearing, TreePlan};
use crate::protocol::message::NAMES_MAX;

impl Transfers<'_> {
    /// Gives up what cut receives left and `plan` cannot use, dataset by
    /// dataset. The helper compares each with what was listed.
    ///
    /// # Errors
    /// [`ReplicateError::NotDiscarded`]; those before it are gone.
    pub(crate) async fn discard(&mut self, plan: &TreePlan) -> Result<(), ReplicateError> {
        for discard in plan
            .datasets
            .iter()
            .filter_map(|step| step.discard.as_ref())
        {
            let dataset = &discard.dataset;
            self.step(self.target, discard_command(discard));
            let discarded = self
                .target
                .discard_partial(dataset.clone(), discard.token.clone());
            discarded
                .await
                .map_err(|cause| ReplicateError::NotDiscarded {
                    dataset: dataset.clone(),
                    cause: Box::new(cause),
                })?;
            self.observer.event(&Event::PartialDiscarded {
                peer: self.target.name.clone(),
                dataset: dataset.clone(),
                to_guid: discard.to_guid,
                received_bytes: discard.received_bytes,
                reason: discard.reason,
            });
        }
        Ok(())
    }

    /// Destroys the snapshots and bookmarks that are in the way of `plan`.
    ///
    /// # Errors
    /// [`ReplicateError::NotCleared`]; then no snapshot was destroyed, unless
    /// there are more than fit into one request.
    pub(super) async fn clear(&mut self, plan: &TreePlan) -> Result<(), ReplicateError> {
        let clearings = || {
            plan.datasets
                .iter()
                .filter_map(|step| step.clearing.as_ref())
        };
        let snapshots: Vec<_> = clearings().flat_map(|c| c.snapshots.clone()).collect();
        let bookmarks: Vec<_> = clearings().flat_map(|c| c.bookmarks.clone()).collect();
        let Some(first) = clearings().next() else {
            return Ok(());
        };
        let failed = |cause| ReplicateError::NotCleared {
            to: first.to.clone(),
            cause: Box::new(cause),
        };
        for part in snapshots.chunks(NAMES_MAX) {
            for (name, _) in part {
                self.step(self.target, format!("zfs destroy {name}"));
            }
            let destroyed = self.target.destroy_snapshots(part.to_vec()).await;
            destroyed.map_err(failed)?;
        }
        for part in bookmarks.chunks(NAMES_MAX) {
            for name in part {
                self.step(self.target, format!("zfs destroy {name}"));
            }
            let destroyed = self.target.destroy_bookmarks(part.to_vec()).await;
            destroyed.map_err(failed)?;
        }
        Ok(())
    }

    /// Rolls one dataset back to the base, which is its newest snapshot by now.
    ///
    /// # Errors
    /// [`ReplicateError::NotCleared`]; then the dataset is as it was.
    pub(super) async fn roll_back(&mut self, clearing: &Clearing) -> Result<(), ReplicateError> {
        let to = &clearing.to;
        self.step(self.target, format!("zfs rollback {to}"));
        let rolled_back = self.target.rollback(to.clone(), clearing.guid).await;
        rolled_back.map_err(|cause| ReplicateError::NotCleared {
            to: to.clone(),
            cause: Box::new(cause),
        })?;
        self.observer.event(&Event::RolledBack {
            peer: self.target.name.clone(),
            to: to.clone(),
            lost_bytes: clearing.lost_bytes,
            snapshots: clearing
                .snapshots
                .iter()
                .map(|(name, _)| name.clone())
                .collect(),
        });
        Ok(())
    }
}
