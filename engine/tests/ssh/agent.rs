//! A private `ssh-agent`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sshd::{Sshd, run};

pub struct Agent {
    pub socket: PathBuf,
    pid: String,
}

impl Agent {
    /// Starts an agent whose socket is in the server's directory. It answers
    /// by the time `ssh-agent` returns.
    pub fn start(sshd: &Sshd) -> Self {
        let socket = sshd.path("agent");
        let said = run(Command::new("ssh-agent").arg("-s").arg("-a").arg(&socket));
        let (_, rest) = said
            .split_once("SSH_AGENT_PID=")
            .expect("ssh-agent says its id");
        let pid = rest.split(';').next().unwrap().to_owned();
        Self { socket, pid }
    }

    pub fn add(&self, key: &Path) {
        run(Command::new("ssh-add")
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", &self.socket));
    }

    /// Adds a key that has a passphrase.
    pub fn add_with_passphrase(&self, key: &Path, passphrase: &str) {
        let askpass = self.socket.with_file_name("askpass");
        std::fs::write(&askpass, format!("#!/bin/sh\necho '{passphrase}'\n")).unwrap();
        run(Command::new("chmod").arg("700").arg(&askpass));
        run(Command::new("ssh-add")
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", &self.socket)
            .env("SSH_ASKPASS", &askpass)
            .env("SSH_ASKPASS_REQUIRE", "force"));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(&self.pid).status();
    }
}
