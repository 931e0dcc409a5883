//! Holds that end with their guard.
//!
//! A kernel binds such a hold to the object and knows it again under any name.
//! The worker is told names; so the guard remembers guids, and looks for those
//! whose names changed when it lets go.

use std::collections::BTreeSet;
use std::sync::Arc;

use ::userland::Pool;
use ::userland::protocol::{self as wire, Answer, Call};

use super::translate::Tried;
use super::{first, texts};
use crate::hold::HoldTag;
use crate::name::{DatasetName, SnapshotName};
use crate::zfs::{Hold, ZfsError};

/// Snapshots held until this is dropped, or the worker ends.
pub(super) struct ImageHold {
    pool: Arc<Pool>,
    tag: String,
    names: Vec<String>,
    /// Guids of the snapshots, for the case that they get other names.
    guids: BTreeSet<u64>,
}

impl Hold for ImageHold {}

impl ImageHold {
    /// Holds all of them or none.
    pub(super) fn take(
        pool: &Arc<Pool>,
        tag: &HoldTag,
        names: &[SnapshotName],
    ) -> Result<Self, ZfsError> {
        let tried = Tried::new("hold", first(names));
        let call = Call::Hold {
            names: texts(names),
            tag: tag.to_string(),
            temporary: true,
        };
        // From here on dropping it releases whatever is held.
        let mut hold = Self {
            pool: Arc::clone(pool),
            tag: tag.to_string(),
            names: texts(names),
            guids: BTreeSet::new(),
        };
        match pool.call(call, None) {
            Ok(Answer::Done) => {}
            Ok(_) => return Err(tried.confused()),
            Err(error) => return Err(tried.failed(&error)),
        }
        let datasets: BTreeSet<&DatasetName> = names.iter().map(|name| &name.dataset).collect();
        let held: BTreeSet<&str> = hold.names.iter().map(String::as_str).collect();
        let mut guids = BTreeSet::new();
        for dataset in datasets {
            let listed = list(pool, dataset.as_str(), wire::Scope::One)
                .map_err(|error| tried.failed(&error))?;
            guids.extend(
                named(&listed)
                    .filter(|(name, _)| held.contains(name.as_str()))
                    .map(|(_, guid)| guid),
            );
        }
        hold.guids = guids;
        Ok(hold)
    }

    fn release(&self, names: Vec<String>) {
        let tag = self.tag.clone();
        // There is nobody to tell. A hold that stays ends with the worker.
        let _ = self.pool.call(Call::Release { names, tag }, None);
    }
}

impl Drop for ImageHold {
    fn drop(&mut self) {
        let datasets: BTreeSet<&str> = self
            .names
            .iter()
            .filter_map(|name| name.split('@').next())
            .collect();
        let mut missing = self.guids.clone();
        let mut names = Vec::new();
        let mut find = |root: &str, scope, missing: &mut BTreeSet<u64>| {
            for (name, guid) in named(&list(&self.pool, root, scope).unwrap_or_default()) {
                if missing.remove(&guid) {
                    names.push(name);
                }
            }
        };
        for dataset in &datasets {
            find(dataset, wire::Scope::One, &mut missing);
        }
        let pool = self.names.first().and_then(|name| name.split('/').next());
        if let (false, Some(pool)) = (missing.is_empty(), pool) {
            find(pool, wire::Scope::Recursive, &mut missing);
        }
        // Without guids the hold failed, perhaps after a part of it.
        if self.guids.is_empty() {
            names.clone_from(&self.names);
        }
        if !names.is_empty() {
            self.release(names);
        }
    }
}

fn list(
    pool: &Pool,
    root: &str,
    scope: wire::Scope,
) -> Result<Vec<wire::Dataset>, Box<::userland::Error>> {
    let call = Call::Tree {
        root: root.to_owned(),
        scope,
    };
    match pool.call(call, None)? {
        Answer::Tree(tree) => Ok(tree.unwrap_or_default()),
        _ => Ok(Vec::new()),
    }
}

/// Full names and guids of all snapshots.
fn named(datasets: &[wire::Dataset]) -> impl Iterator<Item = (String, u64)> + '_ {
    datasets.iter().flat_map(|dataset| {
        let snapshots = dataset.snapshots.iter();
        snapshots.map(|point| (format!("{}@{}", dataset.name, point.short), point.guid))
    })
}
