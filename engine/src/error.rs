//! What an error asks of whoever sees it.
//!
//! Every operation of the engine has an error type of its own; all of them
//! answer the same two questions: would trying again help ([`RetryClass`]),
//! and to which documented family does it belong ([`Family`], one exit code
//! each). The families are the stable interface; messages are for people.

use serde::{Deserialize, Serialize};

/// Would the same command succeed if it were simply run again?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryClass {
    /// Yes, probably: the network, a peer that restarts, a busy dataset.
    Transient,
    /// No: somebody has to change something first.
    Operator,
    /// No: zferry or a peer breaks its own rules.
    Bug,
}

/// The family of an error; the command line maps each to one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Something failed and an operator is needed.
    Failed,
    /// A mistake in the command line or in a configuration file.
    Usage,
    /// The two sides share no usable base, or the target was changed: the
    /// chain of deltas is broken and nothing was touched.
    BrokenChain,
    /// Network or peer trouble that a later run may not meet again.
    Transient,
    /// A key, a host key or a policy says no.
    Refused,
    /// This machine or the peer has no usable ZFS.
    NoZfs,
    /// The peer speaks another protocol, or rubbish.
    Protocol,
    /// A defect in zferry.
    Bug,
}

impl Family {
    /// The retry class that goes with the family.
    #[must_use]
    pub fn class(self) -> RetryClass {
        match self {
            Self::Transient => RetryClass::Transient,
            Self::Bug => RetryClass::Bug,
            _ => RetryClass::Operator,
        }
    }
}
