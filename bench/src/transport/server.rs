//! A private `sshd` for the methods: its keys, and one server process for each
//! connection, whose processor time can be asked for when it has ended.

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::wan::{self, Wan};

const SSHD: &str = "/usr/sbin/sshd";

/// How long a connection may wait that is not the first one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(2);

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
    pub address: SocketAddr,
    served: Serving,
}

/// A part that serves others. It goes with this, if it has not ended by then.
pub struct Serving(Child);

impl Serving {
    /// Waits for its end.
    pub fn end(mut self) -> Result<()> {
        ensure!(self.0.wait()?.success(), "the other side failed");
        Ok(())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // One that has ended is left alone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves connections, each by an `sshd`, until the first one and all others
/// have ended with everything that they started.
pub fn serve(listener: &TcpListener, config: &Path, log: &Path) -> Result<()> {
    let serving = |connection| serve_one(connection, config, log);
    std::thread::scope(|scope| {
        let (first, _) = listener.accept()?;
        let first = scope.spawn(move || serving(first));
        let mut more = Vec::new();
        listener.set_nonblocking(true)?;
        while !first.is_finished() {
            match listener.accept() {
                Ok((connection, _)) => {
                    connection.set_nonblocking(false)?;
                    more.push(scope.spawn(move || serving(connection)));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(ACCEPT_PAUSE);
                }
                Err(error) => return Err(error.into()),
            }
        }
        for serving in std::iter::once(first).chain(more) {
            serving.join().expect("it does not panic")?;
        }
        Ok(())
    })
}

fn serve_one(connection: TcpStream, config: &Path, log: &Path) -> Result<()> {
    let socket = OwnedFd::from(connection);
    let mut command = Command::new(SSHD);
    command.arg("-i").arg("-f").arg(config).arg("-E").arg(log);
    let stdin = Stdio::from(socket.try_clone()?);
    // One that its client has left ends with 255.
    command
        .stdin(stdin)
        .stdout(socket)
        .stderr(Stdio::null())
        .status()?;
    Ok(())
}

/// Starts a part that says its port first, here or on the other side of `wan`.
pub fn listening(mut part: Command, wan: Option<&Wan>) -> Result<(SocketAddr, Serving)> {
    let address = wan.map_or(Ipv4Addr::LOCALHOST, |_| wan::FAR);
    part.arg(address.to_string());
    let mut command = wan.map_or_else(|| part_of(&part), |wan| wan.there(&part));
    let mut serving = Serving(command.stdout(Stdio::piped()).spawn()?);
    let mut port = String::new();
    let said = serving
        .0
        .stdout
        .take()
        .context("it has a standard output")?;
    BufReader::new(said).read_line(&mut port)?;
    let port = port.trim().parse().context("a part said no port")?;
    Ok((SocketAddr::from((address, port)), serving))
}

fn part_of(part: &Command) -> Command {
    let mut command = Command::new(part.get_program());
    command.args(part.get_args());
    command
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

    /// Waits for one connection.
    pub fn session(&self, wan: Option<&Wan>) -> Result<Session> {
        let mut part = Command::new(std::env::current_exe()?);
        part.args(["part", "serve", "--config"]);
        part.arg(self.path("sshd_config")).arg("--log");
        part.arg(self.path("log"));
        let (address, served) = listening(part, wan)?;
        // The engine looks a host up with its port.
        let host = std::fs::read_to_string(self.path("host.pub"))?;
        let known = format!("bench {host}[{}]:{} {host}", address.ip(), address.port());
        std::fs::write(self.path("known_hosts"), known)?;
        Ok(Session { address, served })
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
        .arg(session.address.port().to_string())
        .arg(format!("{}@{}", self.user, session.address.ip()));
        ssh
    }
}

impl Session {
    /// Waits for the end of everything that served the connection.
    pub fn end(self) -> Result<()> {
        self.served.end()
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
