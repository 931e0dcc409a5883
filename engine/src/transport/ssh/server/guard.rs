//! What a client may ask for: to prove a key, and then one helper.
//!
//! Everything else that SSH knows is refused: other ways to log in, a second
//! channel, a shell, a terminal, variables, forwarding of anything.

use std::collections::HashSet;
use std::sync::Arc;

use russh::keys::{Algorithm, PublicKey};
use russh::server::{
    Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty};
use tokio::sync::oneshot;

use super::keys::{AuthorizedKey, authorized_keys};
use super::{Admission, Server, ServerEvent};
use crate::transport::ssh::socket::Gate;

/// The word that a command has to have: what is typed by somebody who expects a
/// shell is refused, so that he need not look at bytes.
const HELPER: &str = "helper";

/// The name of the helper as a subsystem.
const SUBSYSTEM: &str = "zferry";

/// Keys whose refusal is told, per connection.
const STRANGERS_TOLD_MAX: usize = 10;

/// A helper was asked for by a key that may have one.
pub(super) struct Start {
    pub(super) key: AuthorizedKey,
    pub(super) channel: Channel<Msg>,
    pub(super) admission: Admission,
}

/// What is known of a connection that has no helper yet.
#[derive(Debug, Default, Clone)]
pub(super) struct Known(Arc<std::sync::Mutex<Vec<String>>>);

impl Known {
    fn note(&self, text: String) {
        if let Ok(mut notes) = self.0.lock()
            && notes.len() < STRANGERS_TOLD_MAX
        {
            notes.push(text);
        }
    }

    /// As the reason for an end before a helper ran.
    pub(super) fn text(&self) -> Option<String> {
        let notes = self.0.lock().ok()?;
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}

/// The callbacks of one connection.
pub(super) struct Guard {
    server: Arc<Server>,
    known: Known,
    /// As they were when this connection first offered one.
    keys: Option<Vec<AuthorizedKey>>,
    unknown: HashSet<String>,
    granted: Option<AuthorizedKey>,
    opened: bool,
    /// From the channel on.
    admission: Option<Admission>,
    channel: Option<Channel<Msg>>,
    start: Option<oneshot::Sender<Start>>,
    /// Counts what waits to be read.
    gate: Gate,
}

impl Guard {
    pub(super) fn new(
        server: Arc<Server>,
        start: oneshot::Sender<Start>,
        gate: Gate,
    ) -> (Self, Known) {
        let known = Known::default();
        (
            Self {
                server,
                known: known.clone(),
                keys: None,
                unknown: HashSet::new(),
                granted: None,
                opened: false,
                admission: None,
                channel: None,
                start: Some(start),
                gate,
            },
            known,
        )
    }

    /// The line of this key, if it has one.
    fn look_up(&mut self, key: &PublicKey, algorithm: &Algorithm) -> Option<AuthorizedKey> {
        // SHA-1 can be forged.
        if matches!(algorithm, Algorithm::Rsa { hash: None }) {
            return None;
        }
        let server = &self.server;
        let keys = self.keys.get_or_insert_with(|| {
            authorized_keys(&server.authorized_keys).unwrap_or_else(|error| {
                server.tell(ServerEvent::KeysUnusable { error });
                Vec::new()
            })
        });
        let found = keys
            .iter()
            .find(|known| known.key.key_data() == key.key_data());
        if found.is_none() {
            let print = key.fingerprint(russh::keys::HashAlg::Sha256).to_string();
            if self.unknown.len() < STRANGERS_TOLD_MAX && self.unknown.insert(print.clone()) {
                self.known.note(format!("the key {print} is not known"));
            }
        }
        found.cloned()
    }

    /// Hands the channel over, or says why not.
    fn start(&mut self, channel: ChannelId) -> Result<(), String> {
        let taken = self.channel.take_if(|open| open.id() == channel);
        let (Some(channel), Some(key)) = (taken, &self.granted) else {
            return Err("there is no channel for a helper".to_owned());
        };
        let (Some(start), Some(admission)) = (self.start.take(), self.admission.take()) else {
            return Err("a helper was started already".to_owned());
        };
        let key = key.clone();
        start
            .send(Start {
                key,
                channel,
                admission,
            })
            .map_err(|_| "it came too late".to_owned())
    }

    fn answer(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
        (is_helper, what): (bool, &str),
    ) -> Result<(), russh::Error> {
        if !is_helper {
            return self.refuse(channel, session, what);
        }
        // The reply goes first in any case: the other task runs when this one waits.
        match self.start(channel) {
            Ok(()) => session.channel_success(channel),
            Err(why) => {
                self.known.note(why);
                session.channel_failure(channel)
            }
        }
    }

    fn refuse(
        &self,
        channel: ChannelId,
        session: &mut Session,
        what: &str,
    ) -> Result<(), russh::Error> {
        self.known.note(format!("{what} was asked for"));
        session.channel_failure(channel)
    }
}

impl Handler for Guard {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(match self.look_up(offer.public_key, offer.algorithm) {
            Some(_) => Auth::Accept,
            None => Auth::reject(),
        })
    }

    async fn auth_publickey(
        &mut self,
        _user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        self.granted = self.look_up(key.public_key, key.algorithm);
        Ok(match self.granted {
            Some(_) => Auth::Accept,
            None => Auth::reject(),
        })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.opened {
            reply
                .reject(ChannelOpenFailure::AdministrativelyProhibited)
                .await;
            return Ok(());
        }
        let Some(key) = &self.granted else {
            reply
                .reject(ChannelOpenFailure::AdministrativelyProhibited)
                .await;
            return Ok(());
        };
        self.admission = self.server.admit(&key.fingerprint());
        if self.admission.is_none() {
            self.known.note(format!(
                "{} has as many helpers as it may have",
                key.shown()
            ));
            // Our client takes it for something that passes.
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        self.opened = true;
        self.channel = Some(channel);
        reply.accept().await;
        Ok(())
    }

    async fn data(
        &mut self,
        _channel: ChannelId,
        data: &[u8],
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.gate.came(data.len());
        Ok(())
    }

    /// Nobody wants it, but until it is dropped it waits like the rest.
    async fn extended_data(
        &mut self,
        _channel: ChannelId,
        _code: u32,
        data: &[u8],
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.gate.came(data.len());
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let is_helper = data
            .split(u8::is_ascii_whitespace)
            .any(|word| word == HELPER.as_bytes());
        let what = "another command than `zferry helper`";
        self.answer(channel, session, (is_helper, what))
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let what = "another subsystem than `zferry`";
        self.answer(channel, session, (name == SUBSYSTEM, what))
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.refuse(channel, session, "a shell")
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _col_width: u32,
        _row_height: u32,
        _pix_width: u32,
        _pix_height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.refuse(channel, session, "a terminal")
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _variable_name: &str,
        _variable_value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        // Clients send some unasked; they do without.
        session.channel_failure(channel)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single_connection: bool,
        _x11_auth_protocol: &str,
        _x11_auth_cookie: &str,
        _x11_screen_number: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.refuse(channel, session, "X11")
    }
}
