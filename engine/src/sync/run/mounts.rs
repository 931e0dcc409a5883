//! Mount points as `src`, before a run begins: this node's helper says which
//! dataset is mounted there now. Changes nothing; a crash leaves nothing.

use std::collections::BTreeMap;

use super::error::SyncError;
use super::{Connector, Sync};
use crate::sync::config::{NodeName, Service};

/// The service with its mount points resolved; `None` if it has none here.
///
/// # Errors
/// [`SyncError::Config`] if what is mounted makes the configuration wrong.
pub(super) async fn resolved(sync: &Sync<'_>) -> Result<Option<Service>, SyncError> {
    resolve(sync.service, sync.node, sync.connector).await
}

async fn resolve(
    service: &Service,
    node: &NodeName,
    connector: &dyn Connector,
) -> Result<Option<Service>, SyncError> {
    let mut points = service.mount_points(node);
    points.retain(|point| !point.disabled);
    if points.is_empty() {
        return Ok(None);
    }
    let mut here = connector.local().await?;
    let mut mounted = BTreeMap::new();
    for point in points {
        // Where nothing is mounted, that resource alone is told.
        if let Some(dataset) = here.dataset_mounted_at(&point.path).await? {
            mounted.insert(point.path, dataset);
        }
    }
    Ok(Some(service.with_mounts(node, &mounted)?))
}
