//! What an error tells an operator to type repairs what it is about.

use super::lab::{Lab, SMALL, bare, data, lab};

/// The first way out that a run names when it fails with this code.
#[track_caller]
fn remedy(lab: &Lab, words: &[&str], code: i32) -> String {
    let words = [&["--json"], words].concat();
    let ran = lab.run(&words);
    assert_eq!(ran.code, Some(code), "{ran:#?}");
    let error = &ran.last_json()["error"];
    let text = error["remedies"][0].as_str();
    text.unwrap_or_else(|| panic!("{error:#}")).to_owned()
}

#[test]
fn a_changed_target_is_rolled_back_by_the_command_that_the_error_names() {
    let Some(lab) = lab() else { return };
    let replicate = ["replicate", "tank/vol", "backup/vol"];
    lab.put("tank/vol", &data(1, 500_000));
    lab.done(&replicate);
    let base = lab.snapshots("backup/vol");
    lab.put("backup/vol", &data(7, 500_000));
    lab.put("tank/vol", &data(2, 500_000));
    let remedy = remedy(&lab, &replicate, 4);
    assert!(remedy.contains("image rollback backup/vol@"), "{remedy}");
    lab.follow(&remedy);
    assert!(lab.get("backup/vol") == data(1, 500_000));
    assert_eq!(lab.snapshots("backup/vol"), base);
    lab.done(&replicate);
    lab.in_step("tank/vol", "backup/vol", &data(2, 500_000));
}

#[test]
fn a_stranger_is_moved_away_by_the_command_that_the_error_names() {
    let Some(lab) = lab() else { return };
    let replicate = ["replicate", "tank/vol", "backup/vol"];
    lab.put("tank/vol", &data(1, 500_000));
    lab.put("backup/vol", &data(2, 400_000));
    let remedy = remedy(&lab, &replicate, 4);
    lab.follow(&remedy);
    lab.done(&replicate);
    lab.in_step("tank/vol", "backup/vol", &data(1, 500_000));
    assert!(lab.get("backup/vol.old") == data(2, 400_000));
}

#[test]
fn a_part_that_nobody_can_complete_is_given_up_by_the_command_that_the_error_names() {
    let Some(lab) = bare() else { return };
    lab.create("tank", "512M");
    lab.create("backup", SMALL);
    lab.put("tank/large", &data(1, 90 << 20));
    let ran = lab.run(&["replicate", "tank/large", "backup/vol"]);
    ran.fails(1, &["space"]);
    // What could be completed is not: its snapshot is gone. And nothing proves
    // that it came from here: the dataset has another name.
    lab.done(&["image", "rename", "tank/large", "tank/moved"]);
    let (unsent, _) = lab.snapshots("tank/moved").pop().unwrap();
    let unsent = format!("tank/moved@{unsent}");
    lab.done(&["image", "destroy", &unsent]);
    lab.run(&["image", "destroy", &unsent]).fails(
        1,
        &[&unsent, "does not exist", "state: nothing was changed"],
    );
    let remedy = remedy(&lab, &["replicate", "tank/moved", "backup/vol"], 1);
    assert!(remedy.contains("image abort backup/vol"), "{remedy}");
    lab.follow(&remedy);
    assert!(lab.dataset("backup/vol").is_null());
    lab.put("tank/small", &data(2, 1 << 20));
    lab.done(&["replicate", "tank/small", "backup/vol"]);
    lab.in_step("tank/small", "backup/vol", &data(2, 1 << 20));
    // And nothing is left to be given up.
    lab.run(&["image", "abort", "backup/vol"])
        .fails(1, &["backup/vol", "state: nothing was changed", "next: "]);
}

#[test]
fn snapshots_are_renamed_in_place_and_datasets_within_their_pool() {
    let Some(lab) = lab() else { return };
    lab.put("tank/vol", &data(1, 100_000));
    lab.done(&["replicate", "tank/vol", "backup/vol"]);
    let (name, guid) = lab.snapshots("tank/vol").pop().unwrap();
    let from = format!("tank/vol@{name}");
    lab.done(&["image", "rename", &from, "tank/vol@kept"]);
    assert_eq!(lab.snapshots("tank/vol"), [("kept".to_owned(), guid)]);
    for to in ["tank/other@kept", "tank/vol"] {
        lab.run(&["image", "rename", "tank/vol@kept", to])
            .fails(2, &["cannot become", "next: "]);
    }
    lab.run(&["image", "rename", "tank/vol", "backup/other"])
        .fails(1, &["tank/vol", "state: nothing was changed"]);
    lab.done(&["image", "rename", "tank/vol", "tank/moved"]);
    // A base is found by its guid, whatever anything is called.
    lab.put("tank/moved", &data(2, 100_000));
    lab.done(&["replicate", "tank/moved", "backup/vol"]);
    assert!(lab.get("backup/vol") == data(2, 100_000));
    lab.run(&["image", "rollback", "tank/moved@kept"])
        .fails(1, &["tank/moved", "state: nothing was changed"]);
}
