//! Our own SSH server: a target that needs no `sshd` for replication.
//!
//! In the way of the data it is the far end of `ssh`: a connection that has
//! proved a key and asked for a helper becomes a [`Link`], as standard input and
//! output do in a process that `sshd` started. Who may come in is in `keys`,
//! what a client may ask for in `guard`, and one connection's life in
//! `connection`.
//!
//! Left to others: what is said over the link. A [`Service`] gets it together
//! with the key, whose `allow` is all that its owner may touch.
//!
//! # Bounds
//!
//! Each connection has a thread and a single-threaded runtime of its own, so
//! that one which is busy or stuck holds up nobody. Their number is limited,
//! before authentication, after it, and per key. Of what a service does not take,
//! [`INBOUND_CHUNKS_MAX`](crate::transport::INBOUND_CHUNKS_MAX) chunks wait here
//! and 4 MiB inside russh, 8 MiB in all, however large the window is: beyond that
//! nothing is read from the socket, while the session can still send.

mod connection;
mod error;
mod event;
mod guard;
mod keys;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;

pub use self::error::ServerError;
pub use self::event::ServerEvent;
pub use self::keys::{AuthorizedKey, HostKey, authorized_keys};
use super::Keepalive;
use crate::transport::{Dscp, Link};

/// How long to wait after the system gave no connection, for lack of file
/// descriptors for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves the link of one authenticated connection to its end. The text of an
/// error is told to the other side.
pub type Service = Arc<
    dyn Fn(Link, AuthorizedKey) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>>
        + Send
        + Sync,
>;

/// Takes note of what happens. Called from the threads of connections.
pub type Watcher = Arc<dyn Fn(ServerEvent) + Send + Sync>;

/// Limits of a server, and how it sends.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Connections at one time.
    pub connections_max: usize,
    /// Of those, the ones that have not yet started a helper.
    pub strangers_max: usize,
    /// Helpers at one time that one key may have.
    pub sessions_per_key_max: usize,
    /// From the connection to a started helper.
    pub login_max: Duration,
    /// Signatures that may be wrong before the connection ends.
    pub attempts_max: usize,
    /// When a peer that takes no bytes counts as dead.
    pub keepalive: Keepalive,
    /// Bytes in one direction after which the session gets new keys; at most
    /// 1 GiB, beyond which the ciphers would weaken.
    pub rekey_bytes: usize,
    /// What the packets that it sends carry; `None`: what the system gives them.
    pub dscp: Option<Dscp>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            connections_max: 64,
            strangers_max: 10,
            sessions_per_key_max: 16,
            login_max: Duration::from_secs(30),
            attempts_max: 6,
            keepalive: super::SshOptions::default().keepalive,
            rekey_bytes: 1 << 30,
            dscp: None,
        }
    }
}

/// A server that is not yet told where to listen.
pub struct Server {
    host_key: HostKey,
    /// Read again at every login, so that a key that was taken out of it is out.
    authorized_keys: PathBuf,
    options: ServerOptions,
    service: Service,
    watcher: Watcher,
    connections: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    /// Running helpers by the fingerprint of their key.
    sessions: Mutex<HashMap<String, usize>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("host_key", &self.host_key.fingerprint())
            .field("authorized_keys", &self.authorized_keys)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server with this identity, for the keys in the file `authorized_keys`.
    ///
    /// # Errors
    /// [`ServerError`] if that file cannot be used as it is now.
    pub fn new(
        host_key: HostKey,
        authorized_keys: PathBuf,
        options: ServerOptions,
        service: Service,
        watcher: Watcher,
    ) -> Result<Arc<Self>, ServerError> {
        keys::authorized_keys(&authorized_keys)?;
        Ok(Arc::new(Self {
            host_key,
            authorized_keys,
            connections: Arc::new(Semaphore::new(options.connections_max)),
            strangers: Arc::new(Semaphore::new(options.strangers_max)),
            options,
            service,
            watcher,
            sessions: Mutex::default(),
        }))
    }

    /// Accepts connections for ever. Dropping the future accepts no more; those
    /// that are open go on until their peers or the process end.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.tell(ServerEvent::NotAccepted { error });
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let places = Arc::clone(&self.connections).try_acquire_owned();
            let strangers = Arc::clone(&self.strangers).try_acquire_owned();
            let (Ok(place), Ok(stranger)) = (places, strangers) else {
                self.tell(ServerEvent::Full { peer });
                continue;
            };
            let server = Arc::clone(&self);
            let started = std::thread::Builder::new()
                .name("ssh connection".to_owned())
                .spawn(move || {
                    connection::run(&server, stream, peer, stranger);
                    drop(place);
                });
            if let Err(error) = started {
                self.tell(ServerEvent::NotAccepted { error });
            }
        }
    }

    fn tell(&self, event: ServerEvent) {
        (self.watcher)(event);
    }

    /// One more helper for this key, or `None` if it has as many as it may.
    fn admit(self: &Arc<Self>, fingerprint: &str) -> Option<Admission> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let count = sessions.entry(fingerprint.to_owned()).or_default();
        if *count >= self.options.sessions_per_key_max {
            return None;
        }
        *count += 1;
        Some(Admission {
            server: Arc::clone(self),
            fingerprint: fingerprint.to_owned(),
        })
    }
}

/// A helper of a key; dropping it makes room for another.
struct Admission {
    server: Arc<Server>,
    fingerprint: String,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let sessions = self.server.sessions.lock();
        let mut sessions = sessions.unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = sessions.get_mut(&self.fingerprint) {
            *count -= 1;
            if *count == 0 {
                sessions.remove(&self.fingerprint);
            }
        }
    }
}

/// A peer's address in messages.
fn shown(peer: &SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

#[cfg(test)]
mod tests;
