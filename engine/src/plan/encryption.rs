//! Encrypted datasets: which streams ZFS would refuse, and which it would take
//! to the harm of the copy.
//!
//! A raw stream carries the encrypted blocks and the key as the source's
//! encryption root wraps it. ZFS takes a raw increment only onto a snapshot with
//! the ivset guid of its base, and puts the wrapped key in the place of the
//! target's (`dsl_crypto_recv_raw`). It does not look at who unlocks the target:
//! if that is a dataset with another key, nothing unlocks the copy any more.
//! A plain stream is encrypted anew where it arrives; ZFS takes it onto a raw
//! copy whose key is loaded, and then no raw one ever again.

use super::conflict::Conflict;
use super::dataset::{DatasetRequest, named};
use crate::name::{CreateTxg, Ivset};
use crate::zfs::{Base, Dataset, Encryption, SendMode, Snapshot};

/// Whether a stream in the form of the request may go from `base` onto
/// `base_there`, the same state on the target.
///
/// # Errors
/// [`Conflict::MixedModes`], [`Conflict::IvsetMismatch`],
/// [`Conflict::EncryptionRoot`], [`Conflict::TargetKeyNotLoaded`].
pub(super) fn check_increment(
    request: &DatasetRequest<'_>,
    target: &Dataset,
    base: &Base,
    base_there: &Snapshot,
) -> Result<(), Conflict> {
    let here = ivset_of(request.source, base);
    match (request.mode, &request.source.encryption) {
        (SendMode::Raw, Some(from)) => {
            check_raw(request, target, (here, base_there))?;
            check_root(request, target, from)
        }
        (SendMode::Plain, Some(from)) => {
            if is_raw_copy(request, target, from, (here, base_there.ivset)) {
                return Err(mixed(target, ("raw", "plain")));
            }
            check_target_key(target)
        }
        // Whatever was asked for: without encryption the stream is plain.
        (_, None) => check_target_key(target),
    }
}

/// The same for the rest of a full stream.
///
/// # Errors
/// [`Conflict::TargetKeyNotLoaded`].
pub(super) fn check_rest_of_full(
    request: &DatasetRequest<'_>,
    target: &Dataset,
) -> Result<(), Conflict> {
    match (request.mode, &request.source.encryption) {
        (SendMode::Raw, Some(_)) => Ok(()),
        _ => check_target_key(target),
    }
}

/// A plain stream of an encrypted dataset can only be made with its key.
///
/// # Errors
/// [`Conflict::KeyNotLoaded`].
pub(super) fn check_source_key(source: &Dataset, mode: SendMode) -> Result<(), Conflict> {
    match &source.encryption {
        Some(encryption) if mode == SendMode::Plain && !encryption.key_loaded => {
            Err(Conflict::KeyNotLoaded {
                origin: source.name.clone(),
            })
        }
        _ => Ok(()),
    }
}

/// A plain stream into an encrypted dataset is encrypted with its key.
fn check_target_key(target: &Dataset) -> Result<(), Conflict> {
    match &target.encryption {
        Some(encryption) if !encryption.key_loaded => Err(Conflict::TargetKeyNotLoaded {
            target: target.name.clone(),
            root: encryption.root.clone(),
        }),
        _ => Ok(()),
    }
}

fn check_raw(
    request: &DatasetRequest<'_>,
    target: &Dataset,
    (here, base_there): (Option<Ivset>, &Snapshot),
) -> Result<(), Conflict> {
    if target.encryption.is_none() {
        return Err(mixed(target, ("plain", "raw")));
    }
    // Neither side tells them: ZFS will, as the stream begins.
    if here == base_there.ivset {
        return Ok(());
    }
    let raw_until = newest_raw(request.source, request.wanted.createtxg, target);
    if raw_until.is_none() && here.is_some() && base_there.ivset.is_some() {
        return Err(mixed(target, ("plain", "raw")));
    }
    Err(Conflict::IvsetMismatch {
        target: target.name.clone(),
        base: Box::new(named(target, base_there)),
        here,
        there: base_there.ivset,
        raw_until: raw_until.map(|last| Box::new(named(target, last))),
    })
}

/// What unlocks the target has the key that unlocks the source: it is the
/// target itself, which gets that key along with the stream, or the copy of the
/// source's encryption root that this same run brings up to date.
fn check_root(
    request: &DatasetRequest<'_>,
    target: &Dataset,
    from: &Encryption,
) -> Result<(), Conflict> {
    let Some(there) = &target.encryption else {
        return Ok(());
    };
    let copy_of_root = from
        .root
        .is_within(request.source_top)
        .then(|| {
            from.root
                .rebase(request.source_top, request.target_top)
                .ok()
        })
        .flatten();
    if there.root == target.name || copy_of_root.as_ref() == Some(&there.root) {
        return Ok(());
    }
    Err(Conflict::EncryptionRoot {
        target: target.name.clone(),
        root: there.root.clone(),
        origin: request.source.name.clone(),
        origin_root: from.root.clone(),
    })
}

/// Whether the target's base arrived in a raw stream. Equal ivset guids prove
/// it; where they are not told, a target that is unlocked by what lies where the
/// source's encryption root does is taken for one.
fn is_raw_copy(
    request: &DatasetRequest<'_>,
    target: &Dataset,
    from: &Encryption,
    (here, there): (Option<Ivset>, Option<Ivset>),
) -> bool {
    if here.is_some() && there.is_some() {
        return here == there;
    }
    let below = |encryption: &Encryption, dataset: &Dataset| {
        let root_bytes = encryption.root.as_str().len();
        dataset.name.as_str().get(root_bytes..).map(str::to_owned)
    };
    let Some(to) = &target.encryption else {
        return false;
    };
    below(to, target) == below(from, request.source)
}

/// The newest snapshot that both sides have with the same blocks, older than
/// `before` on the source.
fn newest_raw<'a>(
    source: &Dataset,
    before: CreateTxg,
    target: &'a Dataset,
) -> Option<&'a Snapshot> {
    let snapshots = source.snapshots.iter();
    let snapshots = snapshots.map(|one| (one.createtxg, one.guid, one.ivset));
    let marks = source.bookmarks.iter();
    let marks = marks.map(|one| (one.createtxg, one.guid, one.ivset));
    let shared = snapshots
        .chain(marks)
        .filter(|(createtxg, _, ivset)| *createtxg < before && ivset.is_some());
    let shared = shared.filter_map(|(createtxg, guid, ivset)| {
        let there = target.snapshot_by_guid(guid)?;
        (there.ivset == ivset).then_some((createtxg, there))
    });
    let newest = shared.max_by_key(|(createtxg, _)| *createtxg);
    newest.map(|(_, there)| there)
}

fn ivset_of(source: &Dataset, base: &Base) -> Option<Ivset> {
    match base {
        Base::Snapshot(name) => source.snapshot_by_name(&name.short)?.ivset,
        Base::Bookmark(short) => {
            let mut marks = source.bookmarks.iter();
            marks.find(|mark| mark.short == *short)?.ivset
        }
    }
}

fn mixed(target: &Dataset, (there, here): (&'static str, &'static str)) -> Conflict {
    Conflict::MixedModes {
        target: target.name.clone(),
        there,
        here,
    }
}
