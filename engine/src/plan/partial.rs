//! What a cut receive left on a target, and what becomes of it.
//!
//! A resume token is what the other side says, so everything in it is compared
//! with what both lists show; its names are shown and never followed. There
//! are three outcomes:
//!
//! - it is **used**: it is a part of the stream that is wanted, from a base
//!   that both sides have, in the same form;
//! - it is **given up** by the run itself: it is of no use to anyone any more,
//!   and provably a part of what zferry sent from this very dataset; or its
//!   snapshot is on the target already; or the target has taken a snapshot since,
//!   over which ZFS completes nothing, and the source has all of it;
//! - it is **reported**, with what it is and what giving it up would cost, and
//!   goes only if the request says so ([`OnPartial::Discard`]).
//!
//! A part holds nothing that was written on the target. What is lost with it is
//! the work of sending it, unless its source is gone; hence the second rule is
//! strict.

use std::fmt;

use serde::Serialize;

use super::conflict::Conflict;
use super::dataset::{DatasetRequest, Step, named};
use super::loss::clearing;
use super::remedy::word;
use crate::name::{DatasetName, Guid, ShortName, SnapshotName};
use crate::zfs::{Base, Dataset, PartialContent, PartialReceive, SendMode, Snapshot};

/// What becomes of a part that this run neither uses nor may give up by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnPartial {
    /// It is a conflict.
    #[default]
    Report,
    /// It is given up.
    Discard,
}

/// The snapshots that runs like this one take: parts of them are ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Taken<'a> {
    /// This run sends what others took.
    #[default]
    Nothing,
    /// All whose names begin so, and no others.
    Series(&'a str),
    /// Those of this name.
    Named(&'a ShortName),
}

impl Taken<'_> {
    fn includes(self, short: &ShortName) -> bool {
        match self {
            Self::Nothing => false,
            Self::Series(series) => short.as_str().starts_with(series),
            Self::Named(name) => short == name,
        }
    }
}

/// What a cut receive left, to be given up before anything else happens to the
/// dataset. Cut right after it, the dataset is as if the receive had never
/// begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discard {
    /// The dataset on the target. It goes itself if it has no snapshot: then it
    /// was to come into being.
    pub dataset: DatasetName,
    /// The token that says what is there; if it has changed, it stays.
    pub token: String,
    /// The snapshot that was being received, if the token tells.
    pub to_guid: Option<Guid>,
    /// Its name where it was sent, as the token has it; only to be shown.
    pub to_name: Option<SnapshotName>,
    /// Bytes that have arrived, and would have to be sent again.
    pub received_bytes: u64,
    /// Why it may go.
    pub reason: DiscardReason,
}

/// Why a part may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DiscardReason {
    /// Its snapshot is on the target already.
    Arrived,
    /// zferry sent it, and it can never be completed.
    Useless,
    /// The target has a newer snapshot since, and the source all that is in it.
    Overtaken,
    /// It was asked for.
    Asked,
}

impl DiscardReason {
    /// In words, to follow the dataset: "backup/a: …".
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Arrived => "its snapshot is there already",
            Self::Useless => "zferry sent it, and the source cannot complete it any more",
            Self::Overtaken => "a snapshot was taken there since, so that it cannot be completed",
            Self::Asked => "as was asked for",
        }
    }
}

/// Why a part cannot be completed by this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// The token cannot be read, or is of a kind of stream that zferry does
    /// not send.
    Unreadable,
    /// What the token says cannot be.
    Implausible,
    /// The source has no snapshot of this guid.
    UnknownSnapshot,
    /// The source has neither snapshot nor bookmark of the base.
    NoBaseOnSource(Guid),
    /// The target does not have the base.
    NoBaseOnTarget(Guid),
    /// A full stream, beside snapshots that the target has.
    FullBesideSnapshots,
    /// Its blocks have another form.
    OtherForm(SendMode),
    /// It is of a snapshot that the source has, but not the wanted one.
    OtherSnapshot(SnapshotName),
    /// The target has taken a snapshot since.
    Overtaken(ShortName),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("its resume token cannot be read"),
            Self::Implausible => f.write_str("its resume token says what cannot be"),
            Self::UnknownSnapshot => f.write_str("the source has no such snapshot"),
            Self::NoBaseOnSource(guid) => write!(f, "the source has lost its base, guid {guid}"),
            Self::NoBaseOnTarget(guid) => {
                write!(f, "the target does not have its base, guid {guid}")
            }
            Self::FullBesideSnapshots => {
                f.write_str("it is of a full stream, and the target has snapshots")
            }
            Self::OtherForm(SendMode::Raw) => {
                f.write_str("it is of a raw stream, and this run sends plain ones")
            }
            Self::OtherForm(SendMode::Plain) => {
                f.write_str("it is of a plain stream, and this run sends raw ones")
            }
            Self::OtherSnapshot(snapshot) => {
                write!(f, "it is of {snapshot}, and another one is wanted")
            }
            Self::Overtaken(newest) => {
                write!(f, "the target has a snapshot since, @{newest}")
            }
        }
    }
}

/// A part that is in the way, as a conflict tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftBehind {
    /// The dataset on the target.
    pub target: DatasetName,
    /// What the token says.
    pub content: Option<PartialContent>,
    /// True if the dataset itself goes with it, having nothing else.
    pub is_all: bool,
    /// Why it is not used.
    pub why: Unusable,
}

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} holds the part of a cut receive", self.target)?;
        if let Some(content) = &self.content {
            write!(f, ": {} bytes of ", content.received_bytes)?;
            match &content.to_name {
                Some(name) => write!(f, "{name} (guid {})", content.to_guid)?,
                None => write!(f, "a snapshot with guid {}", content.to_guid)?,
            }
            match content.from_guid {
                Some(from) => write!(f, ", from guid {from} on")?,
                None => write!(f, ", from the beginning")?,
            }
        }
        write!(f, "; {}", self.why)
    }
}

impl LeftBehind {
    /// What to do about it, with the command to type, and the machine `there`
    /// where the target is.
    #[must_use]
    pub fn remedy(&self, there: &str) -> String {
        let target = word(&self.target);
        let as_before = match self.why {
            Unusable::OtherForm(SendMode::Raw) => "use --raw, as before; or ",
            Unusable::OtherForm(SendMode::Plain) => "leave --raw out, as before; or ",
            _ => "",
        };
        let cost = match (&self.content, self.is_all) {
            (Some(content), true) => {
                format!("{} bytes and the dataset itself", content.received_bytes)
            }
            (Some(content), false) => format!("{} bytes", content.received_bytes),
            (None, true) => "the dataset itself, which has nothing else".to_owned(),
            (None, false) => "nothing but what had arrived".to_owned(),
        };
        format!(
            "{as_before}to give the part up (it costs {cost}) run again with --discard-partial, \
             or on {there}: zfs receive -A {target}"
        )
    }
}

/// What becomes of a part.
pub(super) enum Verdict {
    /// It is completed.
    Use(Step),
    /// It goes first.
    Discard(Discard),
    /// It is in the way.
    Report(Box<LeftBehind>),
}

/// Judges what a cut receive left in `target`.
pub(super) fn judge(
    request: &DatasetRequest<'_>,
    target: &Dataset,
    left: &PartialReceive,
) -> Verdict {
    let content = left
        .content
        .as_ref()
        .filter(|content| is_plausible(content));
    let discard = |reason| {
        Verdict::Discard(Discard {
            dataset: target.name.clone(),
            token: left.token.clone(),
            to_guid: content.map(|content| content.to_guid),
            to_name: content.and_then(|content| content.to_name.clone()),
            received_bytes: content.map_or(0, |content| content.received_bytes),
            reason,
        })
    };
    let why = match content {
        None if left.content.is_none() => Unusable::Unreadable,
        None => Unusable::Implausible,
        Some(content) if target.snapshot_by_guid(content.to_guid).is_some() => {
            return discard(DiscardReason::Arrived);
        }
        Some(content) => match completed(request, target, content) {
            Ok(step) => return Verdict::Use(step),
            // The source has the snapshot: nothing is lost but work.
            Err(Unusable::Overtaken(_)) => return discard(DiscardReason::Overtaken),
            Err(why) => {
                if is_lost(&why) && is_ours(request, target, content) {
                    return discard(DiscardReason::Useless);
                }
                why
            }
        },
    };
    if request.loss.on_partial == OnPartial::Discard {
        return discard(DiscardReason::Asked);
    }
    Verdict::Report(Box::new(LeftBehind {
        target: target.name.clone(),
        content: content.cloned(),
        is_all: target.snapshots.is_empty(),
        why,
    }))
}

/// The target as it is when the part is gone; `None` if the dataset goes with
/// it.
pub(super) fn without(target: &Dataset) -> Option<Dataset> {
    if target.snapshots.is_empty() {
        return None;
    }
    let mut target = target.clone();
    // What is being received is a hidden clone of its base. If the token does
    // not tell, that was the newest snapshot when it began: one that has a
    // clone, in most cases the only one.
    let content = target.partial.take().and_then(|left| left.content);
    let base = content.and_then(|content| content.from_guid);
    let mut newest_first = target.snapshots.iter_mut().rev();
    let branch = match base {
        Some(base) => newest_first.find(|snapshot| snapshot.guid == base),
        None => newest_first.find(|snapshot| snapshot.clones > 0),
    };
    if let Some(branch) = branch {
        branch.clones = branch.clones.saturating_sub(1);
    }
    Some(target)
}

/// Objects have numbers below this (`DN_MAX_OBJECT`).
const OBJECT_MAX: u64 = 1 << 48;
/// Offsets and sizes are signed in ZFS (`off_t`).
const BYTES_MAX: u64 = i64::MAX.unsigned_abs();

fn is_plausible(content: &PartialContent) -> bool {
    content.to_guid != Guid(0)
        && content.from_guid != Some(Guid(0))
        && content.from_guid != Some(content.to_guid)
        && content.resume.object <= OBJECT_MAX
        && content.resume.offset_bytes <= BYTES_MAX
        && content.received_bytes <= BYTES_MAX
}

/// The step that completes what is left of a cut stream, if that was one of
/// the wanted snapshot as this run would send it.
fn completed(
    request: &DatasetRequest<'_>,
    target: &Dataset,
    left: &PartialContent,
) -> Result<Step, Unusable> {
    let (source, wanted) = (request.source, request.wanted);
    let known: Option<&Snapshot> = match left.to_guid == wanted.guid {
        true => Some(wanted),
        false => source.snapshot_by_guid(left.to_guid),
    };
    let known = known.ok_or(Unusable::UnknownSnapshot)?;
    let base = match left.from_guid {
        None if target.snapshots.is_empty() => None,
        None => return Err(Unusable::FullBesideSnapshots),
        Some(guid) => {
            let base = base_on(source, guid).ok_or(Unusable::NoBaseOnSource(guid))?;
            target
                .snapshot_by_guid(guid)
                .ok_or(Unusable::NoBaseOnTarget(guid))?;
            Some((base, guid))
        }
    };
    if left.mode != request.mode {
        return Err(Unusable::OtherForm(left.mode));
    }
    if let Some(newest) = overtaking(request, target, left) {
        return Err(Unusable::Overtaken(newest.short.clone()));
    }
    if known.guid != wanted.guid {
        return Err(Unusable::OtherSnapshot(named(source, known)));
    }
    Ok(Step::Resume {
        base,
        point: left.resume,
        received_bytes: left.received_bytes,
    })
}

/// The snapshot that keeps a part from ever being completed, and stays: it was
/// taken after the receive had begun. A part is a hidden clone of what was the
/// newest snapshot then, and ZFS puts it nowhere else.
fn overtaking<'a>(
    request: &DatasetRequest<'_>,
    target: &'a Dataset,
    left: &PartialContent,
) -> Option<&'a Snapshot> {
    let base = target.snapshot_by_guid(left.from_guid?)?;
    // What keeps it from being cleared is told as the obstacle that it is.
    let clearing = clearing(target, base, request.mode, request.loss).ok()?;
    let goes = |guid| {
        clearing
            .as_ref()
            .is_some_and(|clearing| clearing.destroys(guid))
    };
    let mut newest_first = target.snapshots.iter().rev().filter(|one| !goes(one.guid));
    // Nothing stands after the base: what has a clone before it is somebody's.
    let newest = newest_first
        .next()
        .filter(|newest| newest.guid != base.guid)?;
    if newest.clones > 0 {
        return None;
    }
    // Where hidden clones are not counted nothing can be said.
    newest_first.any(|older| older.clones > 0).then_some(newest)
}

/// What the source has of this guid, to send from.
fn base_on(source: &Dataset, guid: Guid) -> Option<Base> {
    let snapshot = source.snapshot_by_guid(guid);
    let bookmark = || source.bookmarks.iter().find(|mark| mark.guid == guid);
    match snapshot {
        Some(snapshot) => Some(Base::Snapshot(named(source, snapshot))),
        None => Some(Base::Bookmark(bookmark()?.short.clone())),
    }
}

/// Nobody with this source can ever complete it.
fn is_lost(why: &Unusable) -> bool {
    match why {
        Unusable::UnknownSnapshot | Unusable::NoBaseOnSource(_) | Unusable::NoBaseOnTarget(_) => {
            true
        }
        Unusable::Unreadable
        | Unusable::Implausible
        | Unusable::FullBesideSnapshots
        | Unusable::OtherForm(_)
        | Unusable::OtherSnapshot(_)
        | Unusable::Overtaken(_) => false,
    }
}

/// Bookmarks that begin so are marks of the scheme, each of what zferry was
/// about to send.
const MARK_PREFIX: &str = "zferry.";

/// zferry sent it from this dataset. One of these proves it:
///
/// - the source has a mark of the very guid;
/// - the source has the snapshot, by a name that runs like this one take;
/// - the token has such a name, and the part starts from a snapshot that both
///   sides have, or, with nothing before it, from a dataset of the source's name.
fn is_ours(request: &DatasetRequest<'_>, target: &Dataset, left: &PartialContent) -> bool {
    let (source, taken) = (request.source, request.taken);
    let is_mark = |short: &ShortName| short.as_str().starts_with(MARK_PREFIX);
    let mut marks = source.bookmarks.iter();
    if marks.any(|mark| mark.guid == left.to_guid && is_mark(&mark.short)) {
        return true;
    }
    if let Some(known) = source.snapshot_by_guid(left.to_guid) {
        return taken.includes(&known.short);
    }
    let Some(name) = &left.to_name else {
        return false;
    };
    let is_akin = match left.from_guid {
        Some(guid) => base_on(source, guid).is_some() && target.snapshot_by_guid(guid).is_some(),
        None => target.snapshots.is_empty() && name.dataset == source.name,
    };
    taken.includes(&name.short) && is_akin
}

impl From<Box<LeftBehind>> for Conflict {
    fn from(left: Box<LeftBehind>) -> Self {
        Self::PartialReceive { left }
    }
}
