//! Taking and destroying snapshots: all of a call or none.

use super::ground::{Ground, at};
use super::{Claim, Outcome, claims, refused, same};
use crate::zfs::ZfsErrorKind;

pub(super) const CLAIMS: &[Claim] = claims![
    snapshots_of_one_call_share_a_transaction_group,
    snapshots_are_taken_all_or_none_with_a_reason_for_each,
    snapshots_of_a_missing_dataset_are_not_found,
    two_snapshots_of_one_dataset_or_of_two_pools_are_refused,
    snapshots_are_destroyed_together_and_missing_ones_are_no_error,
    a_held_snapshot_is_busy_and_none_is_destroyed,
];

fn snapshots_of_one_call_share_a_transaction_group(ground: &Ground<'_>) -> Outcome {
    let (a, b) = (ground.filesystem("a")?, ground.filesystem("a/b")?);
    ground.zfs.snapshot(&[at(&a, "s")?, at(&b, "s")?])?;
    let first = ground.listed_snapshot(&at(&a, "s")?)?;
    let second = ground.listed_snapshot(&at(&b, "s")?)?;
    same!(first.createtxg, second.createtxg, "createtxg");
    super::ensure!(first.guid != second.guid, "they share the guid");
    Ok(())
}

fn snapshots_are_taken_all_or_none_with_a_reason_for_each(ground: &Ground<'_>) -> Outcome {
    let (a, b) = (ground.filesystem("a")?, ground.filesystem("b")?);
    ground.snapshot(&b, "s")?;
    let names = [at(&a, "s")?, at(&b, "s")?];
    let error = refused(ground.zfs.snapshot(&names), ZfsErrorKind::Exists)?;
    let items: Vec<_> = error
        .items
        .iter()
        .map(|i| (i.name.as_str(), i.kind))
        .collect();
    let taken = names[1].to_string();
    same!(
        items,
        [(taken.as_str(), ZfsErrorKind::Exists)],
        "the reasons"
    );
    same!(
        ground.snapshots(&a)?,
        Vec::<String>::new(),
        "taken all the same"
    );
    Ok(())
}

fn snapshots_of_a_missing_dataset_are_not_found(ground: &Ground<'_>) -> Outcome {
    let (a, none) = (ground.filesystem("a")?, ground.here("none")?);
    let names = [at(&a, "s")?, at(&none, "s")?];
    let error = refused(ground.zfs.snapshot(&names), ZfsErrorKind::NotFound)?;
    same!(error.items.len(), 1, "reasons");
    same!(error.items[0].name, names[1].to_string(), "whose reason");
    same!(
        ground.snapshots(&a)?,
        Vec::<String>::new(),
        "taken all the same"
    );
    Ok(())
}

fn two_snapshots_of_one_dataset_or_of_two_pools_are_refused(ground: &Ground<'_>) -> Outcome {
    let a = ground.filesystem("a")?;
    let there = ground.there("b")?;
    let child = crate::name::DatasetName::parse(&format!("{there}/x"))?;
    ground.zfs.create_ancestors(&child)?;
    for names in [
        [at(&a, "s")?, at(&a, "t")?],
        [at(&a, "s")?, at(&there, "s")?],
    ] {
        refused(ground.zfs.snapshot(&names), ZfsErrorKind::CrossDevice)?;
        same!(
            ground.snapshots(&a)?,
            Vec::<String>::new(),
            "taken all the same"
        );
    }
    Ok(())
}

fn snapshots_are_destroyed_together_and_missing_ones_are_no_error(ground: &Ground<'_>) -> Outcome {
    let (a, b) = (ground.filesystem("a")?, ground.filesystem("b")?);
    for (dataset, short) in [(&a, "s"), (&a, "t"), (&b, "s")] {
        ground.snapshot(dataset, short)?;
    }
    let missing = ground.here("none")?;
    let names = [at(&a, "s")?, at(&b, "s")?, at(&b, "u")?, at(&missing, "s")?];
    ground.zfs.destroy_snapshots(&names)?;
    same!(ground.snapshots(&a)?, ["t"], "left of a");
    same!(ground.snapshots(&b)?, Vec::<String>::new(), "left of b");
    ground.zfs.destroy_snapshots(&names)?;
    ground.zfs.destroy_snapshots(&[])?;
    Ok(())
}

fn a_held_snapshot_is_busy_and_none_is_destroyed(ground: &Ground<'_>) -> Outcome {
    let a = ground.filesystem("a")?;
    for short in ["s", "t"] {
        ground.snapshot(&a, short)?;
    }
    let names = [at(&a, "s")?, at(&a, "t")?];
    let hold = ground.hold(&names[1..])?;
    let error = refused(ground.zfs.destroy_snapshots(&names), ZfsErrorKind::Busy)?;
    same!(error.items.len(), 1, "reasons");
    same!(error.items[0].name, names[1].to_string(), "whose reason");
    same!(ground.snapshots(&a)?, ["s", "t"], "left");
    drop(hold);
    Ok(())
}
