//! Files in volumes.

use std::fs::File;
use std::io::Write;

use engine::zfs::userland::{Contents, ImagePool};
use engine::zfs::{Zfs, ZfsError, ZfsErrorKind};

use crate::{Folder, Images, content, dataset, file, snapshot};

fn put(images: &Images, volume: &str, bytes: &[u8]) -> Result<u64, ZfsError> {
    let from = file(&images.folder.path("in"), bytes);
    let stored = images.pool("tank").put(&dataset(volume), from)?;
    assert_eq!(stored.bytes, bytes.len() as u64);
    Ok(stored.volume_bytes)
}

fn read(pool: &ImagePool, folder: &Folder, of: &str) -> Result<Vec<u8>, ZfsError> {
    let path = folder.path("out");
    let into = File::create(&path).unwrap();
    let bytes = pool.get(&Contents::parse(of).unwrap(), into.into())?;
    let content = std::fs::read(path).unwrap();
    assert_eq!(bytes, content.len() as u64);
    Ok(content)
}

fn get(images: &Images, of: &str) -> Result<Vec<u8>, ZfsError> {
    read(images.pool("tank"), &images.folder, of)
}

#[test]
fn a_file_comes_back_as_it_was_whatever_its_length() {
    let Some(images) = Images::create(&["tank"]) else {
        return;
    };
    let block = 16 << 10;
    for (n, bytes) in [0, 1, block - 512, block - 1, block, block + 1, 3_000_000]
        .into_iter()
        .enumerate()
    {
        let volume = format!("tank/v{n}");
        let bytes = content(n as u64, bytes);
        put(&images, &volume, &bytes).unwrap();
        assert_eq!(get(&images, &volume).unwrap(), bytes, "{volume}");
    }
}

#[test]
fn a_snapshot_keeps_the_file_with_its_own_length() {
    let Some(images) = Images::create(&["tank"]) else {
        return;
    };
    let files = [content(1, 200_000), content(2, 100), content(3, 150_001)];
    for (n, bytes) in files.iter().enumerate() {
        put(&images, "tank/v", bytes).unwrap();
        images
            .snapshot(&[snapshot(&format!("tank/v@s{n}"))])
            .unwrap();
    }
    for (n, bytes) in files.iter().enumerate() {
        assert_eq!(&get(&images, &format!("tank/v@s{n}")).unwrap(), bytes);
    }
    assert_eq!(get(&images, "tank/v").unwrap(), files[2]);
}

#[test]
fn a_file_that_does_not_fit_changes_nothing() {
    let Some(images) = Images::create(&["tank"]) else {
        return;
    };
    let first = content(1, 100_000);
    let room = put(&images, "tank/v", &first).unwrap();
    let room = usize::try_from(room).unwrap();
    for bytes in [room + 1, room - 1] {
        let error = put(&images, "tank/v", &content(2, bytes)).unwrap_err();
        assert_eq!(error.kind, ZfsErrorKind::NoSpace, "{error}");
        assert_eq!(get(&images, "tank/v").unwrap(), first);
    }
    for bytes in [room, room - 512] {
        let bytes = content(3, bytes);
        put(&images, "tank/v", &bytes).unwrap();
        assert_eq!(get(&images, "tank/v").unwrap(), bytes);
    }
}

#[test]
fn a_pipe_can_fill_a_volume_that_exists_and_makes_none() {
    let Some(images) = Images::create(&["tank"]) else {
        return;
    };
    let pipe = |bytes: Vec<u8>| {
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::thread::spawn(move || writer.write_all(&bytes));
        reader
    };
    let pool = images.pool("tank");
    let new = pool.put(&dataset("tank/v"), pipe(content(1, 10)).into());
    assert_eq!(new.unwrap_err().kind, ZfsErrorKind::Invalid);
    put(&images, "tank/v", &content(1, 500_000)).unwrap();
    let bytes = content(2, 300_000);
    let stored = pool.put(&dataset("tank/v"), pipe(bytes.clone()).into());
    assert_eq!(stored.unwrap().bytes, 300_000);
    assert_eq!(get(&images, "tank/v").unwrap(), bytes);
    let long = pool.put(&dataset("tank/v"), pipe(content(3, 600_000)).into());
    assert_eq!(long.unwrap_err().kind, ZfsErrorKind::NoSpace);
}

#[test]
fn what_is_no_volume_is_refused_with_its_reason() {
    let Some(images) = Images::create(&["tank"]) else {
        return;
    };
    images.create_ancestors(&dataset("tank/fs/x")).unwrap();
    let error = put(&images, "tank/fs", b"x").unwrap_err();
    assert_eq!(error.kind, ZfsErrorKind::Invalid, "{error}");
    let error = put(&images, "tank/none/v", b"x").unwrap_err();
    assert_eq!(error.kind, ZfsErrorKind::NotFound, "{error}");
    let error = get(&images, "tank/none").unwrap_err();
    assert_eq!(error.kind, ZfsErrorKind::NotFound, "{error}");
    put(&images, "tank/v", b"x").unwrap();
    let error = get(&images, "tank/v@none").unwrap_err();
    assert_eq!(error.kind, ZfsErrorKind::NotFound, "{error}");
}
