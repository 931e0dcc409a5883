//! Holds that end with their guard, and holds that stay.

use super::ground::{Ground, at, short};
use super::{Claim, Failed, Outcome, claims, ensure, eventually, refused, same};
use crate::hold::HoldTag;
use crate::name::SnapshotName;
use crate::zfs::{Scope, ZfsErrorKind};

pub(super) const CLAIMS: &[Claim] = claims![
    a_hold_keeps_from_destroy_until_its_guard_is_dropped,
    a_hold_of_something_missing_holds_nothing,
    two_holds_of_one_snapshot_do_not_know_each_other,
    a_hold_belongs_to_the_snapshot_whatever_it_is_called,
    a_hold_of_two_pools_is_refused,
    a_kept_hold_stays_until_it_is_released_and_no_other_goes_with_it,
    a_kept_hold_of_something_missing_holds_nothing,
    a_kept_hold_that_is_there_is_refused_and_nothing_else_is_held,
    releasing_what_is_not_held_is_no_error,
    the_holds_of_a_missing_snapshot_are_refused,
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
    let hold = ground.hold(&names)?;
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
    let error = refused(ground.hold(&names), ZfsErrorKind::NotFound)?;
    same!(error.items.len(), 1, "reasons");
    same!(error.items[0].name, names[1].to_string(), "whose reason");
    ensure_free(ground, &names[0])
}

fn two_holds_of_one_snapshot_do_not_know_each_other(ground: &Ground<'_>) -> Outcome {
    let a = ground.filesystem("a")?;
    ground.snapshot(&a, "s")?;
    let names = [at(&a, "s")?];
    let first = ground.hold(&names)?;
    let second = ground.hold(&names)?;
    drop(first);
    ensure_held(ground, &names[0])?;
    drop(second);
    ensure_free(ground, &names[0])
}

fn a_hold_belongs_to_the_snapshot_whatever_it_is_called(ground: &Ground<'_>) -> Outcome {
    let a = ground.filesystem("a")?;
    ground.snapshot(&a, "s")?;
    let hold = ground.hold(&[at(&a, "s")?])?;
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
    refused(ground.hold(&names), ZfsErrorKind::CrossDevice)?;
    ensure_free(ground, &pair.first)
}

fn tags(ground: &Ground<'_>, name: &SnapshotName) -> Result<Vec<String>, Failed> {
    let holds = ground.zfs.holds(name)?;
    Ok(holds.into_iter().map(|(tag, _)| tag).collect())
}

fn a_kept_hold_stays_until_it_is_released_and_no_other_goes_with_it(
    ground: &Ground<'_>,
) -> Outcome {
    let (a, b) = (ground.filesystem("a")?, ground.filesystem("b")?);
    let names = [at(&a, "s")?, at(&b, "s")?];
    ground.zfs.snapshot(&names)?;
    let (one, other) = (HoldTag::for_pair("one"), HoldTag::for_pair("other"));
    ground.zfs.hold_kept(&names, &one)?;
    ground.zfs.hold_kept(&names[..1], &other)?;
    let temporary = ground.hold(&names)?;
    same!(tags(ground, &names[0])?.len(), 3, "holds");
    drop(temporary);
    eventually("the temporary hold ends", || {
        Ok(tags(ground, &names[0])? == [one.as_str(), other.as_str()])
    })?;
    for (_, since) in ground.zfs.holds(&names[0])? {
        ensure!(since > 0, "placed at {since}");
    }
    let listed = ground.listed_snapshot(&names[0])?;
    same!(listed.holds, 2, "holds in a listing");
    // It belongs to the snapshot, whatever that is called.
    ground
        .zfs
        .rename_snapshot(&names[0], &short("t")?, Scope::One)?;
    let renamed = [at(&a, "t")?, names[1].clone()];
    same!(
        tags(ground, &renamed[0])?,
        [one.as_str(), other.as_str()],
        "holds"
    );
    ground.zfs.release(&renamed, &one)?;
    same!(tags(ground, &renamed[0])?, [other.as_str()], "holds");
    ensure_held(ground, &renamed[0])?;
    ensure_free(ground, &renamed[1])?;
    ground.zfs.release(&renamed[..1], &other)?;
    ensure_free(ground, &renamed[0])
}

fn a_kept_hold_of_something_missing_holds_nothing(ground: &Ground<'_>) -> Outcome {
    let a = ground.filesystem("a")?;
    ground.snapshot(&a, "s")?;
    let names = [at(&a, "s")?, at(&a, "none")?];
    let held = ground.zfs.hold_kept(&names, &HoldTag::for_pair("one"));
    refused(held, ZfsErrorKind::NotFound)?;
    ensure_free(ground, &names[0])
}

fn a_kept_hold_that_is_there_is_refused_and_nothing_else_is_held(ground: &Ground<'_>) -> Outcome {
    let a = ground.filesystem("a")?;
    for short in ["s", "t"] {
        ground.snapshot(&a, short)?;
    }
    let names = [at(&a, "s")?, at(&a, "t")?];
    let tag = HoldTag::for_pair("one");
    ground.zfs.hold_kept(&names[..1], &tag)?;
    refused(ground.zfs.hold_kept(&names, &tag), ZfsErrorKind::Exists)?;
    ensure_held(ground, &names[0])?;
    ensure_free(ground, &names[1])?;
    ground.zfs.release(&names[..1], &tag)?;
    ensure_free(ground, &names[0])
}

fn releasing_what_is_not_held_is_no_error(ground: &Ground<'_>) -> Outcome {
    let a = ground.filesystem("a")?;
    for short in ["s", "t"] {
        ground.snapshot(&a, short)?;
    }
    let tag = HoldTag::for_pair("one");
    let names = [at(&a, "none")?, at(&a, "s")?, at(&a, "t")?];
    ground.zfs.hold_kept(&names[2..], &tag)?;
    ground.zfs.release(&names, &tag)?;
    ground.zfs.release(&names[..1], &tag)?;
    ground.zfs.release(&names[1..], &tag)?;
    ensure_free(ground, &names[2])
}

fn the_holds_of_a_missing_snapshot_are_refused(ground: &Ground<'_>) -> Outcome {
    let a = ground.filesystem("a")?;
    refused(ground.zfs.holds(&at(&a, "none")?), ZfsErrorKind::NotFound).map(drop)
}
