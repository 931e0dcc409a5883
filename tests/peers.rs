//! Remote commands that are no helper, or not one for us.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::program::{Place, Ran, ZFERRY, machine_has_zfs};
use crate::sshd::Sshd;

/// A greeting of protocol 2 to 3, for printf(1).
const NEWER: &str = r#"zfy\211\r\n\032\n\002\000\003\000\065\000\000\000{"program":"zferry 9","node":"n9","platform":"linux"}"#;

#[test]
fn a_remote_command_that_prints_something_else_is_quoted() {
    let (place, sshd) = (Place::new(), Sshd::start());
    let ran = Ran::of(&mut place.fetch(&sshd, "echo rubbish", &[]));
    ran.fails(8, &["127.0.0.1", "rubbish", "login scripts", "next: "]);
    assert_eq!(ran.out, "");

    let ran = Ran::of(&mut place.fetch(&sshd, "echo rubbish", &["--json"]));
    let error = &ran.last_json()["error"];
    assert_eq!(error["family"], "protocol");
    assert_eq!(error["exit_code"], 8);
    assert_eq!(ran.code, Some(8));
}

#[test]
fn a_remote_command_that_says_nothing_is_given_up_in_time() {
    let (place, sshd) = (Place::new(), Sshd::start());
    let begun = Instant::now();
    let words = ["--connect-timeout=1"];
    let ran = Ran::of(&mut place.fetch(&sshd, "exec cat >/dev/null", &words));
    ran.fails(5, &["said nothing for 1 s"]);
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_missing_helper_is_told_with_the_two_ways_out() {
    let (place, sshd) = (Place::new(), Sshd::start());
    let ran = Ran::of(&mut place.fetch(&sshd, "no-such-zferry helper", &[]));
    ran.fails(
        1,
        &[
            "no-such-zferry",
            "next: install zferry on 127.0.0.1",
            "--remote-command",
        ],
    );
}

#[test]
fn a_remote_command_that_fails_is_told_with_what_it_said() {
    let (place, sshd) = (Place::new(), Sshd::start());
    let ran = Ran::of(&mut place.fetch(&sshd, "echo no licence >&2; exit 3", &[]));
    ran.fails(1, &["exited with code 3", "no licence"]);
}

#[test]
fn a_newer_peer_says_which_side_to_upgrade() {
    let text = NEWER.split_at(NEWER.find('{').unwrap()).1;
    assert_eq!(text.len(), 0o65, "the length that the greeting announces");
    let (place, sshd) = (Place::new(), Sshd::start());
    let remote = format!("printf '{NEWER}'; exec cat >/dev/null");
    let ran = Ran::of(&mut place.fetch(&sshd, &remote, &[]));
    ran.fails(
        8,
        &[
            "speaks protocol 1",
            "zferry 9",
            "speaks 2 to 3",
            "upgrade zferry here",
        ],
    );
}

#[test]
fn a_peer_whose_clock_is_wrong_is_told_of_with_both_times() {
    let about =
        |clock: u64| format!(r#"{{"program":"z","node":"n9","platform":"l","clock":{clock:010}}}"#);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    for (clock, told) in [
        (1_000_000_000, Some("2001-09-09T01:46:40Z")),
        (u32::MAX.into(), Some("2106-02-07T06:28:15Z")),
        (now.as_secs(), None),
    ] {
        let text = about(clock);
        let length = text.len();
        let hello = format!(r"zfy\211\r\n\032\n\001\000\001\000\{length:03o}\000\000\000{text}");
        let (place, sshd) = (Place::new(), Sshd::start());
        // It closes right after, or this machine has no ZFS: what is told
        // comes before.
        let remote = format!("printf '{hello}'");
        let ran = Ran::of(&mut place.fetch(&sshd, &remote, &[]));
        assert_ne!(ran.code, Some(8), "{ran:?}");
        let is_told = ran.err.contains("its clock says");
        assert_eq!(is_told, told.is_some(), "{clock}: {ran:?}");
        assert!(ran.err.contains(told.unwrap_or_default()), "{ran:?}");
    }
}

#[test]
fn a_peer_that_closes_early_may_be_met_again() {
    let (place, sshd) = (Place::new(), Sshd::start());
    let ran = Ran::of(&mut place.fetch(&sshd, "exit 0", &[]));
    ran.fails(5, &["closed the connection"]);
}

#[test]
fn a_helper_of_the_same_build_is_understood_and_told_of() {
    if machine_has_zfs() {
        return;
    }
    let (place, sshd) = (Place::new(), Sshd::start());
    let remote = format!("exec {ZFERRY} helper --node n2");
    let ran = Ran::of(&mut place.fetch(&sshd, &remote, &["-v"]));
    // The other machine has answered; this one lacks ZFS.
    ran.fails(
        7,
        &["127.0.0.1: connected to zferry", "on n2", "this machine"],
    );

    let ran = Ran::of(&mut place.fetch(&sshd, &remote, &["--json"]));
    let first = ran.out.lines().next().unwrap();
    let first: serde_json::Value = serde_json::from_str(first).unwrap();
    assert_eq!(first["event"], "connected");
    assert_eq!(first["node"], "n2");
    assert_eq!(ran.last_json()["error"]["exit_code"], 7);
}

#[test]
fn a_host_that_cannot_be_reached_is_worth_another_try() {
    let place = Place::new();
    let port = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap().port()
    };
    let source = format!("127.0.0.1:{port}:tank/a");
    let ran = place.run(&["replicate", &source, "tank/a"]);
    ran.fails(5, &["127.0.0.1", "next: "]);
    // A label this long is no name, which needs no name server to find out.
    let source = format!("{}:tank/a", "a".repeat(100));
    place
        .run(&["replicate", &source, "tank/a"])
        .fails(5, &["address"]);
    let ran = place.run(&["replicate", "-oProxyCommand=x:tank/a", "tank/a"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
}
