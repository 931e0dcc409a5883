//! Pools, datasets, trees.

use anyhow::{Context, Result, ensure};
use libzfs::{
    Dataset, DatasetKind, Depth, ErrorKind, NewFilesystem, PropertySetting, PropertySource,
    PropertyValue, with_handle,
};

use crate::{Probe, fails, get, witness, write, zfs};

pub fn pools_and_versions(probe: &Probe) -> Result<()> {
    let (pools, version) =
        with_handle(|handle| Ok::<_, libzfs::Error>((handle.pools()?, handle.version())))?;
    let pool = pools
        .iter()
        .find(|pool| pool.name == probe.pool)
        .context("the pool is listed")?;
    let number = |property| -> Result<u64> {
        Ok(witness(
            "zpool",
            &["get", "-Hp", "-o", "value", property, &probe.pool],
        )?
        .parse()?)
    };
    ensure!(pool.guid == number("guid")?, "guid");
    ensure!(pool.size_bytes == number("size")?, "size");
    ensure!(
        pool.free_bytes > 0 && pool.free_bytes <= pool.size_bytes,
        "free"
    );
    ensure!(
        pool.features.contains_key("org.open-zfs:large_blocks"),
        "{:?}",
        pool.features
    );
    let version = version.context("OpenZFS has versions")?;
    let module = std::fs::read_to_string("/sys/module/zfs/version")?;
    ensure!(
        version.kernel.contains(module.trim()),
        "{version:?} is not {module}"
    );
    ensure!(!version.userland.is_empty(), "{version:?}");
    Ok(())
}

pub fn create_and_walk(probe: &Probe) -> Result<()> {
    let root = probe.name("tree");
    let number = |name: &str, value| PropertySetting {
        name: name.to_owned(),
        value: PropertyValue::Number(value),
    };
    let user = PropertySetting {
        name: "zferry:probe".to_owned(),
        value: PropertyValue::Text("größer".to_owned()),
    };
    probe.core.create_filesystem(&NewFilesystem {
        name: &root,
        properties: &[number("recordsize", 65536), number("canmount", 2), user],
    })?;
    ensure!(get("recordsize", &root)? == "65536", "recordsize");
    ensure!(get("canmount", &root)? == "noauto", "canmount");
    ensure!(get("mounted", &root)? == "no", "creating does not mount");
    fails(
        probe.core.create_filesystem(&NewFilesystem {
            name: &root,
            properties: &[],
        }),
        ErrorKind::Exists,
    )?;
    fails(
        probe.core.create_filesystem(&NewFilesystem {
            name: &probe.name("absent/child"),
            properties: &[],
        }),
        ErrorKind::NotFound,
    )?;

    // Made in another order than that of names.
    let b = probe.filesystem("tree/b", 2)?;

    zfs(&["create", &probe.name("tree/a")])?;
    zfs(&["create", &probe.name("tree/a/deep")])?;
    zfs(&["create", "-s", "-V", "16M", &probe.name("tree/vol")])?;
    zfs(&["set", "quota=100M", &b])?;
    zfs(&["snapshot", &probe.name("tree/a@one")])?;

    let everything = |depth, threads| {
        let all = libzfs::list(&root, depth, threads, |_, one| {
            Ok::<_, libzfs::Error>(Some(one))
        });
        all?.context("the tree is there")
    };
    let listed = everything(Depth::All, 1)?;
    for of_tree in &listed {
        let name = &of_tree.dataset.name;
        let alone = with_handle(|handle| handle.snapshots(name))?;
        ensure!(of_tree.snapshots == alone, "{name}: {of_tree:?}");
    }
    ensure!(listed[1].snapshots.len() == 1, "{:?}", listed[1]);
    let tree: Vec<_> = listed.into_iter().map(|listed| listed.dataset).collect();
    let names: Vec<&str> = tree.iter().map(|dataset| dataset.name.as_str()).collect();
    let expected: Vec<String> = ["tree", "tree/a", "tree/a/deep", "tree/b", "tree/vol"]
        .map(|name| probe.name(name))
        .into();
    ensure!(names == expected, "{names:?}");
    for dataset in &tree {
        check_against_witness(dataset)?;
    }
    let [top, .., b_dataset, volume] = tree.as_slice() else {
        anyhow::bail!("five datasets");
    };
    ensure!(
        top.kind == DatasetKind::Filesystem && !top.mounted,
        "{top:?}"
    );
    ensure!(
        volume.kind == DatasetKind::Volume && !volume.mounted,
        "{volume:?}"
    );
    ensure!(
        b_dataset.mounted && b_dataset.written_bytes > 1024 * 1024,
        "{b_dataset:?}"
    );
    let quota = b_dataset.property("quota").context("quota is reported")?;
    ensure!(quota.source == PropertySource::Local, "{quota:?}");
    ensure!(quota.value == PropertyValue::Number(100 << 20), "{quota:?}");
    let inherited = b_dataset
        .property("zferry:probe")
        .context("user property")?;
    ensure!(
        inherited.source == PropertySource::Inherited(root.clone()),
        "{inherited:?}"
    );
    ensure!(
        inherited.value == PropertyValue::Text("größer".to_owned()),
        "{inherited:?}"
    );
    let used = b_dataset.property("used").context("used is reported")?;
    ensure!(used.source == PropertySource::None, "{used:?}");

    let alone = everything(Depth::One, 2)?;
    ensure!(
        alone.len() == 1 && alone[0].dataset.name == root,
        "{alone:?}"
    );

    for absent in [probe.name("absent"), "zferry_test_absent/pool".to_owned()] {
        fails(
            with_handle(|handle| handle.dataset(&absent)),
            ErrorKind::NotFound,
        )?;
        ensure!(!probe.core.exists(&absent), "{absent} does not exist");
    }
    ensure!(probe.core.exists(&root), "{root} exists");
    fails(
        with_handle(|handle| handle.dataset(&format!("{root}@snapshot"))),
        ErrorKind::Invalid,
    )?;

    fails(probe.core.destroy(&root), ErrorKind::Exists)?;
    probe.core.destroy(&probe.name("tree/vol"))?;
    ensure!(!probe.core.exists(&probe.name("tree/vol")), "destroyed");

    // A change after the first question is seen by the next one.
    write(&b, "more", 1)?;
    let again = with_handle(|handle| handle.dataset(&b))?;
    ensure!(
        again.written_bytes > b_dataset.written_bytes,
        "written grows"
    );
    zfs(&["unmount", &b])?;
    ensure!(
        !with_handle(|handle| handle.dataset(&b))?.mounted,
        "unmounted"
    );
    Ok(())
}

/// More datasets than one thread lists by itself, some of them deeper.
pub fn list_by_several_threads(probe: &Probe) -> Result<()> {
    let root = probe.name("wide");
    let create = |name: &str| {
        probe.core.create_filesystem(&NewFilesystem {
            name,
            properties: &[],
        })
    };
    create(&root)?;
    for n in 0..24 {
        let name = format!("{root}/{n:02}");
        create(&name)?;
        if n % 8 == 0 {
            create(&format!("{name}/below"))?;
        }
    }
    zfs(&["snapshot", "-r", &format!("{root}@one")])?;
    let shown = zfs(&["list", "-Hrp", "-o", "name,guid", &root])?;
    for threads in [1, 2, 4] {
        let all = libzfs::list(&root, Depth::All, threads, |_, one| {
            Ok::<_, libzfs::Error>(Some(one))
        });
        let all = all?.context("the tree is there")?;
        let told: Vec<String> = all
            .iter()
            .map(|one| format!("{}\t{}", one.dataset.name, one.dataset.guid))
            .collect();
        ensure!(
            told.join("\n") == shown.trim_end(),
            "{threads} threads: {told:?}"
        );
        ensure!(
            all.iter().all(|one| one.snapshots.len() == 1),
            "{threads} threads: snapshots"
        );
    }
    Ok(())
}

/// Numbers that zfs(8) shows too.
fn check_against_witness(dataset: &Dataset) -> Result<()> {
    for (property, ours) in [
        ("guid", dataset.guid),
        ("createtxg", dataset.createtxg),
        ("written", dataset.written_bytes),
        ("used", dataset.used_bytes),
        ("referenced", dataset.referenced_bytes),
    ] {
        let theirs: u64 = get(property, &dataset.name)?.parse()?;
        ensure!(
            ours == theirs,
            "{property} of {}: {ours}, not {theirs}",
            dataset.name
        );
    }
    // The pool frees blocks in the background meanwhile.
    let theirs: u64 = get("available", &dataset.name)?.parse()?;
    ensure!(
        dataset.available_bytes.abs_diff(theirs) < 1024 * 1024,
        "available of {}: {}, not {theirs}",
        dataset.name,
        dataset.available_bytes
    );
    Ok(())
}
