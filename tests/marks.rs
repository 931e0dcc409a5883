//! What the packets carry that the binary sends: the sockets of its processes
//! are looked at from here.
#![cfg(target_os = "linux")]

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use engine::transport::ssh::server::HostKey;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::ip_tos;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::images::lab::{data, lab};
use crate::listen::Listening;
use crate::program::{PATIENCE, Place};

/// The traffic class of the connection that a process has with `peer`.
fn traffic_class(process: Pid, peer: SocketAddr) -> u8 {
    let open = pidfd_open(process, PidfdFlags::empty()).unwrap();
    for entry in std::fs::read_dir(format!("/proc/{process}/fd")).unwrap() {
        let name = entry.unwrap().file_name();
        let number = name.to_str().unwrap().parse().unwrap();
        // One that was closed by now was another.
        let Ok(file) = pidfd_getfd(&open, number, PidfdGetfdFlags::empty()) else {
            continue;
        };
        let stream = TcpStream::from(file);
        if stream.peer_addr().is_ok_and(|address| address == peer) {
            return ip_tos(&stream).unwrap();
        }
    }
    panic!("process {process} has no connection with {peer}");
}

/// Waits for the first byte, which says that the other side has begun.
fn first_byte(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_exact(&mut [0]).unwrap();
}

/// A run that nobody waits for.
struct Cut(Child);

impl Drop for Cut {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Somebody whose key `known_hosts` has, and who never answers.
fn silent(place: &Place) -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let key = HostKey::create(&place.path("key")).unwrap();
    let port = listener.local_addr().unwrap().port();
    let known = format!("[127.0.0.1]:{port} {}\n", key.public_line());
    std::fs::write(place.path("known_hosts"), known).unwrap();
    listener
}

/// The traffic class of what a command sends that connects to `there`.
fn class_of(command: &mut Command, there: &TcpListener) -> u8 {
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    let run = Cut(command.spawn().unwrap());
    // One that ends before it connects is no reason to wait for ever.
    let patience = PATIENCE.try_into().unwrap();
    let mut waited = [PollFd::new(there, PollFlags::IN)];
    assert_eq!(poll(&mut waited, Some(&patience)), Ok(1), "it never came");
    let (mut stream, _) = there.accept().unwrap();
    first_byte(&mut stream);
    let address = there.local_addr().unwrap();
    traffic_class(Pid::from_child(&run.0), address)
}

#[test]
fn what_a_command_sends_carries_what_it_was_told_and_otherwise_nothing() {
    for (more, class) in [
        (&[][..], 0),
        (&["--dscp", "le"], 0x04),
        (&["--dscp", "10"], 0x28),
    ] {
        let place = Place::new();
        let there = silent(&place);
        let dataset = format!("x@{}:tank", there.local_addr().unwrap());
        let mut command = place.command(&["holds", "list", &dataset]);
        command.arg("--known-hosts").arg(place.path("known_hosts"));
        assert_eq!(class_of(command.args(more), &there), class, "{more:?}");
    }
}

#[test]
fn what_a_service_sends_carries_what_its_keyword_says_until_the_command_line_says_otherwise() {
    for (more, class) in [(&[][..], 0x04), (&["--dscp", "cs1"], 0x20)] {
        let Some(lab) = lab() else { return };
        let there = silent(&lab.place);
        let config = format!(
            "[DEFAULT]\nnodes = n1 n2\naddress = 127.0.0.1\nssh_port = {}\nssh_user = x\n\
             ssh_known_hosts = {}\n[sync#1]\ntype = zfs\nsrc@n1 = tank/data\n\
             dst = backup/data\ntarget = nodes\ndscp = le\n",
            there.local_addr().unwrap().port(),
            lab.place.path("known_hosts").display()
        );
        lab.place.configure("web", &config);
        lab.put("tank/data", &data(1, 1 << 20));
        let mut command = lab.command(&["sync", "nodes", "web"]);
        assert_eq!(class_of(command.args(more), &there), class, "{more:?}");
    }
}

#[test]
fn what_a_listener_sends_carries_what_it_was_told_and_otherwise_nothing() {
    for (more, class) in [(&[][..], 0), (&["--dscp", "cs1"], 0x20)] {
        let place = Place::new();
        let listening = Listening::start_with(&place, place.command(&[]), "tank", more);
        let mut stream = TcpStream::connect(("127.0.0.1", listening.port)).unwrap();
        first_byte(&mut stream);
        let us = stream.local_addr().unwrap();
        assert_eq!(traffic_class(listening.process(), us), class, "{more:?}");
    }
}

#[test]
fn a_word_that_is_no_code_point_is_refused_with_what_would_be_one() {
    let place = Place::new();
    let words = ["replicate", "tank/a", "tank/b", "--dscp", "low"];
    place.run(&words).fails(
        2,
        &["'low'", "le, cs0 to cs7, af11 to af43, ef, or a number"],
    );
}
