//! Commands of a configuration, schedules and rehearsals between two images.

use super::lab::data;
use super::sync::Service;

/// A service whose `[sync#1]` has a shell command as `keyword`; PATH in it
/// becomes a file, which is returned too.
fn with_command(keyword: &str, script: &str) -> Option<(Service, std::path::PathBuf)> {
    let dir = tempfile::tempdir().unwrap().keep();
    let file = dir.join("told");
    let script = script.replace("PATH", &file.display().to_string());
    let service = Service::with(&format!("{keyword} = /bin/sh -c '{script}'\n"))?;
    Some((service, file))
}

#[test]
fn a_trigger_after_a_run_is_told_what_was_done_and_its_output_is_no_result() {
    let script = "echo noise; echo \"$ZFERRY_RID $ZFERRY_NODE $ZFERRY_SRC\" > PATH";
    let Some((service, file)) = with_command("post_sync_update", script) else {
        return;
    };
    service.lab.put("tank/data", &data(1, 300_000));
    let ran = service.done("n1", &["sync", "update", "web", "--json"]);
    let told = std::fs::read_to_string(&file).unwrap();
    assert_eq!(told, "sync#1 n1 tank/data\n");
    assert!(!ran.out.contains("noise\n{"), "{ran:?}");
    assert!(ran.err.contains("noise"), "{ran:?}");
}

#[test]
fn a_broken_chain_raises_the_alert() {
    let script = "echo \"$ZFERRY_KIND $ZFERRY_TARGET $ZFERRY_DST\" >> PATH";
    let Some((service, file)) = with_command("alert_command", script) else {
        return;
    };
    service.lab.put("tank/data", &data(1, 300_000));
    service.done("n1", &["sync", "update", "web"]);
    assert!(!file.exists());
    service.lab.put("backup/data", &data(2, 300_000));
    service.lab.put("tank/data", &data(3, 300_000));
    service.run("n1", &["sync", "update", "web"]).fails(4, &[]);
    let told = std::fs::read_to_string(&file).unwrap();
    assert_eq!(told, "diverged n2 backup/data\n");
}

#[test]
fn a_dry_run_shows_steps_and_sizes_and_changes_nothing() {
    let Some(service) = Service::new() else {
        return;
    };
    service.lab.put("tank/data", &data(1, 300_000));
    let ran = service.done("n1", &["sync", "update", "web", "--dry-run"]);
    for step in [
        "n1: zfs snapshot -r tank/data@tosend",
        "n1: zfs send -Lc tank/data@tosend",
        "n2: zfs receive -s -u backup/data@tosend",
        "n2: zfs rename -r backup/data@tosend backup/data@sent",
    ] {
        assert!(ran.out.contains(step), "{step}: {ran:?}");
    }
    assert!(service.lab.snapshots("tank/data").is_empty());
    assert!(service.lab.dataset("backup/data").is_null());
    let state = service.lab.place.path("n1");
    assert!(!state.exists() || state.read_dir().unwrap().next().is_none());
    // The run that follows does it.
    service.done("n1", &["sync", "update", "web"]);
    service.in_step("", &data(1, 300_000));
}

#[test]
fn a_scheduler_sends_once_and_then_waits_for_the_next_window() {
    let Some(service) = Service::with("schedule = *@1000\n") else {
        return;
    };
    let content = data(1, 300_000);
    service.lab.put("tank/data", &content);
    let ran = service.done("n1", &["sync", "all"]);
    assert!(ran.out.contains("full, guid"), "{ran:?}");
    service.in_step("", &content);
    service.lab.put("tank/data", &data(2, 300_000));
    let ran = service.done("n1", &["sync", "all"]);
    assert!(ran.out.contains("skipped, not due before"), "{ran:?}");
    // By hand it goes at any time.
    service.done("n1", &["sync", "nodes", "web"]);
    service.in_step("", &data(2, 300_000));
}
