//! Services between two nodes that are two images.

use engine::helper::ClaimFolder;
use engine::name::DatasetName;
use engine::zfs::Scope;

use super::lab::{Lab, data, lab};
use crate::program::{Place, Ran, ZFERRY};
use crate::sshd::{Sshd, user};

/// A service of `n1`, with `tank`, and `n2`, with `backup`.
pub struct Service {
    pub lab: Lab,
    pub sshd: Sshd,
}

impl Service {
    pub fn new() -> Option<Self> {
        Self::with("")
    }

    /// `more` goes into the resource's section.
    pub fn with(more: &str) -> Option<Self> {
        let lab = lab()?;
        let sshd = Sshd::start();
        let helper = |node: &str| {
            let (config, state) = (lab.place.path("config"), lab.place.path(node));
            let (config, state) = (config.display(), state.display());
            format!("{ZFERRY} --config {config} --state {state} --node {node} helper")
        };
        let config = format!(
            "[DEFAULT]\nnodes = n1 n2\nsync_max_delay = 1d\nlock_timeout = 1s\n\
             address = 127.0.0.1\nssh_port = {port}\nssh_user = {user}\n\
             ssh_identity = {key}\nssh_known_hosts = {known}\n\
             image@n1 = {tank}\nimage@n2 = {backup}\n\
             remote_command@n1 = {n1}\nremote_command@n2 = {n2}\n\n\
             [sync#1]\ntype = zfs\nsrc@n1 = tank/data\ndst@n1 = backup/data\n\
             src@n2 = backup/data\ndst@n2 = tank/data\ntarget = nodes\n{more}",
            port = sshd.port(),
            user = user(),
            key = sshd.path("user").display(),
            known = sshd.path("known_hosts").display(),
            tank = lab.image("tank"),
            backup = lab.image("backup"),
            n1 = helper("n1"),
            n2 = helper("n2"),
        );
        lab.place.configure("web", &config);
        Some(Self { lab, sshd })
    }

    /// The binary on `node`; the configuration alone says where images are.
    pub fn command(&self, node: &str, words: &[&str]) -> std::process::Command {
        let place: &Place = &self.lab.place;
        let mut command = place.command(words);
        command
            .args(["--node", node, "--state"])
            .arg(place.path(node));
        command
    }

    pub fn run(&self, node: &str, words: &[&str]) -> Ran {
        Ran::of(&mut self.command(node, words))
    }

    #[track_caller]
    pub fn done(&self, node: &str, words: &[&str]) -> Ran {
        let ran = self.run(node, words);
        assert_eq!(ran.code, Some(0), "{node} {words:?}: {ran:#?}");
        ran
    }

    /// Copies of `backup/data` that were put aside.
    fn old_copies(&self) -> Vec<String> {
        let listed = self.lab.done(&["--json", "image", "list", "backup"]);
        let listed = listed.last_json();
        let datasets = listed["result"]["images"][0]["datasets"]
            .as_array()
            .unwrap();
        let names = datasets
            .iter()
            .map(|dataset| dataset["name"].as_str().unwrap());
        names
            .filter(|name| name.starts_with("backup/data.zferry-"))
            .map(str::to_owned)
            .collect()
    }

    /// Both sides have the same `@sent` with these bytes, and nothing of a run
    /// that is under way.
    #[track_caller]
    pub fn in_step(&self, below: &str, bytes: &[u8]) {
        let (source, target) = (format!("tank/data{below}"), format!("backup/data{below}"));
        self.lab.in_step(&source, &target, bytes);
        for dataset in [source, target] {
            let snapshots = self.lab.snapshots(&dataset);
            let ours = |name: &str| name == "tosend" || name == "sent.old";
            assert!(
                !snapshots.iter().any(|(name, _)| ours(name)),
                "{snapshots:?}"
            );
            assert_eq!(snapshots.last().unwrap().0, "sent", "{dataset}");
        }
    }
}

#[test]
fn a_service_goes_full_then_incremental_and_both_nodes_are_up() {
    let Some(service) = Service::new() else {
        return;
    };
    let mut content = data(1, 4 << 20);
    service.lab.put("tank/data", &content);
    let ran = service.done("n1", &["sync", "full", "web"]);
    assert!(ran.out.contains("full, guid"), "{ran:?}");
    service.in_step("", &content);

    content[..70_000].copy_from_slice(&data(2, 70_000));
    service.lab.put("tank/data", &content);
    let ran = service.done("n1", &["sync", "update", "web"]);
    assert!(ran.out.contains("incremental, guid"), "{ran:?}");
    service.in_step("", &content);
    for node in ["n1", "n2"] {
        let ran = service.done(node, &["status", "web"]);
        assert!(ran.out.contains("web: up"), "{ran:?}");
    }
}

#[test]
fn a_tree_of_volumes_is_kept_as_a_whole() {
    let Some(service) = Service::new() else {
        return;
    };
    for round in 0..3 {
        for (n, below) in ["/a", "/b/c"].iter().enumerate() {
            let content = data(round * 10 + n as u64, 300_000);
            service.lab.put(&format!("tank/data{below}"), &content);
        }
        service.done("n1", &["sync", "nodes", "web"]);
        service.in_step("/a", &data(round * 10, 300_000));
        service.in_step("/b/c", &data(round * 10 + 1, 300_000));
    }
}

#[test]
fn two_resources_share_the_images_of_both_nodes() {
    let more = "\n[sync#2]\ntype = zfs\nsrc@n1 = tank/more\ndst = backup/more\ntarget = nodes\n";
    let Some(service) = Service::with(more) else {
        return;
    };
    for seed in [1, 2] {
        let content = data(seed, 300_000);
        service.lab.put("tank/data", &content);
        service.lab.put("tank/more", &content);
        let ran = service.done("n1", &["sync", "update", "web"]);
        assert!(
            ran.out.contains("sync#1") && ran.out.contains("sync#2"),
            "{ran:?}"
        );
        service.in_step("", &content);
        service.lab.in_step("tank/more", "backup/more", &content);
    }
}

#[test]
fn a_swap_of_roles_stays_incremental() {
    let Some(service) = Service::new() else {
        return;
    };
    service.lab.put("tank/data", &data(1, 2 << 20));
    service.done("n1", &["sync", "full", "web"]);
    for round in 2..5 {
        let (node, volume) = [("n1", "tank/data"), ("n2", "backup/data")][(round + 1) % 2];
        let content = data(round as u64, 2 << 20);
        service.lab.put(volume, &content);
        let ran = service.done(node, &["sync", "update", "web"]);
        assert!(ran.out.contains("incremental, guid"), "{node}: {ran:?}");
        service.in_step("", &content);
    }
}

#[test]
fn a_broken_chain_is_noticed_and_never_repaired_by_a_full() {
    let Some(service) = Service::new() else {
        return;
    };
    service.lab.put("tank/data", &data(1, 500_000));
    service.done("n1", &["sync", "full", "web"]);
    let theirs = data(2, 500_000);
    service.lab.put("backup/data", &theirs);
    service.lab.put("tank/data", &data(3, 500_000));
    for action in ["update", "nodes"] {
        let ran = service.run("n1", &["sync", action, "web"]);
        ran.fails(4, &["backup/data", "next: "]);
        assert!(service.lab.get("backup/data") == theirs, "{action}");
    }
    let ran = service.run("n1", &["status", "web"]);
    ran.fails(4, &[]);
}

#[test]
fn a_full_onto_a_copy_takes_its_place_and_the_copy_is_kept_until_it_is_confirmed() {
    let Some(service) = Service::new() else {
        return;
    };
    service.lab.put("tank/data", &data(1, 500_000));
    service.done("n1", &["sync", "full", "web"]);
    let theirs = data(2, 500_000);
    service.lab.put("backup/data", &theirs);
    let ours = data(3, 500_000);
    service.lab.put("tank/data", &ours);
    let ran = service.done("n1", &["sync", "full", "web"]);
    for text in ["zfs rename backup/data ", "bytes; ", "sync confirm"] {
        assert!(ran.err.contains(text), "{text}: {ran:#?}");
    }
    service.in_step("", &ours);
    let old = service.old_copies();
    assert_eq!(old.len(), 1, "{old:?}");
    assert!(service.lab.get(&old[0]) == theirs);
    service.done("n1", &["status", "web"]);

    // Not while it is all there is.
    let lab = &service.lab;
    lab.done(&["image", "rename", "backup/data", "backup/away"]);
    let ran = service.run("n1", &["sync", "confirm", "web"]);
    ran.fails(1, &["backup/data does not exist", "zfs rename "]);
    assert_eq!(service.old_copies(), old);
    lab.done(&["image", "rename", "backup/away", "backup/data"]);

    let ran = service.done("n1", &["sync", "confirm", "web"]);
    assert!(ran.out.contains(&old[0]), "{ran:#?}");
    assert_eq!(service.old_copies(), Vec::<String>::new());
    service.in_step("", &ours);
}

#[test]
fn a_node_whose_image_is_missing_or_in_use_holds_status_at_warn() {
    let Some(service) = Service::new() else {
        return;
    };
    let content = data(1, 8 << 20);
    service.lab.put("tank/data", &content);
    service.done("n1", &["sync", "full", "web"]);
    let mut busy = service.lab.occupy("backup/data");
    let ran = service.run("n1", &["sync", "update", "web"]);
    ran.fails(5, &["n2", "in use"]);
    busy.kill().unwrap();
    busy.wait().unwrap();
    let away = service.lab.place.path("away.img");
    std::fs::rename(service.lab.file("backup"), &away).unwrap();
    let ran = service.run("n1", &["sync", "update", "web"]);
    ran.fails(1, &["n2", "backup.img", "no such"]);
    service.run("n1", &["status", "web"]).fails(3, &[]);
    std::fs::rename(&away, service.lab.file("backup")).unwrap();
    service.done("n1", &["sync", "update", "web"]);
    service.in_step("", &content);
}

#[test]
fn a_destination_that_another_driver_uses_is_not_touched() {
    let Some(service) = Service::new() else {
        return;
    };
    let content = data(1, 300_000);
    service.lab.put("tank/data", &content);
    service.done("n1", &["sync", "full", "web"]);
    let sent = service.lab.snapshots("backup/data");
    service.lab.put("tank/data", &data(2, 300_000));
    let dst = DatasetName::parse("backup/data").unwrap();
    let here = |node: &str| {
        let folder = ClaimFolder::below(service.lab.place.path(node));
        folder.claim(&dst, Scope::Recursive, "a rehearsal of the test")
    };
    // The helper of n2, started by sync over SSH; and replicate on n2 itself.
    let held = here("n2").unwrap();
    let ran = service.run("n1", &["sync", "update", "web"]);
    ran.fails(
        5,
        &[
            "backup/data",
            "a rehearsal of the test",
            "next: run the same",
        ],
    );
    let images = [
        ["--image", &service.lab.image("tank")],
        ["--image", &service.lab.image("backup")],
    ];
    let words = ["replicate", "-r", "tank/data", "backup/data"];
    let ran = service.run("n2", &[&images.concat(), &words[..]].concat());
    ran.fails(5, &["backup/data", "a rehearsal of the test"]);
    assert_eq!(service.lab.snapshots("backup/data"), sent);
    drop(held);
    service.done("n1", &["sync", "update", "web"]);
    service.in_step("", &data(2, 300_000));
}

#[test]
fn the_command_line_has_the_last_word_about_an_image() {
    let Some(service) = Service::new() else {
        return;
    };
    let content = data(1, 300_000);
    service.lab.put("tank/data", &content);
    let moved = service.lab.place.path("moved.img");
    std::fs::rename(service.lab.file("tank"), &moved).unwrap();
    let here = format!("tank={}", moved.display());
    let ran = service.run("n1", &["sync", "full", "web"]);
    ran.fails(1, &["tank.img", "no such"]);
    service.done("n1", &["--image", &here, "sync", "full", "web"]);
    std::fs::rename(&moved, service.lab.file("tank")).unwrap();
    service.in_step("", &content);
}
