//! Three nodes that share a dataset: whoever is away, whoever sends, nothing is
//! sent in full after the first run.

use std::path::PathBuf;

use super::lab::{Lab, bare, data};
use crate::program::{Ran, ZFERRY};
use crate::sshd::{Sshd, user};

/// `n1`, `n2` and `n3`, each with a pool `tank` and an SSH server of its own.
struct Three {
    place: Lab,
    servers: [Sshd; 3],
}

const NODES: [&str; 3] = ["n1", "n2", "n3"];

impl Three {
    fn new() -> Option<Self> {
        let lab = bare()?;
        let three = Self {
            place: lab,
            servers: [Sshd::start(), Sshd::start(), Sshd::start()],
        };
        let mut config = "[DEFAULT]\nnodes = n1 n2 n3\nsync_max_delay = 1d\n\
             lock_timeout = 1s\naddress = 127.0.0.1\n"
            .to_owned();
        let (etc, user) = (three.place.place.path("config"), user());
        for (node, server) in NODES.into_iter().zip(&three.servers) {
            let image = three.image(node);
            config += &format!("image@{node} = tank={}\n", image.display());
            config += &format!(
                "ssh_port@{node} = {}\nssh_user@{node} = {user}\n",
                server.port()
            );
            config += &format!(
                "remote_command@{node} = {ZFERRY} --config {} --state {} --node {node} helper\n",
                etc.display(),
                three.place.place.path(node).display(),
            );
            let made = three.node(node).run(&[
                "image",
                "create",
                &format!("tank={}", image.display()),
                "--size",
                "512M",
            ]);
            assert_eq!(made.code, Some(0), "{made:#?}");
        }
        // Each node trusts the three servers, and is let in by each.
        let of_all = |name: &str| {
            let text = three
                .servers
                .iter()
                .map(|server| std::fs::read_to_string(server.path(name)).unwrap());
            text.collect::<String>()
        };
        let (hosts, keys) = (of_all("known_hosts"), of_all("user.pub"));
        for server in &three.servers {
            server.know(&hosts);
            std::fs::write(server.path("authorized_keys"), &keys).unwrap();
        }
        let known = three.servers[0].path("known_hosts");
        config += &format!("ssh_known_hosts = {}\n", known.display());
        for (node, server) in NODES.into_iter().zip(&three.servers) {
            let key = server.path("user");
            config += &format!("ssh_identity@{node} = {}\n", key.display());
        }
        config += "\n[sync#1]\ntype = zfs\nsrc = tank/data\ntarget = nodes\n";
        three.place.place.configure("web", &config);
        Some(three)
    }

    fn image(&self, node: &str) -> PathBuf {
        self.place.place.path(&format!("{node}.img"))
    }

    fn node(&self, node: &str) -> Lab {
        self.place.with_only("tank", &format!("{node}.img"))
    }

    /// The server of a node answers nobody, or does again.
    fn answer(&self, node: usize, answers: bool) {
        let (up, down) = ("sshd_config", "sshd_config.down");
        let (from, to) = if answers { (down, up) } else { (up, down) };
        let server = &self.servers[node];
        std::fs::rename(server.path(from), server.path(to)).unwrap();
    }

    fn write(&self, node: &str, seed: u64) -> Vec<u8> {
        let content = data(seed, 1 << 20);
        self.node(node).put("tank/data", &content);
        content
    }

    fn run(&self, node: &str, words: &[&str]) -> Ran {
        let mut command = self.place.place.command(words);
        command
            .args(["--node", node, "--state"])
            .arg(self.place.place.path(node));
        Ran::of(&mut command)
    }

    /// `zferry sync nodes web` on a node; returns node and mode of every target
    /// that came through.
    #[track_caller]
    fn sync(&self, node: &str, code: i32) -> Vec<(String, String)> {
        let ran = self.run(node, &["--json", "sync", "nodes", "web"]);
        assert_eq!(ran.code, Some(code), "{node}: {ran:#?}");
        let value = ran.last_json();
        let targets = value
            .pointer("/result/resources/0/targets")
            .and_then(|targets| targets.as_array())
            .unwrap_or_else(|| panic!("{value:#}"));
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        targets
            .iter()
            .filter(|target| target["synced"].is_object())
            .map(|target| (text(&target["node"]), text(&target["synced"]["mode"])))
            .collect()
    }

    /// These nodes have the same `@sent`, with this content.
    #[track_caller]
    fn in_step(&self, nodes: &[&str], content: &[u8]) {
        let sent = |node: &str| {
            let snapshots = self.node(node).snapshots("tank/data");
            let names: Vec<_> = snapshots.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["sent"], "{node}");
            snapshots
        };
        for node in nodes {
            assert_eq!(sent(node), sent(nodes[0]), "{node}");
            assert!(
                self.node(node).get("tank/data@sent") == content,
                "the content on {node} differs"
            );
        }
    }
}

fn modes(nodes: [(&str, &str); 2]) -> Vec<(String, String)> {
    nodes
        .map(|(node, mode)| (node.to_owned(), mode.to_owned()))
        .into()
}

#[test]
fn a_node_that_was_dead_and_a_swap_of_roles_need_no_second_full() {
    let Some(three) = Three::new() else { return };
    let first = three.write("n1", 1);
    let full = modes([("n2", "full"), ("n3", "full")]);
    assert_eq!(three.sync("n1", 0), full);
    three.in_step(&NODES, &first);

    // n3 is dead for two runs: n2 goes on, and the command says that n3 failed.
    three.answer(2, false);
    for seed in [2, 3] {
        let content = three.write("n1", seed);
        let came = three.sync("n1", 5);
        assert_eq!(came, modes([("n2", "incremental"); 2])[..1]);
        three.in_step(&["n1", "n2"], &content);
    }
    three.in_step(&["n3"], &first);
    three.run("n1", &["status", "web"]).fails(3, &[]);

    // It comes back, with a base that nobody else has as a snapshot.
    three.answer(2, true);
    let content = three.write("n1", 4);
    let both = modes([("n2", "incremental"), ("n3", "incremental")]);
    assert_eq!(three.sync("n1", 0), both);
    three.in_step(&NODES, &content);

    // n2 takes over, and later gives back.
    let content = three.write("n2", 5);
    let both = modes([("n1", "incremental"), ("n3", "incremental")]);
    assert_eq!(three.sync("n2", 0), both);
    three.in_step(&NODES, &content);
    let content = three.write("n1", 6);
    let both = modes([("n2", "incremental"), ("n3", "incremental")]);
    assert_eq!(three.sync("n1", 0), both);
    three.in_step(&NODES, &content);
    for node in NODES {
        assert_eq!(three.run(node, &["status", "web"]).code, Some(0), "{node}");
    }
}

#[test]
fn a_node_that_missed_runs_of_one_sender_is_caught_up_by_another() {
    let Some(three) = Three::new() else { return };
    let first = three.write("n1", 1);
    three.sync("n1", 0);
    three.in_step(&NODES, &first);

    // While n3 is dead, n1 goes on to n2; then n2 takes over from n1.
    three.answer(2, false);
    for seed in [2, 3] {
        three.write("n1", seed);
        three.sync("n1", 5);
    }
    three.answer(2, true);
    let content = three.write("n2", 4);
    let both = modes([("n1", "incremental"), ("n3", "incremental")]);
    assert_eq!(three.sync("n2", 0), both);
    three.in_step(&NODES, &content);
}
