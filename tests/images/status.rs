//! `zferry status` after the state files are gone: the snapshots are asked.

use super::lab::data;
use super::sync::Service;

/// A service with one full and one incremental run behind it.
fn synced() -> Option<Service> {
    let service = Service::new()?;
    for seed in [1, 2] {
        service.lab.put("tank/data", &data(seed, 300_000));
        service.done("n1", &["sync", "update", "web"]);
    }
    Some(service)
}

fn state_file(service: &Service, node: &str) -> std::path::PathBuf {
    service.lab.place.path(node).join("web/sync.1.json")
}

#[test]
fn status_survives_the_loss_of_the_state_files_on_both_sides() {
    let Some(service) = synced() else { return };
    let guid = service.lab.snapshots("tank/data").last().unwrap().1.clone();
    for (node, role, dataset) in [
        ("n1", "sends", "backup/data"),
        ("n2", "receives", "backup/data"),
    ] {
        std::fs::remove_file(state_file(&service, node)).unwrap();
        let ran = service.done(node, &["status", "web"]);
        for text in ["web: up", role, dataset, "by the snapshots of this node"] {
            assert!(ran.out.contains(text), "{node}: {text} not in {}", ran.out);
        }
        let ran = service.done(node, &["status", "web", "--json"]);
        let value = ran.last_json();
        let copy = &value["result"]["services"][0]["resources"][0]["copies"][0];
        assert_eq!(copy["seen"]["guid"], guid, "{value:#}");
        assert!(copy["synced"].is_null() && copy["data_age_seconds"].is_u64());
        // It only looks.
        assert!(!state_file(&service, node).exists());
    }
    // The roles swapped, and the states lost again.
    service.lab.put("backup/data", &data(3, 300_000));
    service.done("n2", &["sync", "update", "web"]);
    for (node, role) in [("n1", "receives"), ("n2", "sends")] {
        std::fs::remove_file(state_file(&service, node)).unwrap();
        let ran = service.done(node, &["status", "web"]);
        assert!(ran.out.contains(role), "{node}: {}", ran.out);
    }
}

#[test]
fn with_a_damaged_state_status_warns_and_tells_the_age_by_the_snapshots() {
    let Some(service) = synced() else { return };
    for node in ["n1", "n2"] {
        std::fs::write(state_file(&service, node), "{\"version\": 1,").unwrap();
        let ran = service.run(node, &["status", "web"]);
        ran.fails(3, &[]);
        for text in ["cut off or damaged", "backup/data (nodes): up, data "] {
            assert!(ran.out.contains(text), "{node}: {text} not in {}", ran.out);
        }
    }
    // The next run puts it right, and keeps the damaged one aside.
    service.done("n1", &["sync", "update", "web"]);
    for node in ["n1", "n2"] {
        service.done(node, &["status", "web"]);
    }
}

#[test]
fn without_state_and_snapshots_nothing_is_called_up() {
    let Some(service) = Service::new() else {
        return;
    };
    service.lab.put("tank/data", &data(1, 300_000));
    let ran = service.run("n1", &["status", "web"]);
    ran.fails(3, &[]);
    assert!(ran.out.contains("never synchronized"), "{}", ran.out);
    std::fs::remove_file(service.lab.file("backup")).unwrap();
    let ran = service.run("n2", &["status", "web"]);
    ran.fails(3, &[]);
    assert!(ran.out.contains("snapshots cannot be read"), "{}", ran.out);
}
