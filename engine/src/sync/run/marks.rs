//! Marks: bookmarks on the source, one per dataset and target, of what that
//! target may have.
//!
//! A mark is made before anything is sent. So whatever a target has received,
//! wholly or in parts of its tree, has a base on the source for as long as the
//! target needs it: although the source rotates for other targets meanwhile,
//! although `@tosend` is replaced, although `@sent` is destroyed by hand. Marks
//! cost no space. Their names carry resource, target and guid; when a target is
//! in reach, those it has no use for are destroyed.

use std::collections::HashSet;

use crate::name::{BookmarkName, CreateTxg, Guid, NameError, ShortName, SnapshotName};
use crate::peer::{Peer, PeerError};
use crate::plan::TreePlan;
use crate::sync::config::{Rid, Target, TargetKind};
use crate::zfs::{Dataset, NewBookmark, Snapshot};

/// Marks in one request: with two names of 255 bytes each they stay below the
/// bound of a message (16 MiB).
const MARKS_PART: usize = 20_000;

/// The marks of one target of one resource.
pub(in crate::sync) struct Marks {
    prefix: String,
    /// Marks that `begin` made of bases and of what lies between: no listing has
    /// them yet.
    passing: Vec<BookmarkName>,
}

impl Marks {
    pub(in crate::sync) fn new(rid: &Rid, target: &Target) -> Self {
        let place = match target.kind {
            TargetKind::Local => "local",
            TargetKind::Nodes | TargetKind::DrpNodes => target.node.as_str(),
        };
        Self {
            prefix: format!("zferry.{}.{place}.", rid.dotted()),
            passing: Vec::new(),
        }
    }

    fn name(&self, guid: Guid) -> Result<ShortName, NameError> {
        ShortName::parse(&format!("{}{guid}", self.prefix))
    }

    /// True for a mark of this target: the rest of the name is a guid, so that
    /// a node called `a` does not own the marks of `a.b`.
    fn is_ours(&self, short: &ShortName) -> bool {
        short
            .as_str()
            .strip_prefix(&self.prefix)
            .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// The states of a dataset of the source that this target may have.
    pub(super) fn marked(&self, dataset: &Dataset) -> HashSet<Guid> {
        let marks = dataset.bookmarks.iter();
        let ours = marks.filter(|mark| self.is_ours(&mark.short));
        ours.map(|mark| mark.guid).collect()
    }

    /// Before `tosend` travels: marks it, marks what it starts from, and destroys
    /// marks of states that the target does not have. The base needs one too: if
    /// the transfer fails and another target commits, it is rotated away, and
    /// may be all that this target shares. So does each snapshot in between, which
    /// may be gone on the source when the target has just received it. `has`
    /// says whether it has a snapshot of a dataset of the source.
    pub(super) async fn begin(
        &mut self,
        source: &mut Peer,
        tree: &[Dataset],
        tosend: &ShortName,
        plan: &TreePlan,
        has: impl Fn(&Dataset, Guid) -> bool,
    ) -> Result<(), PeerError> {
        let between: HashSet<Guid> = plan
            .datasets
            .iter()
            .flat_map(|dataset| &dataset.before)
            .map(|stream| stream.guid)
            .collect();
        let mut new = Vec::new();
        let mut useless = Vec::new();
        for dataset in tree {
            let sending = dataset.snapshot_by_name(tosend);
            let is_useful = |guid: Guid| {
                sending.is_some_and(|sending| sending.guid == guid)
                    || between.contains(&guid)
                    || has(dataset, guid)
            };
            useless.extend(self.marks_of(dataset, |guid| !is_useful(guid)));
            let Some(sending) = sending else { continue };
            let base = dataset.snapshots.iter().rev().find(|snapshot| {
                snapshot.createtxg < sending.createtxg && has(dataset, snapshot.guid)
            });
            let carried = dataset
                .snapshots
                .iter()
                .filter(|snapshot| between.contains(&snapshot.guid));
            new.extend(self.missing(dataset, sending));
            for snapshot in base.into_iter().chain(carried) {
                if let Some(mark) = self.missing(dataset, snapshot) {
                    self.passing.push(BookmarkName {
                        dataset: dataset.name.clone(),
                        short: mark.short.clone(),
                    });
                    new.push(mark);
                }
            }
        }
        for part in new.chunks(MARKS_PART) {
            source.bookmark(part.to_vec()).await?;
        }
        destroy(source, useless).await
    }

    /// After the target has committed `tosend`: destroys the other marks, those
    /// that were listed and those that `begin` made.
    pub(super) async fn end(
        &self,
        source: &mut Peer,
        tree: &[Dataset],
        tosend: &ShortName,
    ) -> Result<(), PeerError> {
        let mut older = self.passing.clone();
        for dataset in tree {
            if let Some(sent) = dataset.snapshot_by_name(tosend) {
                older.extend(self.marks_of(dataset, |guid| guid != sent.guid));
            }
        }
        destroy(source, older).await
    }

    /// This target's marks in `dataset` whose guid is `wanted`.
    fn marks_of(&self, dataset: &Dataset, wanted: impl Fn(Guid) -> bool) -> Vec<BookmarkName> {
        dataset
            .bookmarks
            .iter()
            .filter(|mark| self.is_ours(&mark.short) && wanted(mark.guid))
            .map(|mark| BookmarkName {
                dataset: dataset.name.clone(),
                short: mark.short.clone(),
            })
            .collect()
    }

    /// Marks `base` in every dataset where this target has no mark yet: it is
    /// about to be rotated away, and may be all the target shares.
    pub(super) async fn keep(
        &self,
        source: &mut Peer,
        tree: &[Dataset],
        base: &ShortName,
    ) -> Result<(), PeerError> {
        let new: Vec<_> = tree
            .iter()
            .filter(|dataset| {
                !dataset
                    .bookmarks
                    .iter()
                    .any(|mark| self.is_ours(&mark.short))
            })
            .filter_map(|dataset| {
                let snapshot = dataset.snapshot_by_name(base)?;
                Some(self.request(dataset, snapshot, &self.name(snapshot.guid).ok()?))
            })
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        source.bookmark(new).await
    }

    /// True if `dataset` has a mark of any target of the resource.
    pub(in crate::sync) fn any(rid: &Rid, dataset: &Dataset) -> bool {
        let prefix = format!("zferry.{}.", rid.dotted());
        let mut marks = dataset.bookmarks.iter();
        marks.any(|mark| mark.short.as_str().starts_with(&prefix))
    }

    /// What this target may have of `dataset`, by its marks there; oldest first.
    pub(in crate::sync) fn guids(&self, dataset: &Dataset) -> Vec<Guid> {
        let marks = dataset.bookmarks.iter();
        marks
            .filter(|mark| self.is_ours(&mark.short))
            .map(|mark| mark.guid)
            .collect()
    }

    /// The mark to make of `snapshot`, unless `dataset` has it.
    pub(super) fn missing(&self, dataset: &Dataset, snapshot: &Snapshot) -> Option<NewBookmark> {
        if self.guids(dataset).contains(&snapshot.guid) {
            return None;
        }
        let short = self.name(snapshot.guid).ok()?;
        Some(self.request(dataset, snapshot, &short))
    }

    /// This target's marks in `dataset` of what is older than `createtxg`.
    pub(super) fn older_than(&self, dataset: &Dataset, createtxg: CreateTxg) -> Vec<BookmarkName> {
        let marks = dataset.bookmarks.iter();
        marks
            .filter(|mark| self.is_ours(&mark.short) && mark.createtxg < createtxg)
            .map(|mark| BookmarkName {
                dataset: dataset.name.clone(),
                short: mark.short.clone(),
            })
            .collect()
    }

    fn request(&self, dataset: &Dataset, snapshot: &Snapshot, short: &ShortName) -> NewBookmark {
        NewBookmark {
            of: SnapshotName {
                dataset: dataset.name.clone(),
                short: snapshot.short.clone(),
            },
            short: short.clone(),
        }
    }
}

pub(super) async fn destroy(peer: &mut Peer, marks: Vec<BookmarkName>) -> Result<(), PeerError> {
    for part in marks.chunks(MARKS_PART) {
        peer.destroy_bookmarks(part.to_vec()).await?;
    }
    Ok(())
}
