//! Why a server does not start: its files.

use std::io;
use std::path::PathBuf;

/// A key file that is not as it has to be.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// There is no host key.
    #[error("there is no host key in {}", file.display())]
    NoHostKey {
        /// Where it was looked for.
        file: PathBuf,
    },
    /// A new host key was asked for, and there is one.
    #[error("{} exists; a host that changes its key is refused by everybody who knows it", file.display())]
    HostKeyExists {
        /// Where.
        file: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("{}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Others could read or change it.
    #[error("{}: {why}", file.display())]
    Exposed {
        /// Which.
        file: PathBuf,
        /// What is wrong with its owner or mode.
        why: &'static str,
        /// The mode that is right.
        mode: &'static str,
    },
    /// It is no private key in OpenSSH's format without a passphrase.
    #[error("{} is no usable host key: {why}", file.display())]
    HostKey {
        /// Which.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// A line of authorized keys means nothing here.
    #[error("{}:{line}: {why}", file.display())]
    Line {
        /// Which.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// No key may come in.
    #[error("{} has no keys", file.display())]
    NoKeys {
        /// Which.
        file: PathBuf,
    },
}

impl ServerError {
    /// What to do next.
    #[must_use]
    pub fn remedies(&self) -> Vec<String> {
        let text = match self {
            Self::NoHostKey { file } => format!(
                "start it once with --new-host-key, or: ssh-keygen -t ed25519 -N '' -f {}",
                file.display()
            ),
            Self::HostKeyExists { .. } => "leave out --new-host-key".to_owned(),
            Self::Exposed { file, mode, .. } => {
                format!("chown root {0} && chmod {mode} {0}", file.display())
            }
            Self::HostKey { file, .. } => format!(
                "make one in another place: ssh-keygen -t ed25519 -N '' -f {}.new",
                file.display()
            ),
            Self::Line { .. } | Self::NoKeys { .. } => {
                "each line is: allow=\"pool/backup\" ssh-ed25519 AAAA… comment".to_owned()
            }
            Self::File { .. } => return Vec::new(),
        };
        vec![text]
    }
}
