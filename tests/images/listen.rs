//! Images of another machine, over our own receiver.

use std::process::Command;

use super::lab::{Lab, data, lab};
use crate::listen::Listening;
use crate::program::{Ran, ZFERRY, start};

fn listening(lab: &Lab, allow: &str) -> Listening {
    let there = lab.place.path("there");
    let mut command = Command::new(ZFERRY);
    command
        .arg("--state")
        .arg(there)
        .args(["--node", "n2", "--image", &lab.image("backup")]);
    Listening::start(&lab.place, command, allow)
}

/// `zferry replicate` with `tank` here and `backup` there.
fn replicate(lab: &Lab, words: &[&str]) -> Command {
    let image = lab.image("tank");
    let mut command = lab.place.command(&["--image", &image, "replicate"]);
    command
        .arg("--identity")
        .arg(lab.place.path("user"))
        .arg("--known-hosts")
        .arg(lab.place.path("known_hosts"))
        .args(words);
    command
}

fn behind(listening: &Listening, dataset: &str) -> String {
    format!("anyone@127.0.0.1:{}:{dataset}", listening.port)
}

#[test]
fn push_and_pull_go_through_our_own_receiver_within_what_the_key_may() {
    let Some(lab) = lab() else { return };
    let mut listening = listening(&lab, "backup/in");
    let content = data(1, 3 << 20);
    lab.put("tank/vol", &content);
    let target = behind(&listening, "backup/in/vol");
    for more in [&[][..], &["-v", "--connections", "4"]] {
        let ran = Ran::of(replicate(&lab, more).args(["tank/vol", &target]));
        assert_eq!(ran.code, Some(0), "{ran:#?}");
        let several = ran.err.contains("4 connections, ");
        assert_eq!(several, !more.is_empty(), "{ran:#?}");
    }
    let ran = Ran::of(&mut replicate(&lab, &[&target, "tank/back"]));
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert!(listening.line().contains("serving SHA256:"));

    // What lies outside stays out of reach.
    let outside = behind(&listening, "backup/out");
    let ran = Ran::of(&mut replicate(&lab, &["tank/vol", &outside]));
    ran.fails(6, &["backup/out"]);
    let ran = Ran::of(&mut replicate(
        &lab,
        &[&behind(&listening, "backup"), "tank/x"],
    ));
    ran.fails(6, &["backup"]);

    listening.terminate();
    // The pull took a snapshot of its own of what the pushes brought.
    lab.in_step("backup/in/vol", "tank/back", &content);
}

#[test]
fn after_a_listener_was_stopped_the_next_one_goes_on() {
    let Some(lab) = lab() else { return };
    let listening = listening(&lab, "backup");
    let content = data(2, 24 << 20);
    lab.put("tank/vol", &content);
    let target = behind(&listening, "backup/vol");
    let mut command = replicate(&lab, &["--json", "tank/vol", &target]);
    let running = start(&mut command);
    // Wherever it is by then: before, in, or after the transfer.
    let (code, said) = listening.terminate();
    assert_eq!(code, Some(128 + 15), "{said}");
    let ran = Ran::after(running);
    assert!([Some(0), Some(5)].contains(&ran.code), "{ran:#?}");

    for name in ["host", "user"] {
        std::fs::remove_file(lab.place.path(name)).unwrap();
    }
    let listening = self::listening(&lab, "backup");
    let target = behind(&listening, "backup/vol");
    let ran = Ran::of(&mut replicate(&lab, &["tank/vol", &target]));
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    listening.terminate();
    lab.in_step("tank/vol", "backup/vol", &content);
}
