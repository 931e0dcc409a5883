//! How far a run is, as programs are told it, and how fast it may go.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;

use super::lab::{Lab, data, lab};
use super::sync::Service;
use crate::program::Ran;

/// The events of this kind.
fn of_kind(ran: &Ran, kind: &str) -> Vec<Value> {
    let lines = ran.out.lines();
    let events = lines.map(|line| serde_json::from_str(line).unwrap());
    events
        .filter(|event: &Value| event["event"] == kind)
        .collect()
}

fn events(lab: &Lab, words: &[&str], kind: &str) -> Vec<Value> {
    of_kind(&lab.done(words), kind)
}

/// The transfer was limited to 1 MiB per second, and said so all the while.
#[track_caller]
fn ensure_limited(ran: &Ran, peer: &str) {
    let done = of_kind(ran, "transfer_done");
    assert_eq!(done.len(), 1, "{ran:?}");
    let wire_bytes = done[0]["wire_bytes"].as_u64().unwrap();
    assert!(wire_bytes > 4 << 20, "{done:?}");
    // On the machine itself there is no way whose rate could be found out.
    assert_eq!(done[0]["came_to"].is_null(), peer == "n1", "{done:?}");
    // The last frame is not waited for, and a tenth of a second is for free.
    let due = (wire_bytes - (1 << 20) - 64) * 1000 / (1 << 20) - 100;
    let milliseconds = done[0]["milliseconds"].as_u64().unwrap();
    assert!(milliseconds >= due, "{milliseconds} ms, not {due} ms");
    let told = of_kind(ran, "progress");
    assert!(told.len() >= 2, "{ran:?}");
    let mut before = 0;
    for event in &told {
        assert_eq!(event["peer"], peer, "{event}");
        let bytes = event["raw_bytes"].as_u64().unwrap();
        assert!(bytes >= before, "{told:?}");
        before = bytes;
        assert!(event["estimated_bytes"].as_u64().unwrap() > 4 << 20);
        assert_eq!(event["run"]["raw_bytes"], event["raw_bytes"]);
        assert_eq!(event["run"]["transfers"], 1);
        assert_eq!(event["run"]["transfers_done"], 0);
    }
    // By then the beginning does not count any more.
    assert_eq!(told.last().unwrap()["waiting_for"], "limit", "{told:?}");
}

/// A volume whose stream is of several frames, at a rate that tells.
const VOLUME_BYTES: usize = 4 << 20;

#[test]
fn what_will_be_sent_is_told_before_anything_is() {
    let Some(lab) = lab() else { return };
    for volume in ["tank/t/a", "tank/t/b"] {
        lab.put(volume, &data(7, 1 << 20));
    }
    let words = ["--json", "replicate", "-r", "tank/t", "backup/t"];
    let planned = events(&lab, &words, "transfers_planned");
    assert_eq!(planned.len(), 1, "{planned:?}");
    assert_eq!(planned[0]["root"], "backup/t");
    assert_eq!(planned[0]["transfers"], 3);
    assert!(planned[0]["estimated_bytes"].as_u64().unwrap() > 2 << 20);
    // Nothing is left to do.
    let snapshot = lab.snapshots("tank/t").pop().unwrap().0;
    let words = [
        &["--json", "replicate", "--snapshot", &snapshot][..],
        &words[2..],
    ]
    .concat();
    assert_eq!(
        events(&lab, &words, "transfers_planned"),
        Vec::<Value>::new()
    );
}

#[test]
fn replicate_goes_no_faster_than_it_is_told_and_says_that_it_is_limited() {
    let Some(lab) = lab() else { return };
    let content = data(1, VOLUME_BYTES);
    lab.put("tank/vol", &content);
    let words = ["--json", "replicate", "tank/vol", "backup/vol"];
    // At another time of the day it may go as it likes, at this one it may not.
    let limit = ["--bandwidth-limit", "1M@00:00-24:00,unlimited"];
    let ran = lab.done(&[&words[..], &limit].concat());
    ensure_limited(&ran, "n1");
    assert_eq!(of_kind(&ran, "progress")[0]["dataset"], "tank/vol");
    assert_eq!(of_kind(&ran, "progress")[0]["target"], "backup/vol");
    lab.in_step("tank/vol", "backup/vol", &content);
}

#[test]
fn a_service_goes_no_faster_than_its_keyword_says_until_the_command_line_says_otherwise() {
    let Some(service) = Service::with("bandwidth_limit = 1M\n") else {
        return;
    };
    service.lab.put("tank/data", &data(1, VOLUME_BYTES));
    let words = ["--json", "sync", "nodes", "web"];
    let ran = service.done("n1", &words);
    ensure_limited(&ran, "n2");
    // Days, by the keyword; the option lifts it.
    let Some(service) = Service::with("bandwidth_limit = 1K\n") else {
        return;
    };
    service.lab.put("tank/data", &data(1, VOLUME_BYTES));
    let words = ["sync", "nodes", "web", "--bandwidth-limit", "unlimited"];
    service.done("n1", &words);
}

#[test]
fn a_copy_on_the_same_machine_has_no_wire_and_neither_limit_nor_compression() {
    let Some(lab) = lab() else { return };
    lab.place.configure(
        "local",
        "[DEFAULT]\nnodes = n1\nbandwidth_limit = 1K\n[sync#1]\ntype = zfs\n\
         src = tank/data\ndst = backup/data\ntarget = local\n",
    );
    let content = data(1, VOLUME_BYTES);
    lab.put("tank/data", &content);
    // More than an hour, if it were.
    let ran = lab.done(&["--json", "sync", "update", "local"]);
    assert!(of_kind(&ran, "transfer_done")[0]["came_to"].is_null());
    lab.in_step("tank/data", "backup/data", &content);
}

/// What a terminal with so many columns is sent on standard error.
fn on_a_terminal(command: &mut Command, columns: u16) -> String {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = openpt(flags).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let name = Path::new(OsStr::from_bytes(name.as_bytes()));
    let side = File::options().read(true).write(true).open(name).unwrap();
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&side, size).unwrap();
    let mut child = command
        .env("TERM", "xterm")
        .stdout(Stdio::null())
        .stderr(side)
        .spawn()
        .unwrap();
    // The command keeps a copy of its side of the terminal until it is dropped.
    command.stderr(Stdio::null());
    let mut sent = Vec::new();
    // The end of a terminal is an error.
    let _ = File::from(terminal).read_to_end(&mut sent);
    assert!(child.wait().unwrap().success());
    String::from_utf8(sent).unwrap()
}

/// The lines that were drawn, without what moves the cursor.
fn lines(sent: &str) -> Vec<String> {
    let mut text = String::new();
    let mut rest = sent.chars();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' => drop(rest.find(char::is_ascii_alphabetic)),
            '\r' => text.push('\n'),
            c => text.push(c),
        }
    }
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_terminal_shows_what_fits_and_nothing_once_it_is_over() {
    let Some(lab) = lab() else { return };
    lab.put("tank/vol", &data(1, VOLUME_BYTES));
    for (columns, target) in [(120, "backup/wide"), (40, "backup/narrow")] {
        let words = ["replicate", "tank/vol", target, "--bandwidth-limit", "1M"];
        let sent = on_a_terminal(&mut lab.command(&words), columns);
        let lines = lines(&sent);
        let of_progress = lines.iter().filter(|line| line.starts_with("tank/vol "));
        let shown: Vec<_> = of_progress.collect();
        assert!(shown.len() >= 3, "{lines:#?}");
        for line in &lines {
            assert!(line.chars().count() <= columns.into(), "{line}");
        }
        assert!(shown.iter().any(|line| line.contains("%  ")), "{shown:#?}");
        let limited = shown.iter().any(|line| line.contains("limited"));
        assert_eq!(limited, columns == 120, "{shown:#?}");
        // What was drawn last is taken away.
        assert!(sent.trim_end_matches('\r').ends_with("\x1b[2K"), "{sent:?}");
    }
}
