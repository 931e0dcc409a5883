//! What a server tells of its connections: one line each.

use std::io;
use std::net::SocketAddr;

use super::{ServerError, shown};

/// Something that an administrator may want in a log. Text of peers is bounded
/// and has its control characters escaped.
#[derive(Debug)]
pub enum ServerEvent {
    /// The system did not hand over a connection, or has no thread for it.
    NotAccepted {
        /// What it says.
        error: io::Error,
    },
    /// Closed at once: as many connections are open as may be.
    Full {
        /// From where.
        peer: SocketAddr,
    },
    /// A key was proved and a helper runs.
    Started {
        /// From where.
        peer: SocketAddr,
        /// Fingerprint and comment of the key.
        key: String,
    },
    /// It ended before a helper ran.
    Refused {
        /// From where.
        peer: SocketAddr,
        /// Why.
        why: String,
    },
    /// Nobody can log in for now.
    KeysUnusable {
        /// What is wrong with the file.
        error: ServerError,
    },
    /// A helper has ended.
    Ended {
        /// From where.
        peer: SocketAddr,
        /// Why, unless in good order.
        why: Option<String>,
    },
}

impl std::fmt::Display for ServerEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotAccepted { error } => write!(f, "a connection was not accepted: {error}"),
            Self::Full { peer } => {
                let peer = shown(peer);
                write!(f, "{peer}: closed, too many connections are open")
            }
            Self::Started { peer, key } => write!(f, "{}: serving {key}", shown(peer)),
            Self::Refused { peer, why } => write!(f, "{}: refused: {why}", shown(peer)),
            Self::KeysUnusable { error } => write!(f, "nobody can log in: {error}"),
            Self::Ended { peer, why: None } => write!(f, "{}: ended", shown(peer)),
            Self::Ended {
                peer,
                why: Some(why),
            } => write!(f, "{}: ended: {why}", shown(peer)),
        }
    }
}
