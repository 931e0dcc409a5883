//! A mount point as `src` where pools are in files, which are mounted nowhere.

use super::lab::{data, lab};
use crate::program::machine_has_zfs;

#[test]
fn a_mount_point_is_told_to_be_impossible_for_a_pool_in_a_file() {
    let Some(lab) = lab() else { return };
    if machine_has_zfs() {
        return;
    }
    lab.put("tank/data", &data(1, 1));
    let config = format!(
        "[DEFAULT]\nnodes = n1\nimage = {} {}\n[sync#1]\ntype = zfs\nsrc = /srv/data\n\
         dst = backup/data\ntarget = local\n",
        lab.image("tank"),
        lab.image("backup")
    );
    lab.place.configure("web", &config);
    let before = lab.snapshots("tank/data");
    let ran = lab.place.run(&["sync", "update", "web"]);
    ran.fails(
        1,
        &[
            "find the dataset mounted at /srv/data",
            "images are mounted nowhere",
        ],
    );
    assert_eq!(lab.snapshots("tank/data"), before);
    let ran = lab.place.run(&["config", "show", "web"]);
    ran.fails(0, &["note: "]);
    let text = "  src: what is mounted at /srv/data\n  dst: backup/data\n";
    assert!(ran.out.contains(text), "{ran:#?}");
    assert!(
        ran.out
            .contains("  target: backup/data on this machine (local)\n")
    );
}
