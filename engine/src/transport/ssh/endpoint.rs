//! Whom to connect to, and with what: everything the caller decides.
//!
//! In the way of the data it comes before the first byte. A host name ends up
//! in messages, in lookups and in a command that an operator pastes into a
//! shell, so that it is checked here once, before anything uses it.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::ConnectError;
use crate::transport::Dscp;
use crate::transport::printable::printable_line;

/// The port of an `sshd` unless its operator chose another one.
pub const SSH_PORT: u16 = 22;

/// DNS' limit for a name, plus room for the zone of an IPv6 address, in bytes.
const HOST_BYTES_MAX: usize = 255 + 32;

/// More than any system's limit for a user name, in bytes.
const USER_BYTES_MAX: usize = 256;

/// An account on a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SshEndpoint {
    user: String,
    host: String,
    port: u16,
}

impl SshEndpoint {
    /// Checks and keeps the three parts. `host` is a name, an IPv4 or an IPv6
    /// address, with or without brackets and zone.
    ///
    /// # Errors
    /// [`ConnectError::InvalidHost`] or [`ConnectError::InvalidUser`].
    pub fn new(user: &str, host: &str, port: u16) -> Result<Self, ConnectError> {
        let bare = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        let invalid = |reason| ConnectError::InvalidHost {
            host: printable_line(host, HOST_BYTES_MAX),
            reason,
        };
        if bare.is_empty() {
            return Err(invalid("it is empty"));
        }
        if bare.len() > HOST_BYTES_MAX {
            return Err(invalid("it is too long"));
        }
        if bare.starts_with('-') {
            return Err(invalid("it begins with a dash"));
        }
        if !bare
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-:%".contains(c))
        {
            return Err(invalid("only letters, digits and . _ - : % may be in it"));
        }
        let fits = (1..=USER_BYTES_MAX).contains(&user.len());
        // It stands in commands that are shown for typing.
        if !fits || user.starts_with('-') || user.chars().any(char::is_control) {
            return Err(ConnectError::InvalidUser {
                user: printable_line(user, USER_BYTES_MAX),
            });
        }
        // known_hosts and DNS do not distinguish case.
        Ok(Self {
            user: user.to_owned(),
            host: bare.to_ascii_lowercase(),
            port,
        })
    }

    /// The account.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The host in lower case, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host as known_hosts writes it: `host`, or `[host]:port`.
    #[must_use]
    pub fn known_hosts_name(&self) -> String {
        if self.port == SSH_PORT {
            self.host.clone()
        } else {
            format!("[{}]:{}", self.host, self.port)
        }
    }
}

impl std::fmt::Display for SshEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { user, host, port } = self;
        match (*port, host.contains(':')) {
            (SSH_PORT, _) => write!(f, "{user}@{host}"),
            (port, false) => write!(f, "{user}@{host}:{port}"),
            (port, true) => write!(f, "{user}@[{host}]:{port}"),
        }
    }
}

/// A private key file to offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Somebody named it: that it is missing or unusable is an error.
    Named(PathBuf),
    /// A customary place: used if there is a usable key.
    Customary(PathBuf),
}

impl Identity {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        match self {
            Self::Named(path) | Self::Customary(path) => path,
        }
    }
}

/// When silence counts as a dead connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// How long the other host may be silent before it is asked for a sign of
    /// life, and how long it then has to give one.
    pub interval: Duration,
    /// So many questions may stay unanswered.
    pub unanswered_max: NonZeroU32,
}

impl Keepalive {
    /// After this time without a sign of life the connection is given up.
    #[must_use]
    pub fn silence_max(&self) -> Duration {
        self.interval
            .saturating_mul(self.unanswered_max.get().saturating_add(1))
    }
}

/// How to connect. The engine looks nothing up by itself: files, agent and
/// limits are what the caller says.
#[derive(Debug, Clone)]
pub struct SshOptions {
    /// Key files, offered in this order: the named ones first, then what the
    /// agent holds, then the customary ones.
    pub identities: Vec<Identity>,
    /// The agent's socket. An agent that does not answer is passed over.
    pub agent: Option<PathBuf>,
    /// The known_hosts files, the user's own first; missing ones are empty.
    pub known_hosts: Vec<PathBuf>,
    /// The limit for everything up to the start of the command.
    pub connect_timeout: Duration,
    /// When a silent connection is given up.
    pub keepalive: Keepalive,
    /// How many bytes the other side may send ahead of us. Around twice
    /// bandwidth × delay is right up to the default of 8 MiB; beyond that
    /// `sshd` loses more in handling its own buffers than is gained.
    pub window_bytes: u32,
    /// What the packets that we send carry; `None`: what the system gives them.
    pub dscp: Option<Dscp>,
}

impl Default for SshOptions {
    /// No keys, no agent, no known hosts; 30 s to connect, keepalives every
    /// 15 s of which 4 may stay unanswered, a window of 8 MiB, no code point.
    fn default() -> Self {
        Self {
            identities: Vec::new(),
            agent: None,
            known_hosts: Vec::new(),
            connect_timeout: Duration::from_secs(30),
            keepalive: Keepalive {
                interval: Duration::from_secs(15),
                unanswered_max: const { NonZeroU32::new(4).expect("4 is not 0") },
            },
            window_bytes: 8 * 1024 * 1024,
            dscp: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_accepted_and_shown_unambiguously() {
        let shown = |host, port| SshEndpoint::new("root", host, port).unwrap().to_string();
        assert_eq!(shown("Backup.Example.org", 22), "root@backup.example.org");
        assert_eq!(shown("10.0.0.1", 2222), "root@10.0.0.1:2222");
        assert_eq!(shown("[fe80::1%eth0]", 2222), "root@[fe80::1%eth0]:2222");
        let known = |host, port| {
            SshEndpoint::new("root", host, port)
                .unwrap()
                .known_hosts_name()
        };
        assert_eq!(known("::1", 22), "::1");
        assert_eq!(known("::1", 2222), "[::1]:2222");
    }

    #[test]
    fn names_that_could_be_options_commands_or_escape_sequences_are_refused() {
        let long = "a".repeat(HOST_BYTES_MAX + 1);
        for host in [
            "",
            "[]",
            "-oProxyCommand=x",
            "a b",
            "a;b",
            "a'b",
            "a\nb",
            "a\u{1b}[2J",
            "ä",
            &long,
        ] {
            let error = SshEndpoint::new("root", host, 22).unwrap_err();
            assert!(
                matches!(error, ConnectError::InvalidHost { .. }),
                "{host:?}"
            );
            assert!(!error.to_string().chars().any(char::is_control));
        }
        for user in ["", "a\nb", "-oProxyCommand=x"] {
            let error = SshEndpoint::new(user, "host", 22).unwrap_err();
            assert!(
                matches!(error, ConnectError::InvalidUser { .. }),
                "{user:?}"
            );
        }
    }
}
