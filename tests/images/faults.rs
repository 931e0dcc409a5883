//! What can be wrong with the file under a pool.

use std::fs::OpenOptions;
use std::process::Command;

use super::lab::{SMALL, data, lab, lab_of, skipped};
use crate::program::Ran;

#[test]
fn a_truncated_image_is_refused_and_not_made_worse() {
    let Some(lab) = lab_of(SMALL) else { return };
    lab.put("tank/vol", &data(1, 8 << 20));
    let file = OpenOptions::new()
        .write(true)
        .open(lab.file("tank"))
        .unwrap();
    file.set_len(70 << 20).unwrap();
    let before = std::fs::read(lab.file("tank")).unwrap();
    let ran = lab.run(&["replicate", "tank/vol", "backup/vol"]);
    ran.fails(1, &["tank.img", "next: "]);
    assert!(std::fs::read(lab.file("tank")).unwrap() == before);
    assert!(lab.dataset("backup/vol").is_null());
    // What was cut off were holes: given back, the pool is whole.
    file.set_len(128 << 20).unwrap();
    let ran = lab.run(&["image", "list", "tank"]);
    assert_ne!(ran.code, Some(70), "{ran:?}");
}

#[test]
fn a_source_with_flipped_bits_sends_nothing_that_the_target_takes_for_data() {
    let Some(lab) = lab_of(SMALL) else { return };
    lab.put("tank/vol", &data(1, 40 << 20));
    let mut image = std::fs::read(lab.file("tank")).unwrap();
    for offset in (14 << 20..40 << 20).step_by(1 << 20) {
        image[offset..][..4096]
            .iter_mut()
            .for_each(|byte| *byte ^= 0x5a);
    }
    std::fs::write(lab.file("tank"), &image).unwrap();
    let ran = lab.run(&["replicate", "tank/vol", "backup/vol"]);
    assert!(matches!(ran.code, Some(1 | 5)), "{ran:#?}");
    assert!(ran.err.contains("tank"), "{ran:#?}");
    assert!(
        lab.dataset("backup/vol")["snapshots"]
            .as_array()
            .is_none_or(Vec::is_empty)
    );
}

/// A file system of some MiB, unmounted when dropped.
struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn mount(path: std::path::PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]);
        let mounted = mount
            .arg(&path)
            .output()
            .is_ok_and(|done| done.status.success());
        mounted.then(|| Self(path))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_under_the_target_ends_the_run_in_time_and_the_pool_survives() {
    let Some(lab) = lab() else { return };
    let Some(disk) = Tmpfs::mount(lab.place.path("disk"), "40m") else {
        return skipped("no small disk can be mounted here");
    };
    let image = format!("small={}", disk.0.join("small.img").display());
    let kept = data(1, 4 << 20);
    lab.put("tank/kept", &kept);
    lab.done(&["image", "create", &image, "--size", "128M"]);
    lab.done(&["--image", &image, "replicate", "tank/kept", "small/kept"]);
    // Sparse: the pool has room for this, the disk under it has not.
    lab.put("tank/huge", &data(2, 60 << 20));
    let words = ["--image", &image, "replicate", "tank/huge", "small/huge"];
    let ran = Ran::of(&mut lab.command(&words));
    assert!(matches!(ran.code, Some(1 | 5)), "{ran:#?}");
    // What was there is there.
    let mut get = lab.command(&["--image", &image, "image", "get", "small/kept"]);
    let output = get.output().unwrap();
    assert!(
        output.stdout == kept,
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
