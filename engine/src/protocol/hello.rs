//! The handshake: the first bytes in each direction.
//!
//! Sixteen bytes that no later version may change, then a short JSON text
//! about the sender: magic (8), lowest and highest protocol version (2 + 2,
//! little-endian), length of the text (4). Both sides pick the highest version
//! that both speak; if there is none, both know enough to say so clearly.

use serde::{Deserialize, Serialize};

use crate::stream::frame::printable;
use crate::sync::moment::UtcSeconds;

/// The protocol versions this zferry speaks.
pub const VERSIONS: VersionRange = VersionRange {
    lowest: 1,
    highest: 1,
};

/// Size of the fixed part in bytes.
pub const PREFIX_BYTES: usize = 16;
/// Longest text about the sender.
pub const ABOUT_BYTES_MAX: usize = 4096;
/// CR LF and a byte above 127 show a terminal or a text mode on the way.
const MAGIC: [u8; 8] = *b"zfy\x89\r\n\x1a\n";

/// A range of protocol versions, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionRange {
    /// The oldest.
    pub lowest: u16,
    /// The newest.
    pub highest: u16,
}

impl std::fmt::Display for VersionRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.lowest == self.highest {
            write!(f, "{}", self.lowest)
        } else {
            write!(f, "{} to {}", self.lowest, self.highest)
        }
    }
}

/// Who is at the other end: for messages and logs, and to notice a helper that
/// was started for something else than what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Version of zferry, with the commit.
    pub program: String,
    /// Name of the machine.
    pub node: String,
    /// Operating system and architecture.
    pub platform: String,
    /// The pools that it serves out of images.
    #[serde(default)]
    pub images: Vec<String>,
    /// What time it was there when it greeted: a clock that is wrong makes
    /// wrong ages. `None` from a program that does not tell.
    #[serde(default)]
    pub clock: Option<UtcSeconds>,
}

/// A parsed hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Protocol versions of the sender.
    pub versions: VersionRange,
    /// Who it says it is.
    pub about: About,
    /// How many workers a large transfer has there, unless it is told another
    /// number. `None`: it may not be told; older ones take a request that says
    /// so for a mistake.
    pub workers: Option<u8>,
    /// It may be told to use as few connections as carry as much.
    pub spares: bool,
}

/// The text of a hello.
#[derive(Serialize, Deserialize)]
struct Text {
    #[serde(flatten)]
    about: About,
    #[serde(default)]
    workers: Option<u8>,
    #[serde(default)]
    spares: bool,
}

/// Why a handshake fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// Not a hello. Often text that a login script prints.
    #[error(
        "the other side is not zferry; it sent {0} \
         (login scripts there must not print anything for non-interactive sessions)"
    )]
    NotAHelper(String),
    /// The two sides have no version in common.
    #[error(
        "this zferry speaks protocol {ours}, the other side ({program}) speaks {theirs}: \
         upgrade zferry {}", if .ours.highest < .theirs.lowest { "here" } else { "there" }
    )]
    Versions {
        /// What we speak.
        ours: VersionRange,
        /// What they speak.
        theirs: VersionRange,
        /// Their program, as they name it.
        program: String,
    },
    /// The text about the sender is too long or no JSON.
    #[error("the other side sent a malformed greeting")]
    Malformed,
}

/// The bytes to send first, by one whose large transfers have so many workers.
#[must_use]
pub fn encode(about: &About, workers: u8) -> Vec<u8> {
    let text = Text {
        about: about.clone(),
        workers: Some(workers),
        spares: true,
    };
    let text = serde_json::to_vec(&text).expect("plain data always serializes");
    let length = u32::try_from(text.len()).expect("host name and version are short");
    let mut out = Vec::with_capacity(PREFIX_BYTES + text.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSIONS.lowest.to_le_bytes());
    out.extend_from_slice(&VERSIONS.highest.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&text);
    out
}

/// Reads a hello from the beginning of `bytes`: the hello and its length, or
/// `None` if more bytes are needed.
///
/// # Errors
/// [`HelloError::NotAHelper`] as soon as a byte is wrong, [`HelloError::Malformed`].
pub fn decode(bytes: &[u8]) -> Result<Option<(Hello, usize)>, HelloError> {
    let compared = bytes.len().min(MAGIC.len());
    if bytes[..compared] != MAGIC[..compared] {
        return Err(HelloError::NotAHelper(printable(
            &bytes[..bytes.len().min(200)],
        )));
    }
    if bytes.len() < PREFIX_BYTES {
        return Ok(None);
    }
    let word16 = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let length = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]) as usize;
    if length > ABOUT_BYTES_MAX {
        return Err(HelloError::Malformed);
    }
    let Some(text) = bytes.get(PREFIX_BYTES..PREFIX_BYTES + length) else {
        return Ok(None);
    };
    let Text {
        mut about,
        workers,
        spares,
    } = serde_json::from_slice(text).map_err(|_| HelloError::Malformed)?;
    let named = [&mut about.program, &mut about.node, &mut about.platform];
    for field in named.into_iter().chain(&mut about.images) {
        *field = field.escape_debug().to_string();
    }
    let versions = VersionRange {
        lowest: word16(8),
        highest: word16(10),
    };
    let hello = Hello {
        versions,
        about,
        workers,
        spares,
    };
    Ok(Some((hello, PREFIX_BYTES + length)))
}

/// The version to speak with the sender of `hello`.
///
/// # Errors
/// [`HelloError::Versions`] if there is none.
pub fn agree(hello: &Hello) -> Result<u16, HelloError> {
    let highest = VERSIONS.highest.min(hello.versions.highest);
    if highest >= VERSIONS.lowest.max(hello.versions.lowest) {
        return Ok(highest);
    }
    Err(HelloError::Versions {
        ours: VERSIONS,
        theirs: hello.versions,
        program: hello.about.program.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> About {
        About {
            program: "zferry 1".into(),
            node: "n1".into(),
            platform: "linux".into(),
            images: Vec::new(),
            clock: None,
        }
    }

    #[test]
    fn a_hello_is_read_however_it_is_cut() {
        let bytes = encode(&about(), 3);
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]).unwrap(), None);
        }
        let (hello, length) = decode(&bytes).unwrap().unwrap();
        assert_eq!(length, bytes.len());
        assert_eq!(hello.about, about());
        assert_eq!(agree(&hello), Ok(1));
    }

    #[test]
    fn a_peer_that_says_nothing_of_workers_knows_nothing_of_them() {
        let bytes = encode(&about(), 3);
        let newest = decode(&bytes).unwrap().unwrap().0;
        assert_eq!((newest.workers, newest.spares), (Some(3), true));
        let text = serde_json::to_vec(&about()).unwrap();
        let mut older = bytes[..12].to_vec();
        older.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        older.extend(text);
        let (hello, _) = decode(&older).unwrap().unwrap();
        assert_eq!(hello.about, about());
        assert_eq!((hello.workers, hello.spares), (None, false));
    }

    #[test]
    fn a_login_banner_is_shown_instead_of_a_riddle() {
        let error = decode(b"Welcome to host\n").unwrap_err().to_string();
        assert!(error.contains("Welcome to host"), "{error}");
        assert!(error.contains("login scripts"), "{error}");
    }

    #[test]
    fn versions_without_overlap_say_which_side_to_upgrade() {
        for (lowest, highest, side) in [(2, 3, "zferry here"), (0, 0, "zferry there")] {
            let hello = Hello {
                versions: VersionRange { lowest, highest },
                about: about(),
                workers: None,
                spares: false,
            };
            let error = agree(&hello).unwrap_err().to_string();
            assert!(error.contains(side), "{error}");
        }
    }

    #[test]
    fn a_newer_peer_that_still_speaks_ours_is_welcome() {
        let hello = Hello {
            versions: VersionRange {
                lowest: 1,
                highest: 9,
            },
            about: about(),
            workers: None,
            spares: false,
        };
        assert_eq!(agree(&hello), Ok(1));
    }

    #[test]
    fn no_word_of_a_greeting_steers_a_terminal() {
        let steering = "\u{1b}[2Jtank".to_owned();
        let about = About {
            program: steering.clone(),
            node: steering.clone(),
            platform: steering.clone(),
            images: vec![steering],
            clock: None,
        };
        let bytes = encode(&about, 1);
        let (hello, _) = decode(&bytes).unwrap().unwrap();
        let About { images, .. } = &hello.about;
        assert_eq!(images[..], ["\\u{1b}[2Jtank"]);
        assert!(!format!("{:?}", hello.about.program).contains('\u{1b}'));
    }

    #[test]
    fn an_endless_greeting_is_refused() {
        let mut bytes = encode(&about(), 3);
        bytes[14] = 0xff;
        assert_eq!(decode(&bytes), Err(HelloError::Malformed));
    }
}
