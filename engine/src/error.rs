//! What an error asks of whoever sees it.

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
