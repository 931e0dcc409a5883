//! Images as pools: opened, kept from others, and told apart.

use engine::zfs::userland::{Image, ImagePool};
use engine::zfs::{Pools, Scope, Zfs, ZfsErrorKind};

use crate::{Folder, IMAGE_BYTES, Images, dataset, snapshot, worker};

#[test]
fn an_image_is_found_by_the_name_of_its_pool() {
    let Some(images) = Images::create(&["tank", "safe"]) else {
        return;
    };
    for pool in ["tank", "safe"] {
        let tree = images.tree(&dataset(pool), Scope::Recursive).unwrap();
        assert_eq!(tree.unwrap()[0].name, dataset(pool));
    }
    let names: Vec<_> = images.images().map(|image| &image.image().pool).collect();
    assert_eq!(names, ["safe", "tank"]);
    let missing = images.tree(&dataset("tank/none"), Scope::One).unwrap();
    assert_eq!(missing, None);
}

#[test]
fn what_was_done_is_there_after_the_image_is_opened_again() {
    let folder = Folder::new();
    let Some(pool) = folder.create("tank") else {
        return;
    };
    pool.create_ancestors(&dataset("tank/a/b")).unwrap();
    pool.snapshot(&[snapshot("tank/a@s")]).unwrap();
    let before = pool.tree(&dataset("tank"), Scope::Recursive).unwrap();
    pool.close().unwrap();
    let pool = ImagePool::open(&worker(), &folder.image("tank")).unwrap();
    let after = pool.tree(&dataset("tank"), Scope::Recursive).unwrap();
    assert_eq!(before, after);
    // Not closed, as if the process had died.
    pool.snapshot(&[snapshot("tank/a@t")]).unwrap();
    drop(pool);
    let pool = ImagePool::open(&worker(), &folder.image("tank")).unwrap();
    let tree = pool.tree(&dataset("tank/a"), Scope::One).unwrap().unwrap();
    assert_eq!(tree[0].snapshots.len(), 2);
}

#[test]
fn an_image_is_used_by_one_at_a_time() {
    let folder = Folder::new();
    let Some(pool) = folder.create("tank") else {
        return;
    };
    let second = ImagePool::open(&worker(), &folder.image("tank")).unwrap_err();
    assert_eq!(second.kind, ZfsErrorKind::Busy, "{second}");
    pool.close().unwrap();
    ImagePool::open(&worker(), &folder.image("tank")).unwrap();
}

#[test]
fn what_is_no_image_is_refused_with_its_reason() {
    let folder = Folder::new();
    let Some(pool) = folder.create("tank") else {
        return;
    };
    pool.close().unwrap();
    let open = |image: &Image| ImagePool::open(&worker(), image).unwrap_err();
    let missing = open(&folder.image("none"));
    assert_eq!(missing.kind, ZfsErrorKind::NotFound, "{missing}");
    let other = open(&Image {
        pool: "other".into(),
        ..folder.image("tank")
    });
    assert_eq!(other.kind, ZfsErrorKind::Invalid, "{other}");
    assert!(other.to_string().contains("tank"), "{other}");
    std::fs::write(folder.path("empty.img"), vec![0; 65 << 20]).unwrap();
    let empty = open(&folder.image("empty"));
    assert_eq!(empty.kind, ZfsErrorKind::Invalid, "{empty}");
    let again = ImagePool::create(&worker(), &folder.image("tank"), IMAGE_BYTES).unwrap_err();
    assert_eq!(again.kind, ZfsErrorKind::Exists, "{again}");
    let twice = [folder.image("tank"), folder.image("tank")];
    let twice = Pools::open(&worker(), &twice).err().unwrap();
    assert_eq!(twice.kind, ZfsErrorKind::Invalid, "{twice}");
}

#[test]
fn space_is_told_and_a_healthy_pool_is_found_healthy() {
    let Some(images) = Images::create(&["tank"]) else {
        return;
    };
    let pool = images.pool("tank");
    let space = pool.space().unwrap();
    assert!(space.total_bytes > IMAGE_BYTES / 2 && space.total_bytes <= IMAGE_BYTES);
    assert!(space.allocated_bytes > 0 && space.allocated_bytes < space.total_bytes / 2);
    let found = pool.check().unwrap();
    assert_eq!((found.errors, found.repaired_bytes), (0, 0));
    assert!(found.examined_bytes > 0);
}
