//! Rolling back.

use super::ground::{Ground, at};
use super::{Claim, Outcome, claims, refused, same};
use crate::zfs::ZfsErrorKind;

pub(super) const CLAIMS: &[Claim] = claims![
    rolling_back_discards_what_came_after_the_newest_snapshot,
    only_the_newest_snapshot_can_be_rolled_back_to,
];

fn rolling_back_discards_what_came_after_the_newest_snapshot(ground: &Ground<'_>) -> Outcome {
    let volume = ground.volume("v", 1)?;
    ground.snapshot(&volume, "s")?;
    ground.write(&volume, 2)?;
    ground.zfs.rollback(&at(&volume, "s")?)?;
    same!(ground.look(&volume)?.written_bytes, 0, "written");
    ground.snapshot(&volume, "after")?;
    ground.ensure_content(&at(&volume, "after")?, 1)
}

fn only_the_newest_snapshot_can_be_rolled_back_to(ground: &Ground<'_>) -> Outcome {
    let volume = ground.volume("v", 1)?;
    ground.snapshot(&volume, "s")?;
    ground.write(&volume, 2)?;
    ground.snapshot(&volume, "t")?;
    refused(
        ground.zfs.rollback(&at(&volume, "s")?),
        ZfsErrorKind::Exists,
    )?;
    refused(
        ground.zfs.rollback(&at(&volume, "none")?),
        ZfsErrorKind::NotFound,
    )?;
    let none = at(&ground.here("none")?, "s")?;
    refused(ground.zfs.rollback(&none), ZfsErrorKind::NotFound)?;
    same!(ground.snapshots(&volume)?, ["s", "t"], "snapshots");
    ground.ensure_content(&at(&volume, "t")?, 2)
}
