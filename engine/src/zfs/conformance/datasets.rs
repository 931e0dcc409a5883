//! Datasets that are moved and destroyed, and the room they have.

use super::ground::{Ground, at};
use super::{Claim, Outcome, claims, ensure, refused, same};
use crate::zfs::{Scope, ZfsErrorKind};

pub(super) const CLAIMS: &[Claim] = claims![
    a_dataset_is_renamed_with_everything_below_it_and_stays_itself,
    a_rename_onto_something_or_into_nothing_moves_nothing,
    a_dataset_with_snapshots_or_children_is_not_destroyed,
    what_is_available_is_told_of_what_exists,
];

fn a_dataset_is_renamed_with_everything_below_it_and_stays_itself(ground: &Ground<'_>) -> Outcome {
    let (a, vol) = (ground.filesystem("a")?, ground.volume("a/v", 1)?);
    ground.snapshot(&vol, "s")?;
    let (guid, snapshot) = (
        ground.look(&a)?.guid,
        ground.listed_snapshot(&at(&vol, "s")?)?.guid,
    );
    let b = ground.here("b")?;
    ground.zfs.rename_dataset(&a, &b)?;
    same!(ground.zfs.tree(&a, Scope::One)?.is_none(), true, "gone");
    same!(ground.look(&b)?.guid, guid, "guid");
    let moved = at(&ground.here("b/v")?, "s")?;
    same!(ground.listed_snapshot(&moved)?.guid, snapshot, "guid below");
    ground.ensure_content(&moved, 1)
}

fn a_rename_onto_something_or_into_nothing_moves_nothing(ground: &Ground<'_>) -> Outcome {
    let (a, b) = (ground.filesystem("a")?, ground.filesystem("b")?);
    let guids = (ground.look(&a)?.guid, ground.look(&b)?.guid);
    refused(ground.zfs.rename_dataset(&a, &b), ZfsErrorKind::Exists)?;
    let nowhere = ground.here("none/a")?;
    let error = refused(
        ground.zfs.rename_dataset(&a, &nowhere),
        ZfsErrorKind::NotFound,
    );
    error?;
    let missing = ground.here("missing")?;
    let target = ground.here("c")?;
    refused(
        ground.zfs.rename_dataset(&missing, &target),
        ZfsErrorKind::NotFound,
    )?;
    let elsewhere = ground.there("a")?;
    refused(
        ground.zfs.rename_dataset(&a, &elsewhere),
        ZfsErrorKind::CrossDevice,
    )?;
    same!(
        (ground.look(&a)?.guid, ground.look(&b)?.guid),
        guids,
        "guids"
    );
    Ok(())
}

fn a_dataset_with_snapshots_or_children_is_not_destroyed(ground: &Ground<'_>) -> Outcome {
    let (a, b) = (ground.filesystem("a")?, ground.filesystem("a/b")?);
    refused(ground.zfs.destroy_dataset(&a), ZfsErrorKind::Exists)?;
    ground.snapshot(&b, "s")?;
    refused(ground.zfs.destroy_dataset(&b), ZfsErrorKind::Busy)?;
    same!(ground.snapshots(&b)?, ["s"], "snapshots");
    ground.zfs.destroy_snapshots(&[at(&b, "s")?])?;
    ground.zfs.destroy_dataset(&b)?;
    ground.zfs.destroy_dataset(&a)?;
    same!(ground.zfs.tree(&a, Scope::One)?.is_none(), true, "gone");
    refused(ground.zfs.destroy_dataset(&a), ZfsErrorKind::NotFound)?;
    Ok(())
}

fn what_is_available_is_told_of_what_exists(ground: &Ground<'_>) -> Outcome {
    let a = ground.filesystem("a")?;
    let bytes = ground.zfs.available_bytes(&a)?;
    ensure!(bytes > 0, "nothing is available");
    let missing = ground.here("missing")?;
    refused(ground.zfs.available_bytes(&missing), ZfsErrorKind::NotFound)?;
    Ok(())
}
