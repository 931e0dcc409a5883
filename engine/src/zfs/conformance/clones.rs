//! Clones, and streams that make them.

use super::ground::{Ground, at, full, new, next, since};
use super::{Claim, Outcome, claims, ensure, refused, same};
use crate::zfs::{ReceiveRequest, ZfsErrorKind};

pub(super) const CLAIMS: &[Claim] = claims![
    a_snapshot_with_a_clone_cannot_be_destroyed_and_none_is,
    a_clone_is_sent_from_its_origin_and_becomes_one_again,
    a_clone_may_be_received_as_a_dataset_of_its_own,
    an_origin_that_is_not_the_base_is_refused,
    a_clone_takes_increments_and_rollbacks_like_any_dataset_but_none_from_its_origin,
];

fn a_snapshot_with_a_clone_cannot_be_destroyed_and_none_is(ground: &Ground<'_>) -> Outcome {
    let a = ground.volume("a", 1)?;
    for short in ["s", "t"] {
        ground.snapshot(&a, short)?;
    }
    let clone = ground.here("clone")?;
    ground.fixture.clone_snapshot(&at(&a, "s")?, &clone)?;
    same!(ground.look(&clone)?.origin, Some(at(&a, "s")?), "origin");
    let destroyed = ground.zfs.destroy_snapshots(&[at(&a, "s")?, at(&a, "t")?]);
    refused(destroyed, ZfsErrorKind::Exists)?;
    same!(ground.snapshots(&a)?, ["s", "t"], "snapshots");
    Ok(())
}

fn a_clone_is_sent_from_its_origin_and_becomes_one_again(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let clone = ground.here("clone")?;
    ground.fixture.clone_snapshot(&pair.first, &clone)?;
    ground.write(&clone, 9)?;
    ground.snapshot(&clone, "s")?;
    let (there, send) = (
        at(&ground.there("clone")?, "s")?,
        since(&pair.first, &at(&clone, "s")?),
    );
    let request = ReceiveRequest {
        origin: Some(pair.there.clone()),
        ..new(&there)
    };
    ground.transfer(&send, &request)?;
    same!(
        ground.look(&there.dataset)?.origin,
        Some(pair.there.clone()),
        "origin"
    );
    ground.ensure_content(&there, 9)?;
    ground.ensure_content(&pair.there, 1)
}

fn a_clone_may_be_received_as_a_dataset_of_its_own(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let clone = ground.here("clone")?;
    ground.fixture.clone_snapshot(&pair.first, &clone)?;
    ground.snapshot(&clone, "s")?;
    let there = at(&ground.there("clone")?, "s")?;
    ground.transfer(&full(&at(&clone, "s")?), &new(&there))?;
    same!(ground.look(&there.dataset)?.origin, None, "origin");
    ground.ensure_content(&there, 1)
}

fn an_origin_that_is_not_the_base_is_refused(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let clone = ground.here("clone")?;
    ground.fixture.clone_snapshot(&pair.first, &clone)?;
    ground.write(&clone, 9)?;
    ground.snapshot(&clone, "s")?;
    ground.snapshot(&pair.target, "other")?;
    let there = at(&ground.there("clone")?, "s")?;
    let bytes = ground.stream(&since(&pair.first, &at(&clone, "s")?))?;
    for (origin, kind) in [
        ("other", ZfsErrorKind::NoSuchBase),
        ("none", ZfsErrorKind::NotFound),
    ] {
        let request = ReceiveRequest {
            origin: Some(at(&pair.target, origin)?),
            ..new(&there)
        };
        refused(ground.feed(&request, &bytes)?, kind)?;
        ensure!(!ground.exists(&there.dataset)?, "a dataset came into being");
    }
    Ok(())
}

fn a_clone_takes_increments_and_rollbacks_like_any_dataset_but_none_from_its_origin(
    ground: &Ground<'_>,
) -> Outcome {
    let pair = ground.pair()?;
    let clone = ground.here("clone")?;
    ground.fixture.clone_snapshot(&pair.first, &clone)?;
    for (seed, short) in [(9, "s"), (10, "t")] {
        ground.write(&clone, seed)?;
        ground.snapshot(&clone, short)?;
    }
    let target = ground.there("clone")?;
    ground.fixture.clone_snapshot(&pair.there, &target)?;
    // It has what the stream starts from, but as its origin.
    let second = at(&target, "second")?;
    let bytes = ground.stream(&since(&pair.first, &pair.second))?;
    refused(
        ground.feed(&next(&second), &bytes)?,
        ZfsErrorKind::NoSuchBase,
    )?;
    let made = ReceiveRequest {
        origin: Some(pair.there.clone()),
        ..new(&at(&ground.there("made")?, "s")?)
    };
    ground.transfer(&since(&pair.first, &at(&clone, "s")?), &made)?;
    let made = made.snapshot;
    ground.write(&made.dataset, 7)?;
    ground.zfs.rollback(&made)?;
    let last = at(&made.dataset, "t")?;
    ground.transfer(&since(&at(&clone, "s")?, &at(&clone, "t")?), &next(&last))?;
    ground.ensure_content(&last, 10)?;
    let aside = ground.there("aside")?;
    ground.zfs.rename_dataset(&made.dataset, &aside)?;
    same!(ground.look(&aside)?.origin, Some(pair.there), "origin");
    Ok(())
}
