//! Targets with changes and snapshots of their own, in files.

use super::lab::{Lab, data, lab};

/// A tree of two volumes that was replicated once; since then its second copy
/// was written to and has snapshots of its own.
fn diverged() -> Option<Lab> {
    let lab = lab()?;
    for (seed, volume) in ["tank/t/a", "tank/t/b"].iter().enumerate() {
        lab.put(volume, &data(seed as u64, 200_000));
    }
    lab.done(&["replicate", "-r", "tank/t", "backup/t"]);
    lab.put("backup/t/b", &data(70, 200_000));
    // Takes a snapshot of its own.
    lab.done(&["replicate", "backup/t/b", "tank/elsewhere"]);
    lab.put("tank/t/a", &data(10, 200_000));
    lab.put("tank/t/b", &data(11, 200_000));
    Some(lab)
}

const AGAIN: [&str; 4] = ["replicate", "-r", "tank/t", "backup/t"];

#[test]
fn a_snapshot_of_the_targets_own_is_told_before_anything_is_sent() {
    let Some(lab) = diverged() else { return };
    let before = (lab.snapshots("backup/t/a"), lab.snapshots("backup/t/b"));
    for more in [&[][..], &["--rollback"]] {
        let words: Vec<&str> = AGAIN.iter().chain(more).copied().collect();
        let ran = lab.run(&words);
        let theirs = &before.1.last().unwrap().0;
        ran.fails(
            4,
            &["backup/t/b", theirs, "bytes written", "--destroy-newer"],
        );
        let after = (lab.snapshots("backup/t/a"), lab.snapshots("backup/t/b"));
        assert_eq!(after, before);
        assert!(lab.get("backup/t/b") == data(70, 200_000));
    }
}

#[test]
fn a_snapshot_of_the_targets_own_goes_only_by_its_option_and_is_named() {
    let Some(lab) = diverged() else { return };
    let (theirs, guid) = lab.snapshots("backup/t/b").pop().unwrap();
    let words: Vec<&str> = AGAIN
        .iter()
        .chain(&["--destroy-newer-snapshots"])
        .copied()
        .collect();
    let rehearsal: Vec<&str> = words.iter().chain(&["--dry-run"]).copied().collect();
    let line = format!("would destroy backup/t/b@{theirs}, guid {guid}");
    let ran = lab.done(&rehearsal);
    assert!(ran.out.contains(&line), "{ran:?}");
    assert!(lab.get("backup/t/b") == data(70, 200_000));

    let ran = lab.done(&words);
    assert!(ran.out.contains("rolled back backup/t/b"), "{ran:?}");
    lab.in_step("tank/t/a", "backup/t/a", &data(10, 200_000));
    lab.in_step("tank/t/b", "backup/t/b", &data(11, 200_000));
}

#[test]
fn a_modified_target_is_rolled_back_if_that_is_asked_for() {
    let Some(lab) = lab() else { return };
    lab.put("tank/vol", &data(1, 500_000));
    lab.done(&["replicate", "tank/vol", "backup/vol"]);
    lab.put("backup/vol", &data(7, 500_000));
    lab.put("tank/vol", &data(2, 500_000));
    let ran = lab.run(&["replicate", "tank/vol", "backup/vol"]);
    ran.fails(4, &["backup/vol", "--rollback"]);
    let ran = lab.done(&["replicate", "-v", "--rollback", "tank/vol", "backup/vol"]);
    assert!(ran.err.contains("zfs rollback backup/vol@"), "{ran:?}");
    lab.in_step("tank/vol", "backup/vol", &data(2, 500_000));
}
