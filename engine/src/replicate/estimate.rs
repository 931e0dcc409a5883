//! Sizes of streams before they are sent.

use crate::peer::{Peer, PeerError};
use crate::plan::{DatasetPlan, Step};
use crate::zfs::{Base, Dataset, SendRequest};

/// The size of one stream: what ZFS has to say of it, and what is known.
#[derive(Debug, Default)]
pub(super) struct Estimate {
    /// The stream that ZFS estimates.
    asked: Option<SendRequest>,
    /// Bytes beside it.
    more: u64,
    /// Bytes of it that are there already.
    received: u64,
}

impl Estimate {
    /// The size of the stream that `plan` asks for.
    ///
    /// A rehearsal plans a snapshot that nobody has taken. Its stream is that of
    /// the newest snapshot there is, plus what was written since.
    pub fn of(dataset: &Dataset, plan: &DatasetPlan) -> Self {
        let Some(request) = plan.send_request() else {
            return Self::default();
        };
        if let Step::Resume { received_bytes, .. } = &plan.step {
            return Self {
                asked: Some(SendRequest {
                    resume: None,
                    ..request
                }),
                received: *received_bytes,
                more: 0,
            };
        }
        let planned = dataset.snapshot_by_name(&plan.snapshot.short);
        if planned.is_some_and(|found| found.guid == plan.guid) {
            return Self {
                asked: Some(request),
                ..Self::default()
            };
        }
        Self {
            asked: before(dataset, plan, request),
            more: dataset.written_bytes,
            received: 0,
        }
    }

    fn bytes(&self, estimated: u64) -> u64 {
        (estimated + self.more).saturating_sub(self.received)
    }
}

/// The stream up to the newest snapshot, if there is one after the base.
fn before(dataset: &Dataset, plan: &DatasetPlan, request: SendRequest) -> Option<SendRequest> {
    let newest = dataset.snapshots.last()?;
    if matches!(&plan.step, Step::Incremental { guid, .. } if *guid == newest.guid) {
        return None;
    }
    let snapshot = dataset.name.snapshot(&newest.short).ok()?;
    let base = request.base.filter(|base| match base {
        Base::Snapshot(name) => *name != snapshot,
        Base::Bookmark(_) => true,
    });
    Some(SendRequest {
        snapshot,
        base,
        ..request
    })
}

/// Estimated bytes of each of these streams. All are asked at once: over a long
/// way one after the other would take a round trip each.
pub(super) async fn stream_bytes(
    source: &mut Peer,
    streams: &[Estimate],
) -> Result<Vec<u64>, PeerError> {
    let asked = streams.iter().filter_map(|stream| stream.asked.clone());
    let mut answers = source.send_sizes(asked.collect()).await?.into_iter();
    let answer_to = |stream: &Estimate| match stream.asked {
        Some(_) => answers.next().unwrap_or_default(),
        None => 0,
    };
    let estimated: Vec<u64> = streams.iter().map(answer_to).collect();
    let both = streams.iter().zip(estimated);
    Ok(both
        .map(|(stream, estimated)| stream.bytes(estimated))
        .collect())
}
