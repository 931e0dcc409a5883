//! A command on another host, started by a stock `sshd`, as a [`Link`].
//!
//! In the way of the data: between the two machines. [`connect`] looks up the
//! host, opens a TCP connection, checks the host key (`known_hosts`),
//! authenticates by key (`auth`) and starts the command; from then on
//! `session` carries the bytes. Nothing is read from the environment or from
//! `ssh_config`: what to use is in [`SshOptions`].
//!
//! Left to others: several connections for one conversation (a session to
//! `sshd` has a window of 2 MiB, which is what limits it on a long way; see
//! `bundle`), and the limit on how long the helper may think.
//!
//! This directory is the one place of the engine that names russh.
//!
//! # If it breaks
//!
//! A connection that ends, for whatever reason, looks to the remote command
//! like the end of its input. A command that is not to take this for success
//! needs an end that it can recognise.

mod auth;
mod client;
mod config;
mod endpoint;
mod error;
mod known_hosts;
pub mod server;
mod session;
mod socket;

#[cfg(feature = "fuzzing")]
pub(crate) use known_hosts::keys_in;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use russh::client::Handle;
use russh::{ChannelMsg, ChannelOpenFailure};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use self::client::{Cause, Client, ClientError, cause_of_end, link_error};
pub use self::endpoint::{Identity, Keepalive, SSH_PORT, SshEndpoint, SshOptions};
pub use self::error::{AuthenticationFailed, ConnectError, KnownKeyPlace, Phase, UnknownHostKey};
use self::known_hosts::KnownHost;
use self::session::Running;
use self::socket::{Leash, LeashedSocket, adjust};
use super::{Link, Reopen, Reopening};

/// How both our client and our server name themselves.
const IDENTIFICATION: &str = concat!("SSH-2.0-zferry_", env!("CARGO_PKG_VERSION"));

/// How an identification of ours begins, whatever its version.
const OWN: &[u8] = b"SSH-2.0-zferry_";

/// What the other side may send ahead if it is one of ours, in bytes: enough
/// for 10 Gbit/s over 50 ms. It takes no memory, see `server`.
const OWN_WINDOW_BYTES: u32 = 64 * 1024 * 1024;

/// The most messages that may come between asking for the command and hearing
/// that it runs. A server that keeps to the rules sends none but changes of
/// its window.
const MESSAGES_BEFORE_START_MAX: usize = 64;

/// Starts `command` on `endpoint` and returns the link to it.
///
/// The command is given to the account's login shell as it is. The connection
/// lives on a thread of its own with a runtime of its own, so that several of
/// them, or one beside other work, take as many processors as there are. On the
/// current tokio runtime there is a task for as long as it lives.
///
/// Dropping the future before it is done closes the connection. It leaves
/// nothing behind; whether the command was started then is not known.
///
/// # Errors
/// [`ConnectError`]; its `class` says whether another attempt may help.
pub async fn connect(
    endpoint: &SshEndpoint,
    options: &SshOptions,
    command: &str,
) -> Result<Link, ConnectError> {
    let wanted = Route {
        endpoint: endpoint.clone(),
        options: options.clone(),
        command: command.to_owned(),
    };
    let (connected, link) = oneshot::channel();
    let (alive, ended) = oneshot::channel::<Infallible>();
    let no_thread = |source| ConnectError::NoThread { source };
    thread::Builder::new()
        .name("ssh".to_owned())
        .spawn(move || {
            on_this_thread(&wanted, connected);
            drop(alive);
        })
        .map_err(no_thread)?;
    // Whoever winds down waits for the tasks that are left.
    tokio::spawn(ended);
    link.await
        .unwrap_or_else(|_| Err(no_thread(io::Error::other("it has ended"))))
}

/// Connects, and serves the connection to its end. Blocks.
fn on_this_thread(wanted: &Route, mut connected: oneshot::Sender<Result<Link, ConnectError>>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(source) => {
            let _ = connected.send(Err(ConnectError::NoThread { source }));
            return;
        }
    };
    runtime.block_on(async {
        let attempt = tokio::select! {
            attempt = establish(wanted) => attempt,
            () = connected.closed() => return,
        };
        match attempt {
            Ok(running) => {
                let (link, served) = running.into_link();
                // If nobody wants it any more it ends at once.
                let _ = connected.send(Ok(link));
                served.await;
            }
            Err(error) => drop(connected.send(Err(error))),
        }
    });
    // A look-up of a name that hangs is not waited for.
    runtime.shutdown_background();
}

/// From the name of the host to the running command.
async fn establish(wanted: &Route) -> Result<Running, ConnectError> {
    let Route {
        endpoint,
        options,
        command,
    } = wanted;
    // What is wrong on this side is found out before anybody is bothered.
    let known = KnownHost::load(endpoint, options)?;
    let mut left_out = Vec::new();
    let files = auth::load(&options.identities, &mut left_out)?;
    let attempt = Attempt {
        endpoint,
        options,
        deadline: Instant::now() + options.connect_timeout,
    };

    let addresses = attempt.within(Phase::Resolve, attempt.resolve()).await?;
    let stream = attempt.open(&addresses).await?;
    let (mut session, leash) = attempt
        .within(Phase::Handshake, attempt.handshake(stream, known))
        .await?;
    let Session { handle, cause } = &mut session;
    let authentication = auth::Authentication {
        handle,
        endpoint,
        cause,
        left_out,
        offered: Vec::new(),
    };
    attempt
        .within(Phase::Authenticate, authentication.run(files, options))
        .await?;
    attempt
        .within(Phase::Start, attempt.start(session, leash, command))
        .await
}

/// Where a command runs, and how to get there.
#[derive(Debug, Clone)]
pub struct Route {
    /// The account and host.
    pub endpoint: SshEndpoint,
    /// Keys and limits.
    pub options: SshOptions,
    /// The command.
    pub command: String,
}

impl Reopen for Route {
    fn reopen(&self) -> Reopening<'_> {
        Box::pin(async { Ok(connect(&self.endpoint, &self.options, &self.command).await?) })
    }
}

/// A connection that may not be authenticated yet.
struct Session {
    handle: Handle<Client>,
    cause: Cause,
}

/// One attempt to connect, with one limit of time for all of its phases.
struct Attempt<'a> {
    endpoint: &'a SshEndpoint,
    options: &'a SshOptions,
    deadline: Instant,
}

impl Attempt<'_> {
    async fn within<T>(
        &self,
        phase: Phase,
        work: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        timeout_at(self.deadline, work)
            .await
            .unwrap_or_else(|_| Err(self.timed_out(phase)))
    }

    fn timed_out(&self, phase: Phase) -> ConnectError {
        ConnectError::Timeout {
            endpoint: self.endpoint.clone(),
            limit: self.options.connect_timeout,
            phase,
        }
    }

    fn lost(
        &self,
        phase: Phase,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> ConnectError {
        ConnectError::Lost {
            endpoint: self.endpoint.clone(),
            phase,
            source: source.into(),
        }
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, ConnectError> {
        let failed = |source| ConnectError::Resolve {
            host: self.endpoint.host().into(),
            source,
        };
        let found = tokio::net::lookup_host((self.endpoint.host(), self.endpoint.port())).await;
        let addresses: Vec<_> = found.map_err(failed)?.collect();
        if addresses.is_empty() {
            return Err(failed(io::Error::new(
                io::ErrorKind::NotFound,
                "it has no address",
            )));
        }
        Ok(addresses)
    }

    /// Tries one address after the other. Each gets its share of the time left,
    /// so that one that swallows packets does not use up all of it.
    async fn open(&self, addresses: &[SocketAddr]) -> Result<TcpStream, ConnectError> {
        let mut error = self.timed_out(Phase::Connect);
        for (index, address) in addresses.iter().enumerate() {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let untried = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
            let share = Instant::now() + left / untried;
            let endpoint = self.endpoint.clone();
            error = match timeout_at(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    return match adjust(&stream, self.options.dscp) {
                        Ok(()) => Ok(stream),
                        Err(source) => Err(ConnectError::Unreachable { endpoint, source }),
                    };
                }
                Ok(Err(source)) if source.kind() == io::ErrorKind::ConnectionRefused => {
                    ConnectError::Refused { endpoint, source }
                }
                Ok(Err(source)) => ConnectError::Unreachable { endpoint, source },
                Err(_) => self.timed_out(Phase::Connect),
            };
        }
        Err(error)
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        known: KnownHost,
    ) -> Result<(Session, Leash), ConnectError> {
        let keepalive = self.options.keepalive;
        let config = Arc::new(config::client_config(self.options, &known));
        let (socket, leash) = LeashedSocket::new(stream, keepalive.silence_max());
        let (client, cause) = Client::new(known, keepalive, socket.first_bytes());
        match russh::client::connect_stream(config, socket, client).await {
            Ok(handle) => Ok((Session { handle, cause }, leash)),
            Err(ClientError::HostKey(error)) => Err(*error),
            Err(ClientError::Ssh(russh::Error::NoCommonAlgo { kind, theirs, .. })) => {
                let theirs =
                    super::printable::printable_line(&theirs.join(", "), ALGORITHMS_CHARS_MAX);
                Err(ConnectError::NoCommonAlgorithm {
                    endpoint: self.endpoint.clone(),
                    kind: format!("{kind:?}").to_lowercase(),
                    theirs,
                })
            }
            Err(ClientError::Ssh(error)) => {
                Err(self.lost(Phase::Handshake, link_error(error, keepalive)))
            }
        }
    }

    async fn start(
        &self,
        session: Session,
        leash: Leash,
        command: &str,
    ) -> Result<Running, ConnectError> {
        let Session { mut handle, cause } = session;
        let refused = |reason: String| ConnectError::CommandRefused {
            endpoint: self.endpoint.clone(),
            reason,
        };
        let channel = match handle.channel_open_session().await {
            Ok(channel) => channel,
            Err(russh::Error::ChannelOpenFailure(reason)) => {
                return Err(match reason {
                    ChannelOpenFailure::ResourceShortage => {
                        self.lost(Phase::Start, russh::Error::ChannelOpenFailure(reason))
                    }
                    reason => refused(format!("it opens no session: {reason:?}")),
                });
            }
            Err(_) => {
                let cause = cause_of_end(&mut handle, &cause).await;
                return Err(self.lost(Phase::Start, cause));
            }
        };
        let (mut read, write) = channel.split();
        // A failure to send shows as the end of the channel below.
        let _ = write.exec(true, command).await;
        for _ in 0..MESSAGES_BEFORE_START_MAX {
            match read.wait().await {
                Some(ChannelMsg::Success) => {
                    let command = command.to_owned();
                    return Ok(Running {
                        handle,
                        leash,
                        cause,
                        command,
                        read,
                        write,
                    });
                }
                Some(ChannelMsg::WindowAdjusted { .. }) => {}
                Some(ChannelMsg::Failure) => return Err(refused("it runs no commands".to_owned())),
                Some(ChannelMsg::Close | ChannelMsg::Eof) => {
                    return Err(refused("it closed the session".to_owned()));
                }
                Some(_) => break,
                None => {
                    let cause = cause_of_end(&mut handle, &cause).await;
                    return Err(self.lost(Phase::Start, cause));
                }
            }
        }
        Err(self.lost(Phase::Start, russh::Error::Inconsistent))
    }
}

/// How much of a server's list of algorithms is shown, in characters.
const ALGORITHMS_CHARS_MAX: usize = 400;
