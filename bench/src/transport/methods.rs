//! The ways to get a stream to the other side, each with the processes it needs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::server::{Server, listening};
use super::wan::Wan;

/// One way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A pipe on one machine: what source and sink take by themselves.
    Pipe,
    /// TCP, nothing else.
    Tcp,
    /// TCP, encrypted and hashed at both ends, with a pipe at each for ZFS: the
    /// least that a checked transport can take.
    Sealed,
    /// `ssh`, with its cheapest cipher.
    Ssh,
    /// The same between two `mbuffer`.
    Mbuffer,
    /// And compressed: mbuffer, zstd, ssh, zstd, mbuffer.
    Zstd,
    /// The engine to a stock `sshd`, with this `--compression` and so many
    /// `--connections`.
    Engine(&'static str, &'static str),
    /// The engine to its own receiver (`zferry listen`), the same.
    Own(&'static str, &'static str),
}

/// All of them, in the order of the report.
pub const METHODS: [Method; 14] = [
    Method::Pipe,
    Method::Tcp,
    Method::Sealed,
    Method::Ssh,
    Method::Mbuffer,
    Method::Zstd,
    Method::Engine("off", "1"),
    Method::Engine("off", "auto"),
    Method::Engine("off", "2"),
    Method::Engine("auto", "auto"),
    Method::Engine("-3", "auto"),
    Method::Engine("1", "auto"),
    Method::Own("off", "auto"),
    Method::Own("auto", "auto"),
];

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// Wall time, seconds.
    pub seconds: f64,
    /// Processor time of all processes of both sides, seconds.
    pub cpu_seconds: f64,
    /// Most memory of our near and far side, MiB, where it is the engine.
    pub peak_mib: Option<[f64; 2]>,
}

/// Where methods run.
pub struct Place<'a> {
    pub server: Option<&'a Server>,
    pub file: &'a Path,
    pub hash: blake3::Hash,
    /// For reports.
    pub folder: &'a Path,
    /// Where the other side is, unless it is here.
    pub wan: Option<&'a Wan>,
    /// Of the engine.
    pub workers: &'a str,
    /// Its bandwidth limit, if it has one.
    pub limit: Option<&'a str>,
}

impl Method {
    /// Its name in the report.
    pub fn name(self) -> String {
        match self {
            Self::Pipe => "pipe".into(),
            Self::Tcp => "tcp".into(),
            Self::Sealed => "tcp, aes-gcm, blake3".into(),
            Self::Ssh => "ssh aes128-gcm".into(),
            Self::Mbuffer => "mbuffer, ssh".into(),
            Self::Zstd => "mbuffer, zstd -1, ssh".into(),
            Self::Engine(compression, "auto") => format!("zferry to sshd, {compression}"),
            Self::Engine(compression, count) => {
                format!("zferry to sshd, {compression}, {count}x")
            }
            Self::Own(compression, "auto") => format!("zferry to zferry, {compression}"),
            Self::Own(compression, count) => format!("zferry to zferry, {compression}, {count}x"),
        }
    }

    /// Programs that it needs and this machine does not have.
    pub fn missing(self) -> Vec<&'static str> {
        let needed: &[&str] = match self {
            Self::Pipe | Self::Tcp | Self::Sealed | Self::Own(..) => &[],
            Self::Ssh => &["ssh", "/usr/sbin/sshd"],
            Self::Mbuffer => &["ssh", "/usr/sbin/sshd", "mbuffer"],
            Self::Zstd => &["ssh", "/usr/sbin/sshd", "mbuffer", "zstd"],
            Self::Engine(..) => &["/usr/sbin/sshd"],
        };
        let is_missing = |program: &&&str| !is_there(program);
        needed.iter().filter(is_missing).copied().collect()
    }

    /// Runs it, and looks at what arrived.
    pub fn run(self, place: &Place<'_>) -> Result<Taken> {
        let before = children_seconds()?;
        let (near, far) = (place.folder.join("near"), place.folder.join("far"));
        for report in [&near, &far] {
            let _ = std::fs::remove_file(report);
        }
        let begun = Instant::now();
        self.carry(place, &near, &far)
            .with_context(|| self.name())?;
        let seconds = begun.elapsed().as_secs_f64();
        let cpu_seconds = children_seconds()? - before;
        let (hash, far_peak) = report(&far)?;
        ensure!(
            hash == place.hash.to_string(),
            "{}: something else arrived",
            self.name()
        );
        let peak_mib = match self {
            Self::Engine(..) | Self::Own(..) => Some([report(&near)?.1, far_peak]),
            _ => None,
        };
        Ok(Taken {
            seconds,
            cpu_seconds,
            peak_mib,
        })
    }

    fn carry(self, place: &Place<'_>, near: &Path, far: &Path) -> Result<()> {
        match self {
            Self::Pipe => chain(vec![source(place)?, part(&["sink"], &[far])?]),
            Self::Tcp | Self::Sealed => tcp(place, far, self == Self::Sealed),
            Self::Ssh | Self::Mbuffer | Self::Zstd => {
                let server = place.server.context("no sshd")?;
                let session = server.session(place.wan)?;
                let sink = shown(&part(&["sink"], &[far])?);
                let mbuffer = || words("mbuffer -q -m 64M");
                let mut ssh = server.client(&session, "aes128-gcm@openssh.com");
                let mut commands = vec![source(place)?];
                match self {
                    Self::Ssh => {
                        ssh.arg(sink);
                    }
                    Self::Mbuffer => {
                        commands.push(mbuffer());
                        ssh.arg(format!("mbuffer -q -m 64M | {sink}"));
                    }
                    _ => {
                        commands.extend([mbuffer(), words("zstd -q -c -T0 -1")]);
                        ssh.arg(format!("zstd -q -dc | mbuffer -q -m 64M | {sink}"));
                    }
                }
                commands.push(ssh);
                chain(commands)?;
                session.end()
            }
            Self::Engine(compression, count) => {
                let server = place.server.context("no sshd")?;
                let session = server.session(place.wan)?;
                let mut driver = driver(place, near, session.address, [compression, count])?;
                driver
                    .args(["--user", &server.user])
                    .arg("--key")
                    .arg(server.path("user"))
                    .arg("--known-hosts")
                    .arg(server.path("known_hosts"))
                    .arg("--command")
                    .arg(shown(&part(&["helper"], &[far, place.folder])?));
                chain(vec![driver])?;
                session.end()
            }
            Self::Own(compression, count) => {
                let (user, known) = (
                    place.folder.join("own-user"),
                    place.folder.join("own-known"),
                );
                let listener = part(&["listen"], &[far, &user, &known])?;
                let (address, listener) = listening(listener, place.wan)?;
                let mut driver = driver(place, near, address, [compression, count])?;
                driver
                    .args(["--user", "bench", "--command", "zferry helper", "--key"])
                    .arg(user)
                    .arg("--known-hosts")
                    .arg(known);
                chain(vec![driver])?;
                listener.end()
            }
        }
    }
}

/// True if this machine has the program.
pub fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).exists())
}

/// The engine's near side, up to how it logs in.
fn driver(
    place: &Place<'_>,
    near: &Path,
    address: SocketAddr,
    [compression, count]: [&str; 2],
) -> Result<Command> {
    let mut driver = part(&["driver"], &[place.file, near])?;
    driver
        .arg(format!("--host={}", address.ip()))
        .arg(format!("--port={}", address.port()))
        .arg(format!("--compression={compression}"))
        .arg(format!("--connections={count}"))
        .arg(format!("--workers={}", place.workers));
    if let Some(limit) = place.limit {
        driver.arg(format!("--bandwidth-limit={limit}"));
    }
    Ok(driver)
}

/// This program as one of its parts.
fn part(words: &[&str], paths: &[&Path]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("part").args(words).args(paths);
    Ok(command)
}

fn source(place: &Place<'_>) -> Result<Command> {
    part(&["source"], &[place.file])
}

fn words(line: &str) -> Command {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// As a shell takes it. Our paths are plain.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// Starts them with a pipe from each to the next; all have to succeed.
fn chain(commands: Vec<Command>) -> Result<()> {
    let count = commands.len();
    let mut children: Vec<Child> = Vec::new();
    let mut input: Option<std::process::ChildStdout> = None;
    for (n, mut command) in commands.into_iter().enumerate() {
        command.stdin(input.take().map_or_else(Stdio::null, Stdio::from));
        let is_last = n + 1 == count;
        command.stdout(match is_last {
            true => Stdio::null(),
            false => Stdio::piped(),
        });
        let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
        input = child.stdout.take();
        children.push(child);
    }
    for mut child in children {
        let status = child.wait()?;
        ensure!(status.success(), "a program of it ended with {status}");
    }
    Ok(())
}

fn tcp(place: &Place<'_>, far: &Path, sealed: bool) -> Result<()> {
    let seal = |command: &mut Command| {
        if sealed {
            command.arg("--sealed");
        }
    };
    let mut sink = part(&["tcp-sink"], &[far])?;
    seal(&mut sink);
    let (address, sink) = listening(sink, place.wan)?;
    let mut source = part(&["tcp-source"], &[place.file])?;
    source.arg(address.to_string());
    seal(&mut source);
    chain(vec![source])?;
    sink.end()
}

/// Processor time of all children that were waited for, and of theirs.
fn children_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // After the name in brackets, which may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("/proc/self/stat")?;
    let ticks = |n: usize| -> Result<f64> {
        let field = fields.split_whitespace().nth(n);
        Ok(field.context("/proc/self/stat")?.parse()?)
    };
    // cutime and cstime, fields 16 and 17 of proc(5), in ticks of 1/100 s.
    Ok((ticks(13)? + ticks(14)?) / 100.0)
}

/// What a part has left: a hash, and its most memory, MiB.
fn report(path: &PathBuf) -> Result<(String, f64)> {
    let text = std::fs::read_to_string(path).context("a part left no report")?;
    let (hash, peak) = text.trim().split_once(' ').context("half a report")?;
    Ok((hash.to_owned(), peak.parse::<f64>()? / 1024.0))
}
