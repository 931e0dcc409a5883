//! A private `sshd`: a listener of ours hands each connection to `sshd -i`, so
//! that there is no port to guess and nothing to wait for.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::transport::ssh::{Identity, SshEndpoint, SshOptions};
use engine::transport::{Link, LinkError};
use tempfile::TempDir;

const SSHD: &str = "/usr/sbin/sshd";

/// How long anything here may take before it counts as hanging.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A server with a host key and an account that accepts one user key.
pub struct Sshd {
    dir: TempDir,
    port: u16,
    sessions: Arc<Mutex<Vec<Child>>>,
}

/// What may differ between servers.
#[derive(Default)]
pub struct Setup<'a> {
    /// Types of host keys; ed25519 alone if empty.
    pub host_keys: &'a [&'a str],
    /// Type of the user's key; ed25519 if empty.
    pub user_key: &'a str,
    /// More lines of the configuration.
    pub config: &'a str,
}

impl Sshd {
    pub fn start() -> Self {
        Self::with(Setup::default())
    }

    pub fn with(setup: Setup) -> Self {
        assert!(
            Path::new(SSHD).exists(),
            "{SSHD} is missing: these tests need the package openssh-server"
        );
        // Where it locks itself up before authentication.
        if user() == "root" {
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let dir = TempDir::new().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let sshd = Self {
            dir,
            port,
            sessions: Arc::default(),
        };

        let or =
            |given: &str, default: &str| if given.is_empty() { default } else { given }.to_owned();
        sshd.keygen("user", &or(setup.user_key, "ed25519"), "");
        std::fs::copy(sshd.path("user.pub"), sshd.path("authorized_keys")).unwrap();
        let host_keys = if setup.host_keys.is_empty() {
            &["ed25519"]
        } else {
            setup.host_keys
        };
        let mut config = format!(
            "AuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin yes\nPrintMotd no\n",
            sshd.path("authorized_keys").display()
        );
        for kind in host_keys {
            sshd.keygen(&format!("host_{kind}"), kind, "");
            config += &format!("HostKey {}\n", sshd.path(&format!("host_{kind}")).display());
        }
        config += setup.config;
        std::fs::write(sshd.path("sshd_config"), config).unwrap();
        sshd.serve(listener);
        sshd.know(&sshd.host_line(host_keys[0]));
        sshd
    }

    /// Accepts connections until the test process ends.
    fn serve(&self, listener: TcpListener) {
        let sessions = Arc::clone(&self.sessions);
        let (config, log) = (self.path("sshd_config"), self.path("log"));
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let socket = OwnedFd::from(connection.unwrap());
                let child = Command::new(SSHD)
                    .arg("-i")
                    .arg("-f")
                    .arg(&config)
                    .arg("-E")
                    .arg(&log)
                    .stdin(Stdio::from(socket.try_clone().unwrap()))
                    .stdout(Stdio::from(socket))
                    .stderr(Stdio::null())
                    .spawn();
                // The directory is gone when the test is over.
                let Ok(child) = child else { return };
                sessions.lock().unwrap().push(child);
            }
        });
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a key pair `name`, `name.pub`.
    pub fn keygen(&self, name: &str, kind: &str, passphrase: &str) -> PathBuf {
        let path = self.path(name);
        run(Command::new("ssh-keygen")
            .args(["-q", "-t", kind, "-N", passphrase, "-C", name, "-f"])
            .arg(&path));
        path
    }

    /// The line of known_hosts for the host's key of this type.
    pub fn host_line(&self, kind: &str) -> String {
        let public = std::fs::read_to_string(self.path(&format!("host_{kind}.pub"))).unwrap();
        format!("[127.0.0.1]:{} {public}", self.port)
    }

    /// Replaces known_hosts.
    pub fn know(&self, lines: &str) {
        std::fs::write(self.path("known_hosts"), lines).unwrap();
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn endpoint(&self) -> SshEndpoint {
        SshEndpoint::new(&user(), "127.0.0.1", self.port).unwrap()
    }

    pub fn options(&self) -> SshOptions {
        SshOptions {
            identities: vec![Identity::Named(self.path("user"))],
            known_hosts: vec![self.path("known_hosts")],
            connect_timeout: PATIENCE,
            ..SshOptions::default()
        }
    }

    /// Runs `command` as the user with the right key.
    pub async fn run(&self, command: &str) -> Link {
        match engine::transport::ssh::connect(&self.endpoint(), &self.options(), command).await {
            Ok(link) => link,
            Err(error) => panic!("{error}: {error:?}\n{}", self.log()),
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Kills the processes that serve the connections.
    pub fn kill_sessions(&self) {
        for child in self.sessions.lock().unwrap().iter_mut() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Waits until no connection is served any more.
    pub async fn sessions_end(&self) {
        eventually("the server's processes to end", || {
            self.sessions
                .lock()
                .unwrap()
                .iter_mut()
                .all(|child| child.try_wait().unwrap().is_some())
        })
        .await;
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
        self.kill_sessions();
    }
}

/// The account under which the tests run, the only one `sshd` can let in
/// without being root.
pub fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Runs a command that has to succeed; returns its standard output.
pub fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Polls until `done`, and panics if that takes too long.
pub async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !done() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited too long for {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until every task on this runtime is over but the test itself.
pub async fn all_tasks_end() {
    let metrics = tokio::runtime::Handle::current().metrics();
    eventually("the link's tasks to end", || metrics.num_alive_tasks() == 0).await;
}

/// Everything that arrives, and how it ended.
pub async fn read_all(link: &mut Link) -> (Vec<u8>, Option<LinkError>) {
    let mut bytes = Vec::new();
    let read = async {
        while let Some(chunk) = link.inbound.recv().await {
            match chunk {
                Ok(chunk) => bytes.extend_from_slice(&chunk),
                Err(error) => {
                    assert!(
                        link.inbound.recv().await.is_none(),
                        "an error is the last item"
                    );
                    return Some(error);
                }
            }
        }
        None
    };
    let end = tokio::time::timeout(PATIENCE, read)
        .await
        .expect("inbound has to end");
    (bytes, end)
}
