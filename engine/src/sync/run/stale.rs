//! A `tosend` on a target that the source has never heard of: left by a run
//! that sent from that node, before the roles were swapped.
//!
//! It is of the scheme, and it stands in the way twice: by its name, and as a
//! snapshot newer than the base. Where everything else allows a transfer it is
//! destroyed right before; in a broken chain it stays, like all the rest. What
//! was written to the dataset up to it counts as written since the base: the
//! plan is made with the tree as it will be, so that a node whose own changes
//! were never sent anywhere is not taken for an unchanged copy.

use super::side::Side;
use crate::hold::Held;
use crate::name::{DatasetName, Guid, SnapshotName};
use crate::peer::{Peer, PeerError};
use crate::zfs::{ByName, Dataset};

/// What has to go, and the target's tree without it.
pub(super) struct Stale {
    doomed: Vec<(SnapshotName, Guid)>,
    /// Somebody holds one of these.
    is_held: bool,
    /// The tree as it will be.
    pub tree: Vec<Dataset>,
}

impl Stale {
    /// Finds it in `tree`, which `side` describes. `source_root` is where the
    /// source has the same tree. Changes nothing.
    pub(super) fn find(
        side: Side<'_>,
        source: &[Dataset],
        source_root: &DatasetName,
        mut tree: Vec<Dataset>,
    ) -> Self {
        let mut doomed = Vec::new();
        let mut is_held = false;
        let source = ByName::of(source);
        for there in &mut tree {
            let Ok(name) = there.name.rebase(side.root, source_root) else {
                continue; // The plan says so.
            };
            // A dataset that the source does not have is renamed with the rest
            // of the tree when the target commits: its `tosend` would become
            // a base that nobody sent.
            let here = source.get(&name);
            let short = &side.names.tosend;
            let Some(at) = there.snapshots.iter().position(|s| s.short == *short) else {
                continue;
            };
            if here.is_some_and(|here| knows(here, there.snapshots[at].guid)) {
                continue;
            }
            let snapshot = named(there, at);
            let gone = there.snapshots.remove(at);
            let written_bytes = match there.snapshots.get_mut(at) {
                Some(next) => &mut next.written_bytes,
                None => &mut there.written_bytes,
            };
            *written_bytes += gone.written_bytes;
            is_held |= gone.holds > 0;
            doomed.push((snapshot, gone.guid));
        }
        Self {
            doomed,
            is_held,
            tree,
        }
    }

    /// The steps of [`Self::destroy`] on `peer`.
    pub(super) fn commands(&self, peer: &str) -> Vec<String> {
        let doomed = self.doomed.iter();
        doomed
            .map(|(snapshot, _)| format!("{peer}: zfs destroy {snapshot}"))
            .collect()
    }

    /// Destroys it, all or none, by guid.
    pub(super) async fn destroy(self, side: Side<'_>, peer: &mut Peer) -> Result<(), PeerError> {
        if self.doomed.is_empty() {
            return Ok(());
        }
        // A run that was cut as it committed it holds it as a base.
        if self.is_held {
            let of = |held: &Held| (held.snapshot.clone(), held.guid);
            let held = peer.holds(side.root, side.scope).await?;
            let tag = &side.base.tag;
            let ours = held.iter().filter(|held| held.tag == tag.as_str()).map(of);
            let ours: Vec<_> = ours.filter(|held| self.doomed.contains(held)).collect();
            for (name, _) in &ours {
                side.step(peer, format!("zfs release {tag} {name}"));
            }
            if !ours.is_empty() {
                peer.release_kept(ours, tag.clone()).await?;
            }
        }
        for (snapshot, _) in &self.doomed {
            side.step(peer, format!("zfs destroy {snapshot}"));
        }
        peer.destroy_snapshots(self.doomed).await
    }
}

/// True if the dataset has the snapshot, or a bookmark of it.
pub(super) fn knows(dataset: &Dataset, guid: Guid) -> bool {
    dataset.snapshot_by_guid(guid).is_some()
        || dataset.bookmarks.iter().any(|mark| mark.guid == guid)
}

fn named(dataset: &Dataset, at: usize) -> SnapshotName {
    SnapshotName {
        dataset: dataset.name.clone(),
        short: dataset.snapshots[at].short.clone(),
    }
}
