//! The snapshots between the base and the wanted one.
//!
//! Other tools' snapshots are carried along, each by a stream of its own, from
//! one to the next: base → s1 → s2 → … → wanted, or in full the oldest first.
//! What has arrived and been committed is progress: the next plan begins there.
//! Nothing is ever destroyed on a target because the source lost it.

use super::loss::Clearing;
use crate::name::{CreateTxg, ShortName};
use crate::zfs::{Dataset, Snapshot};

/// Whether the snapshots that were taken in between go along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Intermediary {
    /// One stream, from the base to the wanted snapshot (`zfs send -i`).
    #[default]
    Skip,
    /// All of them too (`zfs send -I`), except those that are of zferry itself.
    Carry,
}

/// True for the names that runs of zferry give to snapshots, of whatever
/// resource, service or pair. They mean something on their own side only.
#[must_use]
pub fn is_of_zferry(short: &ShortName) -> bool {
    let short = short.as_str();
    if short.starts_with("zferry-") {
        return true;
    }
    let word = short
        .strip_prefix("sync.")
        .and_then(|rest| rest.split_once('.'))
        .map_or(short, |(_, word)| word);
    matches!(word, "sent" | "tosend" | "sent.old")
}

/// What lies between.
#[derive(Debug, Default)]
pub(super) struct Between<'a> {
    /// To be carried, oldest first.
    pub carried: Vec<&'a Snapshot>,
    /// Left out: the target has another snapshot of that name.
    pub taken: Vec<&'a Snapshot>,
}

impl<'a> Between<'a> {
    /// What the source has after `after` and before `before`. A name counts as
    /// free on the target if `clearing` destroys what has it.
    pub(super) fn find(
        source: &'a Dataset,
        (after, before): (CreateTxg, CreateTxg),
        target: Option<&Dataset>,
        clearing: Option<&Clearing>,
    ) -> Self {
        let is_taken = |snapshot: &Snapshot| {
            let there = target.and_then(|target| target.snapshot_by_name(&snapshot.short));
            there.is_some_and(|there| !clearing.is_some_and(|c| c.destroys(there.guid)))
        };
        let (taken, carried) = source
            .snapshots
            .iter()
            .filter(|snapshot| snapshot.createtxg > after && snapshot.createtxg < before)
            .filter(|snapshot| !is_of_zferry(&snapshot.short))
            .partition(|snapshot| is_taken(snapshot));
        Self { carried, taken }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::config::{Naming, Rid, SnapshotNames};

    #[test]
    fn names_of_every_resource_and_pair_are_known_and_others_are_not() {
        for rid in ["sync#1", "sync#data-2", "sync#i0"] {
            for naming in [Naming::Plain, Naming::Rid] {
                let names = SnapshotNames::new(naming, &Rid::parse(rid).unwrap());
                for short in [&names.sent, &names.tosend, &names.aside] {
                    assert!(is_of_zferry(short), "{short}");
                }
            }
        }
        for (text, ours) in [
            ("zferry-5d41402a-20261122T211029Z", true),
            ("daily.snap.2026-11-22", false),
            ("sent.2026", false),
            ("sync.1", false),
            ("sync.sent", false),
            ("my.sent", false),
        ] {
            let short = ShortName::parse(text).unwrap();
            assert_eq!(is_of_zferry(&short), ours, "{text}");
        }
    }
}
