//! Mistakes on the command line: code 2, and what would be right.

use crate::program::{Place, Ran, machine_has_zfs};

#[test]
fn a_dataset_that_zfs_would_not_take_is_refused_with_the_rule() {
    let place = Place::new();
    for (source, says) in [
        ("tank//a", "empty component"),
        ("tank/a/", "empty component"),
        ("/tank/a", "mount point"),
        ("tank/ä", "does not allow"),
        ("tank/a;reboot", "does not allow"),
        ("tank/../a", "not paths"),
        ("tank/a@daily", "--snapshot daily"),
        ("9tank", "pool name"),
        ("host:0:tank/a", "no port"),
        ("@host:tank/a", "user"),
        ("[::1:tank/a", "IPv6"),
    ] {
        place
            .run(&["replicate", source, "tank/b"])
            .fails(2, &[says]);
        place
            .run(&["replicate", "tank/b", source])
            .fails(2, &[says]);
    }
}

#[test]
fn a_copy_onto_itself_or_into_itself_is_refused_before_anything_is_created() {
    let place = Place::new();
    place
        .run(&["replicate", "tank/a", "tank/a"])
        .fails(2, &["same dataset"]);
    place
        .run(&["replicate", "tank/a", ":tank/a/b"])
        .fails(2, &["lies inside the source"]);
    assert_eq!(std::fs::read_dir(place.path("state")).unwrap().count(), 0);
}

#[test]
fn two_sides_on_other_machines_are_refused_with_the_way_out() {
    let ran = Place::new().run(&["replicate", "n2:tank/a", "n3:tank/a"]);
    ran.fails(
        2,
        &[
            "n2:tank/a",
            "n3:tank/a",
            "next: run zferry on one of the two",
        ],
    );
}

#[test]
fn mistakes_that_programs_make_are_told_as_json() {
    for words in [
        &["replicate", "--json", "tank//a", "tank/b"][..],
        &["--json", "replicate", "tank/a", "tank/a"],
        &["--json", "replicate"],
        &["--json", "sync", "updaet", "web"],
    ] {
        let ran = Place::new().run(words);
        ran.fails(2, &[]);
        let error = &ran.last_json()["error"];
        assert_eq!(error["family"], "usage", "{words:?}");
        assert_eq!(error["exit_code"], 2, "{words:?}");
        assert_eq!(ran.err, "", "{words:?}");
    }
}

#[test]
fn values_out_of_range_are_refused() {
    let place = Place::new();
    for words in [
        &["replicate", "--connect-timeout", "0", "tank/a", "h:tank/a"][..],
        &["replicate", "--snapshot", "a/b", "tank/a", "tank/b"],
        &["sync", "update", "../web"],
        &["status", "-v", "-q"],
        &["--node", "drpnodes", "status"],
        &["helper", "--allow", "tank//a"],
    ] {
        place.run(words).fails(2, &["error: "]);
    }
}

#[test]
fn help_shows_examples_and_exit_codes_and_is_no_failure() {
    let place = Place::new();
    let ran = place.run(&["--help"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.out.contains("Exit codes:"), "{}", ran.out);
    for command in ["replicate", "sync", "status", "helper"] {
        let ran = place.run(&[command, "--help"]);
        assert_eq!(ran.code, Some(0));
        assert!(ran.out.contains("Example"), "{}", ran.out);
    }
}

#[test]
fn the_version_names_protocol_and_zfs_even_where_there_is_none() {
    let ran = Place::new().run(&["--version"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.out
            .starts_with(concat!("zferry ", env!("CARGO_PKG_VERSION")))
    );
    assert!(ran.out.contains("\nprotocol 1\n"), "{}", ran.out);
    assert!(ran.out.to_lowercase().contains("zfs"), "{}", ran.out);
}

#[test]
fn a_machine_without_zfs_is_told_with_the_package_to_install() {
    if machine_has_zfs() {
        return;
    }
    let place = Place::new();
    for words in [
        &["replicate", "tank/a", "tank/b"][..],
        &["replicate", "-n", "tank/a", "tank/b"],
    ] {
        let ran = place.run(words);
        ran.fails(7, &["this machine"]);
        assert!(ran.err.contains("zfs-dkms") || ran.err.contains("zfsutils-linux"));
        assert_eq!(ran.out, "");
    }
    let ran = place.run(&["--json", "replicate", "tank/a", "tank/b"]);
    assert_eq!(ran.last_json()["error"]["family"], "no_zfs");
    assert_eq!(ran.code, Some(7));
}

#[test]
fn a_state_folder_that_cannot_be_made_is_named_with_its_option() {
    let place = Place::new();
    let file = place.path("file");
    std::fs::write(&file, "").unwrap();
    let mut command = place.command(&["replicate", "tank/a", "tank/b", "--state"]);
    let ran = Ran::of(command.arg(&file));
    ran.fails(1, &[&format!("{}/lock", file.display()), "--state"]);
}

#[test]
fn a_limit_that_may_mean_something_else_is_refused_with_what_would_be_right() {
    let place = Place::new();
    for (limit, says) in [
        ("20", "`20` has no unit; write for example `20M`"),
        ("20Mb", "`20Mb` is no rate"),
        ("10M@08:00,100M", "write when it ends too"),
        ("10M,20M@08:00-18:00", "never applies"),
    ] {
        let words = ["replicate", "tank/a", "tank/b", "--bandwidth-limit", limit];
        place.run(&words).fails(2, &[says]);
    }
}
