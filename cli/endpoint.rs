//! `[[user@]host[:port]:]dataset`: one side of `zferry replicate`.
//!
//! First step of that command: text → [`Endpoint`]. A `:` before the first `/`
//! makes a side remote, as in scp(1). Pool names may contain a `:` themselves;
//! an empty host (`:tank:x/a`) says that the rest is a dataset of this machine.
//! Whether the host exists, and who the user is by default, is left to
//! `connect`.

use std::fmt;
use std::str::FromStr;

use engine::name::{DatasetName, NameError};
use engine::transport::ssh::SSH_PORT;

/// One side of a replication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The machine; `None` for this one.
    pub host: Option<Host>,
    /// The dataset there.
    pub dataset: DatasetName,
}

/// A machine to reach over SSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The account, if it was given.
    pub user: Option<String>,
    /// Name or address, an IPv6 address without brackets, in lower case.
    pub name: String,
    /// The TCP port.
    pub port: u16,
}

impl Endpoint {
    /// The place this means, without the account: equal for two spellings of
    /// one place, different for two places. `here` is the name of this machine.
    pub fn identity(&self, here: &str) -> String {
        match &self.host {
            // No host name has an `@`, so that a dataset of this machine is
            // never taken for one of a remote machine of the same name.
            None => format!("@{here}:{}", self.dataset),
            Some(Host { name, port, .. }) => format!("[{name}]:{port}:{}", self.dataset),
        }
    }
}

/// Why a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The part for the dataset is none.
    #[error("{error}{}", Hint(hint))]
    Dataset {
        error: NameError,
        hint: Option<String>,
    },
    #[error("the user before `@` is missing")]
    NoUser,
    #[error("the host is missing; `:dataset` without a user means this machine")]
    NoHost,
    #[error("`[` begins an IPv6 address, but `]:` does not follow")]
    OpenBracket,
    #[error("write an IPv6 address in brackets: [::1]:tank/a")]
    BareIpv6,
    #[error("`{0}` is no port: 1 to 65535")]
    Port(String),
}

struct Hint<'a>(&'a Option<String>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let before_slash = text.split('/').next().unwrap_or_default();
        if !before_slash.contains(':') {
            return Ok(Self {
                host: None,
                dataset: dataset(text)?,
            });
        }
        // An `@` after the first colon belongs to what should be a dataset.
        let head = text.split(':').next().unwrap_or_default();
        let (user, rest) = match head.rsplit_once('@') {
            Some((user, _)) => (Some(user), &text[user.len() + 1..]),
            None => (None, text),
        };
        if user == Some("") {
            return Err(EndpointError::NoUser);
        }
        let (name, rest) = host(rest)?;
        if name.is_empty() {
            return match user {
                Some(_) => Err(EndpointError::NoHost),
                None => Ok(Self {
                    host: None,
                    dataset: dataset(rest)?,
                }),
            };
        }
        let (port, rest) = port(rest)?;
        if rest.starts_with(':') {
            return Err(EndpointError::BareIpv6);
        }
        Ok(Self {
            host: Some(Host {
                user: user.map(str::to_owned),
                name: name.to_ascii_lowercase(),
                port,
            }),
            dataset: dataset(rest)?,
        })
    }
}

/// Splits `host:rest` or `[address]:rest`.
fn host(text: &str) -> Result<(&str, &str), EndpointError> {
    match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once("]:").ok_or(EndpointError::OpenBracket),
        None => Ok(text.split_once(':').unwrap_or((text, ""))),
    }
}

/// Splits `port:rest`. No pool name begins with a digit, so that digits before
/// a colon are nothing else.
fn port(text: &str) -> Result<(u16, &str), EndpointError> {
    match text.split_once(':') {
        Some((digits, rest))
            if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            let port = digits.parse().ok().filter(|&port| port != 0);
            let port = port.ok_or_else(|| EndpointError::Port(digits.to_owned()))?;
            Ok((port, rest))
        }
        _ => Ok((SSH_PORT, text)),
    }
}

fn dataset(text: &str) -> Result<DatasetName, EndpointError> {
    DatasetName::parse(text).map_err(|error| {
        let hint = match &error {
            NameError::NotADataset(_) => text
                .split_once('@')
                .filter(|(_, snapshot)| !snapshot.is_empty() && !snapshot.contains('/'))
                .map(|(_, snapshot)| {
                    let snapshot = snapshot.escape_debug();
                    format!("an existing snapshot is chosen with --snapshot {snapshot}")
                }),
            NameError::EmptyComponent(_) if text.starts_with('/') => {
                Some("a dataset is named as in `zfs list`, not by its mount point".to_owned())
            }
            _ => None,
        };
        EndpointError::Dataset { error, hint }
    })
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.name.contains(':') {
            write!(f, "[{}]", self.name)?;
        } else {
            f.write_str(&self.name)?;
        }
        match self.port {
            SSH_PORT => Ok(()),
            port => write!(f, ":{port}"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "{host}:{}", self.dataset),
            None if self.dataset.pool().contains(':') => write!(f, ":{}", self.dataset),
            None => self.dataset.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    /// User, host, port and dataset; an empty host for this machine.
    fn parts(text: &str) -> (String, String, u16, String) {
        let Endpoint { host, dataset } = endpoint(text);
        let dataset = dataset.to_string();
        match host {
            None => (String::new(), String::new(), 0, dataset),
            Some(host) => (host.user.unwrap_or_default(), host.name, host.port, dataset),
        }
    }

    #[test]
    fn a_colon_before_the_first_slash_makes_a_side_remote() {
        for (text, user, host, port, dataset) in [
            ("tank", "", "", 0, "tank"),
            ("tank/a:b", "", "", 0, "tank/a:b"),
            ("host:tank", "", "host", 22, "tank"),
            ("Host:tank/a", "", "host", 22, "tank/a"),
            ("host:tank/a:b/c", "", "host", 22, "tank/a:b/c"),
            ("user@host:tank/a", "user", "host", 22, "tank/a"),
            ("user@host:2222:tank/a", "user", "host", 2222, "tank/a"),
            ("ada@corp@host:tank", "ada@corp", "host", 22, "tank"),
            ("10.0.0.1:2222:tank", "", "10.0.0.1", 2222, "tank"),
            ("[::1]:tank/a", "", "::1", 22, "tank/a"),
            (
                "u@[fe80::1%eth0]:22:tank/a",
                "u",
                "fe80::1%eth0",
                22,
                "tank/a",
            ),
            ("host:tank:x/a", "", "host", 22, "tank:x/a"),
            (":tank:x/a", "", "", 0, "tank:x/a"),
            (":tank", "", "", 0, "tank"),
        ] {
            let expected = (user.into(), host.into(), port, dataset.into());
            assert_eq!(parts(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_shown_means_the_same_when_it_is_read_again() {
        for text in [
            "tank/a",
            "u@host:2222:tank/a",
            "[::1]:tank",
            ":tank:x/a",
            "h:tank",
        ] {
            assert_eq!(endpoint(text).to_string(), text);
        }
        assert_eq!(endpoint("h:22:tank").to_string(), "h:tank");
    }

    #[test]
    fn a_mistake_is_named_with_what_would_be_right() {
        for (text, says) in [
            ("", "missing"),
            ("tank//a", "empty component"),
            ("/tank/a", "mount point"),
            ("tank/a@daily", "--snapshot daily"),
            ("host:tank/a@daily", "--snapshot daily"),
            ("host:", "missing"),
            ("host:22:", "missing"),
            ("host:22", "pool name"),
            ("host:0:tank", "no port"),
            ("host:65536:tank", "no port"),
            ("@host:tank", "user"),
            ("u@:tank/a", "host is missing"),
            ("[::1:tank/a", "`]:`"),
            ("[::1]/tank:a", "`]:`"),
            ("fe80::1:tank/a", "brackets"),
            ("::1:tank/a", "pool name"),
            ("tank/a;reboot", "does not allow"),
            ("tank/\u{1b}[2J", "does not allow"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
            assert!(!error.chars().any(char::is_control), "{text}: {error:?}");
        }
    }

    #[test]
    fn one_place_has_one_identity_whoever_logs_in() {
        let identity = |text| endpoint(text).identity("here");
        assert_eq!(identity("a@host:tank"), identity("b@HOST:22:tank"));
        assert_eq!(identity("tank"), identity(":tank"));
        let different = [
            "tank",
            "here:tank",
            "host:tank",
            "host:2:tank",
            "host:tank/a",
        ];
        for (n, one) in different.iter().enumerate() {
            for other in &different[..n] {
                assert_ne!(identity(one), identity(other), "{one} {other}");
            }
        }
        assert_ne!(
            endpoint("tank").identity("a"),
            endpoint("tank").identity("b")
        );
    }
}
