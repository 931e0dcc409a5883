//! Bookmarks.

use super::ground::{Ground, at, short};
use super::{Claim, Failed, Outcome, claims, refused, same};
use crate::name::{BookmarkName, DatasetName};
use crate::zfs::{NewBookmark, ZfsErrorKind};

pub(super) const CLAIMS: &[Claim] = claims![
    a_bookmark_has_the_identity_of_its_snapshot_and_outlives_it,
    bookmarks_are_made_all_or_none,
    a_name_in_use_is_refused_even_for_the_same_snapshot,
    missing_bookmarks_are_destroyed_without_an_error,
    bookmarks_in_two_pools_are_refused,
];

fn mark(dataset: &DatasetName, of: &str, name: &str) -> Result<NewBookmark, Failed> {
    Ok(NewBookmark {
        of: at(dataset, of)?,
        short: short(name)?,
    })
}

fn named(dataset: &DatasetName, name: &str) -> Result<BookmarkName, Failed> {
    Ok(BookmarkName {
        dataset: dataset.clone(),
        short: short(name)?,
    })
}

fn bookmarks(ground: &Ground<'_>, dataset: &DatasetName) -> Result<Vec<String>, Failed> {
    let found = ground.look(dataset)?.bookmarks;
    Ok(found.into_iter().map(|b| b.short.into()).collect())
}

fn a_bookmark_has_the_identity_of_its_snapshot_and_outlives_it(ground: &Ground<'_>) -> Outcome {
    let a = ground.filesystem("a")?;
    let (first, second) = (ground.snapshot(&a, "s")?, ground.snapshot(&a, "t")?);
    // Of two the older one comes first, whatever the names.
    ground
        .zfs
        .bookmark(&[mark(&a, "t", "a")?, mark(&a, "s", "z")?])?;
    ground
        .zfs
        .destroy_snapshots(&[at(&a, "s")?, at(&a, "t")?])?;
    let found = ground.look(&a)?.bookmarks;
    same!(found.len(), 2, "bookmarks");
    for (found, of, name) in [(&found[0], &first, "z"), (&found[1], &second, "a")] {
        same!(found.short.as_str(), name, "name");
        same!((found.guid, found.createtxg), (of.guid, of.createtxg), name);
    }
    Ok(())
}

fn bookmarks_are_made_all_or_none(ground: &Ground<'_>) -> Outcome {
    let (a, b) = (ground.filesystem("a")?, ground.filesystem("b")?);
    for dataset in [&a, &b] {
        ground.snapshot(dataset, "s")?;
    }
    let marks = [mark(&a, "s", "m")?, mark(&b, "none", "m")?];
    let error = refused(ground.zfs.bookmark(&marks), ZfsErrorKind::NotFound)?;
    same!(error.items.len(), 1, "reasons");
    same!(error.items[0].name, format!("{b}#m"), "whose reason");
    same!(
        bookmarks(ground, &a)?,
        Vec::<String>::new(),
        "made all the same"
    );
    Ok(())
}

fn a_name_in_use_is_refused_even_for_the_same_snapshot(ground: &Ground<'_>) -> Outcome {
    let a = ground.filesystem("a")?;
    for name in ["s", "t"] {
        ground.snapshot(&a, name)?;
    }
    ground.zfs.bookmark(&[mark(&a, "s", "m")?])?;
    for of in ["s", "t"] {
        let marks = [mark(&a, of, "m")?, mark(&a, of, "n")?];
        refused(ground.zfs.bookmark(&marks), ZfsErrorKind::Exists)?;
        same!(bookmarks(ground, &a)?, ["m"], "bookmarks");
    }
    Ok(())
}

fn missing_bookmarks_are_destroyed_without_an_error(ground: &Ground<'_>) -> Outcome {
    let a = ground.filesystem("a")?;
    ground.snapshot(&a, "s")?;
    ground
        .zfs
        .bookmark(&[mark(&a, "s", "m")?, mark(&a, "s", "n")?])?;
    let names = [named(&a, "m")?, named(&a, "none")?];
    ground.zfs.destroy_bookmarks(&names)?;
    same!(bookmarks(ground, &a)?, ["n"], "left");
    ground.zfs.destroy_bookmarks(&names)?;
    Ok(())
}

fn bookmarks_in_two_pools_are_refused(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let marks = [
        mark(&pair.source, "first", "m")?,
        mark(&pair.target, "first", "m")?,
    ];
    // Other calls are refused as across devices; this one is found malformed.
    refused(ground.zfs.bookmark(&marks), ZfsErrorKind::Invalid)?;
    same!(
        bookmarks(ground, &pair.source)?,
        Vec::<String>::new(),
        "made"
    );
    same!(
        bookmarks(ground, &pair.target)?,
        Vec::<String>::new(),
        "made"
    );
    Ok(())
}
