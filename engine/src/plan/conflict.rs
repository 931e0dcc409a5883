//! Why the target cannot be brought to the wanted state by sending a stream.

use super::partial::LeftBehind;
use crate::error::Family;
use crate::name::{DatasetName, Guid, ShortName, SnapshotName};

/// An obstacle on the target (or, for keys, on the source). Nothing was
/// touched; each says what is there and what an operator can do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The target exists and shares no snapshot with the source.
    #[error(
        "{target} exists but has no snapshot in common with {origin} \
         ({snapshots} snapshots there, {newest})"
    )]
    NoCommonBase {
        /// The dataset on the target.
        target: DatasetName,
        /// The dataset on the source.
        origin: DatasetName,
        /// How many snapshots the target has.
        snapshots: usize,
        /// The newest of them, as text for the message.
        newest: String,
    },
    /// The target was written to after the base.
    #[error("{target} was modified after {base}: {written_bytes} bytes written")]
    Modified {
        /// The dataset on the target.
        target: DatasetName,
        /// The newest common snapshot, by its name on the target.
        base: SnapshotName,
        /// Bytes written since.
        written_bytes: u64,
    },
    /// The target has snapshots after the base that the source does not know.
    #[error("{}", diverged(target, base, newer, bookmarks, *written_bytes))]
    Diverged {
        /// The dataset on the target.
        target: DatasetName,
        /// The newest common snapshot, by its name on the target.
        base: SnapshotName,
        /// What came after it, oldest first: name and guid.
        newer: Box<[(ShortName, Guid)]>,
        /// Bookmarks of what came after it, if it is them that are in the way.
        bookmarks: Box<[ShortName]>,
        /// Bytes written since the base, in these snapshots and after them.
        written_bytes: u64,
    },
    /// A snapshot that was to be destroyed is held, or has a clone.
    #[error("{snapshot} cannot be destroyed: it has {holds} holds and {clones} clones")]
    Kept {
        /// The snapshot on the target.
        snapshot: SnapshotName,
        /// Number of holds.
        holds: u64,
        /// Number of clones.
        clones: u64,
    },
    /// The target already has a newer state of the source.
    #[error("{target} already has {newer}, which is newer than {wanted}")]
    Ahead {
        /// The dataset on the target.
        target: DatasetName,
        /// The newer snapshot, by its name on the target.
        newer: SnapshotName,
        /// What was to be sent.
        wanted: SnapshotName,
    },
    /// The name of the wanted snapshot belongs to another one on the target.
    #[error("{snapshot} exists on the target with another guid ({guid})")]
    NameTaken {
        /// The snapshot on the target.
        snapshot: SnapshotName,
        /// Its guid.
        guid: Guid,
    },
    /// A receive that was cut left a part that this run cannot use.
    #[error("{left}")]
    PartialReceive {
        /// What is there, and why it is not used.
        left: Box<LeftBehind>,
    },
    /// Source and target are one dataset.
    #[error("source and target are the same dataset ({target})")]
    SameDataset {
        /// The dataset.
        target: DatasetName,
    },
    /// A volume on one side, a file system on the other.
    #[error("{target} and {origin} are not of one kind (file system and volume)")]
    OtherKind {
        /// The dataset on the target.
        target: DatasetName,
        /// The dataset on the source.
        origin: DatasetName,
    },
    /// Raw and plain streams would be mixed.
    #[error("{target} was received {there}, and this run would send {here}")]
    MixedModes {
        /// The dataset on the target.
        target: DatasetName,
        /// "raw" or "plain".
        there: &'static str,
        /// "raw" or "plain".
        here: &'static str,
    },
    /// A plain stream of an encrypted dataset needs its key.
    #[error("the key of {origin} is not loaded, so only a raw stream can be sent")]
    KeyNotLoaded {
        /// The dataset on the source.
        origin: DatasetName,
    },
    /// The snapshot to send does not exist.
    #[error("{origin} has no snapshot {short}")]
    NoSuchSnapshot {
        /// The dataset on the source.
        origin: DatasetName,
        /// The missing snapshot.
        short: ShortName,
    },
}

/// Names that a message shows; a listing shows the others.
const NAMES_SHOWN: usize = 8;

fn diverged(
    target: &DatasetName,
    base: &SnapshotName,
    newer: &[(ShortName, Guid)],
    bookmarks: &[ShortName],
    written_bytes: u64,
) -> String {
    let snapshots = newer.iter().map(|(short, _)| format!("@{short}"));
    let names: Vec<String> = snapshots
        .chain(bookmarks.iter().map(|short| format!("#{short}")))
        .collect();
    let shown = names[..names.len().min(NAMES_SHOWN)].join(", ");
    let more = match names.len().saturating_sub(NAMES_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "{target} has what the source does not know after {base}: {shown}{more}; \
         {written_bytes} bytes written since"
    )
}

impl Conflict {
    /// The exit-code family.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::NoCommonBase { .. }
            | Self::Modified { .. }
            | Self::Diverged { .. }
            | Self::Kept { .. }
            | Self::Ahead { .. }
            | Self::NameTaken { .. }
            | Self::OtherKind { .. }
            | Self::MixedModes { .. } => Family::BrokenChain,
            Self::PartialReceive { .. } | Self::KeyNotLoaded { .. } => Family::Failed,
            Self::SameDataset { .. } | Self::NoSuchSnapshot { .. } => Family::Usage,
        }
    }

    /// What to do about it, with the command to type.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::NoCommonBase { target, .. } | Self::OtherKind { target, .. } => format!(
                "replicate into another dataset, or move this one away on the target: \
                 zfs rename {target} {target}.old"
            ),
            Self::Modified { target, base, .. } => format!(
                "if these changes may be lost, run again with --rollback, or on the target: \
                 zfs rollback {base}; then keep it unchanged: zfs set readonly=on {target}"
            ),
            Self::Diverged { target, base, .. } => format!(
                "see what is there: zfs list -t snapshot,bookmark -o name,guid,written {target}; \
                 if all after {base} may be lost, run again with --destroy-newer-snapshots; \
                 to keep it, move this copy away: zfs rename {target} {target}.old"
            ),
            Self::Kept {
                snapshot,
                clones: 0,
                ..
            } => format!("see who holds it, and ask: zfs holds {snapshot}"),
            Self::Kept { snapshot, .. } => {
                format!("see what depends on it: zfs get clones {snapshot}")
            }
            Self::Ahead { newer, .. } => {
                format!("send a snapshot that is newer than {newer}")
            }
            Self::NameTaken { snapshot, .. } => {
                format!("rename it on the target: zfs rename {snapshot} {snapshot}.other")
            }
            Self::PartialReceive { left } => left.remedy(),
            Self::SameDataset { .. } => "name another dataset as target".to_owned(),
            Self::MixedModes { there: "raw", .. } => "use --raw, as before".to_owned(),
            Self::MixedModes { .. } => "leave --raw out, as before".to_owned(),
            Self::KeyNotLoaded { origin } => {
                format!("use --raw, or load the key: zfs load-key {origin}")
            }
            Self::NoSuchSnapshot { origin, .. } => {
                format!("see what there is: zfs list -t snapshot {origin}")
            }
        }
    }
}
