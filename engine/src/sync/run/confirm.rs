//! `sync confirm`: the operator has seen that the new copies are good, and the
//! old ones that full syncs have put aside may go.
//!
//! Only what bears its own guid in its name is destroyed ([`crate::copies`]),
//! and only where the copy that took its place exists. Cut in between, the rest
//! is still an old copy, for the same command again.

use futures_util::future::join_all;

use super::Sync;
use super::admission::{self, Refusal};
use super::beside::{OldCopy, destroy_old};
use super::error::{ResourceError, SyncError, TargetError};
use crate::name::DatasetName;
use crate::sync::config::{NodeName, Resource, Rid, Role, Sends, Target};
use crate::zfs::Scope;

/// What came of it.
#[derive(Debug, Default)]
pub struct Confirmation {
    /// Why this node may not start anything of this service.
    pub refused: Option<Refusal>,
    /// Resources that this node sends, in the order of the configuration.
    pub resources: Vec<ResourceConfirmation>,
}

/// Of one resource.
#[derive(Debug)]
pub struct ResourceConfirmation {
    /// The resource.
    pub rid: Rid,
    /// Its failure does not fail the command.
    pub optional: bool,
    /// What failed for the resource as a whole.
    pub failure: Option<ResourceError>,
    /// Its targets.
    pub targets: Vec<TargetConfirmation>,
}

/// Of one target.
#[derive(Debug)]
pub struct TargetConfirmation {
    /// The node that keeps the copy.
    pub node: NodeName,
    /// The dataset there.
    pub dst: DatasetName,
    /// The old copies that were there, and why one stays.
    pub outcome: Result<Vec<OldCopy>, TargetError>,
}

pub(super) async fn confirm(sync: &Sync<'_>) -> Result<Confirmation, SyncError> {
    let mut confirmation = Confirmation::default();
    let resources = match admission::of_node(sync) {
        Ok(resources) => resources,
        Err(refusal) => {
            confirmation.refused = Some(refusal);
            return Ok(confirmation);
        }
    };
    for resource in resources.iter().filter(|one| sync.selection.takes(one)) {
        if let Role::Sender(sends) = &resource.role
            && !resource.disabled
        {
            let one = of_resource(sync, resource, sends).await;
            confirmation.resources.push(one);
        }
    }
    Ok(confirmation)
}

async fn of_resource(sync: &Sync<'_>, resource: &Resource, sends: &Sends) -> ResourceConfirmation {
    let mut of = ResourceConfirmation {
        rid: resource.rid.clone(),
        optional: resource.optional,
        failure: None,
        targets: Vec::new(),
    };
    let _guard = match sync.locks.lock(resource, sends).await {
        Ok(guard) => guard,
        Err(fault) => {
            of.failure = Some(ResourceError::Locked(fault.into()));
            return of;
        }
    };
    let in_groups = |target: &&Target| sync.groups.is_empty() || sync.groups.contains(&target.kind);
    let targets = sends.targets.iter().filter(in_groups);
    of.targets = join_all(targets.map(|target| async {
        TargetConfirmation {
            node: target.node.clone(),
            dst: target.dst.clone(),
            outcome: of_target(sync, target).await,
        }
    }))
    .await;
    of
}

async fn of_target(sync: &Sync<'_>, target: &Target) -> Result<Vec<OldCopy>, TargetError> {
    let mut peer = sync.connector.reach(target).await?;
    let purpose = format!("sync confirm of {}", sync.service.name());
    peer.claim(&target.dst, Scope::Recursive, &purpose).await?;
    let copies = peer.old_copies(&target.dst).await?;
    if copies.is_empty() {
        return Ok(Vec::new());
    }
    if peer.tree(&target.dst, Scope::One).await?.is_none() {
        return Err(TargetError::NothingBut {
            dst: target.dst.clone(),
            copies,
        });
    }
    Ok(destroy_old(sync.observer, &mut peer, &target.dst, copies).await?)
}
