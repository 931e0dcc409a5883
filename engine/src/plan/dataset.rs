//! The plan for one dataset.

use std::collections::HashMap;

use super::conflict::Conflict;
use crate::name::{CreateTxg, DatasetName, Guid, SnapshotName};
use crate::zfs::{Base, Dataset, PartialContent, ResumePoint, SendMode, Snapshot};

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

/// Plans the transfer of `wanted`, a snapshot of `source`, to `target_name`,
/// which is `target` if it exists.
///
/// The base is the newest snapshot or bookmark of the source, older than
/// `wanted`, whose guid the target has as a snapshot. What a cut stream left
/// on the target decides for it: if it was the stream of `wanted`, in the same
/// block form and from a base that both still have, it goes on; if not, it is
/// in the way and nothing is planned.
///
/// # Errors
/// [`Conflict`] if no stream leads from the target's state to `wanted` without
/// losing something.
pub fn plan_dataset(
    source: &Dataset,
    wanted: &Snapshot,
    mode: SendMode,
    target_name: &DatasetName,
    target: Option<&Dataset>,
) -> Result<Step, Conflict> {
    let Some(target) = target else {
        check_key(source, mode)?;
        return Ok(Step::Full);
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
    if target.snapshot_by_guid(wanted.guid).is_some() {
        return Ok(Step::UpToDate);
    }
    if let Some(partial) = &target.partial {
        let content = partial.content.as_ref();
        let step = content.and_then(|content| resumed(source, wanted, mode, target, content));
        let Some(step) = step else {
            return Err(Conflict::PartialReceive {
                target: target_name.clone(),
            });
        };
        check_name(wanted, target)?;
        check_key(source, mode)?;
        // What has arrived of a new dataset counts as written; nobody else can
        // have written there.
        if let Some((_, guid)) = step.base()
            && let Some(base) = target.snapshot_by_guid(guid)
            && is_modified(target)
        {
            return Err(Conflict::Modified {
                target: target_name.clone(),
                base: named(target, base),
                written_bytes: target.written_bytes,
            });
        }
        return Ok(step);
    }
    let common = Common::find(source, wanted.createtxg, target);
    if let Some(newer) = common.newer {
        return Err(Conflict::Ahead {
            target: target_name.clone(),
            newer: named(target, newer),
            wanted: named(source, wanted),
        });
    }
    let Some((base, base_there)) = common.base else {
        return Err(Conflict::NoCommonBase {
            target: target_name.clone(),
            origin: source.name.clone(),
            snapshots: target.snapshots.len(),
            newest: target.snapshots.last().map_or_else(
                || "so none to start from".to_owned(),
                |snapshot| format!("the newest is @{}", snapshot.short),
            ),
        });
    };
    check_name(wanted, target)?;
    check_modes(source, target, mode)?;
    check_key(source, mode)?;
    if is_modified(target) {
        return Err(Conflict::Modified {
            target: target_name.clone(),
            base: named(target, base_there),
            written_bytes: target.written_bytes,
        });
    }
    Ok(Step::Incremental {
        base,
        guid: base_there.guid,
    })
}

/// What a dataset without any change may show as written, in bytes: rolling
/// back rewrites the block that heads it, twice, in sectors of up to 4 KiB
/// (seen: 1024 with sectors of 512). A smaller change than that passes here, and
/// ZFS refuses the stream as it begins, with nothing lost.
const WRITTEN_UNCHANGED_BYTES_MAX: u64 = 8192;

fn is_modified(target: &Dataset) -> bool {
    target.written_bytes > WRITTEN_UNCHANGED_BYTES_MAX
}

/// The step that completes what is left of a cut stream, if that was one of
/// `wanted` as `mode` would send it.
fn resumed(
    source: &Dataset,
    wanted: &Snapshot,
    mode: SendMode,
    target: &Dataset,
    left: &PartialContent,
) -> Option<Step> {
    if (left.to_guid, left.mode) != (wanted.guid, mode) {
        return None;
    }
    let base = match left.from_guid {
        None if target.snapshots.is_empty() => None,
        None => return None,
        Some(guid) => {
            target.snapshot_by_guid(guid)?;
            let snapshot = source.snapshot_by_guid(guid);
            let bookmark = source.bookmarks.iter().find(|mark| mark.guid == guid);
            let base = match (snapshot, bookmark) {
                (Some(snapshot), _) => Base::Snapshot(named(source, snapshot)),
                (None, Some(bookmark)) => Base::Bookmark(bookmark.short.clone()),
                (None, None) => return None,
            };
            Some((base, guid))
        }
    };
    Some(Step::Resume {
        base,
        point: left.resume,
        received_bytes: left.received_bytes,
    })
}

fn check_name(wanted: &Snapshot, target: &Dataset) -> Result<(), Conflict> {
    match target.snapshot_by_name(&wanted.short) {
        None => Ok(()),
        Some(other) => Err(Conflict::NameTaken {
            snapshot: named(target, other),
            guid: other.guid,
        }),
    }
}

/// What source and target share, seen from a snapshot that is to be sent.
struct Common<'a> {
    /// The newest shared state before it, as a base and as the target's snapshot.
    base: Option<(Base, &'a Snapshot)>,
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
        let newer = source
            .snapshots
            .iter()
            .rev()
            .take_while(|snapshot| snapshot.createtxg > wanted)
            .find_map(|snapshot| there.get(&snapshot.guid).copied());
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
            .max_by_key(|(createtxg, _, _)| *createtxg)
            .map(|(_, base, snapshot)| (base, snapshot));
        Self { base, newer }
    }
}

/// A raw-received dataset is its own encryption root or lies below one inside
/// the received tree; one that was received plainly has no encryption, or
/// inherits that of the target's pool.
fn check_modes(source: &Dataset, target: &Dataset, mode: SendMode) -> Result<(), Conflict> {
    let Some(source_encryption) = &source.encryption else {
        return Ok(());
    };
    let same_depth_root = target.encryption.as_ref().is_some_and(|encryption| {
        let below = |root: &DatasetName, name: &DatasetName| {
            name.as_str().len().checked_sub(root.as_str().len())
        };
        below(&encryption.root, &target.name) == below(&source_encryption.root, &source.name)
    });
    match (mode, same_depth_root) {
        (SendMode::Raw, false) if target.encryption.is_none() => Err(Conflict::MixedModes {
            target: target.name.clone(),
            there: "plain",
            here: "raw",
        }),
        (SendMode::Plain, true) => Err(Conflict::MixedModes {
            target: target.name.clone(),
            there: "raw",
            here: "plain",
        }),
        _ => Ok(()),
    }
}

fn check_key(source: &Dataset, mode: SendMode) -> Result<(), Conflict> {
    match &source.encryption {
        Some(encryption) if mode == SendMode::Plain && !encryption.key_loaded => {
            Err(Conflict::KeyNotLoaded {
                origin: source.name.clone(),
            })
        }
        _ => Ok(()),
    }
}

fn named(dataset: &Dataset, snapshot: &Snapshot) -> SnapshotName {
    SnapshotName {
        dataset: dataset.name.clone(),
        short: snapshot.short.clone(),
    }
}
