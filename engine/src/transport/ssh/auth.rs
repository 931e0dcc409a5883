//! Which keys we have, and offering them to the server.
//!
//! In the way of the data: the last check before the command may start. Keys
//! come from files without a passphrase and from an agent; nothing is ever
//! asked at a terminal.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_key::HashAlg;
use russh::keys::{self, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use russh::{AgentAuthError, MethodKind};
use tokio::net::UnixStream;

use super::client::{Cause, Client, cause_of_end};
use super::error::{AuthenticationFailed, ConnectError, Phase};
use super::{Identity, SshEndpoint, SshOptions};
use crate::transport::link::LinkError;
use crate::transport::printable::printable_line;

/// The largest key file that is read, in bytes; an RSA key of 16384 bits takes
/// some 13 KiB.
const KEY_FILE_BYTES_MAX: u64 = 256 * 1024;

/// How much of a key's comment is shown, in characters.
const COMMENT_CHARS_MAX: usize = 80;

/// One key file, as it was found.
#[derive(Debug)]
pub(super) struct KeyFile {
    identity: Identity,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Key(Arc<PrivateKey>),
    /// With a passphrase. OpenSSH's own format tells the public key all the
    /// same, so that the agent can be asked for it.
    Encrypted(Option<PublicKey>),
}

/// Reads the key files, the named ones first. Blocks.
///
/// A file in a customary place that is missing is passed over; one that cannot
/// be used is noted in `left_out`.
pub(super) fn load(
    identities: &[Identity],
    left_out: &mut Vec<String>,
) -> Result<Vec<KeyFile>, ConnectError> {
    let mut files = Vec::new();
    for identity in identities {
        let path = identity.path();
        let named = matches!(identity, Identity::Named(_));
        match read_key(path) {
            Ok(content) => files.push(KeyFile {
                identity: identity.clone(),
                content,
            }),
            Err(KeyFileError::Missing) if named => {
                return Err(ConnectError::IdentityMissing {
                    path: path.to_owned(),
                });
            }
            Err(KeyFileError::Missing) => {}
            Err(KeyFileError::Unusable(source)) if named => {
                return Err(ConnectError::IdentityUnusable {
                    path: path.to_owned(),
                    source: source.into(),
                });
            }
            Err(KeyFileError::Unusable(source)) => {
                left_out.push(format!("{} ({source})", path.display()));
            }
        }
    }
    files.sort_by_key(|file| matches!(file.identity, Identity::Customary(_)));
    Ok(files)
}

enum KeyFileError {
    Missing,
    Unusable(keys::Error),
}

fn read_key(path: &Path) -> Result<Content, KeyFileError> {
    let text = match File::open(path) {
        Ok(file) => {
            let mut text = String::new();
            file.take(KEY_FILE_BYTES_MAX)
                .read_to_string(&mut text)
                .map_err(|error| KeyFileError::Unusable(error.into()))?;
            text
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(KeyFileError::Missing),
        Err(error) => return Err(KeyFileError::Unusable(error.into())),
    };
    match keys::decode_secret_key(&text, None) {
        Ok(key) => Ok(Content::Key(Arc::new(key))),
        Err(keys::Error::KeyIsEncrypted) => {
            let public = PrivateKey::from_openssh(&text)
                .ok()
                .map(|key| key.public_key().clone());
            Ok(Content::Encrypted(public))
        }
        Err(error) => Err(KeyFileError::Unusable(error)),
    }
}

/// An agent that answered, and what it holds.
struct Agent {
    client: AgentClient<UnixStream>,
    identities: Vec<AgentIdentity>,
}

/// Offers keys one after the other until one is accepted.
pub(super) struct Authentication<'a> {
    pub(super) handle: &'a mut Handle<Client>,
    pub(super) endpoint: &'a SshEndpoint,
    pub(super) cause: &'a Cause,
    /// What could not be offered, and why.
    pub(super) left_out: Vec<String>,
    pub(super) offered: Vec<Offered>,
}

/// A key that the server has seen.
pub(super) struct Offered {
    key: PublicKey,
    shown: String,
}

/// Whether to go on after a key was refused.
enum Outcome {
    Accepted,
    Next,
    /// The server wants no further key.
    Over(String),
}

impl Authentication<'_> {
    /// Tries every key.
    pub(super) async fn run(
        mut self,
        files: Vec<KeyFile>,
        options: &SshOptions,
    ) -> Result<(), ConnectError> {
        let mut agent = self.agent(options).await;
        let split = files
            .iter()
            .position(|f| matches!(f.identity, Identity::Customary(_)));
        let split = split.unwrap_or(files.len());
        let mut named = files;
        let customary = named.split_off(split);
        for file in named {
            if self.offer_file(file, agent.as_mut()).await? {
                return Ok(());
            }
        }
        if let Some(agent) = &mut agent {
            for identity in agent.identities.clone() {
                if self.offer_from_agent(&mut agent.client, &identity).await? {
                    return Ok(());
                }
            }
        }
        for file in customary {
            if self.offer_file(file, agent.as_mut()).await? {
                return Ok(());
            }
        }
        Err(self.failed(None).await)
    }

    /// Asks the agent, if there is one, what it has.
    async fn agent(&mut self, options: &SshOptions) -> Option<Agent> {
        let socket = options.agent.as_ref()?;
        let answer = async {
            let mut client = AgentClient::connect_uds(socket).await?;
            if let Some(binding) = self.handle.agent_session_binding() {
                // Keys limited to certain hosts need it. Old agents do not know
                // it, and have no such keys.
                let _ = client.bind_session(binding, false).await;
            }
            let identities = client.request_identities().await?;
            Ok::<_, keys::Error>(Agent { client, identities })
        };
        match answer.await {
            Ok(agent) => Some(agent),
            Err(error) => {
                self.left_out
                    .push(format!("the agent at {} ({error})", socket.display()));
                None
            }
        }
    }

    /// Returns whether the server accepted it.
    async fn offer_file(
        &mut self,
        file: KeyFile,
        agent: Option<&mut Agent>,
    ) -> Result<bool, ConnectError> {
        let path = file.identity.path();
        let key = match file.content {
            Content::Key(key) => key,
            Content::Encrypted(public) => {
                let held = agent.and_then(|agent| {
                    let public = public?;
                    let held = agent
                        .identities
                        .iter()
                        .find(|held| held.public_key().key_data() == public.key_data())?;
                    Some((held.clone(), &mut agent.client))
                });
                if let Some((held, client)) = held {
                    return self.offer_from_agent(client, &held).await;
                }
                if matches!(file.identity, Identity::Named(_)) {
                    return Err(ConnectError::IdentityEncrypted {
                        path: path.to_owned(),
                    });
                }
                self.left_out.push(format!(
                    "{} (it has a passphrase and the agent has not got it)",
                    path.display()
                ));
                return Ok(false);
            }
        };
        let public = key.public_key();
        if !self.note(public, &path.display().to_string()) {
            return Ok(false);
        }
        let hash = self.hash_for(public).await?;
        let key = PrivateKeyWithHashAlg::new(key, hash);
        let result = self
            .handle
            .authenticate_publickey(self.endpoint.user(), key)
            .await;
        let outcome = match result {
            Ok(result) => outcome(&result),
            Err(error) => Outcome::Over(error.to_string()),
        };
        self.conclude(outcome).await
    }

    /// Returns whether the server accepted it.
    async fn offer_from_agent(
        &mut self,
        client: &mut AgentClient<UnixStream>,
        identity: &AgentIdentity,
    ) -> Result<bool, ConnectError> {
        let public = identity.public_key().into_owned();
        let comment = printable_line(identity.comment(), COMMENT_CHARS_MAX);
        if !self.note(&public, &format!("{comment} from the agent")) {
            return Ok(false);
        }
        let hash = self.hash_for(&public).await?;
        let user = self.endpoint.user();
        let result = match identity {
            AgentIdentity::PublicKey { key, .. } => {
                self.handle
                    .authenticate_publickey_with(user, key.clone(), hash, client)
                    .await
            }
            AgentIdentity::Certificate { certificate, .. } => {
                let certificate = certificate.clone();
                self.handle
                    .authenticate_certificate_with(user, certificate, hash, client)
                    .await
            }
        };
        let outcome = match result {
            Ok(result) => outcome(&result),
            // The agent does not sign: it was locked, or somebody said no.
            Err(AgentAuthError::Key(error)) => {
                self.left_out
                    .push(format!("{comment} from the agent ({error})"));
                Outcome::Next
            }
            Err(AgentAuthError::Send(error)) => Outcome::Over(error.to_string()),
        };
        self.conclude(outcome).await
    }

    /// Remembers a key that is about to be offered; no if it was already.
    fn note(&mut self, key: &PublicKey, origin: &str) -> bool {
        if self
            .offered
            .iter()
            .any(|offered| offered.key.key_data() == key.key_data())
        {
            return false;
        }
        let shown = format!("{origin} ({})", key.fingerprint(HashAlg::Sha256));
        self.offered.push(Offered {
            key: key.clone(),
            shown,
        });
        true
    }

    /// The hash to sign with, for keys that leave a choice.
    async fn hash_for(&mut self, key: &PublicKey) -> Result<Option<HashAlg>, ConnectError> {
        if !key.algorithm().is_rsa() {
            return Ok(None);
        }
        match self.handle.best_supported_rsa_hash().await {
            // SHA-1 is not offered even to a server that knows nothing else.
            Ok(Some(Some(hash))) => Ok(Some(hash)),
            Ok(_) => Ok(Some(HashAlg::Sha512)),
            Err(error) => Err(self.failed(Some(error.to_string())).await),
        }
    }

    async fn conclude(&mut self, outcome: Outcome) -> Result<bool, ConnectError> {
        match outcome {
            Outcome::Accepted => Ok(true),
            Outcome::Next if !self.handle.is_closed() => Ok(false),
            Outcome::Next => Err(self.failed(None).await),
            Outcome::Over(reason) => Err(self.failed(Some(reason)).await),
        }
    }

    async fn failed(&mut self, reason: Option<String>) -> ConnectError {
        let mut server: Vec<String> = reason.into_iter().collect();
        if self.handle.is_closed() {
            match cause_of_end(self.handle, self.cause).await {
                // That is how a server says that there were too many keys.
                farewell @ LinkError::Disconnected { .. } => server.push(farewell.to_string()),
                lost => {
                    return ConnectError::Lost {
                        endpoint: self.endpoint.clone(),
                        phase: Phase::Authenticate,
                        source: lost.into(),
                    };
                }
            }
        }
        if self.offered.is_empty() && self.left_out.is_empty() {
            self.left_out
                .push("there is neither a key file nor an agent with a key".to_owned());
        }
        ConnectError::AuthenticationFailed(Box::new(AuthenticationFailed {
            endpoint: self.endpoint.clone(),
            offered: self
                .offered
                .drain(..)
                .map(|offered| offered.shown)
                .collect(),
            left_out: std::mem::take(&mut self.left_out),
            server,
        }))
    }
}

fn outcome(result: &AuthResult) -> Outcome {
    match result {
        AuthResult::Success => Outcome::Accepted,
        AuthResult::Failure {
            partial_success: true,
            ..
        } => Outcome::Over("the key is good, but it wants a second proof as well".to_owned()),
        AuthResult::Failure {
            remaining_methods, ..
        } if !remaining_methods.is_empty()
            && !remaining_methods.contains(&MethodKind::PublicKey) =>
        {
            Outcome::Over("it accepts no keys".to_owned())
        }
        AuthResult::Failure { .. } => Outcome::Next,
    }
}
