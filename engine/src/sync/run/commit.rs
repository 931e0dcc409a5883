//! The target's commit: of what this run has brought, and of what an earlier one
//! had when it was cut.

use super::error::TargetError;
use super::round::Round;
use super::side::Side;
use crate::name::SnapshotName;
use crate::peer::Peer;
use crate::plan::{DatasetPlan, TreePlan, plan_leftovers};
use crate::sync::config::Target;
use crate::zfs::{ByName, Dataset, Scope};

impl Round<'_> {
    /// Completes the parts of streams that an earlier run left when it was cut,
    /// of snapshots that the source calls something else by now, since it
    /// rotated for other targets. They arrive as `tosend`, to be committed as
    /// what came late.
    pub(super) async fn complete_late(
        &self,
        source: &mut Peer,
        source_tree: &[Dataset],
        peer: &mut Peer,
        target_tree: Vec<Dataset>,
        target: &Target,
    ) -> Result<Vec<Dataset>, TargetError> {
        let tosend = &self.resource.names.tosend;
        let request = self.request(source_tree, &target_tree, target);
        let leftovers = TreePlan {
            datasets: plan_leftovers(&request, Some(tosend))?,
            ..TreePlan::default()
        };
        if leftovers.datasets.is_empty() {
            return Ok(target_tree);
        }
        let mut transfers = self.transfers(source, peer);
        transfers.estimate(source_tree, &leftovers).await?;
        transfers.run(&leftovers, &target.dst, false).await?;
        Ok(self.side(&target.dst).tree(transfers.target).await?)
    }

    /// Commits what an earlier run had brought when it was cut, and what the
    /// source calls something else by now, since it rotated for other targets.
    /// Each dataset for itself: the rest of the tree may not have come.
    pub(super) async fn commit_late(
        &self,
        source_tree: &[Dataset],
        peer: &mut Peer,
        target_tree: Vec<Dataset>,
        target: &Target,
    ) -> Result<Vec<Dataset>, TargetError> {
        let side = self.side(&self.sends.dst);
        let mut committed = false;
        let by_name = ByName::of(&target_tree);
        for source in source_tree {
            let name = source.name.rebase(&self.sends.src, &target.dst)?;
            let Some(there) = by_name.get(&name) else {
                continue;
            };
            let tosend = &self.resource.names.tosend;
            let Some(left) = there.snapshot_by_name(tosend) else {
                continue;
            };
            let is_base = source
                .snapshot_by_guid(left.guid)
                .is_some_and(|known| known.short != *tosend)
                || source.bookmarks.iter().any(|mark| mark.guid == left.guid);
            let is_being_sent = source
                .snapshot_by_name(tosend)
                .is_some_and(|sending| sending.guid == left.guid);
            if is_base && !is_being_sent {
                let dataset = Side {
                    root: &name,
                    scope: Scope::One,
                    ..side
                };
                let there = std::slice::from_ref(there);
                let base = (SnapshotName::new(name.clone(), tosend.clone())?, left.guid);
                dataset.keep_base(peer, there, &[base]).await?;
                dataset.rotate(peer, there).await?;
                committed = true;
            }
        }
        if committed {
            let target_side = Side {
                root: &target.dst,
                ..side
            };
            return Ok(target_side.tree(peer).await?);
        }
        Ok(target_tree)
    }

    /// The target's commit: looks whether everything is there, then rotates.
    pub(super) async fn commit(
        &self,
        peer: &mut Peer,
        plan: &TreePlan,
        side: Side<'_>,
    ) -> Result<(), TargetError> {
        let tree = side.tree(peer).await?;
        let mut to_rotate = false;
        let mut bases = Vec::new();
        let by_name = ByName::of(&tree);
        for step in &plan.datasets {
            let found = by_name.get(&step.target.dataset);
            let found = found.and_then(|dataset| dataset.snapshot_by_guid(step.guid));
            match found {
                None => {
                    let snapshot = step.target.clone();
                    return Err(TargetError::NotThere { snapshot });
                }
                // Unless it was rotated by an earlier run, or renamed by hand.
                Some(found) => {
                    to_rotate |= found.short == self.resource.names.tosend;
                    let name = step.target.dataset.snapshot(&found.short)?;
                    bases.push((name, found.guid));
                }
            }
        }
        side.keep_base(peer, &tree, &bases).await?;
        if !to_rotate {
            return Ok(());
        }
        let root_has_tosend = tree
            .first()
            .is_some_and(|root| root.snapshot_by_name(&self.resource.names.tosend).is_some());
        if root_has_tosend {
            return Ok(side.rotate(peer, &tree).await?);
        }
        // A child that was added after its root had been rotated.
        for step in plan
            .datasets
            .iter()
            .filter(|step| self.is_tosend(step, &by_name))
        {
            let child = Side {
                root: &step.target.dataset,
                scope: Scope::One,
                ..side
            };
            let child_tree = child.tree(peer).await?;
            child.rotate(peer, &child_tree).await?;
        }
        Ok(())
    }

    fn is_tosend(&self, step: &DatasetPlan, tree: &ByName<'_>) -> bool {
        let there = tree.get(&step.target.dataset);
        let tosend = there.and_then(|there| there.snapshot_by_name(&self.resource.names.tosend));
        tosend.is_some_and(|tosend| tosend.guid == step.guid)
    }
}
