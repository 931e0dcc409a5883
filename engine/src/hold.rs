//! Tags of holds: who keeps a snapshot, and what for.
//!
//! A hold keeps ZFS from destroying a snapshot. All holds of this program bear
//! a tag that begins with `zferry:`, and no other hold is ever released by it:
//! a [`HoldTag`] cannot be made of anything else.
//!
//! | tag | kept for | until |
//! |---|---|---|
//! | `zferry:run:PID-N:PEER` | a step of a run that PEER drives: what is sent, what a stream starts from or goes onto | the helper process PID lets go or ends; the kernel sees to it |
//! | `zferry:base:sync:SERVICE:RID` | the next run of a resource: what its target shares with the source | a later run has brought a newer one, or `zferry holds release` |
//! | `zferry:base:replicate:PAIR` | the same for a pair of datasets; PAIR is in the names of its snapshots | the same |
//!
//! N is different for every hold of every process: a tag that was released and
//! given again would end with its first holder.

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::name::{Guid, SnapshotName};

/// Longest tag in bytes. ZFS has room for less than 256: it keeps a temporary
/// one with a number before it.
pub const TAG_BYTES_MAX: usize = 200;

/// Longest name of a peer in a tag, in bytes; the rest is left out.
const PEER_BYTES_MAX: usize = 64;

const OURS: &str = "zferry:";

/// The tag of a hold that this program places or releases.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HoldTag(String);

/// A text that is no tag of this program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no tag of a hold of zferry: they begin with `zferry:` and have at most \
     {TAG_BYTES_MAX} letters, digits and `-_.:`"
)]
pub struct NotOurTag(String);

/// What a hold of this program is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldReason {
    /// A step of a run that is under way.
    Run {
        /// The helper that holds it, on the machine of the snapshot.
        pid: u32,
        /// The machine that drives the run.
        peer: String,
    },
    /// The base of a resource.
    Resource {
        /// The service.
        service: String,
        /// The resource, with a dot: `sync.1`.
        rid: String,
    },
    /// The base of a `replicate`.
    Pair {
        /// As in the names of its snapshots.
        pair: String,
    },
    /// Of a later version of this program.
    Unknown,
}

impl HoldTag {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`NotOurTag`].
    pub fn parse(text: &str) -> Result<Self, NotOurTag> {
        let fits = text.len() <= TAG_BYTES_MAX && text.bytes().all(may_be_in_tag);
        match text.strip_prefix(OURS) {
            Some(rest) if fits && !rest.is_empty() => Ok(Self(text.to_owned())),
            _ => Err(NotOurTag(text.escape_debug().take(80).collect())),
        }
    }

    /// A tag for a step of a run that `peer` drives; never the same twice, on
    /// this machine.
    #[must_use]
    pub fn for_run(peer: &str) -> Self {
        // Two processes of one number, in two containers, began at two times.
        static HOLDS: LazyLock<AtomicU64> = LazyLock::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            let micros = since.unwrap_or_default().as_micros();
            AtomicU64::new(u64::try_from(micros).unwrap_or_default())
        });
        let number = HOLDS.fetch_add(1, Ordering::Relaxed);
        Self(format!(
            "{OURS}run:{}-{number:x}:{}",
            std::process::id(),
            word(peer)
        ))
    }

    /// The tag of the base of a resource. The names are words: letters, digits
    /// and `-_.`.
    #[must_use]
    pub fn for_resource(service: &str, rid: &str) -> Self {
        Self(format!("{OURS}base:sync:{}:{}", word(service), word(rid)))
    }

    /// The tag of the base of a `replicate`; `pair` tells it from all others.
    #[must_use]
    pub fn for_pair(pair: &str) -> Self {
        Self(format!("{OURS}base:replicate:{}", word(pair)))
    }

    /// The text as ZFS has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a hold with this tag is for.
    #[must_use]
    pub fn reason(&self) -> HoldReason {
        let parts: Vec<&str> = self.0.split(':').collect();
        match parts[..] {
            [_, "run", number, peer] => {
                let pid = number.split_once('-').and_then(|(pid, _)| pid.parse().ok());
                pid.map_or(HoldReason::Unknown, |pid| HoldReason::Run {
                    pid,
                    peer: peer.to_owned(),
                })
            }
            [_, "base", "sync", service, rid] => HoldReason::Resource {
                service: service.to_owned(),
                rid: rid.to_owned(),
            },
            [_, "base", "replicate", pair] => HoldReason::Pair {
                pair: pair.to_owned(),
            },
            _ => HoldReason::Unknown,
        }
    }

    /// True for a hold that ends with the process that placed it.
    #[must_use]
    pub fn is_of_run(&self) -> bool {
        matches!(self.reason(), HoldReason::Run { .. })
    }
}

fn may_be_in_tag(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)
}

/// `text` as one part of a tag.
fn word(text: &str) -> String {
    let shown = |c: char| match c.is_ascii_alphanumeric() || "-_.".contains(c) {
        true => c,
        false => '_',
    };
    text.chars().take(PEER_BYTES_MAX).map(shown).collect()
}

impl TryFrom<String> for HoldTag {
    type Error = NotOurTag;
    fn try_from(text: String) -> Result<Self, NotOurTag> {
        Self::parse(&text)
    }
}

impl From<HoldTag> for String {
    fn from(tag: HoldTag) -> Self {
        tag.0
    }
}

impl std::str::FromStr for HoldTag {
    type Err = NotOurTag;
    fn from_str(text: &str) -> Result<Self, NotOurTag> {
        Self::parse(text)
    }
}

impl fmt::Display for HoldTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HoldTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run { pid, peer } => {
                write!(f, "a run that {peer} drives; held by process {pid} there")
            }
            Self::Resource { service, rid } => {
                write!(f, "base of {service} {}", rid.replacen('.', "#", 1))
            }
            Self::Pair { pair } => write!(f, "base of replicate (zferry-{pair}-…)"),
            Self::Unknown => f.write_str("placed by another version of zferry"),
        }
    }
}

/// A hold on a snapshot, whoever placed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The snapshot.
    pub snapshot: SnapshotName,
    /// Its guid.
    pub guid: Guid,
    /// The tag.
    pub tag: String,
    /// When it was placed: seconds since 1970, by the clock of that machine.
    pub since_seconds: u64,
}

impl Held {
    /// The tag, if the hold is one of this program.
    #[must_use]
    pub fn our_tag(&self) -> Option<HoldTag> {
        HoldTag::parse(&self.tag).ok()
    }
}

/// How the base of a copy is to be kept on its target between two runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseHold {
    /// The tag of the hold.
    pub tag: HoldTag,
    /// Whether there is to be one. Without, those that are there are released.
    pub keep: KeepBase,
}

impl Default for BaseHold {
    /// No base is held, and nothing of this tag was ever.
    fn default() -> Self {
        Self {
            tag: HoldTag(format!("{OURS}base:none")),
            keep: KeepBase::Leave,
        }
    }
}

/// Whether a base is held on the target between two runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeepBase {
    /// It is.
    Hold,
    /// It is not.
    #[default]
    Leave,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tag_of_others_can_be_named() {
        let long = format!("zferry:{}", "x".repeat(TAG_BYTES_MAX));
        for text in [
            "",
            "keep",
            "zferry",
            "zferry:",
            "zferry-1-2",
            ".send-1",
            &long,
        ] {
            assert!(HoldTag::parse(text).is_err(), "{text}");
        }
        for text in [
            "zferry:a b",
            "zferry:a\n",
            "zferry:ä",
            "zferry:#",
            "zferry:\u{1b}[2J",
        ] {
            assert!(HoldTag::parse(text).is_err(), "{text:?}");
            let json = serde_json::to_string(text).unwrap();
            assert!(serde_json::from_str::<HoldTag>(&json).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_tag_tells_its_reason() {
        let run = HoldTag::for_run("alpha");
        let pid = std::process::id();
        let peer = "alpha".to_owned();
        assert_eq!(run.reason(), HoldReason::Run { pid, peer });
        assert!(run.is_of_run());
        let resource = HoldTag::for_resource("web", "sync.1");
        assert_eq!(resource.to_string(), "zferry:base:sync:web:sync.1");
        assert_eq!(resource.reason().to_string(), "base of web sync#1");
        let pair = HoldTag::for_pair("5d41402a");
        assert_eq!(pair.to_string(), "zferry:base:replicate:5d41402a");
        let unknown = HoldTag::parse("zferry:later:x").unwrap();
        assert_eq!(unknown.reason(), HoldReason::Unknown);
        for tag in [run, resource, pair, unknown] {
            assert_eq!(HoldTag::parse(tag.as_str()), Ok(tag));
        }
    }

    #[test]
    fn no_two_steps_have_one_tag() {
        assert_ne!(HoldTag::for_run("alpha"), HoldTag::for_run("alpha"));
    }

    #[test]
    fn whatever_a_peer_calls_itself_its_tag_is_one() {
        for peer in ["", "a:b:c", "ä\u{1b}[2J\n", &"x".repeat(5000)] {
            let tag = HoldTag::for_run(peer);
            assert_eq!(HoldTag::parse(tag.as_str()), Ok(tag.clone()));
            assert!(tag.is_of_run(), "{tag}");
        }
    }
}
