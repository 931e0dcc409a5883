//! Resources that are not a tree of one node for another: local targets, one
//! dataset alone, and the one-line state of the cluster agents.

use super::lab::{Lab, data, lab};
use super::sync::Service;
use crate::program::Ran;

/// A service of `n1` alone, whose two pools are in images.
fn at_home(section: &str) -> Option<Lab> {
    let lab = lab()?;
    let config = format!(
        "[DEFAULT]\nnodes = n1\nimage@n1 = {} {}\n\n[sync#1]\ntype = zfs\n\
         src = tank/data\ndst = backup/data\ntarget = local\n{section}",
        lab.image("tank"),
        lab.image("backup"),
    );
    lab.place.configure("home", &config);
    Some(lab)
}

#[track_caller]
fn done(lab: &Lab, words: &[&str]) -> Ran {
    let ran = lab.place.run(words);
    assert_eq!(ran.code, Some(0), "{words:?}: {ran:#?}");
    ran
}

#[test]
fn a_local_target_is_another_pool_of_this_machine() {
    let Some(lab) = at_home("") else { return };
    for (seed, mode) in [(1, "full, guid"), (2, "incremental, guid")] {
        let content = data(seed, 300_000);
        lab.put("tank/data", &content);
        let ran = done(&lab, &["sync", "nodes", "home"]);
        assert!(ran.out.contains(mode), "{ran:#?}");
        lab.in_step("tank/data", "backup/data", &content);
    }
    done(&lab, &["status", "home"]);
}

#[test]
fn a_resource_that_is_not_recursive_leaves_what_lies_below() {
    let Some(lab) = at_home("recursive = false\n") else {
        return;
    };
    lab.put("tank/data/below", &data(1, 300_000));
    done(&lab, &["sync", "update", "home"]);
    assert_eq!(lab.snapshots("tank/data"), lab.snapshots("backup/data"));
    assert_eq!(lab.snapshots("tank/data").len(), 1);
    assert!(lab.dataset("backup/data/below").is_null());
    assert!(lab.snapshots("tank/data/below").is_empty());
}

#[test]
fn the_one_line_state_is_written_on_both_sides_where_it_is_asked_for() {
    let dir = tempfile::TempDir::new().unwrap();
    let ours = dir.path().join("zfs_state");
    let Some(service) = Service::with(&format!("legacy_state@n1 = {}\n", ours.display())) else {
        return;
    };
    let file = service.lab.place.path("config").join("web.conf");
    let config = std::fs::read_to_string(&file).unwrap();
    let asked = format!("--node n2 helper --legacy-state {}\n", dir.path().display());
    let config = config.replace("--node n2 helper\n", &asked);
    std::fs::write(&file, config).unwrap();
    service.lab.put("tank/data", &data(1, 300_000));
    service.done("n1", &["sync", "update", "web"]);

    let shown = service.done("n1", &["status", "--legacy", "web", "--rid", "sync#1"]);
    let line = std::fs::read_to_string(&ours).unwrap();
    assert_eq!(line.trim_end(), shown.out.trim_end());
    assert_eq!(line.matches(';').count(), 1, "{line}");
    let others = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let theirs: Vec<_> = others.filter(|path| *path != ours).collect();
    let [theirs] = &theirs[..] else {
        panic!("{theirs:?}")
    };
    let theirs = std::fs::read_to_string(theirs).unwrap();
    let snapshot = |line: &str| line.trim_end().split(';').nth(1).map(str::to_owned);
    assert_eq!(snapshot(&theirs), snapshot(&line));
}
