//! Sizes of streams before they are sent.

use crate::peer::{Peer, PeerError};
use crate::plan::{DatasetPlan, Step};
use crate::zfs::{Base, Dataset, SendRequest};

/// Estimated bytes of the stream that `plan` asks for.
///
/// A rehearsal plans a snapshot that nobody has taken. Its stream is that of
/// the newest snapshot there is, plus what was written since.
pub(super) async fn stream_bytes(
    source: &mut Peer,
    dataset: &Dataset,
    plan: &DatasetPlan,
) -> Result<u64, PeerError> {
    let Some(request) = plan.send_request() else {
        return Ok(0);
    };
    if let Step::Resume { received_bytes, .. } = &plan.step {
        let resume = None;
        let whole = SendRequest { resume, ..request };
        let bytes = source.send_size(whole).await?;
        return Ok(bytes.saturating_sub(*received_bytes));
    }
    if dataset
        .snapshot_by_name(&plan.snapshot.short)
        .is_some_and(|found| found.guid == plan.guid)
    {
        return source.send_size(request).await;
    }
    let Some(newest) = dataset.snapshots.last() else {
        return Ok(dataset.written_bytes);
    };
    let newest_is_base = match &plan.step {
        Step::Incremental { guid, .. } => *guid == newest.guid,
        _ => false,
    };
    if newest_is_base {
        return Ok(dataset.written_bytes);
    }
    let Ok(snapshot) = dataset.name.snapshot(&newest.short) else {
        return Ok(dataset.written_bytes);
    };
    let base = request.base.filter(|base| match base {
        Base::Snapshot(name) => *name != snapshot,
        Base::Bookmark(_) => true,
    });
    let before = source
        .send_size(SendRequest {
            snapshot,
            base,
            ..request
        })
        .await?;
    Ok(before + dataset.written_bytes)
}
