//! Ivset guids: what tells encrypted blocks apart.

use super::ground::{Ground, at, full, new, next, since};
use super::{Claim, Outcome, claims, ensure, refused, same};
use crate::zfs::{NewBookmark, ReceiveRequest, SendMode, SendRequest, Snapshot, ZfsErrorKind};

pub(super) const CLAIMS: &[Claim] = claims![
    without_encryption_there_is_no_ivset_guid,
    a_bookmark_and_a_raw_copy_have_the_ivset_guid_of_the_snapshot,
    a_raw_increment_onto_another_ivset_guid_is_refused,
];

fn raw(request: SendRequest) -> SendRequest {
    SendRequest {
        mode: SendMode::Raw,
        ..request
    }
}

fn without_encryption_there_is_no_ivset_guid(ground: &Ground<'_>) -> Outcome {
    let a = ground.filesystem("a")?;
    let taken = ground.snapshot(&a, "s")?;
    ground.zfs.bookmark(&[NewBookmark {
        of: at(&a, "s")?,
        short: taken.short.clone(),
    }])?;
    same!(taken.ivset, None, "of the snapshot");
    same!(ground.look(&a)?.bookmarks[0].ivset, None, "of the bookmark");
    Ok(())
}

fn a_bookmark_and_a_raw_copy_have_the_ivset_guid_of_the_snapshot(ground: &Ground<'_>) -> Outcome {
    let a = ground.here("a")?;
    if !ground.fixture.create_encrypted(&a)? {
        return Ok(());
    }
    let taken: Vec<Snapshot> = [ground.snapshot(&a, "s")?, ground.snapshot(&a, "t")?].into();
    ensure!(
        taken.iter().all(|one| one.ivset.is_some()) && taken[0].ivset != taken[1].ivset,
        "no ivset guid of its own: {taken:?}"
    );
    ground.zfs.bookmark(&[NewBookmark {
        of: at(&a, "s")?,
        short: taken[0].short.clone(),
    }])?;
    let mark = ground.look(&a)?.bookmarks.remove(0);
    same!(mark.ivset, taken[0].ivset, "of the bookmark");
    let copy = ground.there("copy")?;
    let first = at(&copy, "s")?;
    ground.transfer(&raw(full(&at(&a, "s")?)), &new(&first))?;
    let second = at(&copy, "t")?;
    let update = raw(since(&at(&a, "s")?, &at(&a, "t")?));
    ground.transfer(&update, &next(&second))?;
    for (there, here) in [(&first, &taken[0]), (&second, &taken[1])] {
        same!(ground.listed_snapshot(there)?.ivset, here.ivset, "there");
    }
    let found = ground.look(&copy)?;
    same!(found.encryption.map(|e| e.root), Some(copy), "its root");
    Ok(())
}

fn a_raw_increment_onto_another_ivset_guid_is_refused(ground: &Ground<'_>) -> Outcome {
    let (a, vault) = (ground.here("a")?, ground.there("vault")?);
    if !ground.fixture.create_encrypted(&a)? {
        return Ok(());
    }
    ground.fixture.create_encrypted(&vault)?;
    let (taken, _) = (ground.snapshot(&a, "s")?, ground.snapshot(&a, "t")?);
    let copy = ground.there("vault/copy")?;
    let first = at(&copy, "s")?;
    // In a plain stream, and encrypted anew.
    ground.transfer(&full(&at(&a, "s")?), &new(&first))?;
    let there = ground.listed_snapshot(&first)?;
    same!(there.guid, taken.guid, "guid");
    ensure!(
        there.ivset.is_some() && there.ivset != taken.ivset,
        "the ivset guid was kept: {there:?}"
    );
    let bytes = ground.stream(&raw(since(&at(&a, "s")?, &at(&a, "t")?)))?;
    let second: ReceiveRequest = next(&at(&copy, "t")?);
    refused(ground.feed(&second, &bytes)?, ZfsErrorKind::IvsetMismatch)?;
    same!(ground.snapshots(&copy)?, ["s"], "snapshots");
    Ok(())
}
