//! Copies that have another name or another origin, in files.

use super::lab::{data, lab};

#[test]
fn a_copy_with_another_name_is_found_and_gets_it_back_by_the_command_that_is_shown() {
    let Some(lab) = lab() else { return };
    lab.put("tank/vol", &data(1, 500_000));
    lab.done(&["replicate", "tank/vol", "backup/vol"]);
    lab.done(&["image", "rename", "backup/vol", "backup/other"]);
    lab.put("tank/vol", &data(2, 500_000));
    let ran = lab.run(&["replicate", "tank/vol", "backup/vol"]);
    ran.fails(4, &["backup/vol is at backup/other", "image rename"]);
    assert!(lab.dataset("backup/vol").is_null());
    let said = ran.err.lines().rev();
    let mut next = said.filter_map(|line| line.strip_prefix("next: "));
    let next = next.next().expect("there is a way out");
    let command = next.rsplit_once(": ").expect("it ends with a command").1;
    lab.follow(command);
    let ran = lab.done(&["replicate", "tank/vol", "backup/vol"]);
    assert!(ran.out.contains("incremental from"), "{ran:?}");
    lab.in_step("tank/vol", "backup/vol", &data(2, 500_000));
}

#[test]
fn a_copy_of_something_else_is_put_aside_as_the_rehearsal_shows_and_stays() {
    let Some(lab) = lab() else { return };
    lab.put("tank/vol", &data(1, 500_000));
    lab.done(&["replicate", "tank/vol", "backup/vol"]);
    // The source is made anew under its name.
    lab.done(&["image", "rename", "tank/vol", "tank/before"]);
    lab.put("tank/vol", &data(2, 500_000));
    let words = ["replicate", "tank/vol", "backup/vol"];
    let ran = lab.run(&words);
    ran.fails(4, &["a copy of tank/before, not of tank/vol"]);
    let old = lab.dataset("backup/vol");
    let archive = |words: &[&str]| lab.done(&[words, &["--archive-target"]].concat());
    let ran = archive(&[&words[..], &["--dry-run"]].concat());
    let (_, rest) = ran
        .out
        .split_once("would rename backup/vol to ")
        .unwrap_or_else(|| panic!("{ran:?}"));
    let aside = rest.split(',').next().unwrap().to_owned();
    assert!(aside.starts_with("backup/vol.zferry-archive-"), "{aside}");
    assert_eq!(lab.dataset("backup/vol"), old);
    let ran = archive(&words);
    assert!(
        ran.out.contains(&format!("renamed backup/vol to {aside}")),
        "{ran:?}"
    );
    lab.in_step("tank/vol", "backup/vol", &data(2, 500_000));
    assert!(lab.get(&aside) == data(1, 500_000));
    lab.put("tank/vol", &data(3, 500_000));
    let ran = archive(&words);
    assert!(ran.out.contains("incremental from"), "{ran:?}");
    assert!(lab.get(&aside) == data(1, 500_000));
}
