//! Trying again, and being stopped while waiting for it.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::program::{Place, Ran, ZFERRY, machine_has_zfs, start};
use crate::sshd::Sshd;

#[test]
fn a_helper_that_says_nothing_the_first_time_is_asked_again_in_the_same_run() {
    let (place, sshd) = (Place::new(), Sshd::start());
    let mark = place.path("mark");
    let mark = mark.display();
    let remote = format!(
        "if test -e {mark}; then exec {ZFERRY} helper --node n2; fi; touch {mark}; cat >/dev/null"
    );
    let words = ["--connect-timeout=1", "--retry-for=1h"];
    let ran = Ran::of(&mut place.fetch(&sshd, &remote, &words));
    assert!(ran.err.contains("trying again in"), "{ran:#?}");
    // What it answers then is no passing failure.
    if !machine_has_zfs() {
        assert_eq!(ran.code, Some(7), "{ran:#?}");
    }
}

#[test]
fn a_signal_ends_a_wait_at_once() {
    let place = Place::new();
    // A port where nobody listens, and nobody will soon.
    let port = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap().port()
    };
    let known = place.path("known_hosts");
    std::fs::write(&known, "").unwrap();
    let known = known.display().to_string();
    let source = format!("me@127.0.0.1:{port}:tank/a");
    let words = [
        "--json",
        "replicate",
        "--retry-for=1h",
        "--known-hosts",
        &known,
    ];
    let mut child = start(&mut place.command(&[&words[..], &[&source, "tank/b"]].concat()));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // Soon the waits are long enough to be met.
    let told = lines.by_ref().take(3).map(Result::unwrap);
    let told: Vec<String> = told.collect();
    assert!(
        told.iter().all(|line| line.contains("retrying")),
        "{told:?}"
    );
    let begun = Instant::now();
    let number = child.id().to_string();
    let sent = Command::new("kill").args(["-s", "INT", &number]).status();
    assert!(sent.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}
