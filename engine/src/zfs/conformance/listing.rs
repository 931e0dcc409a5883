//! Listings, and bringing datasets into being.

use super::ground::{Ground, at};
use super::{Claim, Outcome, claims, ensure, refused, same};
use crate::name::DatasetName;
use crate::zfs::{DatasetKind, PropertyValue, Scope, ZfsErrorKind};

pub(super) const CLAIMS: &[Claim] = claims![
    what_does_not_exist_is_listed_as_nothing,
    a_tree_has_parents_before_children_and_one_dataset_alone_has_none,
    missing_ancestors_are_created_topmost_first_and_do_not_mount,
    ancestors_in_a_missing_pool_are_not_found,
    snapshots_are_listed_oldest_first_with_what_tells_them_apart,
    snapshots_are_told_by_name_in_the_order_they_were_asked_for,
    written_counts_what_came_after_the_newest_snapshot,
    a_snapshot_tells_what_was_written_before_it_and_what_keeps_it,
];

fn what_does_not_exist_is_listed_as_nothing(ground: &Ground<'_>) -> Outcome {
    for scope in [Scope::One, Scope::Recursive] {
        let found = ground.zfs.tree(&ground.here("none/deeper")?, scope)?;
        ensure!(found.is_none(), "it is listed: {found:?}");
    }
    Ok(())
}

fn a_tree_has_parents_before_children_and_one_dataset_alone_has_none(
    ground: &Ground<'_>,
) -> Outcome {
    // In the order of names a-b would come before a/b.
    for name in ["t/a-b", "t/b", "t/a/z", "t/a/b"] {
        ground.filesystem(name)?;
    }
    let root = ground.here("t")?;
    ground.fixture.create_volume(&ground.here("t/a/v")?)?;
    let tree = ground
        .zfs
        .tree(&root, Scope::Recursive)?
        .unwrap_or_default();
    let prefix = format!("{root}");
    let names: Vec<_> = tree
        .iter()
        .map(|dataset| dataset.name.as_str().trim_start_matches(&prefix).to_owned())
        .collect();
    same!(
        names,
        ["", "/a", "/a/b", "/a/v", "/a/z", "/a-b", "/b"],
        "the tree"
    );
    let volumes = tree.iter().filter(|d| d.kind == DatasetKind::Volume);
    same!(volumes.count(), 1, "volumes");
    let one = ground.zfs.tree(&root, Scope::One)?.unwrap_or_default();
    same!(one.len(), 1, "datasets of a listing of one");
    same!(one[0], tree[0], "the root in both listings");
    Ok(())
}

fn missing_ancestors_are_created_topmost_first_and_do_not_mount(ground: &Ground<'_>) -> Outcome {
    let deep = ground.here("p/q/r/dataset")?;
    let created = ground.zfs.create_ancestors(&deep)?;
    same!(
        created,
        [
            ground.here("p")?,
            ground.here("p/q")?,
            ground.here("p/q/r")?
        ],
        "created"
    );
    ensure!(!ground.exists(&deep)?, "the dataset itself was created");
    let made = ground.look(&created[2])?;
    same!(made.kind, DatasetKind::Filesystem, "kind");
    let canmount = made.properties.iter().find(|p| p.name == "canmount");
    same!(
        canmount.map(|property| property.value.clone()),
        Some(PropertyValue::Number(0)),
        "canmount"
    );
    let again = ground.zfs.create_ancestors(&deep)?;
    ensure!(again.is_empty(), "created again: {again:?}");
    Ok(())
}

fn ancestors_in_a_missing_pool_are_not_found(ground: &Ground<'_>) -> Outcome {
    let name = DatasetName::parse("zferry-no-such-pool/a/b")?;
    // Without ZFS in the kernel nobody knows which pools there are.
    match ground.zfs.create_ancestors(&name) {
        Err(error) if error.kind == ZfsErrorKind::Unavailable => Ok(()),
        other => refused(other, ZfsErrorKind::NotFound).map(drop),
    }
}

fn snapshots_are_listed_oldest_first_with_what_tells_them_apart(ground: &Ground<'_>) -> Outcome {
    let a = ground.filesystem("a")?;
    for short in ["z", "m", "a"] {
        ground.snapshot(&a, short)?;
    }
    same!(ground.snapshots(&a)?, ["z", "m", "a"], "the order");
    let found = ground.look(&a)?;
    let ascending = found
        .snapshots
        .windows(2)
        .all(|two| two[0].createtxg < two[1].createtxg);
    ensure!(ascending, "createtxg does not grow: {:?}", found.snapshots);
    for snapshot in &found.snapshots {
        ensure!(snapshot.guid.0 != 0, "no guid: {snapshot:?}");
        same!(
            found.snapshot_by_guid(snapshot.guid),
            Some(snapshot),
            "what has this guid"
        );
        // November 2023: the clock of the model, and long past for the others.
        ensure!(
            snapshot.creation_seconds >= 1_700_000_000,
            "not taken today: {snapshot:?}"
        );
    }
    ensure!(
        found.guid.0 != 0 && found.snapshot_by_guid(found.guid).is_none(),
        "the head has the guid {:?}",
        found.guid
    );
    Ok(())
}

fn snapshots_are_told_by_name_in_the_order_they_were_asked_for(ground: &Ground<'_>) -> Outcome {
    let (a, b) = (ground.filesystem("a")?, ground.volume("b", 1)?);
    for (dataset, short) in [(&a, "one"), (&a, "two"), (&b, "one")] {
        ground.snapshot(dataset, short)?;
    }
    let mut expected = Vec::new();
    for dataset in [&a, &b] {
        let snapshots = ground.look(dataset)?.snapshots;
        expected.extend(snapshots.iter().map(|snapshot| Some(snapshot.guid)));
    }
    let [Some(a_one), Some(a_two), Some(b_one)] = expected[..] else {
        ensure!(false, "three snapshots: {expected:?}");
        return Ok(());
    };
    let names = [
        at(&b, "one")?,
        at(&a, "two")?,
        at(&a, "absent")?,
        at(&a, "one")?,
        at(&ground.here("absent")?, "one")?,
    ];
    same!(
        ground.zfs.snapshot_guids(&names)?,
        [Some(b_one), Some(a_two), None, Some(a_one), None],
        "guids"
    );
    same!(ground.zfs.snapshot_guids(&[])?, [], "guids of nothing");
    Ok(())
}

fn written_counts_what_came_after_the_newest_snapshot(ground: &Ground<'_>) -> Outcome {
    let volume = ground.volume("v", 1)?;
    let content = super::CONTENT_BYTES as u64;
    let before = ground.look(&volume)?.written_bytes;
    ensure!(before >= content, "{before} bytes written by {content}");
    ground.zfs.snapshot(&[at(&volume, "s")?])?;
    same!(
        ground.look(&volume)?.written_bytes,
        0,
        "written after a snapshot"
    );
    ground.write(&volume, 2)?;
    let after = ground.look(&volume)?.written_bytes;
    ensure!(after >= content, "{after} bytes written by {content}");
    Ok(())
}

fn a_snapshot_tells_what_was_written_before_it_and_what_keeps_it(ground: &Ground<'_>) -> Outcome {
    let volume = ground.volume("v", 1)?;
    let content = super::CONTENT_BYTES as u64;
    ground.snapshot(&volume, "first")?;
    ground.snapshot(&volume, "nothing")?;
    ground.write(&volume, 2)?;
    ground.snapshot(&volume, "second")?;
    let told = |short: usize| {
        let snapshots = ground.look(&volume)?.snapshots;
        let found = &snapshots[short];
        Ok::<_, super::Failed>((found.written_bytes, found.holds, found.clones))
    };
    for n in [0, 2] {
        let (written, holds, clones) = told(n)?;
        ensure!(written >= content, "{written} bytes written by {content}");
        same!((holds, clones), (0, 0), "holds and clones");
    }
    same!(told(1)?, (0, 0, 0), "of a snapshot without a change");
    let held = ground.hold(&[at(&volume, "nothing")?])?;
    same!(told(1)?.1, 1, "holds");
    drop(held);
    super::eventually("the hold ends", || Ok(told(1)?.1 == 0))?;
    let clone = ground.here("clone")?;
    ground
        .fixture
        .clone_snapshot(&at(&volume, "second")?, &clone)?;
    same!(told(2)?.2, 1, "clones");
    same!(told(0)?.2, 0, "clones of another");
    Ok(())
}
