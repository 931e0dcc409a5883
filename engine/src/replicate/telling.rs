//! What observers are told of a run's transfers: what is planned, and how each
//! begins and ends.

use std::time::Instant;

use super::commands::base_text;
use super::transfer::Moved;
use crate::event::{Event, Observer};
use crate::name::DatasetName;
use crate::plan::{DatasetPlan, Step, TreePlan};

/// Tells what will be sent to `peer`, if anything will.
pub(super) fn planned(
    observer: &dyn Observer,
    peer: &str,
    root: &DatasetName,
    plan: &TreePlan,
    estimates: &[Vec<u64>],
) {
    let streams = plan.datasets.iter().flat_map(DatasetPlan::streams);
    let transfers = streams.filter(|one| one.step != Step::UpToDate).count();
    if transfers > 0 {
        observer.event(&Event::TransfersPlanned {
            peer: peer.to_owned(),
            root: root.clone(),
            transfers,
            estimated_bytes: estimates.iter().flatten().sum(),
        });
    }
}

/// A transfer from its beginning to its end. If it is dropped before
/// [`Self::done`], the transfer has failed, or nobody wants it any more.
pub(super) struct Telling<'a> {
    observer: &'a dyn Observer,
    peer: String,
    step: &'a DatasetPlan,
    begun: Instant,
    ended: bool,
}

impl<'a> Telling<'a> {
    /// Tells that it begins.
    pub(super) fn begin(
        observer: &'a dyn Observer,
        peer: &str,
        step: &'a DatasetPlan,
        estimated_bytes: u64,
    ) -> Self {
        observer.event(&Event::TransferStarted {
            peer: peer.to_owned(),
            snapshot: step.snapshot.clone(),
            target: step.target.clone(),
            base: base_text(step),
            estimated_bytes,
            resumed_bytes: match step.step {
                Step::Resume { received_bytes, .. } => Some(received_bytes),
                _ => None,
            },
        });
        Self {
            observer,
            peer: peer.to_owned(),
            step,
            begun: Instant::now(),
            ended: false,
        }
    }

    /// Tells that the target has it.
    pub(super) fn done(mut self, moved: &Moved) {
        self.ended = true;
        let Self { step, observer, .. } = self;
        observer.event(&Event::TransferDone {
            peer: self.peer.clone(),
            snapshot: step.snapshot.clone(),
            target: step.target.clone(),
            guid: step.guid,
            raw_bytes: moved.raw_bytes,
            wire_bytes: moved.wire_bytes,
            came_to: moved.came_to,
            milliseconds: u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
        if !moved.refused.is_empty() {
            observer.event(&Event::PropertiesRefused {
                dataset: step.target.dataset.clone(),
                refused: moved.refused.clone(),
            });
        }
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.observer.event(&Event::TransferCut {
                peer: self.peer.clone(),
                snapshot: self.step.snapshot.clone(),
                target: self.step.target.clone(),
            });
        }
    }
}
