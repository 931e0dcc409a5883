//! `zferry sync` up to the point where it needs ZFS.

use crate::program::{Place, machine_has_zfs};

pub const SERVICE: &str = "[DEFAULT]\nnodes = n1 n2\nlock_timeout = 1s\n\
    [sync#1]\ntype = zfs\nsrc@n1 = tank/a\ndst = backup/a\ntarget = nodes\n";

#[test]
fn all_mistakes_of_a_file_are_listed_with_their_lines() {
    let place = Place::new();
    let lines = "[DEFAULT]\nnodes = n1 n2\n[sync#1]\ntype = zfs\nsrc = tank//a\n\
        recursive = perhaps\ntarget = nodes\n";
    place.configure("web", lines);
    let ran = place.run(&["sync", "update", "web"]);
    ran.fails(2, &["web.conf: line 5 ", "web.conf: line 6 "]);
}

#[test]
fn a_service_without_configuration_is_a_mistake_of_the_caller() {
    let ran = Place::new().run(&["sync", "full", "wbe"]);
    ran.fails(2, &["wbe.conf", "next: see which services there are"]);
}

#[test]
fn a_node_that_is_not_listed_may_not_synchronize() {
    let place = Place::new();
    place.configure("web", SERVICE);
    let ran = place.run(&["sync", "update", "web", "--node", "n3"]);
    assert_eq!(ran.code, Some(10), "{ran:?}");
    assert!(
        ran.out.contains("web: refused, node n3 is not listed"),
        "{ran:?}"
    );
    assert_eq!(std::fs::read_dir(place.path("state")).unwrap().count(), 0);
}

#[test]
fn a_sender_without_zfs_is_told_so() {
    if machine_has_zfs() {
        return;
    }
    let place = Place::new();
    place.configure("web", SERVICE);
    let ran = place.run(&["sync", "update", "web"]);
    ran.fails(7, &["this machine"]);
    let ran = place.run(&["sync", "update", "web", "--json"]);
    assert_eq!(ran.last_json()["error"]["exit_code"], 7);
}
