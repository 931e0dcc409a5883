//! `zferry replicate` between two pools in files of one machine.

use super::lab::{SMALL, bare, data, lab};

#[test]
fn the_first_run_is_full_and_the_next_sends_only_what_changed() {
    let Some(lab) = lab() else { return };
    let mut content = data(1, 6 << 20);
    lab.put("tank/vol", &content);
    let words = ["--json", "replicate", "tank/vol", "backup/vol"];
    let first = lab.done(&words).last_json();
    let dataset = &first["result"]["datasets"][0];
    assert_eq!(dataset["step"], "full");
    assert!(dataset["raw_bytes"].as_u64().unwrap() >= 6 << 20);
    lab.in_step("tank/vol", "backup/vol", &content);

    content[1 << 20..][..100_000].copy_from_slice(&data(2, 100_000));
    lab.put("tank/vol", &content);
    let second = lab.done(&words).last_json();
    let dataset = &second["result"]["datasets"][0];
    assert_eq!(dataset["step"], "incremental");
    // What was put again and is the same was not written again.
    assert!(
        dataset["raw_bytes"].as_u64().unwrap() < 1 << 20,
        "{second:#}"
    );
    lab.in_step("tank/vol", "backup/vol", &content);
    // The first snapshot of the pair has done its duty.
    assert_eq!(lab.snapshots("tank/vol").len(), 1);
    assert_eq!(lab.snapshots("backup/vol").len(), 1);
}

#[test]
fn the_first_commands_of_the_issue_work_as_they_are_written_there() {
    let Some(lab) = lab() else { return };
    let content = data(1, 1 << 20);
    lab.put("tank/vol", &content);
    let ran = lab.done(&["replicate", "tank/vol", "backup/vol"]);
    assert!(
        ran.out.contains("tank/vol to backup/vol: 1 dataset"),
        "{ran:?}"
    );
    assert!(lab.get("backup/vol") == content);
}

#[test]
fn a_snapshot_that_the_target_has_is_not_sent_again() {
    let Some(lab) = lab() else { return };
    lab.put("tank/vol", &data(1, 300_000));
    lab.done(&["replicate", "tank/vol", "backup/vol"]);
    let (name, _) = lab.snapshots("tank/vol").pop().unwrap();
    let words = [
        "--json",
        "replicate",
        "--snapshot",
        &name,
        "tank/vol",
        "backup/vol",
    ];
    let again = lab.done(&words).last_json();
    let dataset = &again["result"]["datasets"][0];
    assert_eq!(dataset["step"], "up_to_date");
    assert_eq!(dataset["raw_bytes"], 0);
    // The same snapshot may go elsewhere too; nothing is taken or destroyed.
    let words = ["replicate", "--snapshot", &name, "tank/vol", "backup/other"];
    lab.done(&words);
    assert_eq!(lab.snapshots("backup/other"), lab.snapshots("tank/vol"));
}

#[test]
fn a_tree_of_volumes_arrives_as_a_tree() {
    let Some(lab) = lab() else { return };
    let volumes = ["tank/t/a", "tank/t/b/c", "tank/t/b/d"];
    for (seed, volume) in volumes.iter().enumerate() {
        lab.put(volume, &data(seed as u64, 200_000 + seed));
    }
    let words = ["replicate", "-r", "tank/t", "backup/deep/t"];
    lab.done(&words);
    lab.put("tank/t/b/c", &data(9, 200_000));
    lab.put("tank/t/new", &data(10, 5000));
    lab.done(&words);
    for (volume, content) in [
        ("t/a", data(0, 200_000)),
        ("t/b/c", data(9, 200_000)),
        ("t/b/d", data(2, 200_002)),
        ("t/new", data(10, 5000)),
    ] {
        let target = format!("backup/deep/{volume}");
        lab.in_step(&format!("tank/{volume}"), &target, &content);
    }
    assert_eq!(lab.dataset("backup/deep/t/b")["kind"], "filesystem");
}

#[test]
fn a_rehearsal_changes_nothing_on_either_side() {
    let Some(lab) = lab() else { return };
    lab.put("tank/vol", &data(1, 2 << 20));
    for _ in 0..2 {
        let ran = lab.done(&["replicate", "--dry-run", "tank/vol", "backup/x/vol"]);
        assert!(ran.out.contains("would send"), "{ran:?}");
        assert!(ran.out.contains("MiB"), "{ran:?}");
        assert_eq!(lab.snapshots("tank/vol"), []);
        assert!(lab.dataset("backup/x").is_null());
    }
}

#[test]
fn raw_streams_of_what_is_not_encrypted_are_received_like_others() {
    let Some(lab) = lab() else { return };
    let content = data(1, 1 << 20);
    lab.put("tank/vol", &content);
    lab.done(&["replicate", "--raw", "tank/vol", "backup/vol"]);
    lab.put("tank/vol", &data(2, 1 << 20));
    lab.done(&["replicate", "--raw", "tank/vol", "backup/vol"]);
    lab.in_step("tank/vol", "backup/vol", &data(2, 1 << 20));
}

#[test]
fn a_modified_target_is_refused_and_left_alone() {
    let Some(lab) = lab() else { return };
    lab.put("tank/vol", &data(1, 500_000));
    lab.done(&["replicate", "tank/vol", "backup/vol"]);
    let mine = data(7, 500_000);
    lab.put("backup/vol", &mine);
    lab.put("tank/vol", &data(2, 500_000));
    let before = lab.snapshots("backup/vol");
    let ran = lab.run(&["replicate", "tank/vol", "backup/vol"]);
    ran.fails(4, &["backup/vol", "next: "]);
    assert_eq!(lab.snapshots("backup/vol"), before);
    assert!(lab.get("backup/vol") == mine);
}

#[test]
fn two_datasets_without_a_common_base_are_not_joined() {
    let Some(lab) = lab() else { return };
    lab.put("tank/vol", &data(1, 500_000));
    let theirs = data(2, 400_000);
    lab.put("backup/vol", &theirs);
    let ran = lab.run(&["replicate", "tank/vol", "backup/vol"]);
    ran.fails(4, &["backup/vol", "next: "]);
    assert!(lab.get("backup/vol") == theirs);
    let ran = lab.run(&["--json", "replicate", "tank/vol", "backup/vol"]);
    assert_eq!(ran.last_json()["error"]["family"], "broken_chain");
}

#[test]
fn a_full_target_pool_is_told_and_what_it_holds_stays_whole() {
    let Some(lab) = bare() else { return };
    lab.create("tank", "512M");
    lab.create("backup", SMALL);
    lab.put("tank/vol", &data(1, 70 << 20));
    // Most of the target is taken already.
    let other = data(2, 50 << 20);
    lab.put("backup/other", &other);
    for _ in 0..2 {
        let ran = lab.run(&["replicate", "tank/vol", "backup/vol"]);
        ran.fails(1, &["space", "backup", "state: "]);
    }
    assert!(lab.get("backup/other") == other);
    lab.done(&["image", "check", "backup"]);
}

#[test]
fn names_that_do_not_exist_are_told_apart() {
    let Some(lab) = lab() else { return };
    lab.put("tank/vol", b"x");
    lab.run(&["replicate", "tank/none", "backup/v"])
        .fails(2, &["tank/none", "does not exist"]);
    lab.run(&["replicate", "--snapshot", "none", "tank/vol", "backup/v"])
        .fails(2, &["none"]);
    // A pool that no image has is one of the kernel's, which is not here.
    if !std::path::Path::new("/dev/zfs").exists() {
        lab.run(&["replicate", "tank/vol", "other/v"])
            .fails(7, &["other"]);
    }
    assert_eq!(lab.snapshots("tank/vol"), []);
}

#[test]
fn a_volume_can_be_replicated_within_one_image() {
    let Some(lab) = lab() else { return };
    let content = data(1, 400_000);
    lab.put("tank/vol", &content);
    lab.done(&["replicate", "tank/vol", "tank/copy"]);
    lab.in_step("tank/vol", "tank/copy", &content);
}
