//! The cases: each a claim about two machines with ZFS, named by a sentence.
//!
//! A case gets the booted pair and works on datasets or pools of its own, named
//! after itself, so that cases neither meet nor depend on their order. To add
//! one, write a `fn(&Pair) -> Result<()>` in a module here and list it in that
//! module's `CASES`.

mod conditions;
mod conformance;
mod cuts;
mod encryption;
mod faults;
mod harness;
mod images;
mod refusals;
mod replicate;
mod service;
mod streams;
mod sync;

use anyhow::Result;

use crate::pair::Pair;

/// What a case needs besides ZFS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Zfs,
    /// The zferry binary in both guests.
    Zferry,
}

/// One case.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its sentence, with underscores for spaces.
    pub name: &'static str,
    /// What it needs.
    pub needs: Needs,
    /// What it does.
    pub run: fn(&Pair) -> Result<()>,
}

/// A list of cases, each named after its function.
macro_rules! cases {
    ($needs:ident: $($function:ident),+ $(,)?) => {
        &[$($crate::cases::Case {
            name: stringify!($function),
            needs: $crate::cases::Needs::$needs,
            run: $function,
        }),+]
    };
}
use cases;

/// Every case there is, in the order that they run.
pub fn all() -> Vec<Case> {
    [
        harness::CASES,
        conformance::CASES,
        replicate::CASES,
        refusals::CASES,
        faults::CASES,
        conditions::CASES,
        encryption::CASES,
        sync::CASES,
        cuts::CASES,
        streams::CASES,
        images::CASES,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_cases_have_the_same_name() {
        let mut names: Vec<&str> = all().iter().map(|case| case.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
