//! Our own server, against our client and against the system's `ssh`.

use std::fs::{Permissions, set_permissions};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use engine::transport::ssh::server::{
    HostKey, Server, ServerEvent, ServerOptions, Service, Watcher,
};
use engine::transport::ssh::{ConnectError, Identity, SshEndpoint, SshOptions, connect};
use engine::transport::{INBOUND_CHUNKS_MAX, Link, LinkError, OUTBOUND_CHUNKS_MAX};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::sshd::{PATIENCE, read_all};

/// A chunk of the size the engine uses.
const CHUNK_BYTES: usize = 1024 * 1024 + 64;

/// A server with one key that may come in, `user`, and one that may not,
/// `stranger`.
struct Receiver {
    dir: TempDir,
    address: SocketAddr,
    events: mpsc::UnboundedReceiver<ServerEvent>,
}

impl Receiver {
    async fn start(options: ServerOptions, service: Service) -> Self {
        let dir = TempDir::new().unwrap();
        let host = HostKey::create(&dir.path().join("host")).unwrap();
        HostKey::create(&dir.path().join("stranger")).unwrap();
        let user = HostKey::create(&dir.path().join("user")).unwrap();
        let keys = dir.path().join("authorized_keys");
        std::fs::write(
            &keys,
            format!("allow=\"tank/a\" {} tom", user.public_line()),
        )
        .unwrap();
        set_permissions(&keys, Permissions::from_mode(0o600)).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let line = format!("[127.0.0.1]:{} {}\n", address.port(), host.public_line());
        std::fs::write(dir.path().join("known_hosts"), line).unwrap();
        let (told, events) = mpsc::unbounded_channel();
        let watcher: Watcher = Arc::new(move |event| drop(told.send(event)));
        let server = Server::new(host, keys, options, service, watcher).unwrap();
        tokio::spawn(server.serve(listener));
        Self {
            dir,
            address,
            events,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn connect_with(&self, key: &str) -> Result<Link, ConnectError> {
        let endpoint = SshEndpoint::new("anyone", "127.0.0.1", self.address.port()).unwrap();
        let options = SshOptions {
            identities: vec![Identity::Named(self.path(key))],
            known_hosts: vec![self.path("known_hosts")],
            ..SshOptions::default()
        };
        connect(&endpoint, &options, "zferry helper").await
    }

    async fn connect(&self) -> Link {
        self.connect_with("user").await.unwrap()
    }

    async fn event(&mut self) -> String {
        let event = timeout(PATIENCE, self.events.recv()).await.unwrap();
        event.unwrap().to_string()
    }

    /// Waits for an event with this text; others pass.
    async fn told(&mut self, text: &str) {
        while !self.event().await.contains(text) {}
    }

    /// The system's client, with `words` after the options, and its input.
    async fn stock(&self, words: &[&str], input: &'static [u8]) -> Output {
        let mut ssh = Command::new("ssh");
        ssh.args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
        ])
        .arg("-o")
        .arg(format!(
            "UserKnownHostsFile={}",
            self.path("known_hosts").display()
        ))
        .arg("-i")
        .arg(self.path("user"))
        .args(["-p", &self.address.port().to_string()])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
        let run = tokio::task::spawn_blocking(move || {
            let mut child = ssh.spawn().unwrap();
            // It may have ended without having read.
            let _ = child.stdin.take().unwrap().write_all(input);
            child.wait_with_output().unwrap()
        });
        timeout(PATIENCE, run).await.unwrap().unwrap()
    }
}

/// Gives back what comes.
fn echo() -> Service {
    Arc::new(|mut link: Link, _| {
        Box::pin(async move {
            while let Some(chunk) = link.inbound.recv().await {
                let chunk = chunk.map_err(|error| error.to_string())?;
                if link.outbound.send(chunk).await.is_err() {
                    return Err("nobody takes it".to_owned());
                }
            }
            Ok(())
        })
    })
}

fn chunk(number: u64) -> Bytes {
    let mut bytes = vec![0; CHUNK_BYTES];
    blake3::Hasher::new()
        .update(&number.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes.into()
}

/// Answers the digest of all that comes.
fn digest() -> Service {
    Arc::new(|mut link: Link, _| {
        Box::pin(async move {
            let mut hash = blake3::Hasher::new();
            while let Some(chunk) = link.inbound.recv().await {
                hash.update(&chunk.map_err(|error| error.to_string())?);
            }
            let hash = Bytes::copy_from_slice(hash.finalize().as_bytes());
            let sent = link.outbound.send(hash).await;
            sent.map_err(|error| error.to_string())
        })
    })
}

/// Sends so many chunks.
fn source(chunks: u64) -> Service {
    Arc::new(move |link: Link, _| {
        Box::pin(async move {
            for number in 0..chunks {
                let sent = link.outbound.send(chunk(number)).await;
                sent.map_err(|error| error.to_string())?;
            }
            Ok(())
        })
    })
}

/// The digest of so many chunks.
fn expected(chunks: u64) -> blake3::Hash {
    let mut hash = blake3::Hasher::new();
    for number in 0..chunks {
        hash.update(&chunk(number));
    }
    hash.finalize()
}

async fn send_all(outbound: mpsc::Sender<Bytes>, chunks: u64) {
    for number in 0..chunks {
        let sent = timeout(PATIENCE, outbound.send(chunk(number))).await;
        sent.unwrap().unwrap();
    }
}

/// Sends chunks to [`digest`].
async fn push(link: Link, chunks: u64) {
    let Link {
        inbound, outbound, ..
    } = link;
    send_all(outbound, chunks).await;
    let mut link = Link {
        inbound,
        outbound: mpsc::channel(1).0,
    };
    let (answer, end) = read_all(&mut link).await;
    assert!(end.is_none(), "{end:?}");
    assert_eq!(answer, expected(chunks).as_bytes());
}

/// Takes chunks from [`source`].
async fn pull(mut link: Link, chunks: u64) {
    let (bytes, end) = read_all(&mut link).await;
    assert!(end.is_none(), "{end:?}");
    assert_eq!(bytes.len() as u64, chunks * CHUNK_BYTES as u64);
    assert!(blake3::hash(&bytes) == expected(chunks));
}

#[tokio::test]
async fn bytes_arrive_unchanged_and_the_key_is_told() {
    let sender = Receiver::start(ServerOptions::default(), source(96)).await;
    // More than a window of 64 MiB.
    pull(sender.connect().await, 96).await;
    let mut receiver = Receiver::start(ServerOptions::default(), digest()).await;
    push(receiver.connect().await, 96).await;
    let started = receiver.event().await;
    assert!(
        started.contains("SHA256:") && started.ends_with("tom"),
        "{started}"
    );
    assert!(receiver.event().await.ends_with(": ended"));
}

#[tokio::test]
async fn renewed_session_keys_lose_nothing_in_either_direction() {
    let options = ServerOptions {
        rekey_bytes: 3 << 20,
        ..ServerOptions::default()
    };
    let receiver = Receiver::start(options.clone(), digest()).await;
    push(receiver.connect().await, 24).await;
    let sender = Receiver::start(options, source(24)).await;
    pull(sender.connect().await, 24).await;
}

#[tokio::test]
async fn an_unknown_key_is_refused_and_told() {
    let mut receiver = Receiver::start(ServerOptions::default(), echo()).await;
    let error = receiver.connect_with("stranger").await.unwrap_err();
    assert!(
        matches!(error, ConnectError::AuthenticationFailed { .. }),
        "{error:?}"
    );
    let told = receiver.event().await;
    assert!(
        told.contains("refused") && told.contains("is not known"),
        "{told}"
    );
}

#[tokio::test]
async fn a_key_that_was_taken_out_of_the_file_is_out_without_a_restart() {
    let mut receiver = Receiver::start(ServerOptions::default(), digest()).await;
    push(receiver.connect().await, 1).await;
    receiver.told("ended").await;
    let other = HostKey::read(&receiver.path("stranger")).unwrap();
    let line = format!("allow=\"tank\" {}\n", other.public_line());
    std::fs::write(receiver.path("authorized_keys"), line).unwrap();
    assert!(receiver.connect_with("user").await.is_err());
    push(receiver.connect_with("stranger").await.unwrap(), 1).await;
    // A file with a mistake lets nobody in.
    std::fs::write(receiver.path("authorized_keys"), "allow=tank").unwrap();
    assert!(receiver.connect_with("stranger").await.is_err());
    receiver.told("nobody can log in").await;
}

#[tokio::test]
async fn the_systems_client_is_served_a_helper_and_nothing_else() {
    let receiver = Receiver::start(ServerOptions::default(), echo()).await;
    for words in [
        &["x@127.0.0.1", "zferry helper"][..],
        &["x@127.0.0.1", "-s", "zferry"],
    ] {
        let ran = receiver.stock(words, b"hello").await;
        assert_eq!(ran.stdout, b"hello", "{ran:?}");
        assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    }
    for words in [
        &["x@127.0.0.1"][..],
        &["-tt", "x@127.0.0.1"],
        &["x@127.0.0.1", "id"],
        &["-W", "127.0.0.1:1", "x@127.0.0.1"],
        &["x@127.0.0.1", "-s", "sftp"],
    ] {
        let ran = receiver.stock(words, b"hello").await;
        assert_ne!(ran.status.code(), Some(0), "{words:?}: {ran:?}");
        assert_eq!(ran.stdout, b"", "{words:?}: {ran:?}");
    }
    // What is asked for beside a helper is not given, and does not harm.
    let words = [
        "-A",
        "-R",
        "0:127.0.0.1:1",
        "-o",
        "SetEnv=A=b",
        "x@127.0.0.1",
        "zferry helper",
    ];
    let ran = receiver.stock(&words, b"hello").await;
    assert_eq!(ran.stdout, b"hello", "{ran:?}");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(said.contains("forwarding failed"), "{said}");
}

#[tokio::test]
async fn passwords_are_not_even_offered() {
    let receiver = Receiver::start(ServerOptions::default(), echo()).await;
    let words = [
        "-o",
        "PubkeyAuthentication=no",
        "x@127.0.0.1",
        "zferry helper",
    ];
    let ran = receiver.stock(&words, b"").await;
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(said.contains("Permission denied (publickey)"), "{said}");
}

#[tokio::test]
async fn who_sends_rubbish_or_says_nothing_is_put_out() {
    let options = ServerOptions {
        login_max: Duration::from_millis(300),
        ..ServerOptions::default()
    };
    let mut receiver = Receiver::start(options, echo()).await;
    for rubbish in [
        &b""[..],
        b"SSH-2.0-x\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 70_000],
        b"SSH-2.0-x\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let mut stream = TcpStream::connect(receiver.address).await.unwrap();
        let _ = stream.write_all(rubbish).await;
        let mut all = Vec::new();
        let ended = timeout(PATIENCE, stream.read_to_end(&mut all)).await;
        assert!(ended.is_ok(), "it stays");
        assert!(receiver.event().await.contains("refused"));
    }
    // And nobody's place is lost by it.
    let link = receiver.connect().await;
    drop(link);
}

#[tokio::test]
async fn strangers_and_keys_have_limits_and_places_become_free_again() {
    let options = ServerOptions {
        strangers_max: 1,
        sessions_per_key_max: 1,
        ..ServerOptions::default()
    };
    let mut receiver = Receiver::start(options, digest()).await;
    let silent = TcpStream::connect(receiver.address).await.unwrap();
    let mut second = TcpStream::connect(receiver.address).await.unwrap();
    receiver.told("too many connections").await;
    let _ = second.read_to_end(&mut Vec::new()).await;
    drop(silent);
    receiver.told("refused").await;

    let link = receiver.connect().await;
    receiver.told("serving").await;
    let error = receiver.connect_with("user").await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Lost { .. }),
        "it is no passing failure: {error:?}"
    );
    receiver.told("as many helpers").await;
    push(link, 1).await;
    receiver.told("ended").await;
    push(receiver.connect().await, 1).await;
}

#[tokio::test]
async fn a_service_that_reads_nothing_stops_the_sender_in_bounded_memory() {
    let held: Arc<Mutex<Vec<Link>>> = Arc::default();
    let keeper = Arc::clone(&held);
    let service: Service = Arc::new(move |link, _| {
        keeper.lock().unwrap().push(link);
        Box::pin(std::future::pending())
    });
    let receiver = Receiver::start(ServerOptions::default(), service).await;
    let link = receiver.connect().await;
    // Sockets hold some MiB of their own; the window alone would let 64 in.
    let bound = 48;
    let mut sent = 0;
    while let Ok(result) = timeout(Duration::from_millis(500), link.outbound.send(chunk(0))).await {
        result.unwrap();
        sent += 1;
        assert!(sent <= bound, "{sent} chunks were accepted");
    }
    assert!(sent >= OUTBOUND_CHUNKS_MAX);
    let waiting = held.lock().unwrap()[0].inbound.len();
    assert_eq!(waiting, INBOUND_CHUNKS_MAX);
}

#[tokio::test]
async fn how_a_helper_failed_is_told_to_the_other_side() {
    let service: Service = Arc::new(|_, _| Box::pin(async { Err("no such pool".to_owned()) }));
    let mut receiver = Receiver::start(ServerOptions::default(), service).await;
    let mut link = receiver.connect().await;
    let (_, end) = read_all(&mut link).await;
    let Some(LinkError::RemoteFailed { stderr, .. }) = end else {
        panic!("{end:?}")
    };
    assert!(stderr.contains("no such pool"), "{stderr}");
    receiver.told("ended: no such pool").await;
}

#[tokio::test]
async fn a_client_that_vanishes_ends_its_helper() {
    let mut receiver = Receiver::start(ServerOptions::default(), echo()).await;
    let link = receiver.connect().await;
    receiver.told("serving").await;
    drop(link);
    receiver.told("ended").await;
}
