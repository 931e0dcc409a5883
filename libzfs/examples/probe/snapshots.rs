//! Snapshots: take, list, rename, destroy.

use anyhow::{Context, Result, ensure};
use libzfs::{
    DestroyTiming, ErrorKind, PropertySetting, PropertyValue, RecursiveRename, Rename, with_handle,
};

use crate::{Probe, fails, get, write, zfs};

pub fn take_and_destroy(probe: &Probe) -> Result<()> {
    let core = &probe.core;
    let a = probe.filesystem("s", 1)?;
    let b = probe.filesystem("s/b", 1)?;
    let both = [format!("{a}@one"), format!("{b}@one")];
    let user = PropertySetting {
        name: "zferry:run".to_owned(),
        value: PropertyValue::Text("17".to_owned()),
    };
    core.snapshot(&both, &[user])?;
    for snapshot in &both {
        ensure!(
            get("zferry:run", snapshot)? == "17",
            "user property on {snapshot}"
        );
    }
    ensure!(
        get("createtxg", &both[0])? == get("createtxg", &both[1])?,
        "one txg"
    );

    let more = [format!("{a}@two"), format!("{b}@one")];
    let error = fails(core.snapshot(&more, &[]), ErrorKind::Exists)?;
    ensure!(
        error.items.len() == 1 && error.items[0].name == more[1],
        "{error:?}"
    );
    ensure!(!core.exists(&more[0]), "all or nothing");
    fails(
        core.snapshot(&[format!("{a}@x"), format!("{a}@y")], &[]),
        ErrorKind::CrossDevice,
    )?;
    fails(
        core.snapshot(&[probe.name("absent@x")], &[]),
        ErrorKind::NotFound,
    )?;
    fails(
        core.snapshot(&[format!("{a}@bad name\0")], &[]),
        ErrorKind::Invalid,
    )?;

    zfs(&["hold", "keep", &both[1]])?;
    let error = fails(
        core.destroy_snapshots(&both, DestroyTiming::Now),
        ErrorKind::Busy,
    )?;
    ensure!(
        error.items.len() == 1 && error.items[0].name == both[1],
        "{error:?}"
    );
    ensure!(
        core.exists(&both[0]) && core.exists(&both[1]),
        "none destroyed"
    );

    core.destroy_snapshots(&both, DestroyTiming::Deferred)?;
    ensure!(
        !core.exists(&both[0]) && core.exists(&both[1]),
        "the held one stays"
    );
    let marked = with_handle(|handle| handle.snapshots(&b))?;
    ensure!(
        marked.len() == 1 && marked[0].defer_destroy && marked[0].holds == 1,
        "{marked:?}"
    );
    zfs(&["release", "keep", &both[1]])?;
    ensure!(!core.exists(&both[1]), "it goes with its last hold");
    core.destroy_snapshots(&both, DestroyTiming::Now)?;
    Ok(())
}

pub fn list(probe: &Probe) -> Result<()> {
    let a = probe.filesystem("l", 1)?;
    // Names in another order than time.
    for (index, name) in ["z", "m", "a"].into_iter().enumerate() {
        write(&a, &format!("{name}{index}"), 1)?;
        probe.core.snapshot(&[format!("{a}@{name}")], &[])?;
    }
    zfs(&["hold", "keep", &format!("{a}@m")])?;
    let (ids, full) = with_handle(|handle| {
        Ok::<_, libzfs::Error>((handle.snapshot_ids(&a)?, handle.snapshots(&a)?))
    })?;
    let names: Vec<&str> = ids.iter().map(|id| id.name.as_str()).collect();
    ensure!(names == ["z", "m", "a"], "oldest first: {names:?}");
    ensure!(full.len() == 3, "{full:?}");
    for (id, snapshot) in ids.iter().zip(&full) {
        ensure!(
            *id == snapshot.id,
            "both ways see the same: {id:?} {:?}",
            snapshot.id
        );
        let name = format!("{a}@{}", id.name);
        let alone = with_handle(|handle| handle.snapshot_guid(&name))?;
        ensure!(alone == id.guid, "{name} alone: {alone}");
        for (property, ours) in [
            ("guid", id.guid),
            ("createtxg", id.createtxg),
            ("creation", snapshot.creation_seconds),
            ("userrefs", snapshot.holds),
            ("used", snapshot.used_bytes),
            ("referenced", snapshot.referenced_bytes),
            ("written", snapshot.written_bytes),
        ] {
            let theirs: u64 = get(property, &name)?.parse()?;
            ensure!(ours == theirs, "{property} of {name}: {ours}, not {theirs}");
        }
        ensure!(snapshot.ivset_guid.is_none(), "not encrypted");
    }
    ensure!(full[1].holds == 1 && full[0].holds == 0, "{full:?}");
    zfs(&["clone", &format!("{a}@m"), &probe.name("l-clone")])?;
    let cloned = with_handle(|handle| handle.snapshots(&a))?;
    let clones: Vec<u64> = cloned.iter().map(|snapshot| snapshot.clones).collect();
    ensure!(clones == [0, 1, 0], "{clones:?}");
    fails(
        with_handle(|handle| handle.snapshots(&probe.name("absent"))),
        ErrorKind::NotFound,
    )?;
    Ok(())
}

pub fn rename(probe: &Probe) -> Result<()> {
    let core = &probe.core;
    let a = probe.filesystem("r", 1)?;
    let b = probe.filesystem("r/b", 1)?;
    let c = probe.filesystem("r/b/c", 1)?;
    core.snapshot(
        &[format!("{a}@one"), format!("{b}@one"), format!("{c}@one")],
        &[],
    )?;
    let guid = get("guid", &format!("{c}@one"))?;
    let rename = |from: &str, to: &str| core.rename(&Rename { from, to });
    rename(&format!("{a}@one"), &format!("{a}@two"))?;
    ensure!(core.exists(&format!("{b}@one")), "one dataset only");
    fails(
        rename(&format!("{a}@one"), &format!("{a}@three")),
        ErrorKind::NotFound,
    )?;
    fails(
        rename(&format!("{a}@two"), &format!("{a}@two")),
        ErrorKind::Exists,
    )?;
    fails(
        rename(&format!("{a}@two"), &format!("{b}@two")),
        ErrorKind::CrossDevice,
    )?;
    rename(&format!("{a}@two"), &format!("{a}@one"))?;

    let recursive = |snapshot: &str, to: &str| {
        with_handle(|handle| handle.rename_snapshot_recursive(&RecursiveRename { snapshot, to }))
    };
    // Held and with a clone: neither is in the way.
    let hold = core.hold_until_dropped("zferry:probe", &[format!("{b}@one")])?;
    zfs(&["clone", &format!("{a}@one"), &probe.name("clone")])?;
    recursive(&format!("{a}@one"), "sent")?;
    for dataset in [&a, &b, &c] {
        ensure!(core.exists(&format!("{dataset}@sent")), "{dataset}@sent");
        ensure!(!core.exists(&format!("{dataset}@one")), "{dataset}@one");
    }
    ensure!(get("guid", &format!("{c}@sent"))? == guid, "the guid stays");
    ensure!(
        core.holds(&format!("{b}@sent"))?.len() == 1,
        "the hold stays"
    );
    let clone = with_handle(|handle| handle.dataset(&probe.name("clone")))?;
    ensure!(
        clone.origin == Some(format!("{a}@sent")),
        "the origin follows: {clone:?}"
    );
    drop(hold);

    // A child without the name is skipped, one with the new name stops it all.
    core.snapshot(&[format!("{a}@tosend"), format!("{c}@tosend")], &[])?;
    recursive(&format!("{a}@tosend"), "next")?;
    ensure!(
        core.exists(&format!("{c}@next")) && !core.exists(&format!("{b}@next")),
        "skipped"
    );
    let error = fails(recursive(&format!("{a}@next"), "sent"), ErrorKind::Exists)?;
    ensure!(error.to_string().contains(&a), "{error}");
    for dataset in [&a, &c] {
        ensure!(core.exists(&format!("{dataset}@next")), "nothing changed");
    }
    core.snapshot(&[format!("{c}@other")], &[])?;
    core.snapshot(&[format!("{a}@free"), format!("{c}@free")], &[])?;
    fails(recursive(&format!("{a}@free"), "other"), ErrorKind::Exists)?;
    ensure!(
        core.exists(&format!("{a}@free")),
        "a collision below changes nothing above"
    );
    ensure!(
        !core.exists(&format!("{a}@other")),
        "a collision below changes nothing above"
    );

    fails(recursive(&format!("{a}@absent"), "x"), ErrorKind::NotFound)?;
    recursive(&format!("{a}@free"), "free").context("equal names")?;
    Ok(())
}
