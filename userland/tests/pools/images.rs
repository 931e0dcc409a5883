//! Image files that are not what they should be.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use userland::protocol::{Call, StartFault};
use userland::{Error, IMAGE_BYTES_MIN, Image, Pool};

use crate::lab::{
    Lab, MIB, POOL_BYTES, damage, dataset, drain, read, scrub, short_patience, snapshot, volume,
    write,
};
use crate::random::{Random, seed};

/// Size of one of the four labels of a vdev; two lie at each end of the file.
const LABEL_BYTES: u64 = 256 << 10;

fn start_fault(result: Result<Pool, Error>) -> StartFault {
    match result {
        Err(Error::Start { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_image_that_is_missing_small_or_in_use_is_refused_by_its_name() {
    let Some(lab) = Lab::new() else { return };
    let missing = lab.open("tank").unwrap_err();
    assert!(matches!(missing, Error::ImageMissing(_)));
    assert!(missing.to_string().contains("tank.img"), "{missing}");

    File::create(lab.file("tank"))
        .unwrap()
        .set_len(MIB)
        .unwrap();
    let small = lab.open("tank").unwrap_err();
    assert!(matches!(small, Error::ImageTooSmall { bytes: MIB, .. }));

    std::fs::remove_file(lab.file("tank")).unwrap();
    let pool = lab.create("tank");
    let in_use = lab.open("tank").unwrap_err();
    assert!(matches!(in_use, Error::ImageInUse(_)));
    assert!(in_use.is_transient());
    pool.close().unwrap();
    lab.open("tank").unwrap();
}

#[test]
fn the_smallest_image_holds_a_pool() {
    let Some(lab) = Lab::new() else { return };
    let pool = Pool::create(&lab.worker, &lab.image("tank"), IMAGE_BYTES_MIN).unwrap();
    volume(&pool, "tank/vol", MIB);
    pool.close().unwrap();
    lab.open("tank").unwrap();
}

#[test]
fn a_file_without_a_pool_is_no_pool() {
    let Some(lab) = Lab::new() else { return };
    let file = File::create(lab.file("tank")).unwrap();
    file.set_len(POOL_BYTES).unwrap();
    assert_eq!(start_fault(lab.open("tank")), StartFault::NotAPool);
    let noise = Random::new(seed("noise")).bytes(1 << 20);
    for offset in (0..POOL_BYTES).step_by(1 << 20) {
        file.write_all_at(&noise, offset).unwrap();
    }
    assert_eq!(start_fault(lab.open("tank")), StartFault::NotAPool);
}

#[test]
fn a_pool_of_another_name_is_named() {
    let Some(lab) = Lab::new() else { return };
    lab.create("tank").close().unwrap();
    let image = Image {
        pool: "other".to_owned(),
        path: lab.file("tank"),
    };
    let fault = start_fault(Pool::open(&lab.worker, &image));
    assert_eq!(fault, StartFault::OtherName("tank".to_owned()));
    lab.open("tank").unwrap();
}

#[test]
fn a_name_that_zfs_does_not_allow_makes_no_pool_and_no_file() {
    let Some(lab) = Lab::new() else { return };
    for name in ["", "mirror", "a/b", "a@b", "7tank"] {
        let image = Image {
            pool: name.to_owned(),
            path: lab.path().join("new.img"),
        };
        let refused = Pool::create(&lab.worker, &image, POOL_BYTES);
        assert!(
            matches!(refused, Err(Error::Start { .. })),
            "`{name}`: {refused:?}"
        );
        assert!(!image.path.exists(), "`{name}`");
    }
}

#[test]
fn a_truncated_image_is_refused_at_any_length() {
    let Some(lab) = Lab::with(short_patience()) else {
        return;
    };
    let pool = lab.create("tank");
    volume(&pool, "tank/vol", 32 * MIB);
    write(&pool, "tank/vol", 0, &Random::new(2).bytes(32 << 20));
    pool.close().unwrap();
    let file = File::options().write(true).open(lab.file("tank")).unwrap();
    for bytes in [
        POOL_BYTES - 512,
        POOL_BYTES - MIB,
        POOL_BYTES / 2,
        IMAGE_BYTES_MIN,
    ] {
        file.set_len(bytes).unwrap();
        // The labels at the end, and perhaps data, are gone. Whatever ZFS
        // makes of it is an error with a name or a pool that it can answer for.
        match lab.open("tank") {
            Ok(pool) => {
                scrub(&pool);
            }
            Err(error) => assert!(matches!(error, Error::Start { .. }), "{bytes}: {error:?}"),
        }
    }
}

#[test]
fn one_good_label_is_enough_and_none_is_no_pool() {
    let Some(lab) = Lab::new() else { return };
    let pool = lab.create("tank");
    volume(&pool, "tank/vol", MIB);
    pool.close().unwrap();
    let zero = vec![0; usize::try_from(LABEL_BYTES).unwrap()];
    for label in 0..3 {
        damage(&lab.file("tank"), label_offset(label), &zero);
    }
    let pool = lab.open("tank").unwrap();
    assert!(dataset(&pool, "tank/vol").is_some());
    pool.close().unwrap();
    for label in 0..4 {
        damage(&lab.file("tank"), label_offset(label), &zero);
    }
    assert_eq!(start_fault(lab.open("tank")), StartFault::NotAPool);
}

fn label_offset(label: u64) -> u64 {
    match label {
        0 | 1 => label * LABEL_BYTES,
        _ => POOL_BYTES - (4 - label) * LABEL_BYTES,
    }
}

#[test]
fn flipped_bits_are_found_and_never_returned_as_content() {
    let Some(lab) = Lab::with(short_patience()) else {
        return;
    };
    let mut random = Random::new(seed("bits"));
    let content = random.bytes(48 << 20);
    let pool = lab.create("tank");
    volume(&pool, "tank/vol", 48 * MIB);
    write(&pool, "tank/vol", 0, &content);
    pool.close().unwrap();

    let file = File::options()
        .read(true)
        .write(true)
        .open(lab.file("tank"))
        .unwrap();
    let mut found = 0;
    for round in 0..8 {
        // A few flips somewhere in what is used: mostly data, sometimes metadata.
        for _ in 0..8 {
            let offset = 4 * MIB + random.number() % (56 * MIB);
            let mut byte = [0];
            file.read_exact_at(&mut byte, offset).unwrap();
            byte[0] ^= 1 << random.below(8);
            file.write_all_at(&byte, offset).unwrap();
        }
        let pool = match lab.open("tank") {
            Ok(pool) => pool,
            Err(Error::Start { .. }) => {
                found += 1;
                break;
            }
            Err(error) => panic!("round {round}: {error:?}"),
        };
        let name = "tank/vol".to_owned();
        match drain(&pool, Call::ReadVolume { name, offset: 0 }) {
            Ok(bytes) => assert!(bytes == content, "round {round}: wrong content"),
            Err(error) => {
                assert!(error.fault().is_some(), "round {round}: {error:?}");
                found += 1;
            }
        }
        match pool.call(Call::Scrub, None) {
            Ok(userland::protocol::Answer::Checked(checked)) => found += checked.errors,
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert!(error.fault().is_some(), "round {round}: {error:?}"),
        }
    }
    assert!(found > 0, "64 flips in 56 MiB, of which 48 are data");
}

/// A tmpfs that is unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, bytes: u64) -> Option<Self> {
        std::fs::create_dir(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "zferry-test"])
            .arg(at)
            .stderr(Stdio::null())
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            eprintln!("\n*** SKIPPED: a disk that fills up takes the right to mount a tmpfs ***\n");
            return None;
        }
        Some(Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_an_error_and_costs_nothing_that_was_synced() {
    let Some(lab) = Lab::with(short_patience()) else {
        return;
    };
    let Some(disk) = SmallDisk::mount(&lab.path().join("disk"), 96 << 20) else {
        return;
    };
    let image = Image {
        pool: "tank".to_owned(),
        path: disk.0.join("tank.img"),
    };
    let content = Random::new(seed("full")).bytes(16 << 20);
    let pool = Pool::create(&lab.worker, &image, POOL_BYTES).unwrap();
    volume(&pool, "tank/keep", 16 * MIB);
    write(&pool, "tank/keep", 0, &content);
    snapshot(&pool, "tank/keep@a");
    volume(&pool, "tank/more", 128 * MIB);

    let call = Call::WriteVolume {
        name: "tank/more".to_owned(),
        offset: 0,
    };
    let error = crate::lab::fill(&pool, call, &Random::new(3).bytes(128 << 20)).unwrap_err();
    eprintln!("disk full: {error}");
    match &error {
        Error::DiskFull { call, .. } => assert_eq!(*call, "write volume"),
        // Or ZFS itself answered in time.
        error => assert!(error.fault().is_some(), "{error:?}"),
    }
    drop(pool);

    // Room again: what was synced is whole.
    let bigger = Command::new("mount")
        .args(["-o", "remount,size=400m"])
        .arg(&disk.0)
        .status();
    assert!(bigger.unwrap().success());
    let pool = Pool::open(&lab.worker, &image).unwrap();
    assert!(read(&pool, "tank/keep@a") == content);
    assert_eq!(scrub(&pool).errors, 0);
    pool.close().unwrap();
}

/// Where a label keeps its nvlist, and how long that is with its checksum.
const PHYS_OFFSET: u64 = 16 << 10;
const PHYS_BYTES: usize = 112 << 10;
/// Magic and checksum at the end of it (`zio_eck_t`).
const TRAILER_BYTES: usize = 40;

#[test]
fn a_pool_with_features_of_the_future_is_refused_as_newer() {
    let Some(lab) = Lab::new() else { return };
    lab.create("tank").close().unwrap();
    let file = File::options()
        .read(true)
        .write(true)
        .open(lab.file("tank"))
        .unwrap();
    for label in 0..4 {
        let offset = label_offset(label) + PHYS_OFFSET;
        let mut phys = vec![0; PHYS_BYTES];
        file.read_exact_at(&mut phys, offset).unwrap();
        assert!(
            label_checksum(&phys, offset) == phys[PHYS_BYTES - 32..],
            "label {label}"
        );
        let known = b"com.delphix:hole_birth";
        let at = phys.windows(known.len()).position(|part| part == known);
        let end = at.expect("a feature that every pool has") + known.len();
        // Of the same length, and not invented yet.
        phys[end - 1] = b'X';
        let sum = label_checksum(&phys, offset);
        phys[PHYS_BYTES - 32..].copy_from_slice(&sum);
        file.write_all_at(&phys, offset).unwrap();
    }
    assert_eq!(start_fault(lab.open("tank")), StartFault::NewerPool);
}

/// SHA-256 of a label whose checksum field holds its own offset.
fn label_checksum(phys: &[u8], offset: u64) -> Vec<u8> {
    let mut phys = phys.to_vec();
    let trailer = &mut phys[PHYS_BYTES - TRAILER_BYTES..];
    trailer[8..].fill(0);
    trailer[8..16].copy_from_slice(&offset.to_le_bytes());
    let mut tool = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    tool.stdin.take().unwrap().write_all(&phys).unwrap();
    let output = tool.wait_with_output().unwrap();
    let digits = String::from_utf8(output.stdout).unwrap();
    let words = (0..4).map(|word| u64::from_str_radix(&digits[word * 16..][..16], 16).unwrap());
    // Kept as numbers, in the order of this machine.
    words.flat_map(u64::to_le_bytes).collect()
}
