//! Renaming snapshots.

use super::ground::{Ground, at, short};
use super::{Claim, Outcome, claims, refused, same};
use crate::zfs::{Scope, ZfsErrorKind};

pub(super) const CLAIMS: &[Claim] = claims![
    a_renamed_snapshot_is_the_same_one,
    a_recursive_rename_takes_those_that_have_the_name_and_no_others,
    a_recursive_rename_onto_a_name_taken_below_renames_nothing,
    a_missing_snapshot_cannot_be_renamed,
    a_name_that_stays_is_taken_for_one_and_nothing_to_do_for_a_tree,
    a_name_that_is_taken_is_refused_and_nothing_is_renamed,
];

fn a_renamed_snapshot_is_the_same_one(ground: &Ground<'_>) -> Outcome {
    let a = ground.filesystem("a")?;
    let before = ground.snapshot(&a, "s")?;
    let hold = ground.hold(&[at(&a, "s")?])?;
    let rename = |from: &str, to: &str, scope| {
        let (from, to) = (at(&a, from)?, short(to)?);
        Ok::<_, super::Failed>(ground.zfs.rename_snapshot(&from, &to, scope)?)
    };
    rename("s", "t", Scope::One)?;
    rename("t", "u", Scope::Recursive)?;
    same!(ground.snapshots(&a)?, ["u"], "names");
    let after = ground.listed_snapshot(&at(&a, "u")?)?;
    same!(after.guid, before.guid, "guid");
    same!(after.createtxg, before.createtxg, "createtxg");
    same!(after.creation_seconds, before.creation_seconds, "creation");
    let held = ground.zfs.destroy_snapshots(&[at(&a, "u")?]);
    refused(held, ZfsErrorKind::Busy)?;
    drop(hold);
    Ok(())
}

fn a_recursive_rename_takes_those_that_have_the_name_and_no_others(ground: &Ground<'_>) -> Outcome {
    let names = ["a", "a/b", "a/b/c", "a/d", "a-b"];
    let mut datasets = Vec::new();
    for name in names {
        datasets.push(ground.filesystem(name)?);
    }
    for index in [0, 2, 4] {
        ground.snapshot(&datasets[index], "s")?;
    }
    ground.snapshot(&datasets[3], "other")?;
    let from = at(&datasets[0], "s")?;
    ground
        .zfs
        .rename_snapshot(&from, &short("t")?, Scope::Recursive)?;
    let expected: [&[&str]; 5] = [&["t"], &[], &["t"], &["other"], &["s"]];
    for (dataset, expected) in datasets.iter().zip(expected) {
        same!(ground.snapshots(dataset)?, expected, dataset);
    }
    Ok(())
}

fn a_recursive_rename_onto_a_name_taken_below_renames_nothing(ground: &Ground<'_>) -> Outcome {
    let (a, b, c) = (
        ground.filesystem("a")?,
        ground.filesystem("a/b")?,
        ground.filesystem("a/c")?,
    );
    ground.snapshot(&b, "t")?;
    for dataset in [&a, &b, &c] {
        ground.snapshot(dataset, "s")?;
    }
    let renamed = ground
        .zfs
        .rename_snapshot(&at(&a, "s")?, &short("t")?, Scope::Recursive);
    refused(renamed, ZfsErrorKind::Exists)?;
    same!(ground.snapshots(&a)?, ["s"], "a");
    same!(ground.snapshots(&b)?, ["t", "s"], "b");
    same!(ground.snapshots(&c)?, ["s"], "c");
    Ok(())
}

fn a_missing_snapshot_cannot_be_renamed(ground: &Ground<'_>) -> Outcome {
    let (a, b) = (ground.filesystem("a")?, ground.filesystem("a/b")?);
    ground.snapshot(&b, "s")?;
    for scope in [Scope::One, Scope::Recursive] {
        let renamed = ground
            .zfs
            .rename_snapshot(&at(&a, "s")?, &short("t")?, scope);
        refused(renamed, ZfsErrorKind::NotFound)?;
        same!(ground.snapshots(&b)?, ["s"], "below");
    }
    Ok(())
}

fn a_name_that_is_taken_is_refused_and_nothing_is_renamed(ground: &Ground<'_>) -> Outcome {
    let a = ground.filesystem("a")?;
    let (s, t) = (ground.snapshot(&a, "s")?, ground.snapshot(&a, "t")?);
    for scope in [Scope::One, Scope::Recursive] {
        let renamed = ground
            .zfs
            .rename_snapshot(&at(&a, "s")?, &short("t")?, scope);
        refused(renamed, ZfsErrorKind::Exists)?;
        same!(
            ground.look(&a)?.snapshots,
            [s.clone(), t.clone()],
            "snapshots"
        );
    }
    Ok(())
}

fn a_name_that_stays_is_taken_for_one_and_nothing_to_do_for_a_tree(ground: &Ground<'_>) -> Outcome {
    let a = ground.filesystem("a")?;
    let before = ground.snapshot(&a, "s")?;
    let rename = |scope| {
        let (from, to) = (at(&a, "s")?, short("s")?);
        Ok::<_, super::Failed>(ground.zfs.rename_snapshot(&from, &to, scope))
    };
    refused(rename(Scope::One)?, ZfsErrorKind::Exists)?;
    rename(Scope::Recursive)??;
    same!(ground.look(&a)?.snapshots, [before], "snapshots");
    Ok(())
}
