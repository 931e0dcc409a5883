//! What the packets carry that the binary sends: the sockets of its processes
//! are looked at from here.
#![cfg(target_os = "linux")]

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};

use engine::transport::ssh::server::HostKey;
use rustix::net::sockopt::ip_tos;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::listen::Listening;
use crate::program::Place;

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

#[test]
fn what_a_command_sends_carries_what_it_was_told_and_otherwise_nothing() {
    for (more, class) in [
        (&[][..], 0),
        (&["--dscp", "le"], 0x04),
        (&["--dscp", "10"], 0x28),
    ] {
        let place = Place::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let key = HostKey::create(&place.path("key")).unwrap();
        let known = format!("[127.0.0.1]:{} {}\n", address.port(), key.public_line());
        std::fs::write(place.path("known_hosts"), known).unwrap();
        let there = format!("x@{address}:tank");
        let mut command = place.command(&["holds", "list", &there]);
        command.arg("--known-hosts").arg(place.path("known_hosts"));
        let run = command.args(more).stderr(Stdio::null()).spawn().unwrap();
        let run = Cut(run);
        let (mut stream, _) = listener.accept().unwrap();
        first_byte(&mut stream);
        assert_eq!(
            traffic_class(Pid::from_child(&run.0), address),
            class,
            "{more:?}"
        );
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
