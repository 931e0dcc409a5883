//! What the SSH client asks us while it runs: is this host key the right one,
//! may the server open a channel (never), why did the connection end.
//!
//! In the way of the data it stands beside it: the bytes of the command go
//! through the channel, see `session`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::client::{ChannelOpenHandle, DisconnectReason, Handle, Handler, Msg, Session};
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelId};

use super::error::ConnectError;
use super::known_hosts::KnownHost;
use super::socket::{FirstBytes, WriteStalled};
use super::{Keepalive, OWN, OWN_WINDOW_BYTES};
use crate::transport::link::LinkError;
use crate::transport::printable::printable_line;

/// How much of the server's farewell is kept, in characters.
const FAREWELL_CHARS_MAX: usize = 300;

/// How long a client that has closed its queue may take to end: it has a last
/// packet to write.
const END_MAX: Duration = Duration::from_secs(1);

/// Why the connection ended, once it has.
#[derive(Debug, Clone, Default)]
pub(super) struct Cause(Arc<Mutex<Option<LinkError>>>);

impl Cause {
    /// Takes the reason; without one the connection just vanished.
    pub(super) fn take(&self) -> LinkError {
        let known = self.0.lock().ok().and_then(|mut cause| cause.take());
        known.unwrap_or_else(|| LinkError::ConnectionLost {
            source: russh::Error::Disconnect.into(),
        })
    }

    fn set(&self, error: LinkError) {
        if let Ok(mut cause) = self.0.lock() {
            cause.get_or_insert(error);
        }
    }
}

/// Waits for a connection that is ending to end, and takes the reason.
pub(super) async fn cause_of_end(handle: &mut Handle<Client>, cause: &Cause) -> LinkError {
    // The reason is known once the client's task is over, which is now.
    let _ = tokio::time::timeout(END_MAX, handle).await;
    cause.take()
}

/// The callbacks of one connection.
#[derive(Debug)]
pub(super) struct Client {
    known: KnownHost,
    /// The key that was found good; another one in mid-session is not.
    accepted: Option<PublicKey>,
    keepalive: Keepalive,
    cause: Cause,
    /// How the server has named itself.
    named: FirstBytes,
}

impl Client {
    pub(super) fn new(known: KnownHost, keepalive: Keepalive, named: FirstBytes) -> (Self, Cause) {
        let cause = Cause::default();
        (
            Self {
                known,
                accepted: None,
                keepalive,
                cause: cause.clone(),
                named,
            },
            cause,
        )
    }
}

/// What ends the SSH client.
#[derive(Debug)]
pub(super) enum ClientError {
    /// We do not trust the host.
    HostKey(Box<ConnectError>),
    /// Anything else.
    Ssh(russh::Error),
}

impl From<russh::Error> for ClientError {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

/// The client's error as a link's.
pub(super) fn link_error(error: russh::Error, keepalive: Keepalive) -> LinkError {
    match error {
        russh::Error::KeepaliveTimeout => LinkError::KeepaliveTimeout {
            silent: keepalive.silence_max(),
        },
        russh::Error::IO(error) => match error.get_ref().and_then(|e| e.downcast_ref()) {
            Some(WriteStalled { stalled }) => LinkError::WriteStalled { stalled: *stalled },
            None => LinkError::ConnectionLost {
                source: error.into(),
            },
        },
        error => LinkError::ConnectionLost {
            source: error.into(),
        },
    }
}

impl Handler for Client {
    type Error = ClientError;

    async fn check_server_key(
        &mut self,
        presented: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        // Certificates are not asked for.
        let PublicKeyOrCertificate::PublicKey { key, .. } = presented else {
            return Ok(false);
        };
        if let Some(accepted) = &self.accepted {
            return Ok(accepted == key);
        }
        self.known
            .check(key)
            .map_err(|error| ClientError::HostKey(Box::new(error)))?;
        self.accepted = Some(key.clone());
        Ok(true)
    }

    fn adjust_window(&mut self, _channel: ChannelId, window: u32) -> u32 {
        // A large one costs `sshd` more than it gains; see `SshOptions`.
        if self.named.are(OWN) {
            window.max(OWN_WINDOW_BYTES)
        } else {
            window
        }
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<Self::Error>,
    ) -> Result<(), Self::Error> {
        match reason {
            DisconnectReason::ReceivedDisconnect(info) => self.cause.set(LinkError::Disconnected {
                reason: format!("{:?}", info.reason_code),
                message: printable_line(&info.message, FAREWELL_CHARS_MAX),
            }),
            DisconnectReason::Error(ClientError::Ssh(error)) => {
                self.cause.set(link_error(error, self.keepalive));
            }
            DisconnectReason::Error(ClientError::HostKey(error)) => {
                self.cause.set(LinkError::ConnectionLost { source: error });
            }
        }
        Ok(())
    }

    // Nothing was offered to the server, so that it has no channel to open.
    // Dropping the reply refuses.

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _connected_address: &str,
        _connected_port: u32,
        _originator_address: &str,
        _originator_port: u32,
        _reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _socket_path: &str,
        _reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _channel: Channel<Msg>,
        _reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        _reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host_to_connect: &str,
        _port_to_connect: u32,
        _originator_address: &str,
        _originator_port: u32,
        _reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _socket_path: &str,
        _reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _channel: Channel<Msg>,
        _originator_address: &str,
        _originator_port: u32,
        _reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }
}
