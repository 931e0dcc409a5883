//! Names of the scheme: services, nodes and resources, validated once.
//!
//! They become file names (`SERVICE.conf`, `SERVICE/sync.1.json`), host names
//! and parts of snapshot names, so everything outside a small alphabet is
//! refused here and never escaped later. All of them compare exactly, byte for
//! byte: `Node1` and `node1` are two nodes, as they are in keyword scopes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest service name in bytes: with suffixes it must fit a file name (255).
pub const SERVICE_BYTES_MAX: usize = 128;

/// Longest node name in bytes, the limit of DNS for a full name.
pub const NODE_BYTES_MAX: usize = 253;

/// Longest index of a resource in bytes; it becomes a part of snapshot names.
pub const INDEX_BYTES_MAX: usize = 32;

/// Words that mean something else after the `@` of a keyword.
const SCOPE_WORDS: [&str; 5] = [
    "nodes",
    "drpnodes",
    "encapnodes",
    "flex_primary",
    "drp_flex_primary",
];

/// Why a text names no service, node or resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Not a service name.
    #[error(
        "`{0}` is no service name: letters, digits, `-`, `_` and `.`, beginning with a letter or digit, at most {SERVICE_BYTES_MAX} bytes"
    )]
    Service(String),
    /// Not a node name.
    #[error(
        "`{0}` is no node name: letters, digits, `-`, `_` and `.`, beginning with a letter or digit, at most {NODE_BYTES_MAX} bytes"
    )]
    Node(String),
    /// A word that scopes use for groups of nodes.
    #[error("`{0}` cannot be a node name: after `@` it means a group of nodes")]
    NodeIsScopeWord(String),
    /// Not a resource id.
    #[error(
        "`{0}` is no resource id: `sync#` and an index of letters, digits, `-` and `_`, at most {INDEX_BYTES_MAX} bytes, such as `sync#1`"
    )]
    Rid(String),
}

/// What of a refused name is shown: printable, and not longer than a line.
fn shown(text: &str) -> String {
    let head: String = text.chars().take(64).collect();
    head.escape_debug().to_string()
}

fn is_word(text: &str, bytes_max: usize) -> bool {
    text.len() <= bytes_max
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// Name of a service: the stem of its configuration file and the folder of
/// its state files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

impl ServiceName {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`BadName::Service`].
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if is_word(text, SERVICE_BYTES_MAX) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadName::Service(shown(text)))
        }
    }
}

/// Name of a node, as `nodes`, `drpnodes` and keyword scopes spell it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

impl NodeName {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`BadName::Node`], [`BadName::NodeIsScopeWord`].
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if !is_word(text, NODE_BYTES_MAX) {
            Err(BadName::Node(shown(text)))
        } else if SCOPE_WORDS.contains(&text) {
            Err(BadName::NodeIsScopeWord(text.to_owned()))
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

/// Id of a resource: `sync#INDEX`, the name of its section.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rid(String);

impl Rid {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`BadName::Rid`].
    pub fn parse(text: &str) -> Result<Self, BadName> {
        // No dot in an index: `sync#1.sent` would make snapshot names that
        // belong to `sync#1`.
        let is_index = |index: &str| {
            (1..=INDEX_BYTES_MAX).contains(&index.len())
                && index
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        };
        match text.strip_prefix("sync#") {
            Some(index) if is_index(index) => Ok(Self(text.to_owned())),
            _ => Err(BadName::Rid(shown(text))),
        }
    }

    /// What stands after `sync#`.
    #[must_use]
    pub fn index(&self) -> &str {
        self.0.strip_prefix("sync#").unwrap_or_default()
    }

    /// The id with `.` for `#`, as file names and snapshot names carry it:
    /// `sync.1`. No two ids have the same dotted form.
    #[must_use]
    pub fn dotted(&self) -> String {
        self.0.replace('#', ".")
    }
}

macro_rules! text_form {
    ($type:ident) => {
        impl $type {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $type {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                Self::parse(&text)
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }
        impl std::str::FromStr for $type {
            type Err = BadName;
            fn from_str(text: &str) -> Result<Self, BadName> {
                Self::parse(text)
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
text_form!(ServiceName);
text_form!(NodeName);
text_form!(Rid);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_leave_its_folder_or_become_an_option_is_refused() {
        for text in ["", ".", "..", ".svc", "-o", "a/b", "a b", "a\0", "é", "a\n"] {
            assert!(ServiceName::parse(text).is_err(), "{text:?}");
            assert!(NodeName::parse(text).is_err(), "{text:?}");
        }
        assert!(ServiceName::parse(&"s".repeat(SERVICE_BYTES_MAX + 1)).is_err());
        assert!(ServiceName::parse("svc-1_a.b").is_ok());
    }

    #[test]
    fn a_node_cannot_be_called_like_a_group_of_nodes() {
        assert_eq!(
            NodeName::parse("drpnodes"),
            Err(BadName::NodeIsScopeWord("drpnodes".into()))
        );
    }

    #[test]
    fn node_names_compare_exactly() {
        assert_ne!(NodeName::parse("Node1"), NodeName::parse("node1"));
    }

    #[test]
    fn a_resource_id_has_a_dotted_form_and_no_dot_of_its_own() {
        assert_eq!(Rid::parse("sync#1").unwrap().dotted(), "sync.1");
        assert_eq!(Rid::parse("sync#1").unwrap().index(), "1");
        for text in [
            "sync",
            "sync#",
            "fs#1",
            "sync#1.sent",
            "sync#1#2",
            "sync# 1",
        ] {
            assert!(Rid::parse(text).is_err(), "{text:?}");
        }
    }
}
