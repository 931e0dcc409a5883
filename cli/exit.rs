//! Exit codes: the stable answer of zferry to a script.
//!
//! The last step of every command. The engine sorts errors into families; this
//! is the one place that gives them numbers. `docs/cli.md` documents them:
//! a number never changes its meaning.

use std::process::ExitCode;

use engine::error::Family;
use engine::sync::status::State;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done; for `status`: up.
    Done,
    /// Failed, and an operator is needed.
    Failed,
    /// A mistake in the command line or a configuration file.
    Usage,
    /// The status is warn.
    Warn,
    /// No common base, or a changed target.
    BrokenChain,
    /// Try again later.
    Transient,
    /// A key, a host key or a policy says no.
    Refused,
    /// No usable ZFS.
    NoZfs,
    /// The peer speaks another protocol, or rubbish.
    Protocol,
    /// The status is undef.
    Undef,
    /// This node may not start what was asked for: no failure.
    NotStarted,
    /// The status is n/a: nothing of what was asked for is evaluated here.
    NotApplicable,
    /// A defect in zferry.
    Bug,
    /// Stopped by this signal.
    Signal(u8),
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Warn => 3,
            Self::BrokenChain => 4,
            Self::Transient => 5,
            Self::Refused => 6,
            Self::NoZfs => 7,
            Self::Protocol => 8,
            Self::Undef => 9,
            Self::NotStarted => 10,
            Self::NotApplicable => 11,
            // EX_SOFTWARE of sysexits.h.
            Self::Bug => 70,
            // As shells report it.
            Self::Signal(number) => number.saturating_add(128),
        }
    }

    /// The worst of the failures of several targets, or `Done`: what needs a
    /// person comes before what a later run may not meet again.
    pub fn worst(families: impl IntoIterator<Item = Family>) -> Self {
        let severity = |family: &Family| match family {
            Family::Bug => 7,
            Family::BrokenChain => 6,
            Family::Refused => 5,
            Family::NoZfs => 4,
            Family::Protocol => 3,
            Family::Usage => 2,
            Family::Failed => 1,
            Family::Transient => 0,
        };
        let worst = families.into_iter().max_by_key(severity);
        worst.map_or(Self::Done, Self::from)
    }
}

impl From<Family> for Exit {
    fn from(family: Family) -> Self {
        match family {
            Family::Failed => Self::Failed,
            Family::Usage => Self::Usage,
            Family::BrokenChain => Self::BrokenChain,
            Family::Transient => Self::Transient,
            Family::Refused => Self::Refused,
            Family::NoZfs => Self::NoZfs,
            Family::Protocol => Self::Protocol,
            Family::Bug => Self::Bug,
        }
    }
}

impl From<State> for Exit {
    fn from(state: State) -> Self {
        match state {
            State::Up => Self::Done,
            State::NotApplicable => Self::NotApplicable,
            State::Warn => Self::Warn,
            State::Undef => Self::Undef,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILIES: [Family; 8] = [
        Family::Failed,
        Family::Usage,
        Family::BrokenChain,
        Family::Transient,
        Family::Refused,
        Family::NoZfs,
        Family::Protocol,
        Family::Bug,
    ];

    #[test]
    fn no_two_endings_share_a_number() {
        let mut codes: Vec<u8> = FAMILIES.map(|family| Exit::from(family).code()).to_vec();
        let more = [Exit::Undef, Exit::NotStarted, Exit::NotApplicable];
        codes.extend([Exit::Done, Exit::Warn].map(Exit::code));
        codes.extend(more.map(Exit::code));
        codes.extend([Exit::Signal(2), Exit::Signal(15)].map(Exit::code));
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count);
    }

    #[test]
    fn a_broken_chain_outweighs_a_target_that_is_away() {
        let both = [Family::Transient, Family::BrokenChain, Family::Transient];
        assert_eq!(Exit::worst(both), Exit::BrokenChain);
        assert_eq!(Exit::worst([Family::Transient]), Exit::Transient);
        assert_eq!(Exit::worst([]), Exit::Done);
        assert_eq!(Exit::worst(FAMILIES), Exit::Bug);
    }
}
