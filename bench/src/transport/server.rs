//! A private `sshd` for the methods: its keys, and one server process for each
//! connection, whose processor time can be asked for when it has ended.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};

const SSHD: &str = "/usr/sbin/sshd";

/// True if methods that need one can be measured.
pub fn is_there() -> bool {
    Path::new(SSHD).exists()
}

/// Keys and configuration.
pub struct Server {
    folder: PathBuf,
    pub user: String,
}

/// One connection that is waited for, and then served.
pub struct Session {
    pub port: u16,
    served: JoinHandle<Result<Child>>,
}

impl Server {
    /// With new keys, in `folder`.
    pub fn new(folder: &Path) -> Result<Self> {
        let user = run(Command::new("id").arg("-un"))?.trim().to_owned();
        if user == "root" {
            // Where it locks itself up before authentication.
            std::fs::create_dir_all("/run/sshd")?;
        }
        let server = Self {
            folder: folder.to_owned(),
            user,
        };
        for name in ["host", "user"] {
            run(Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(server.path(name)))?;
        }
        std::fs::copy(server.path("user.pub"), server.path("authorized_keys"))?;
        let host = std::fs::read_to_string(server.path("host.pub"))?;
        std::fs::write(server.path("known_hosts"), format!("bench {host}"))?;
        let config = format!(
            "AuthorizedKeysFile {}\nHostKey {}\nStrictModes no\nUsePAM no\nPrintMotd no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n",
            server.path("authorized_keys").display(),
            server.path("host").display(),
        );
        std::fs::write(server.path("sshd_config"), config)?;
        Ok(server)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Waits for one connection, in a thread.
    pub fn session(&self) -> Result<Session> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        // The engine looks a host up with its port.
        let host = std::fs::read_to_string(self.path("host.pub"))?;
        let known = format!("bench {host}[127.0.0.1]:{port} {host}");
        std::fs::write(self.path("known_hosts"), known)?;
        let (config, log) = (self.path("sshd_config"), self.path("log"));
        let served = std::thread::spawn(move || {
            let socket = OwnedFd::from(listener.accept()?.0);
            let mut command = Command::new(SSHD);
            command.arg("-i").arg("-f").arg(config).arg("-E").arg(log);
            let stdin = Stdio::from(socket.try_clone()?);
            let child = command.stdin(stdin).stdout(socket).stderr(Stdio::null());
            Ok(child.spawn()?)
        });
        Ok(Session { port, served })
    }

    /// The beginning of a command line for the stock client.
    pub fn client(&self, session: &Session, cipher: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "HostKeyAlias=bench",
        ])
        .arg("-o")
        .arg(format!(
            "UserKnownHostsFile={}",
            self.path("known_hosts").display()
        ))
        .arg("-i")
        .arg(self.path("user"))
        .args(["-o", "IdentitiesOnly=yes", "-c", cipher, "-p"])
        .arg(session.port.to_string())
        .arg(format!("{}@127.0.0.1", self.user));
        ssh
    }
}

impl Session {
    /// Waits for the end of everything that served the connection.
    pub fn end(self) -> Result<()> {
        let child = self.served.join().expect("accepting does not panic")?;
        let mut child = child;
        // A session that its client has left ends with 255.
        child.wait()?;
        Ok(())
    }
}

/// Runs a command that has to succeed.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
