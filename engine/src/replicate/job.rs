//! What to replicate.

use std::sync::Arc;

use super::error::ReplicateError;
use crate::helper::Workers;
use crate::hold::BaseHold;
use crate::limit::Limiter;
use crate::name::{DatasetName, ShortName};
use crate::plan::{Intermediary, Loss};
use crate::stream::compress::Compression;
use crate::zfs::{Scope, SendMode};

/// Where the snapshot comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotChoice {
    /// It exists.
    Existing(ShortName),
    /// It is taken now. Older ones of the same series are ours to destroy.
    Take {
        /// Its name: the series followed by the time.
        short: ShortName,
        /// Beginning of the names of all snapshots that this pair of source
        /// and target ever took, and of no others.
        series: String,
    },
    /// The same, in a later attempt of one run: an earlier one may have taken
    /// it, and then it is the one to send.
    Again {
        /// See [`Self::Take`].
        short: ShortName,
        /// See [`Self::Take`].
        series: String,
    },
}

impl SnapshotChoice {
    /// The name of the snapshot.
    #[must_use]
    pub fn short(&self) -> &ShortName {
        match self {
            Self::Existing(short) | Self::Take { short, .. } | Self::Again { short, .. } => short,
        }
    }

    /// Beginning of the names of snapshots that are ours to destroy.
    #[must_use]
    pub fn series(&self) -> Option<&str> {
        match self {
            Self::Existing(_) => None,
            Self::Take { series, .. } | Self::Again { series, .. } => Some(series),
        }
    }

    /// The choice of the next attempt.
    pub(super) fn again(self) -> Self {
        match self {
            Self::Take { short, series } => Self::Again { short, series },
            other => other,
        }
    }
}

/// What becomes of a target that no stream leads to without a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// The run ends, and says what is there.
    #[default]
    Refuse,
    /// The target is renamed aside, with all below it, and everything is sent.
    /// Nothing is destroyed, now or later.
    Archive,
}

/// Whether source and target names mean datasets of one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Both sides are this machine.
    OneMachine,
    /// The sides are different machines, as far as their addresses tell.
    TwoMachines,
}

/// One replication.
#[derive(Debug, Clone)]
pub struct Job {
    /// What is replicated.
    pub source: DatasetName,
    /// What it becomes, exactly.
    pub target: DatasetName,
    /// Which state of it.
    pub snapshot: SnapshotChoice,
    /// With descendants or without.
    pub scope: Scope,
    /// Block form.
    pub mode: SendMode,
    /// On one machine or two.
    pub placement: Placement,
    /// Compression on the way: what was asked for.
    pub compression: Compression,
    /// How many hash and compress a large transfer, on each side.
    pub workers: Workers,
    /// How fast it may go; `None`: as fast as it can.
    pub limiter: Option<Arc<Limiter>>,
    /// What may be lost on the target.
    pub loss: Loss,
    /// Whether the snapshots between base and wanted one go along.
    pub intermediary: Intermediary,
    /// What becomes of a target that cannot be reached by a stream.
    pub on_conflict: OnConflict,
    /// How the base is kept on the target until the next run.
    pub base: BaseHold,
    /// Change nothing: list, plan and estimate.
    pub rehearsal: bool,
}

impl Job {
    /// How its streams are compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        match self.placement {
            Placement::OneMachine => self.compression.on_one_machine(),
            Placement::TwoMachines => self.compression,
        }
    }

    /// Refuses what no listing is needed to refuse.
    ///
    /// # Errors
    /// On one machine: [`ReplicateError::SamePlace`] if the names are equal,
    /// [`ReplicateError::TargetInsideSource`] if the copy would become part of
    /// what is copied.
    pub fn check(&self) -> Result<(), ReplicateError> {
        if self.placement == Placement::TwoMachines {
            return Ok(());
        }
        let (source, target) = (self.source.clone(), self.target.clone());
        if source == target {
            return Err(ReplicateError::SamePlace { dataset: source });
        }
        if target.is_within(&source) {
            return Err(ReplicateError::TargetInsideSource {
                source_dataset: source,
                target,
            });
        }
        Ok(())
    }
}
