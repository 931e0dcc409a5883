//! The programs that a method consists of: each is this binary, started again,
//! so that the processor time and the memory of each is its own.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use ::engine::limit::BandwidthLimit;
use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use ring::aead;

use super::{beside, engine};

/// Bytes that are hashed and sealed at a time.
const PIECE_BYTES: usize = 1 << 20;

/// One of them.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// Writes a file to standard output
    Source { file: PathBuf },
    /// Reads standard input and leaves its hash
    Sink { report: PathBuf },
    /// Serves one conversation by sshd; says its port first
    Serve {
        address: Ipv4Addr,
        #[arg(long)]
        config: PathBuf,
        #[arg(long)]
        log: PathBuf,
    },
    /// The way between two namespaces
    Link {
        namespace: String,
        #[command(flatten)]
        way: super::wan::Way,
    },
    /// As `sink`, over TCP; says its port first
    TcpSink {
        report: PathBuf,
        address: Ipv4Addr,
        #[arg(long)]
        sealed: bool,
    },
    /// Sends a file over TCP
    TcpSource {
        file: PathBuf,
        address: SocketAddr,
        #[arg(long)]
        sealed: bool,
    },
    /// Answers what one connection asks; says its port first
    Echo { address: Ipv4Addr },
    /// Takes what one connection sends; says its port first
    Drain { address: Ipv4Addr },
    /// The engine's far side behind sshd
    Helper { report: PathBuf, state: PathBuf },
    /// The engine's far side with our own SSH server; says its port first
    Listen {
        report: PathBuf,
        user: PathBuf,
        known_hosts: PathBuf,
        address: Ipv4Addr,
    },
    /// The engine's near side
    Driver(Box<Driver>),
}

/// Where the engine sends, and how.
#[derive(Debug, clap::Args)]
pub struct Driver {
    pub file: PathBuf,
    pub report: PathBuf,
    #[arg(long)]
    pub user: String,
    #[arg(long)]
    pub host: String,
    #[arg(long)]
    pub port: u16,
    #[arg(long)]
    pub key: PathBuf,
    #[arg(long)]
    pub known_hosts: PathBuf,
    #[arg(long)]
    pub command: String,
    /// auto, off, or a level
    #[arg(long, allow_hyphen_values = true)]
    pub compression: String,
    /// auto, or a number
    #[arg(long)]
    pub connections: String,
    /// auto, or a number
    #[arg(long)]
    pub workers: String,
    /// As `zferry replicate` has it
    #[arg(long)]
    pub bandwidth_limit: Option<BandwidthLimit>,
}

/// Runs it.
pub fn run(part: Part) -> Result<()> {
    match part {
        Part::Source { file } => Ok(pour(&file, stdout()?)?),
        Part::Sink { report } => {
            let mut from = std::fs::File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
            enlarge(&from);
            leave(&report, &hash(&[], &mut from)?)
        }
        Part::Serve {
            address,
            config,
            log,
        } => super::server::serve(&bound(address)?, &config, &log),
        Part::Link { namespace, way } => super::wan::link(&namespace, way),
        Part::TcpSink {
            report,
            address,
            sealed,
        } => {
            let mut stream = accepted(address)?;
            let came = match sealed {
                true => opened(&mut stream)?,
                false => hash(&[], &mut stream)?,
            };
            leave(&report, &came)
        }
        Part::TcpSource {
            file,
            address,
            sealed,
        } => {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            match sealed {
                true => seal(&file, stream),
                false => Ok(pour(&file, stream.into())?),
            }
        }
        Part::Echo { address } => beside::echo(address),
        Part::Drain { address } => beside::drain(address),
        Part::Helper { report, state } => engine::helper(&report, &state),
        Part::Listen {
            report,
            user,
            known_hosts,
            address,
        } => engine::listen(&report, &user, &known_hosts, address),
        Part::Driver(driver) => engine::drive(&driver),
    }
}

/// Says a port that is listened on.
fn bound(address: Ipv4Addr) -> Result<TcpListener> {
    let listener = TcpListener::bind((address, 0))?;
    say_port(&listener)?;
    Ok(listener)
}

/// Whoever has read it may connect.
pub fn say_port(listener: &TcpListener) -> Result<()> {
    let mut said = std::fs::File::from(stdout()?);
    writeln!(said, "{}", listener.local_addr()?.port())?;
    Ok(())
}

/// Says a port, and waits for one connection to it.
pub fn accepted(address: Ipv4Addr) -> Result<TcpStream> {
    Ok(bound(address)?.accept()?.0)
}

fn stdout() -> Result<OwnedFd> {
    Ok(std::io::stdout().as_fd().try_clone_to_owned()?)
}

/// More of a pipe, as the engine has it.
fn enlarge(pipe: &impl AsFd) {
    // Not a pipe: then it stays as it is.
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, 1 << 20);
}

/// Hands a file on without copying it, where the system can.
pub fn pour(file: &Path, into: OwnedFd) -> std::io::Result<()> {
    enlarge(&into);
    let mut into = std::fs::File::from(into);
    std::io::copy(&mut std::fs::File::open(file)?, &mut into)?;
    Ok(())
}

/// Reads to the end. What came before counts too.
pub fn hash(first: &[u8], from: &mut impl Read) -> std::io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(first);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let filled = fill(from, &mut piece)?;
        hasher.update(&piece[..filled]);
        if filled < piece.len() {
            return Ok(hasher.finalize());
        }
    }
}

fn fill(from: &mut impl Read, piece: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < piece.len() {
        match from.read(&mut piece[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// A report: the hash, and the most memory that this process had, KiB.
pub fn leave(report: &Path, hash: &blake3::Hash) -> Result<()> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|line| line.trim().strip_suffix(" kB"));
    let peak = peak.context("the system tells no peak of memory")?;
    Ok(std::fs::write(report, format!("{hash} {peak}\n"))?)
}

fn key() -> Result<aead::LessSafeKey> {
    let key = aead::UnboundKey::new(&aead::AES_256_GCM, &[7; 32]);
    Ok(aead::LessSafeKey::new(
        key.map_err(|_| anyhow::anyhow!("no key"))?,
    ))
}

fn nonce(number: u64) -> aead::Nonce {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    aead::Nonce::assume_unique_for_key(nonce)
}

/// What any encrypted, checked transport between two ZFS has to do at least:
/// read a pipe, hash, encrypt, send. Each piece is its length, its hash, itself
/// and a tag.
fn seal(file: &Path, stream: TcpStream) -> Result<()> {
    let (mut pipe, into) = std::io::pipe()?;
    std::thread::scope(|scope| {
        let poured = scope.spawn(|| pour(file, into.into()));
        seal_all(&mut pipe, stream)?;
        Ok(poured.join().expect("it does not panic")?)
    })
}

fn seal_all(from: &mut impl Read, mut stream: TcpStream) -> Result<()> {
    let key = key()?;
    let mut piece = vec![0; PIECE_BYTES];
    for number in 0.. {
        let filled = fill(from, &mut piece)?;
        let hash = blake3::hash(&piece[..filled]);
        let sealed = key.seal_in_place_separate_tag(
            nonce(number),
            aead::Aad::from(hash.as_bytes()),
            &mut piece[..filled],
        );
        let tag = sealed.map_err(|_| anyhow::anyhow!("cannot seal"))?;
        stream.write_all(&(filled as u64).to_le_bytes())?;
        stream.write_all(hash.as_bytes())?;
        stream.write_all(&piece[..filled])?;
        stream.write_all(tag.as_ref())?;
        if filled < piece.len() {
            break;
        }
    }
    Ok(())
}

/// The other end of [`seal`], with the pipe that ZFS would read.
fn opened(stream: &mut TcpStream) -> Result<blake3::Hash> {
    let (mut pipe, into) = std::io::pipe()?;
    enlarge(&into);
    std::thread::scope(|scope| {
        let hashed = scope.spawn(move || hash(&[], &mut pipe));
        open_all(stream, into)?;
        Ok(hashed.join().expect("it does not panic")?)
    })
}

fn open_all(stream: &mut TcpStream, mut into: impl Write) -> Result<()> {
    let key = key()?;
    let mut piece = vec![0; PIECE_BYTES + aead::AES_256_GCM.tag_len()];
    for number in 0.. {
        let (mut length, mut hash) = ([0; 8], [0; 32]);
        stream.read_exact(&mut length)?;
        stream.read_exact(&mut hash)?;
        let length = usize::try_from(u64::from_le_bytes(length))?;
        let sealed = &mut piece[..length + aead::AES_256_GCM.tag_len()];
        stream.read_exact(sealed)?;
        let opened = key.open_in_place(nonce(number), aead::Aad::from(&hash), sealed);
        let opened = opened.map_err(|_| anyhow::anyhow!("a piece was changed"))?;
        ensure!(
            blake3::hash(opened).as_bytes() == &hash,
            "a hash is not that of its piece"
        );
        into.write_all(opened)?;
        if length < PIECE_BYTES {
            break;
        }
    }
    Ok(())
}
