//! Runs that are cut in the middle of a transfer, each in another way, and what
//! the next run makes of it.

use std::io::{BufRead, BufReader, Read};
use std::process::Child;

use super::lab::{data, kill, users_of};
use super::sync::Service;
use crate::program::{Ran, start};

/// Large enough to be on its way for a while.
const BYTES: usize = 40 << 20;

/// What dies.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Driver,
    Helper,
    WorkerHere,
    WorkerThere,
    Connection,
}

/// Reads events until data has moved, and goes on reading in a thread.
fn moving(child: &mut Child) {
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut seen = String::new();
    loop {
        let mut line = String::new();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "{seen}");
        seen += &line;
        if line.contains("\"event\":\"progress\"") {
            break;
        }
    }
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        // Until the process ends, however it does.
        let _ = lines.read_to_end(&mut rest);
    });
}

fn strike(service: &Service, child: &mut Child, victim: Victim) {
    let only = |pool: &str, name: &str| {
        let users = users_of(&service.lab.file(pool), name);
        assert_eq!(users.len(), 1, "{victim:?}: {name} at {pool}: {users:?}");
        users[0]
    };
    match victim {
        Victim::Driver => child.kill().unwrap(),
        Victim::Helper => kill(only("backup", "zferry")),
        Victim::WorkerHere => kill(only("tank", "zferry-zpool")),
        Victim::WorkerThere => kill(only("backup", "zferry-zpool")),
        Victim::Connection => service.sshd.kill_sessions(),
    }
}

fn cut_and_converge(victim: Victim) {
    let Some(service) = Service::with("hold_base = yes\n") else {
        return;
    };
    let mut content = data(1, BYTES);
    service.lab.put("tank/data", &content);
    for round in 0..2 {
        // The first time in a full stream, the second in an increment.
        // A fast machine would be done before it is told that anything has moved.
        let slowly = [
            "--json",
            "sync",
            "update",
            "--bandwidth-limit",
            "10M",
            "web",
        ];
        let mut child = start(&mut service.command("n1", &slowly));
        moving(&mut child);
        strike(&service, &mut child, victim);
        let ran = Ran::after(child);
        // Between two calls a worker is replaced without a word.
        let unnoticed = matches!(victim, Victim::WorkerHere | Victim::WorkerThere);
        assert!(
            unnoticed || ran.code != Some(0),
            "{victim:?} {round}: {ran:#?}"
        );
        assert_ne!(ran.code, Some(70), "{victim:?} {round}: {ran:#?}");

        service.done("n1", &["sync", "update", "web"]);
        service.in_step("", &content);
        service.done("n2", &["status", "web"]);
        let held = ["backup/data@sent zferry:base:sync:web:sync.1"];
        assert_eq!(service.lab.holds(), held, "{victim:?} {round}");
        content = data(2 + round, BYTES);
        service.lab.put("tank/data", &content);
    }
    for pool in ["tank", "backup"] {
        service.lab.done(&["image", "check", pool]);
    }
}

#[test]
fn after_the_driver_was_killed_the_next_run_converges() {
    cut_and_converge(Victim::Driver);
}

#[test]
fn after_the_helper_was_killed_the_next_run_converges() {
    cut_and_converge(Victim::Helper);
}

#[test]
fn after_the_sending_worker_was_killed_the_next_run_converges() {
    cut_and_converge(Victim::WorkerHere);
}

#[test]
fn after_the_receiving_worker_was_killed_the_next_run_converges() {
    cut_and_converge(Victim::WorkerThere);
}

#[test]
fn after_the_connection_was_cut_the_next_run_converges() {
    cut_and_converge(Victim::Connection);
}
