//! Images of another machine, over a stock sshd.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::lab::{Lab, data, lab};
use crate::program::{Ran, ZFERRY, behind};
use crate::sshd::Sshd;

/// `zferry replicate` with `tank` here and `backup` behind `sshd`.
fn replicate(lab: &Lab, sshd: &Sshd, words: &[&str]) -> Command {
    let mut command = lab
        .place
        .command(&["--image", &lab.image("tank"), "replicate"]);
    command
        .arg("--identity")
        .arg(sshd.path("user"))
        .arg("--known-hosts")
        .arg(sshd.path("known_hosts"))
        .args(["--remote-command", &helper(lab)])
        .args(words);
    command
}

/// What starts the helper there.
fn helper(lab: &Lab) -> String {
    let state = lab.place.path("there");
    format!("{ZFERRY} --state {} --node n2 helper", state.display())
}

/// Binds the key to `command`, as an administrator would.
fn bind(sshd: &Sshd, command: &str) {
    let key = std::fs::read_to_string(sshd.path("user.pub")).unwrap();
    let line = format!("restrict,command=\"{command}\" {key}");
    std::fs::write(sshd.path("authorized_keys"), line).unwrap();
}

#[test]
fn push_and_pull_reach_an_image_of_the_other_machine() {
    let Some(lab) = lab() else { return };
    let sshd = Sshd::start();
    let content = data(1, 3 << 20);
    lab.put("tank/vol", &content);
    let there = lab.image("backup");
    let target = behind(&sshd, "backup/vol");
    let words = ["--remote-image", &there, "tank/vol", &target];
    for _ in 0..2 {
        let ran = Ran::of(&mut replicate(&lab, &sshd, &words));
        assert_eq!(ran.code, Some(0), "{ran:#?}");
        lab.in_step("tank/vol", "backup/vol", &content);
    }
    let words = ["--remote-image", &there, &target, "tank/back"];
    let ran = Ran::of(&mut replicate(&lab, &sshd, &words));
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    lab.in_step("backup/vol", "tank/back", &content);
}

#[test]
fn several_sessions_of_sshd_carry_one_conversation_also_with_a_bound_key() {
    let Some(lab) = lab() else { return };
    let sshd = Sshd::start();
    let content = data(1, 3 << 20);
    lab.put("tank/vol", &content);
    bind(
        &sshd,
        &format!(
            "{} --allow backup/in --image {}",
            helper(&lab),
            lab.image("backup")
        ),
    );
    let target = behind(&sshd, "backup/in/vol");
    let ways = [
        (["tank/vol", &target], ["tank/vol", "backup/in/vol"]),
        (["tank/vol", &target], ["tank/vol", "backup/in/vol"]),
        ([&target, "tank/back"], ["backup/in/vol", "tank/back"]),
    ];
    for (way, [from, to]) in ways {
        let mut command = replicate(&lab, &sshd, &["-v", "--connections", "3"]);
        let ran = Ran::of(command.args(way));
        assert_eq!(ran.code, Some(0), "{ran:#?}");
        assert!(ran.err.contains("3 connections, "), "{ran:#?}");
        lab.in_step(from, to, &content);
    }
    let sockets = std::fs::read_dir(lab.place.path("there/join")).unwrap();
    assert_eq!(sockets.count(), 0);
}

#[test]
fn a_helper_that_cannot_take_more_sessions_is_used_over_one() {
    let Some(lab) = lab() else { return };
    let sshd = Sshd::start();
    let content = data(1, 200_000);
    lab.put("tank/vol", &content);
    // Others could get in there.
    let joins = lab.place.path("there/join");
    std::fs::create_dir_all(&joins).unwrap();
    std::fs::set_permissions(&joins, PermissionsExt::from_mode(0o755)).unwrap();
    let there = lab.image("backup");
    let target = behind(&sshd, "backup/vol");
    let words = [
        "--connections",
        "2",
        "--remote-image",
        &there,
        "tank/vol",
        &target,
    ];
    let ran = Ran::of(&mut replicate(&lab, &sshd, &words));
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert!(ran.err.contains("one connection is used"), "{ran:#?}");
    assert!(ran.err.contains("other accounts"), "{ran:#?}");
    lab.in_step("tank/vol", "backup/vol", &content);
}

#[test]
fn a_file_with_any_name_is_one_argument_of_the_remote_command() {
    let Some(lab) = lab() else { return };
    let sshd = Sshd::start();
    let content = data(1, 200_000);
    lab.put("tank/vol", &content);
    let odd = lab.place.path("it's $(touch pwned); \"a b\" & c.img");
    std::fs::rename(lab.file("backup"), &odd).unwrap();
    let there = format!("backup={}", odd.display());
    let words = [
        "--remote-image",
        &there,
        "tank/vol",
        &behind(&sshd, "backup/v"),
    ];
    let ran = Ran::of(&mut replicate(&lab, &sshd, &words));
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    std::fs::rename(&odd, lab.file("backup")).unwrap();
    lab.in_step("tank/vol", "backup/v", &content);
}

#[test]
fn a_key_bound_to_a_helper_opens_the_images_of_its_owner_and_no_others() {
    let Some(lab) = lab() else { return };
    let sshd = Sshd::start();
    let content = data(1, 200_000);
    lab.put("tank/vol", &content);
    let target = behind(&sshd, "backup/in/vol");
    let asked = lab.image("backup");
    let words = ["--remote-image", &asked, "tank/vol", &target];

    // Bound without any image: what is asked for is not opened, and that is said.
    bind(&sshd, &format!("{} --allow backup/in", helper(&lab)));
    let before = std::fs::read(lab.file("backup")).unwrap();
    let ran = Ran::of(&mut replicate(&lab, &sshd, &words));
    ran.fails(6, &["backup", "authorized_keys", "--image backup="]);
    assert!(std::fs::read(lab.file("backup")).unwrap() == before);

    // Bound with it: it need not be asked for.
    let bound = format!("{} --allow backup/in --image {asked}", helper(&lab));
    bind(&sshd, &bound);
    for words in [&words[..], &words[2..]] {
        let ran = Ran::of(&mut replicate(&lab, &sshd, words));
        assert_eq!(ran.code, Some(0), "{ran:#?}");
    }
    lab.in_step("tank/vol", "backup/in/vol", &content);
    // And what lies outside stays out of reach.
    let outside = behind(&sshd, "backup/out");
    Ran::of(&mut replicate(&lab, &sshd, &["tank/vol", &outside])).fails(6, &["backup/out"]);
}

#[test]
fn a_missing_image_there_is_told_with_its_machine() {
    let Some(lab) = lab() else { return };
    let sshd = Sshd::start();
    lab.put("tank/vol", b"x");
    let there = format!("backup={}", lab.place.path("none.img").display());
    let words = [
        "--remote-image",
        &there,
        "tank/vol",
        &behind(&sshd, "backup/v"),
    ];
    let ran = Ran::of(&mut replicate(&lab, &sshd, &words));
    ran.fails(1, &["127.0.0.1", "none.img", "no such"]);
}
