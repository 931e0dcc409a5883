//! Rolling back.

use super::ground::{Ground, at, next, since};
use super::{Claim, Outcome, claims, ensure, refused, same};
use crate::name::{BookmarkName, ShortName};
use crate::zfs::{NewBookmark, ZfsErrorKind};

pub(super) const CLAIMS: &[Claim] = claims![
    rolling_back_discards_what_came_after_the_newest_snapshot,
    a_target_that_was_rolled_back_takes_the_stream_it_refused,
    only_the_newest_snapshot_can_be_rolled_back_to,
    a_bookmark_of_a_newer_snapshot_is_in_the_way_of_a_rollback,
];

fn rolling_back_discards_what_came_after_the_newest_snapshot(ground: &Ground<'_>) -> Outcome {
    let volume = ground.volume("v", 1)?;
    ground.snapshot(&volume, "s")?;
    ground.write(&volume, 2)?;
    ground.zfs.rollback(&at(&volume, "s")?)?;
    // Seen: 1024 bytes, of the block that says where everything is.
    let written = ground.look(&volume)?.written_bytes;
    ensure!(written <= 4096, "{written} bytes are written");
    ground.snapshot(&volume, "after")?;
    ground.ensure_content(&at(&volume, "after")?, 1)
}

fn a_target_that_was_rolled_back_takes_the_stream_it_refused(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    ground.write(&pair.target, 7)?;
    let update = since(&pair.first, &pair.second);
    let bytes = ground.stream(&update)?;
    refused(
        ground.feed(&next(&pair.wanted), &bytes)?,
        ZfsErrorKind::Modified,
    )?;
    ground.zfs.rollback(&pair.there)?;
    ground.feed(&next(&pair.wanted), &bytes)??;
    ground.ensure_content(&pair.wanted, 2)
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

fn a_bookmark_of_a_newer_snapshot_is_in_the_way_of_a_rollback(ground: &Ground<'_>) -> Outcome {
    let volume = ground.volume("v", 1)?;
    ground.snapshot(&volume, "s")?;
    ground.write(&volume, 2)?;
    ground.snapshot(&volume, "t")?;
    let short = ShortName::parse("mark")?;
    ground.zfs.bookmark(&[NewBookmark {
        of: at(&volume, "t")?,
        short: short.clone(),
    }])?;
    ground.zfs.destroy_snapshots(&[at(&volume, "t")?])?;
    refused(
        ground.zfs.rollback(&at(&volume, "s")?),
        ZfsErrorKind::Exists,
    )?;
    ground.zfs.destroy_bookmarks(&[BookmarkName {
        dataset: volume.clone(),
        short,
    }])?;
    ground.zfs.rollback(&at(&volume, "s")?)?;
    ground.snapshot(&volume, "after")?;
    ground.ensure_content(&at(&volume, "after")?, 1)
}
