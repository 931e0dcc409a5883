//! Why a connection could not be made, and what an operator does about it.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::SshEndpoint;
use crate::error::RetryClass;

/// The step of connecting at which something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Looking up the host's addresses.
    Resolve,
    /// Opening a TCP connection.
    Connect,
    /// Exchanging keys and checking the host's.
    Handshake,
    /// Proving who we are.
    Authenticate,
    /// Starting the command.
    Start,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Resolve => "looking up the host",
            Self::Connect => "connecting",
            Self::Handshake => "exchanging keys",
            Self::Authenticate => "authenticating",
            Self::Start => "starting the command",
        })
    }
}

/// A key in a known_hosts file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKeyPlace {
    /// The key's type, as in the file.
    pub key_type: String,
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1.
    pub line_number: usize,
}

impl std::fmt::Display for KnownKeyPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} in {}:{}",
            self.key_type,
            self.file.display(),
            self.line_number
        )
    }
}

/// A host key that no known_hosts file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownHostKey {
    /// The host, as known_hosts writes it.
    pub host: String,
    /// The key's type, for instance `ssh-ed25519`.
    pub key_type: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// The line that would make the key known.
    pub line: String,
    /// The file where it belongs.
    pub file: PathBuf,
    /// Keys of other types that the files have for this host.
    pub others: Vec<KnownKeyPlace>,
}

impl UnknownHostKey {
    /// The shell command that makes the key known.
    #[must_use]
    pub fn command(&self) -> String {
        format!(
            "echo {} >> {}",
            shell_quoted(&self.line),
            shell_quoted(&self.file.display().to_string())
        )
    }

    /// The shell command that shows the fingerprint on the host itself.
    #[must_use]
    pub fn compare_command(&self) -> String {
        let kind = match self.key_type.as_str() {
            "ssh-ed25519" => "ed25519",
            "ssh-rsa" => "rsa",
            _ => "ecdsa",
        };
        format!("ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub")
    }
}

impl std::fmt::Display for UnknownHostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the {} host key of {} is not known: {}\n\
             compare it with what this shows on the host:  {}\n\
             and if they are the same, make it known:  {}",
            self.key_type,
            self.host,
            self.fingerprint,
            self.compare_command(),
            self.command()
        )?;
        if let Some(other) = self.others.first() {
            write!(
                f,
                "\nbeware: this host is known by another key ({other}), which it did not use"
            )?;
        }
        Ok(())
    }
}

/// What came of offering our keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticationFailed {
    /// Where.
    pub endpoint: SshEndpoint,
    /// The keys that were offered: file or agent's comment, fingerprint.
    pub offered: Vec<String>,
    /// The keys that could not be offered, and why.
    pub left_out: Vec<String>,
    /// What the server let us know.
    pub server: Vec<String>,
}

impl std::fmt::Display for AuthenticationFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} accepts none of our keys", self.endpoint)?;
        for (title, items) in [
            ("offered", &self.offered),
            ("left out", &self.left_out),
            ("the server says", &self.server),
        ] {
            if !items.is_empty() {
                write!(f, "; {title}: {}", items.join(", "))?;
            }
        }
        Ok(())
    }
}

/// `text` as one word of a POSIX shell.
fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Why there is no link. Text that came from the other side is bounded and has
/// its control characters escaped.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not the name of a host.
    #[error("{host:?} is not the name of a host: {reason}")]
    InvalidHost {
        /// What was given, printable.
        host: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not the name of a user.
    #[error("{user:?} is not the name of a user")]
    InvalidUser {
        /// What was given, printable.
        user: String,
    },
    /// The system gives no thread for the connection.
    #[error("no thread for the connection")]
    NoThread {
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The name has no address, or nobody could say.
    #[error("the address of {host} cannot be found")]
    Resolve {
        /// The host.
        host: String,
        /// What the resolver says.
        #[source]
        source: io::Error,
    },
    /// No `sshd` listens there.
    #[error("{endpoint} refuses connections: no sshd listens there")]
    Refused {
        /// Where.
        endpoint: SshEndpoint,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The host cannot be reached.
    #[error("{endpoint} cannot be reached")]
    Unreachable {
        /// Where.
        endpoint: SshEndpoint,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("{endpoint} gave no answer within {limit:?} ({phase})")]
    Timeout {
        /// Where.
        endpoint: SshEndpoint,
        /// The limit for all phases together.
        limit: Duration,
        /// What was going on.
        phase: Phase,
    },
    /// The connection broke before the command ran.
    #[error("the connection to {endpoint} was lost ({phase})")]
    Lost {
        /// Where.
        endpoint: SshEndpoint,
        /// What was going on.
        phase: Phase,
        /// What the socket or the SSH client says.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The two sides share no algorithm.
    #[error("{endpoint} and this program have no {kind} algorithm in common; it offers {theirs}")]
    NoCommonAlgorithm {
        /// Where.
        endpoint: SshEndpoint,
        /// What for.
        kind: String,
        /// The server's list.
        theirs: String,
    },
    /// A known_hosts file exists and cannot be read.
    #[error("{} cannot be read", file.display())]
    KnownHostsUnreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// No known_hosts file was given, and without one no host is trusted.
    #[error("no known_hosts file was given, so that no host can be trusted")]
    NoKnownHosts,
    /// Nothing is known about the host's key.
    #[error("{0}")]
    UnknownHostKey(Box<UnknownHostKey>),
    /// The host has another key than the one that is known.
    #[error(
        "the host key of {host} has changed: it is now {fingerprint}, but {place} says otherwise; \
         somebody may be listening in, or the host was installed anew. If you know that it was, \
         remove that line"
    )]
    ChangedHostKey {
        /// The host, as known_hosts writes it.
        host: String,
        /// The fingerprint of the key the host used.
        fingerprint: String,
        /// Where the other key is.
        place: KnownKeyPlace,
    },
    /// The host's key is marked `@revoked`.
    #[error("the host key of {host}, {fingerprint}, is revoked ({place})")]
    RevokedHostKey {
        /// The host, as known_hosts writes it.
        host: String,
        /// The fingerprint of the key the host used.
        fingerprint: String,
        /// Where it is revoked.
        place: KnownKeyPlace,
    },
    /// A key file that was named does not exist.
    #[error("the key file {} does not exist", path.display())]
    IdentityMissing {
        /// The file.
        path: PathBuf,
    },
    /// A key file that was named cannot be used.
    #[error("the key file {} cannot be used", path.display())]
    IdentityUnusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A key file that was named has a passphrase, and the agent has not got
    /// the key.
    #[error(
        "the key file {} has a passphrase: add it to the ssh agent (ssh-add {}), or name a key \
         file without one",
        path.display(),
        shell_quoted(&path.display().to_string())
    )]
    IdentityEncrypted {
        /// The file.
        path: PathBuf,
    },
    /// The server accepted none of the keys.
    #[error("{0}")]
    AuthenticationFailed(Box<AuthenticationFailed>),
    /// The server refuses to open a channel or to run the command.
    #[error("{endpoint} accepts the key but does not run the command ({reason})")]
    CommandRefused {
        /// Where.
        endpoint: SshEndpoint,
        /// What it refused.
        reason: String,
    },
}

impl ConnectError {
    /// Whether running the same again may help.
    #[must_use]
    pub fn class(&self) -> RetryClass {
        match self {
            Self::Resolve { .. }
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Lost { .. }
            | Self::NoThread { .. } => RetryClass::Transient,
            Self::InvalidHost { .. }
            | Self::InvalidUser { .. }
            | Self::NoCommonAlgorithm { .. }
            | Self::KnownHostsUnreadable { .. }
            | Self::NoKnownHosts
            | Self::UnknownHostKey(_)
            | Self::ChangedHostKey { .. }
            | Self::RevokedHostKey { .. }
            | Self::IdentityMissing { .. }
            | Self::IdentityUnusable { .. }
            | Self::IdentityEncrypted { .. }
            | Self::AuthenticationFailed(_)
            | Self::CommandRefused { .. } => RetryClass::Operator,
        }
    }
}
