//! Signals.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::program::{Place, Ran, start, wait_for};
use crate::sshd::Sshd;

fn signal(child: &Child, name: &str) {
    let number = child.id().to_string();
    let sent = Command::new("kill").args(["-s", name, &number]).status();
    assert!(sent.unwrap().success());
}

#[tokio::test]
async fn a_signal_ends_the_run_and_what_it_had_started_on_the_other_machine() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let (place, sshd) = (Place::new(), Sshd::start());
        let reached = place.path("reached");
        let remote = format!("touch {}; exec cat >/dev/null", reached.display());
        let child = start(&mut place.fetch(&sshd, &remote, &[]));
        wait_for(&reached);
        let begun = Instant::now();
        signal(&child, name);
        Ran::after(child).fails(
            code,
            &[&format!("stopped by SIG{name}"), "state: ", "next: "],
        );
        assert!(begun.elapsed() < Duration::from_secs(20));
        sshd.sessions_end().await;
    }
}

#[test]
fn a_signal_is_told_to_programs_as_the_last_line() {
    let (place, sshd) = (Place::new(), Sshd::start());
    let reached = place.path("reached");
    let remote = format!("touch {}; exec cat >/dev/null", reached.display());
    let child = start(&mut place.fetch(&sshd, &remote, &["--json"]));
    wait_for(&reached);
    signal(&child, "TERM");
    let ran = Ran::after(child);
    assert_eq!(ran.code, Some(143));
    assert_eq!(ran.last_json()["error"]["family"], "stopped");
    assert_eq!(ran.last_json()["error"]["exit_code"], 143);
}
