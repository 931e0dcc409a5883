//! Which snapshots one atomic call can take.

use std::collections::BTreeMap;

use crate::name::{DatasetName, SnapshotName};

/// Splits snapshots of one pool into as few calls as ZFS can carry out: one
/// call takes one snapshot of a dataset. A dataset that two resources send is
/// in two calls, right after each other; all others are in the first one.
pub(super) fn calls(names: Vec<SnapshotName>) -> Vec<Vec<SnapshotName>> {
    let mut calls: Vec<Vec<SnapshotName>> = Vec::new();
    let mut taken: BTreeMap<DatasetName, usize> = BTreeMap::new();
    for name in names {
        let at = taken.entry(name.dataset.clone()).or_default();
        match calls.get_mut(*at) {
            Some(call) => call.push(name),
            None => calls.push(vec![name]),
        }
        *at += 1;
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_that_two_resources_send_is_snapshot_in_two_calls() {
        let names = |texts: &[&str]| -> Vec<SnapshotName> {
            let parse = |text: &&str| SnapshotName::parse(text).unwrap();
            texts.iter().map(parse).collect()
        };
        assert_eq!(
            calls(names(&["p/a@1", "p/a/x@1", "p/b@2", "p/a/x@3"])),
            [names(&["p/a@1", "p/a/x@1", "p/b@2"]), names(&["p/a/x@3"])]
        );
        assert!(calls(Vec::new()).is_empty());
    }
}
