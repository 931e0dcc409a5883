//! Keys: the host's, and ours.

use std::process::Command;

use crate::program::{Place, Ran, behind};
use crate::sshd::Sshd;

/// A remote command that shows that the session was reached.
const REACHED: &str = "echo reached";

#[test]
fn an_unknown_host_key_is_refused_with_the_command_that_makes_it_known() {
    let (place, sshd) = (Place::new(), Sshd::start());
    sshd.know("");
    let ran = Ran::of(&mut place.fetch(&sshd, REACHED, &[]));
    ran.fails(6, &["is not known: SHA256:", "ssh-keygen -lf"]);
    assert_eq!(ran.err.matches("is not known").count(), 1, "{}", ran.err);

    let marker = "make the key known: ";
    let line = ran.err.lines().find(|line| line.contains(marker)).unwrap();
    let command = line.split_once(marker).unwrap().1;
    let done = Command::new("sh").args(["-c", command]).status().unwrap();
    assert!(done.success(), "{command}");
    Ran::of(&mut place.fetch(&sshd, REACHED, &[])).fails(8, &["reached"]);
}

#[test]
fn the_command_that_makes_a_key_known_is_also_in_the_json() {
    let (place, sshd) = (Place::new(), Sshd::start());
    sshd.know("");
    let ran = Ran::of(&mut place.fetch(&sshd, REACHED, &["--json"]));
    let error = &ran.last_json()["error"];
    assert_eq!(error["family"], "refused");
    let remedies = error["remedies"].as_array().unwrap();
    assert!(
        remedies
            .iter()
            .any(|text| text.as_str().unwrap().contains("echo '[127.0.0.1]:"))
    );
}

#[test]
fn by_default_the_user_s_own_known_hosts_and_keys_are_used() {
    let (place, sshd) = (Place::new(), Sshd::start());
    let ssh = place.path("home").join(".ssh");
    std::fs::create_dir(&ssh).unwrap();
    std::fs::copy(sshd.path("user"), ssh.join("id_ed25519")).unwrap();
    let source = behind(&sshd, "tank/a");
    let words = ["replicate", "--remote-command", REACHED, &source, "tank/b"];
    let ran = place.run(&words);
    ran.fails(6, &[&format!("{}/known_hosts", ssh.display())]);
    std::fs::copy(sshd.path("known_hosts"), ssh.join("known_hosts")).unwrap();
    place.run(&words).fails(8, &["reached"]);
}

#[test]
fn a_changed_host_key_is_refused_and_its_line_named() {
    let (place, sshd) = (Place::new(), Sshd::start());
    let other = std::fs::read_to_string(sshd.keygen("other", "ed25519", "").with_extension("pub"));
    sshd.know(&format!("[127.0.0.1]:{} {}", sshd.port(), other.unwrap()));
    let ran = Ran::of(&mut place.fetch(&sshd, REACHED, &[]));
    ran.fails(6, &["has changed", "known_hosts:1"]);
}

#[test]
fn a_key_that_the_server_does_not_accept_is_named() {
    let (place, sshd) = (Place::new(), Sshd::start());
    sshd.keygen("stranger", "ed25519", "");
    std::fs::copy(sshd.path("stranger"), sshd.path("user")).unwrap();
    let ran = Ran::of(&mut place.fetch(&sshd, REACHED, &[]));
    ran.fails(
        6,
        &[
            "accepts none of",
            "SHA256:",
            "authorized_keys",
            "--identity",
        ],
    );
}

#[test]
fn a_key_file_that_was_named_and_is_missing_is_a_mistake_of_the_caller() {
    let (place, sshd) = (Place::new(), Sshd::start());
    std::fs::remove_file(sshd.path("user")).unwrap();
    let ran = Ran::of(&mut place.fetch(&sshd, REACHED, &[]));
    ran.fails(2, &["does not exist"]);
}
