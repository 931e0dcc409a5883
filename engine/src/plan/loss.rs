//! What stands on a target after the base, and what may become of it.
//!
//! A stream goes onto the base and nothing else. Snapshots of the target that
//! are newer, and changes of its head, would have to go first. Nothing of that
//! is planned unless the request allows it; what is planned says exactly what
//! is lost. Holds, clones and other people's bookmarks are respected even then,
//! as far as ZFS would: what is held or cloned is never planned to go.

use super::conflict::Conflict;
use super::dataset::named;
use super::partial::OnPartial;
use crate::name::{BookmarkName, Guid, ShortName, SnapshotName};
use crate::zfs::{Dataset, SendMode, Snapshot};

/// What may be lost on a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loss {
    /// Changes since the base.
    pub on_modified: OnModified,
    /// Snapshots newer than the base that the source does not know.
    pub on_newer: OnNewer,
    /// What a cut receive left, of no use to this run.
    pub on_partial: OnPartial,
}

/// What becomes of changes that were made to a target since the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnModified {
    /// They are a conflict.
    #[default]
    Never,
    /// The target is rolled back to the base, unless snapshots stand after it.
    RollBack,
}

/// What becomes of snapshots on the target that are newer than the base and
/// that the source does not know, and of bookmarks of such snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnNewer {
    /// They are a conflict, if anything was written in them.
    #[default]
    Refuse,
    /// They are destroyed, by guid.
    Destroy,
}

/// What has to go from a dataset of the target before its first stream.
///
/// Snapshots go first, those of the whole tree in one transaction; the
/// dataset is rolled back right before its stream. Cut in between, the rest is
/// found by the next plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clearing {
    /// What the dataset is rolled back to: the base, by its name on the target.
    pub to: SnapshotName,
    /// Its guid.
    pub guid: Guid,
    /// Snapshots to destroy first, and who they have to be.
    pub snapshots: Vec<(SnapshotName, Guid)>,
    /// Bookmarks to destroy first: none may be newer than what is rolled back to.
    pub bookmarks: Vec<BookmarkName>,
    /// Bytes written since the base, all of them lost.
    pub lost_bytes: u64,
}

impl Clearing {
    /// True if the snapshot with this guid goes.
    #[must_use]
    pub fn destroys(&self, guid: Guid) -> bool {
        self.snapshots.iter().any(|(_, gone)| *gone == guid)
    }
}

/// What a dataset without any change may show as written, in bytes: rolling
/// back rewrites the block that heads it, twice, in sectors of up to 4 KiB
/// (seen: 1024 with sectors of 512). A smaller change than that passes here, and
/// ZFS refuses the stream as it begins, with nothing lost.
const WRITTEN_UNCHANGED_BYTES_MAX: u64 = 8192;

/// Bookmarks that begin so are marks of the scheme; no data depends on them on
/// a target.
const MARK_PREFIX: &str = "zferry.";

/// What has to go so that a stream from `base`, in block form `mode`, can be
/// received into `target`; `None` if nothing has to.
///
/// # Errors
/// [`Conflict::Diverged`], [`Conflict::Kept`], [`Conflict::Modified`] if that
/// may not go.
pub(super) fn clearing(
    target: &Dataset,
    base: &Snapshot,
    mode: SendMode,
    loss: Loss,
) -> Result<Option<Clearing>, Conflict> {
    let newer: Vec<&Snapshot> = target
        .snapshots
        .iter()
        .filter(|snapshot| snapshot.createtxg > base.createtxg)
        .collect();
    let between = newer.iter().map(|snapshot| snapshot.written_bytes);
    let lost_bytes = between.fold(target.written_bytes, u64::saturating_add);
    let diverged = |bookmarks: Box<[ShortName]>| Conflict::Diverged {
        target: target.name.clone(),
        base: named(target, base),
        newer: newer
            .iter()
            .map(|snapshot| (snapshot.short.clone(), snapshot.guid))
            .collect(),
        bookmarks,
        written_bytes: lost_bytes,
    };
    let is_changed = lost_bytes > WRITTEN_UNCHANGED_BYTES_MAX;
    // ZFS takes a stream over snapshots that change nothing, and leaves them
    // where they are; not a raw one, whose blocks name the snapshot before.
    let is_in_the_way = !newer.is_empty() && (is_changed || mode == SendMode::Raw);
    if is_in_the_way {
        if loss.on_newer == OnNewer::Refuse {
            return Err(diverged(Box::default()));
        }
        if let Some(kept) = newer.iter().find(|s| s.holds > 0 || s.clones > 0) {
            return Err(Conflict::Kept {
                snapshot: named(target, kept),
                holds: kept.holds,
                clones: kept.clones,
            });
        }
    }
    if is_changed && loss.on_modified == OnModified::Never {
        return Err(Conflict::Modified {
            target: target.name.clone(),
            base: named(target, base),
            written_bytes: lost_bytes,
        });
    }
    let rolls_back_little =
        newer.is_empty() && lost_bytes > 0 && loss.on_modified == OnModified::RollBack;
    if !is_in_the_way && !is_changed && !rolls_back_little {
        return Ok(None);
    }
    let bookmarks = target
        .bookmarks
        .iter()
        .filter(|mark| mark.createtxg > base.createtxg);
    let others: Box<[ShortName]> = bookmarks
        .clone()
        .filter(|mark| !mark.short.as_str().starts_with(MARK_PREFIX))
        .map(|mark| mark.short.clone())
        .collect();
    if loss.on_newer == OnNewer::Refuse && !others.is_empty() {
        return Err(diverged(others));
    }
    Ok(Some(Clearing {
        to: named(target, base),
        guid: base.guid,
        snapshots: newer
            .iter()
            .map(|snapshot| (named(target, snapshot), snapshot.guid))
            .collect(),
        bookmarks: bookmarks
            .map(|mark| BookmarkName {
                dataset: target.name.clone(),
                short: mark.short.clone(),
            })
            .collect(),
        lost_bytes,
    }))
}
