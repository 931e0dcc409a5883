//! The plan for one dataset.

use std::collections::HashMap;

use super::conflict::Conflict;
use super::encryption::{check_increment, check_rest_of_full, check_source_key};
use super::kin;
use super::loss::{Clearing, Loss, clearing};
use super::partial::{self, Discard, LeftBehind, Taken, Unusable, Verdict};
use super::way::{Between, Intermediary};
use crate::name::{CreateTxg, DatasetName, Guid, SnapshotName};
use crate::zfs::{Base, Dataset, ResumePoint, SendMode, Snapshot};

/// What brings one dataset of the target to the wanted snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The target has the snapshot already.
    UpToDate,
    /// The target does not exist: everything is sent.
    Full,
    /// The target has an older snapshot of the source.
    Incremental {
        /// The base, as the source names it.
        base: Base,
        /// Its guid.
        guid: Guid,
    },
    /// A part of the stream has arrived and was cut: the rest follows.
    Resume {
        /// The base, as the source names it, and its guid; `None` if the stream
        /// is a full one.
        base: Option<(Base, Guid)>,
        /// Where the rest begins.
        point: ResumePoint,
        /// Bytes that have arrived.
        received_bytes: u64,
    },
}

impl Step {
    /// True if everything is sent, be it in parts.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full | Self::Resume { base: None, .. })
    }

    /// What the stream starts from, as the source names it, and its guid.
    #[must_use]
    pub fn base(&self) -> Option<(&Base, Guid)> {
        match self {
            Self::Incremental { base, guid } => Some((base, *guid)),
            Self::Resume { base, .. } => base.as_ref().map(|(base, guid)| (base, *guid)),
            Self::UpToDate | Self::Full => None,
        }
    }
}

/// What is to be planned for one dataset.
#[derive(Debug, Clone, Copy)]
pub struct DatasetRequest<'a> {
    /// The dataset on the source.
    pub source: &'a Dataset,
    /// The snapshot of it to bring over.
    pub wanted: &'a Snapshot,
    /// Block form.
    pub mode: SendMode,
    /// Where it goes.
    pub target_name: &'a DatasetName,
    /// What is there.
    pub target: Option<&'a Dataset>,
    /// What of that may be lost.
    pub loss: Loss,
    /// Whether the snapshots in between go along.
    pub intermediary: Intermediary,
    /// The snapshots that runs like this one take.
    pub taken: Taken<'a>,
    /// The topmost dataset of the run on the source.
    pub source_top: &'a DatasetName,
    /// Where that goes.
    pub target_top: &'a DatasetName,
}

/// How one dataset gets to the wanted snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// What a cut receive left, to be given up before all else.
    pub discard: Option<Discard>,
    /// What has to go from the target first.
    pub clearing: Option<Clearing>,
    /// The first stream: to the first of `hops`, or to the wanted snapshot.
    pub step: Step,
    /// Snapshots on the way, oldest first; a stream leads from each to the next
    /// and from the last to the wanted one.
    pub hops: Vec<Snapshot>,
    /// Snapshots on the way that are left out, since the target has others of
    /// their names.
    pub left_out: Vec<Snapshot>,
}

impl From<Step> for Way {
    fn from(step: Step) -> Self {
        Self {
            discard: None,
            clearing: None,
            step,
            hops: Vec::new(),
            left_out: Vec::new(),
        }
    }
}

impl Way {
    /// From `after`, where `step` begins, over all that lies between to the
    /// wanted snapshot.
    fn through(
        request: &DatasetRequest<'_>,
        after: CreateTxg,
        step: Step,
        clearing: Option<Clearing>,
    ) -> Self {
        let between = match request.intermediary {
            Intermediary::Skip => Between::default(),
            Intermediary::Carry => Between::find(
                request.source,
                (after, request.wanted.createtxg),
                request.target,
                clearing.as_ref(),
            ),
        };
        Self {
            discard: None,
            clearing,
            step,
            hops: between.carried.into_iter().cloned().collect(),
            left_out: between.taken.into_iter().cloned().collect(),
        }
    }
}

/// Plans the transfer of one dataset.
///
/// The base is the newest snapshot or bookmark of the source, older than
/// `wanted`, whose guid the target has as a snapshot. What the target has after
/// it is lost or a conflict, as the request says. What a cut stream left
/// on the target decides for it: if it was the stream of `wanted`, in the same
/// block form and from a base that both still have, it goes on; if not, it is
/// given up first or in the way, as [`partial`](super::partial) has it.
///
/// # Errors
/// [`Conflict`] if no stream leads from the target's state to `wanted` without
/// losing something that may not be lost.
pub fn plan_dataset(request: &DatasetRequest<'_>) -> Result<Way, Conflict> {
    let DatasetRequest {
        source,
        wanted,
        mode,
        target_name,
        target,
        loss,
        ..
    } = *request;
    let Some(target) = target else {
        check_source_key(source, mode)?;
        return Ok(Way::through(request, CreateTxg(0), Step::Full, None));
    };
    if target.guid == source.guid {
        return Err(Conflict::SameDataset {
            target: target_name.clone(),
        });
    }
    if target.kind != source.kind {
        return Err(Conflict::OtherKind {
            target: target_name.clone(),
            origin: source.name.clone(),
        });
    }
    let verdict = target
        .partial
        .as_ref()
        .map(|left| partial::judge(request, target, left));
    if target.snapshot_by_guid(wanted.guid).is_some() {
        return Ok(Way {
            discard: match verdict {
                Some(Verdict::Discard(discard)) => Some(discard),
                _ => None,
            },
            ..Step::UpToDate.into()
        });
    }
    match verdict {
        None => {}
        Some(Verdict::Use(step)) => return completing(request, target, step),
        Some(Verdict::Discard(discard)) => {
            let without = partial::without(target);
            let way = plan_dataset(&DatasetRequest {
                target: without.as_ref(),
                ..*request
            })?;
            return Ok(Way {
                discard: Some(discard),
                ..way
            });
        }
        Some(Verdict::Report(left)) => return Err(obstacle(request, left)),
    }
    let common = Common::find(source, wanted.createtxg, target);
    if let Some(newer) = common.newer {
        return Err(Conflict::Ahead {
            target: target_name.clone(),
            newer: named(target, newer),
            wanted: named(source, wanted),
        });
    }
    let Some((base_createtxg, base, base_there)) = common.base else {
        return Err(kin::without_base(source, target));
    };
    check_increment(request, target, &base, base_there)?;
    check_source_key(source, mode)?;
    let clearing = clearing(target, base_there, mode, loss)?;
    check_name(wanted, target, clearing.as_ref())?;
    let step = Step::Incremental {
        base,
        guid: base_there.guid,
    };
    Ok(Way::through(request, base_createtxg, step, clearing))
}

/// The way of a stream that goes on where it was cut.
fn completing(request: &DatasetRequest<'_>, target: &Dataset, step: Step) -> Result<Way, Conflict> {
    // What has arrived of a new dataset counts as written; nobody else can
    // have written there.
    let base = step.base();
    let base = base.and_then(|(base, guid)| Some((base, target.snapshot_by_guid(guid)?)));
    let clearing = match base {
        Some((base, there)) => {
            check_increment(request, target, base, there)?;
            clearing(target, there, request.mode, request.loss)?
        }
        None => {
            check_rest_of_full(request, target)?;
            None
        }
    };
    check_name(request.wanted, target, clearing.as_ref())?;
    check_source_key(request.source, request.mode)?;
    Ok(Way {
        clearing,
        ..step.into()
    })
}

/// A part that could be completed before all else, and is not for another
/// reason: that one is the obstacle.
fn obstacle(request: &DatasetRequest<'_>, left: Box<LeftBehind>) -> Conflict {
    let of = match (&left.why, &left.content) {
        (Unusable::OtherSnapshot(_), Some(content)) => {
            request.source.snapshot_by_guid(content.to_guid)
        }
        _ => None,
    };
    let completed = of.map(|wanted| plan_dataset(&DatasetRequest { wanted, ..*request }));
    match completed {
        Some(Err(conflict)) => conflict,
        _ => left.into(),
    }
}

/// The name is free, or will be when the target is cleared.
fn check_name(
    wanted: &Snapshot,
    target: &Dataset,
    clearing: Option<&Clearing>,
) -> Result<(), Conflict> {
    let goes = |guid: Guid| clearing.is_some_and(|clearing| clearing.destroys(guid));
    match target.snapshot_by_name(&wanted.short) {
        Some(other) if !goes(other.guid) => Err(Conflict::NameTaken {
            snapshot: named(target, other),
            guid: other.guid,
        }),
        _ => Ok(()),
    }
}

/// What source and target share, seen from a snapshot that is to be sent.
struct Common<'a> {
    /// The newest shared state before it: its place in the source's order, as a
    /// base, and as the target's snapshot.
    base: Option<(CreateTxg, Base, &'a Snapshot)>,
    /// A shared state after it.
    newer: Option<&'a Snapshot>,
}

impl<'a> Common<'a> {
    fn find(source: &Dataset, wanted: CreateTxg, target: &'a Dataset) -> Self {
        let there: HashMap<Guid, &Snapshot> = target
            .snapshots
            .iter()
            .map(|snapshot| (snapshot.guid, snapshot))
            .collect();
        let snapshots = source.snapshots.iter().map(|s| (s.createtxg, s.guid));
        let bookmarks = source.bookmarks.iter().map(|b| (b.createtxg, b.guid));
        let newer = snapshots
            .chain(bookmarks)
            .filter(|(createtxg, _)| *createtxg > wanted)
            .filter_map(|(createtxg, guid)| Some((createtxg, *there.get(&guid)?)))
            .max_by_key(|(createtxg, _)| *createtxg)
            .map(|(_, snapshot)| snapshot);
        let snapshots = source.snapshots.iter().filter_map(|snapshot| {
            let base = Base::Snapshot(named(source, snapshot));
            Some((snapshot.createtxg, base, *there.get(&snapshot.guid)?))
        });
        let bookmarks = source.bookmarks.iter().filter_map(|bookmark| {
            let base = Base::Bookmark(bookmark.short.clone());
            Some((bookmark.createtxg, base, *there.get(&bookmark.guid)?))
        });
        let base = bookmarks
            .chain(snapshots)
            .filter(|(createtxg, _, _)| *createtxg < wanted)
            // Of equals the last wins: a snapshot is preferred to its bookmark.
            .max_by_key(|(createtxg, _, _)| *createtxg);
        Self { base, newer }
    }
}

pub(super) fn named(dataset: &Dataset, snapshot: &Snapshot) -> SnapshotName {
    SnapshotName {
        dataset: dataset.name.clone(),
        short: snapshot.short.clone(),
    }
}
