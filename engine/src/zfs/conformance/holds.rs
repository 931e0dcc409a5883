//! Holds that end with their guard.

use super::ground::{Ground, at, short};
use super::{Claim, Failed, Outcome, claims, ensure, eventually, refused, same};
use crate::name::SnapshotName;
use crate::zfs::{Scope, ZfsErrorKind};

pub(super) const CLAIMS: &[Claim] = claims![
    a_hold_keeps_from_destroy_until_its_guard_is_dropped,
    a_hold_of_something_missing_holds_nothing,
    two_holds_of_one_snapshot_do_not_know_each_other,
    a_hold_belongs_to_the_snapshot_whatever_it_is_called,
    a_hold_of_two_pools_is_refused,
];

/// Nobody holds it any more: it can be destroyed.
fn ensure_free(ground: &Ground<'_>, name: &SnapshotName) -> Outcome {
    eventually("the hold ends", || {
        match ground.zfs.destroy_snapshots(std::slice::from_ref(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind == ZfsErrorKind::Busy => Ok(false),
            Err(error) => Err(error.into()),
        }
    })?;
    let left = ground.snapshots(&name.dataset)?;
    ensure!(
        !left.contains(&name.short.to_string()),
        "it is there: {left:?}"
    );
    Ok(())
}

fn ensure_held(ground: &Ground<'_>, name: &SnapshotName) -> Result<(), Failed> {
    let destroyed = ground.zfs.destroy_snapshots(std::slice::from_ref(name));
    refused(destroyed, ZfsErrorKind::Busy).map(drop)
}

fn a_hold_keeps_from_destroy_until_its_guard_is_dropped(ground: &Ground<'_>) -> Outcome {
    let (a, b) = (ground.filesystem("a")?, ground.filesystem("b")?);
    let names = [at(&a, "s")?, at(&b, "s")?];
    ground.zfs.snapshot(&names)?;
    let hold = ground.zfs.hold(&names)?;
    for name in &names {
        ensure_held(ground, name)?;
    }
    drop(hold);
    for name in &names {
        ensure_free(ground, name)?;
    }
    Ok(())
}

fn a_hold_of_something_missing_holds_nothing(ground: &Ground<'_>) -> Outcome {
    let a = ground.filesystem("a")?;
    ground.snapshot(&a, "s")?;
    let names = [at(&a, "s")?, at(&a, "none")?];
    let error = refused(ground.zfs.hold(&names), ZfsErrorKind::NotFound)?;
    same!(error.items.len(), 1, "reasons");
    same!(error.items[0].name, names[1].to_string(), "whose reason");
    ensure_free(ground, &names[0])
}

fn two_holds_of_one_snapshot_do_not_know_each_other(ground: &Ground<'_>) -> Outcome {
    let a = ground.filesystem("a")?;
    ground.snapshot(&a, "s")?;
    let names = [at(&a, "s")?];
    let first = ground.zfs.hold(&names)?;
    let second = ground.zfs.hold(&names)?;
    drop(first);
    ensure_held(ground, &names[0])?;
    drop(second);
    ensure_free(ground, &names[0])
}

fn a_hold_belongs_to_the_snapshot_whatever_it_is_called(ground: &Ground<'_>) -> Outcome {
    let a = ground.filesystem("a")?;
    ground.snapshot(&a, "s")?;
    let hold = ground.zfs.hold(&[at(&a, "s")?])?;
    ground
        .zfs
        .rename_snapshot(&at(&a, "s")?, &short("t")?, Scope::One)?;
    // Another one under the old name is none of its business.
    ground.snapshot(&a, "s")?;
    ensure_held(ground, &at(&a, "t")?)?;
    ensure_free(ground, &at(&a, "s")?)?;
    drop(hold);
    ensure_free(ground, &at(&a, "t")?)
}

fn a_hold_of_two_pools_is_refused(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let names = [pair.first.clone(), pair.there.clone()];
    refused(ground.zfs.hold(&names), ZfsErrorKind::CrossDevice)?;
    ensure_free(ground, &pair.first)
}
