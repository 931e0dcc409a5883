//! One run at a time.

use std::process::Child;

use crate::configuration::SERVICE;
use crate::program::{Place, Ran, behind, start, wait_for};
use crate::sshd::Sshd;

/// A run that waits for its helper's greeting, with its lock held. It ends when
/// the server does.
fn waiting_run(place: &Place, sshd: &Sshd) -> Child {
    let reached = place.path("reached");
    let remote = format!("touch {}; exec cat >/dev/null", reached.display());
    let child = start(&mut place.fetch(sshd, &remote, &[]));
    wait_for(&reached);
    child
}

#[test]
fn a_second_run_of_a_pair_ends_at_once_and_says_so() {
    let (place, sshd) = (Place::new(), Sshd::start());
    let first = waiting_run(&place, &sshd);
    let ran = Ran::of(&mut place.fetch(&sshd, "echo rubbish", &["--recursive"]));
    ran.fails(5, &["another run of", "tank/b is going on", "next: "]);
    // What changes nothing waits for nobody, and nor does another pair.
    Ran::of(&mut place.fetch(&sshd, "echo rubbish", &["--dry-run"])).fails(8, &[]);
    let other = [&*behind(&sshd, "tank/other"), "tank/b"];
    Ran::of(&mut place.fetch(&sshd, "echo rubbish", &other)).fails(8, &[]);

    sshd.kill_sessions();
    assert_eq!(Ran::after(first).code, Some(5));
    Ran::of(&mut place.fetch(&sshd, "echo rubbish", &[])).fails(8, &[]);
}

#[test]
fn a_run_of_a_service_waits_for_another_as_long_as_configured() {
    let place = Place::new();
    place.configure("web", SERVICE);
    let dir = place.path("state").join("lock");
    std::fs::create_dir(&dir).unwrap();
    let held = std::fs::File::create(dir.join("sync-web-sync.1.lock")).unwrap();
    held.lock().unwrap();
    let ran = place.run(&["sync", "update", "web"]);
    ran.fails(5, &["another run of web sync#1"]);
}
