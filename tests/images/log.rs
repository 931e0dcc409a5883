//! What a run says while it goes: the steps of the scheme, line by line.

use super::lab::data;
use super::sync::Service;
use crate::program::Ran;

/// What was said of steps, without what differs from run to run.
fn steps(ran: &Ran, service: &Service) -> Vec<String> {
    let guid = service.lab.snapshots("tank/data").last().unwrap().1.clone();
    let state = service.lab.place.path("n1").display().to_string();
    let plain = |line: &str| line.replace(&guid, "GUID").replace(&state, "STATE");
    let lines = ran.err.lines().filter(|line| !line.starts_with("note: "));
    lines.map(plain).collect()
}

#[test]
fn the_log_of_a_full_and_of_an_update_reads_like_the_scheme() {
    let Some(service) = Service::new() else {
        return;
    };
    service.lab.put("tank/data", &data(1, 300_000));
    let ran = service.done("n1", &["sync", "full", "web"]);
    assert_eq!(
        steps(&ran, &service),
        [
            "n1: zfs snapshot -r tank/data@tosend",
            "n1: zfs send -Lc tank/data@tosend",
            "n2: zfs receive -s -u backup/data@tosend",
            "n2: zfs rename -r backup/data@tosend backup/data@sent",
            "n1: zfs rename -r tank/data@tosend tank/data@sent",
            "n1: state of web sync#1 written in STATE/web/sync.1.json: guid GUID",
            "n2: state of web sync#1 written: guid GUID",
        ]
    );
    service.lab.put("tank/data", &data(2, 300_000));
    let ran = service.done("n1", &["sync", "update", "web"]);
    assert_eq!(
        steps(&ran, &service),
        [
            "n1: zfs snapshot -r tank/data@tosend",
            "n1: zfs send -Lc -i @sent tank/data@tosend",
            "n2: zfs receive -s -u backup/data@tosend",
            "n2: zfs rename -r backup/data@sent backup/data@sent.old",
            "n2: zfs rename -r backup/data@tosend backup/data@sent",
            "n2: zfs destroy backup/data@sent.old",
            "n1: zfs rename -r tank/data@sent tank/data@sent.old",
            "n1: zfs rename -r tank/data@tosend tank/data@sent",
            "n1: zfs destroy tank/data@sent.old",
            "n1: state of web sync#1 written in STATE/web/sync.1.json: guid GUID",
            "n2: state of web sync#1 written: guid GUID",
        ]
    );
}
