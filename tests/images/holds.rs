//! Bases that are held between two runs, and `zferry holds`.

use super::lab::{data, lab};
use super::sync::Service;
use crate::program::{Ran, ZFERRY, behind};

#[test]
fn a_base_that_is_held_moves_with_each_run_and_is_released_by_name() {
    let Some(lab) = lab() else { return };
    let again = ["replicate", "--hold-base", "tank/vol", "backup/vol"];
    for run in 0..2 {
        lab.put("tank/vol", &data(run, 300_000));
        lab.done(&again);
        let newest = lab.snapshots("backup/vol").pop().unwrap().0;
        let pair = newest.split('-').nth(1).unwrap();
        let held = format!("backup/vol@{newest} zferry:base:replicate:{pair}");
        assert_eq!(lab.holds(), [held]);
    }
    let (newest, guid) = lab.snapshots("backup/vol").pop().unwrap();
    let ran = lab.done(&["holds", "list", "backup"]);
    for told in [&newest, &guid, "base of replicate (zferry-"] {
        assert!(ran.out.contains(told), "{told}: {ran:?}");
    }
    let name = format!("backup/vol@{newest}");
    lab.run(&[
        "holds",
        "release",
        "--tag",
        "zferry:base:sync:web:sync.1",
        &name,
    ])
    .fails(1, &["has no hold", "next: see what there is"]);
    lab.run(&["holds", "release", "--tag", "theirs", &name])
        .fails(2, &["is no tag of a hold of zferry"]);
    lab.run(&["holds", "release", "backup/vol@none"])
        .fails(1, &["backup/vol@none has no hold"]);
    assert_eq!(lab.holds().len(), 1);
    let ran = lab.done(&["holds", "release", &name]);
    assert!(
        ran.out.contains("released zferry:base:replicate:"),
        "{ran:?}"
    );
    assert_eq!(lab.holds(), Vec::<String>::new());
    let ran = lab.done(&["holds", "list"]);
    assert!(ran.out.contains("holds nothing"), "{ran:?}");
    // The option is what the next run goes by.
    lab.put("tank/vol", &data(7, 300_000));
    lab.done(&again);
    assert_eq!(lab.holds().len(), 1);
    lab.done(&["replicate", "tank/vol", "backup/vol"]);
    assert_eq!(lab.holds(), Vec::<String>::new());
    lab.in_step("tank/vol", "backup/vol", &data(7, 300_000));
}

#[test]
fn what_another_machine_holds_is_listed_and_released_there() {
    let Some(service) = Service::with("hold_base = yes\n") else {
        return;
    };
    let lab = &service.lab;
    lab.put("tank/data", &data(1, 300_000));
    service.done("n1", &["sync", "update", "web"]);
    let there = |words: &[&str]| {
        let state = lab.place.path("n2");
        let helper = format!("{ZFERRY} --state {} --node n2 helper", state.display());
        let mut command = lab.place.command(words);
        command
            .arg("--identity")
            .arg(service.sshd.path("user"))
            .arg("--known-hosts")
            .arg(service.sshd.path("known_hosts"))
            .args([
                "--remote-command",
                &helper,
                "--remote-image",
                &lab.image("backup"),
            ]);
        Ran::of(&mut command)
    };
    let copy = behind(&service.sshd, "backup/data");
    let ran = there(&["holds", "list", &copy]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let told = format!("{copy}@sent");
    assert!(
        ran.out.contains(&told) && ran.out.contains("base of web sync#1"),
        "{ran:?}"
    );
    let ran = there(&["holds", "release", &told]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(lab.holds(), Vec::<String>::new());
    lab.put("tank/data", &data(2, 300_000));
    service.done("n1", &["sync", "update", "web"]);
    service.in_step("", &data(2, 300_000));
    assert_eq!(lab.holds().len(), 1);
}
