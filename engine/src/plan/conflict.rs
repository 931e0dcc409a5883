//! Why the target cannot be brought to the wanted state by sending a stream.

use std::fmt;

use super::partial::LeftBehind;
use crate::error::Family;
use crate::name::{DatasetName, Guid, Ivset, ShortName, SnapshotName};

/// An obstacle on the target (or, for keys, on the source). Nothing was
/// touched; each says what is there and what an operator can do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The target exists and shares no snapshot with the source.
    #[error(
        "{target} exists but has no snapshot in common with {origin} \
         ({snapshots} snapshots there, {newest}; {held_bytes} bytes were written in it)"
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
        /// Bytes written there in all its snapshots and since.
        held_bytes: u64,
    },
    /// The same, and one of the target's snapshots has a name that zferry gives.
    /// That proves nothing: anybody may give it. It is most often the copy of a
    /// dataset that was destroyed and made again under the same name, or that has
    /// lost every snapshot and bookmark of that time.
    #[error(
        "{target} exists but has no snapshot in common with what {origin} is now (guid \
         {origin_guid}): it has {last} (guid {last_guid}), which by its name is of a run of \
         zferry, and the source has neither that nor any other of the {snapshots} snapshots \
         there, nor a bookmark of one; {held_bytes} bytes were written in it"
    )]
    UnknownToSource {
        /// The dataset on the target.
        target: DatasetName,
        /// The dataset on the source.
        origin: DatasetName,
        /// The guid of that dataset.
        origin_guid: Guid,
        /// The newest with such a name, by its name on the target.
        last: Box<SnapshotName>,
        /// Its guid.
        last_guid: Guid,
        /// How many snapshots the target has.
        snapshots: usize,
        /// Bytes written there in all its snapshots and since.
        held_bytes: u64,
    },
    /// The target is a clone, and what it shares with the source is its origin:
    /// ZFS receives an increment only onto a snapshot of the dataset itself.
    #[error(
        "{target} is a clone of {of} (guid {guid}), which the source knows, and has no snapshot \
         of its own that the source knows"
    )]
    CloneOfCopy {
        /// The dataset on the target.
        target: DatasetName,
        /// What it was cloned from.
        of: SnapshotName,
        /// The guid of that.
        guid: Guid,
    },
    /// The copy is on the target under another name.
    #[error("the copy for {target} is at {at} on the target: it has {base} (guid {base_guid})")]
    Renamed {
        /// Where it should be.
        target: DatasetName,
        /// Where it is.
        at: DatasetName,
        /// The newest snapshot it shares with the source.
        base: SnapshotName,
        /// Its guid.
        base_guid: Guid,
        /// Another dataset has the name.
        is_in_the_way: bool,
    },
    /// What the target is a copy of has another name on the source.
    #[error(
        "{target} is a copy of {at}, not of {origin}: the source has {base} (guid {base_guid}) \
         under that name"
    )]
    SourceRenamed {
        /// The dataset on the target.
        target: DatasetName,
        /// What was to be sent.
        origin: DatasetName,
        /// What the target is a copy of.
        at: DatasetName,
        /// The newest snapshot that both have, by its name on the source.
        base: Box<SnapshotName>,
        /// Its guid.
        base_guid: Guid,
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
    #[error("{snapshot} cannot be destroyed: {}", kept(*holds, *clones, keepers))]
    Kept {
        /// The snapshot on the target.
        snapshot: SnapshotName,
        /// Number of holds.
        holds: u64,
        /// Number of clones.
        clones: u64,
        /// Tags of the holds and names of the clones, as far as they were asked
        /// for.
        keepers: Box<[Keeper]>,
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
    /// The base is encrypted otherwise on the target: after raw streams a plain
    /// one has come, or one side has it from before ivset guids.
    #[error("{}", ivsets_differ(target, base, (*here, *there), raw_until.as_deref()))]
    IvsetMismatch {
        /// The dataset on the target.
        target: DatasetName,
        /// The newest common snapshot, by its name on the target.
        base: Box<SnapshotName>,
        /// Its ivset guid on the source.
        here: Option<Ivset>,
        /// Its ivset guid on the target.
        there: Option<Ivset>,
        /// The newest that both have with one ivset guid, by its name on the
        /// target.
        raw_until: Option<Box<SnapshotName>>,
    },
    /// The target is unlocked by a key that a raw stream does not bring.
    #[error(
        "{target} is unlocked by the key of {root}, and {origin} by that of {origin_root}: a raw \
         stream would put a key in its place that {root} cannot unlock"
    )]
    EncryptionRoot {
        /// The dataset on the target.
        target: DatasetName,
        /// Its encryption root.
        root: DatasetName,
        /// The dataset on the source.
        origin: DatasetName,
        /// The encryption root of that.
        origin_root: DatasetName,
    },
    /// A plain stream onto an encrypted dataset needs its key.
    #[error(
        "the key of {target} is not loaded (it is that of {root}), so only a raw stream could be received"
    )]
    TargetKeyNotLoaded {
        /// The dataset on the target.
        target: DatasetName,
        /// Its encryption root.
        root: DatasetName,
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

/// What keeps a snapshot from being destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keeper {
    /// A hold with this tag.
    Hold(String),
    /// A clone of it.
    Clone(DatasetName),
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Anybody may have placed it.
            Self::Hold(tag) => write!(f, "hold {}", tag.escape_debug()),
            Self::Clone(name) => write!(f, "clone {name}"),
        }
    }
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

fn ivsets_differ(
    target: &DatasetName,
    base: &SnapshotName,
    (here, there): (Option<Ivset>, Option<Ivset>),
    raw_until: Option<&SnapshotName>,
) -> String {
    let told = |ivset: Option<Ivset>| match ivset {
        Some(ivset) => format!("ivset guid {ivset}"),
        None => "no ivset guid".to_owned(),
    };
    let until = match raw_until {
        Some(last) => format!(
            ": a plain stream was received after {last}, the newest with the blocks of the source"
        ),
        None => String::new(),
    };
    format!(
        "{target} takes no raw stream: its {base} has {}, and the source's has {}{until}",
        told(there),
        told(here)
    )
}

fn kept(holds: u64, clones: u64, keepers: &[Keeper]) -> String {
    let plural = |n: u64| if n == 1 { "" } else { "s" };
    let number = format!(
        "it has {holds} hold{} and {clones} clone{}",
        plural(holds),
        plural(clones)
    );
    let names: Vec<String> = keepers.iter().map(Keeper::to_string).collect();
    match names.len() {
        0 => number,
        n if n > NAMES_SHOWN => format!("{number}: {}, …", names[..NAMES_SHOWN].join(", ")),
        _ => format!("{number}: {}", names.join(", ")),
    }
}

impl Conflict {
    /// True if a full copy could take the place of the target, were that put
    /// aside.
    #[must_use]
    pub fn is_mended_by_archiving(&self) -> bool {
        match self {
            Self::NoCommonBase { .. }
            | Self::UnknownToSource { .. }
            | Self::CloneOfCopy { .. }
            | Self::Renamed { .. }
            | Self::SourceRenamed { .. }
            | Self::Modified { .. }
            | Self::Diverged { .. }
            | Self::Kept { .. }
            | Self::Ahead { .. }
            | Self::NameTaken { .. }
            | Self::PartialReceive { .. }
            | Self::OtherKind { .. }
            | Self::IvsetMismatch { .. }
            | Self::EncryptionRoot { .. }
            | Self::MixedModes { .. } => true,
            // A plain copy would go below the same root, and need its key too.
            Self::TargetKeyNotLoaded { .. }
            | Self::SameDataset { .. }
            | Self::KeyNotLoaded { .. }
            | Self::NoSuchSnapshot { .. } => false,
        }
    }

    /// The exit-code family.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::NoCommonBase { .. }
            | Self::UnknownToSource { .. }
            | Self::CloneOfCopy { .. }
            | Self::Renamed { .. }
            | Self::SourceRenamed { .. }
            | Self::Modified { .. }
            | Self::Diverged { .. }
            | Self::Kept { .. }
            | Self::Ahead { .. }
            | Self::NameTaken { .. }
            | Self::OtherKind { .. }
            | Self::IvsetMismatch { .. }
            | Self::EncryptionRoot { .. }
            | Self::MixedModes { .. } => Family::BrokenChain,
            Self::PartialReceive { .. }
            | Self::KeyNotLoaded { .. }
            | Self::TargetKeyNotLoaded { .. } => Family::Failed,
            Self::SameDataset { .. } | Self::NoSuchSnapshot { .. } => Family::Usage,
        }
    }
}
