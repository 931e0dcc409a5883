//! `zferry listen` as an administrator starts it, mistakes included.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStderr, Command, Stdio};

use engine::transport::ssh::server::HostKey;
use rustix::process::Pid;

use crate::program::{Place, Ran};

/// A running listener; killed with its value.
pub struct Listening {
    child: Child,
    stderr: BufReader<ChildStderr>,
    pub port: u16,
}

impl Listening {
    /// Makes the key `user`, allows it `allow`, and starts `command`, which has
    /// the global options.
    pub fn start(place: &Place, command: Command, allow: &str) -> Self {
        Self::start_with(place, command, allow, &[])
    }

    /// The same, with more options of its own.
    pub fn start_with(place: &Place, mut command: Command, allow: &str, more: &[&str]) -> Self {
        let user = HostKey::create(&place.path("user")).unwrap();
        authorize(
            place,
            &format!("allow=\"{allow}\" {}\n", user.public_line()),
        );
        let mut child = command
            .args(["listen", "--address", "127.0.0.1:0", "--new-host-key"])
            .arg("--host-key")
            .arg(place.path("host"))
            .arg("--authorized-keys")
            .arg(place.path("authorized_keys"))
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("known_hosts") {
            line.clear();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it ended");
        }
        let (_, known) = line.trim().rsplit_once("others: ").unwrap();
        std::fs::write(place.path("known_hosts"), format!("{known}\n")).unwrap();
        let port = known.split([':', ' ']).nth(1).unwrap().parse().unwrap();
        Self {
            child,
            stderr,
            port,
        }
    }

    pub fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The next line that it writes.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line
    }

    /// Ends it as a service manager does; gives the exit code and what it said.
    pub fn terminate(mut self) -> (Option<i32>, String) {
        rustix::process::kill_process(self.process(), rustix::process::Signal::TERM).unwrap();
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn authorize(place: &Place, text: &str) {
    let keys = place.path("authorized_keys");
    std::fs::write(&keys, text).unwrap();
    std::fs::set_permissions(&keys, PermissionsExt::from_mode(0o600)).unwrap();
}

/// A run that ends because of a mistake.
fn listen(place: &Place, address: &str, more: &[&str]) -> Ran {
    let mut command = place.command(&["listen", "--address", address]);
    command
        .arg("--host-key")
        .arg(place.path("host"))
        .arg("--authorized-keys")
        .arg(place.path("authorized_keys"))
        .args(more);
    Ran::of(&mut command)
}

#[test]
fn each_mistake_with_files_is_told_with_its_remedy_before_anybody_can_connect() {
    let place = Place::new();
    let any = "127.0.0.1:0";
    listen(&place, any, &[]).fails(2, &["no host key", "--new-host-key", "ssh-keygen"]);
    let host = HostKey::create(&place.path("host")).unwrap();
    listen(&place, any, &["--new-host-key"]).fails(2, &["exists", "leave out"]);
    listen(&place, any, &[]).fails(1, &["authorized_keys"]);
    authorize(&place, &format!("# k\nrestrict {}\n", host.public_line()));
    listen(&place, any, &[]).fails(2, &["authorized_keys:2: ", "restrict", "allow="]);
    authorize(&place, &format!("{}\n", host.public_line()));
    listen(&place, any, &[]).fails(2, &["authorized_keys:1: ", "no allow"]);
    authorize(&place, &format!("allow=\"t\" {}\n", host.public_line()));
    let keys = place.path("authorized_keys");
    std::fs::set_permissions(&keys, PermissionsExt::from_mode(0o666)).unwrap();
    listen(&place, any, &[]).fails(6, &["can write", "chmod 644"]);
    std::fs::set_permissions(&keys, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::set_permissions(place.path("host"), PermissionsExt::from_mode(0o644)).unwrap();
    listen(&place, any, &[]).fails(6, &["have access", "chmod 600"]);
}

#[test]
fn a_port_that_is_taken_is_told_with_how_to_find_who_has_it() {
    let place = Place::new();
    let host = HostKey::create(&place.path("host")).unwrap();
    authorize(&place, &format!("allow=\"t\" {}\n", host.public_line()));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    listen(&place, &address, &[]).fails(1, &["cannot listen on", &address, "ss -ltnp"]);
}

#[test]
fn a_listener_that_is_told_to_end_ends_at_once_with_the_code_of_the_signal() {
    let place = Place::new();
    let listening = Listening::start(&place, place.command(&[]), "tank");
    let (code, said) = listening.terminate();
    assert_eq!(code, Some(128 + 15), "{said}");
}

#[test]
fn a_host_with_another_key_is_not_talked_to() {
    let place = Place::new();
    let listening = Listening::start(&place, place.command(&[]), "tank");
    let other = HostKey::create(&place.path("other")).unwrap();
    let known = format!("[127.0.0.1]:{} {}\n", listening.port, other.public_line());
    std::fs::write(place.path("known_hosts"), known).unwrap();
    let source = format!("x@127.0.0.1:{}:tank/a", listening.port);
    let mut command = place.command(&["replicate", &source, "tank/b"]);
    command
        .arg("--identity")
        .arg(place.path("user"))
        .arg("--known-hosts")
        .arg(place.path("known_hosts"));
    Ran::of(&mut command).fails(6, &["has changed", "known_hosts:1"]);
}
