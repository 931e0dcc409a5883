//! A failed command, in the form in which it is shown.
//!
//! Every typed error of the engine and of this program ends here, after the
//! last decision that looks at its type: what happened, why, which state is
//! left, and what to type next.

use std::error::Error;

use engine::error::Family;
use engine::peer::PeerError;
use engine::replicate::ReplicateError;
use engine::sync::config::ConfigError;
use engine::sync::run::{ResourceError, SyncError, TargetError};

/// Deepest chain of causes that is shown.
const CAUSES_MAX: usize = 8;

/// Why a command, or its part for one target, failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Decides the exit code.
    pub family: Family,
    /// What failed, on which dataset.
    pub message: String,
    /// Why, from the nearest cause to the first.
    pub causes: Vec<String>,
    /// What is there now.
    pub state_left: Option<String>,
    /// What to do next, one way out per entry.
    pub remedies: Vec<String>,
}

impl Failure {
    /// A failure that no other error caused.
    pub fn new(family: Family, message: impl Into<String>) -> Self {
        Self {
            family,
            message: message.into(),
            causes: Vec::new(),
            state_left: None,
            remedies: Vec::new(),
        }
    }

    /// `error` and its causes. Some errors repeat their cause in their own
    /// text; it is not shown twice.
    pub fn of(family: Family, error: &dyn Error) -> Self {
        let mut failure = Self::new(family, error.to_string());
        let mut shown = failure.message.clone();
        let mut next = error.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if !shown.contains(&text) && failure.causes.len() < CAUSES_MAX {
                shown.clone_from(&text);
                failure.causes.push(text);
            }
            next = cause.source();
        }
        failure
    }

    /// Adds a way out.
    pub fn remedy(mut self, text: impl Into<String>) -> Self {
        self.remedies.push(text.into());
        self
    }
}

impl From<ReplicateError> for Failure {
    fn from(error: ReplicateError) -> Self {
        Self {
            state_left: error.state_left(),
            remedies: error.remedies(),
            ..Self::of(error.family(), &error)
        }
    }
}

impl From<PeerError> for Failure {
    fn from(error: PeerError) -> Self {
        Self::of(error.family(), &error)
    }
}

impl From<SyncError> for Failure {
    fn from(error: SyncError) -> Self {
        Self {
            remedies: error.remedies(),
            ..Self::of(error.family(), &error)
        }
    }
}

impl From<&TargetError> for Failure {
    fn from(error: &TargetError) -> Self {
        Self {
            state_left: error.state_left(),
            remedies: error.remedies(),
            ..Self::of(error.family(), error)
        }
    }
}

impl From<&ResourceError> for Failure {
    fn from(error: &ResourceError) -> Self {
        Self {
            remedies: error.remedies(),
            ..Self::of(error.family(), error)
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let failure = Self::of(error.family(), &error);
        match &error {
            ConfigError::Missing { .. } => {
                failure.remedy("see which services there are: zferry status")
            }
            ConfigError::Read { .. } => {
                failure.remedy("name the folder of the services' configuration with --config")
            }
            _ => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    fn chain(texts: &[&'static str]) -> Link {
        let (text, rest) = texts.split_first().unwrap();
        let source = (!rest.is_empty()).then(|| Box::new(chain(rest)));
        Link { text, source }
    }

    #[test]
    fn a_cause_that_the_message_repeats_is_shown_once() {
        let error = chain(&["n2: pool is full", "pool is full", "no space"]);
        let failure = Failure::of(Family::Failed, &error);
        assert_eq!(failure.message, "n2: pool is full");
        assert_eq!(failure.causes, ["no space"]);
    }

    #[test]
    fn an_endless_chain_of_causes_is_cut() {
        let texts: Vec<&'static str> = (0..100).map(|n| ["a", "b"][n % 2]).collect();
        let failure = Failure::of(Family::Failed, &chain(&texts));
        assert_eq!(failure.causes.len(), CAUSES_MAX);
    }
}
