//! The base of a copy, held on its target between two runs.
//!
//! A permanent hold with a tag of ours on the newest snapshot that both sides
//! share, so that no retention destroys it. What is new is held before what is
//! old is released: cut in between, both are held, and the next run releases
//! the old one. Only holds with this very tag are ever placed or released.

use std::collections::HashSet;

use super::TOGETHER_MAX;
use crate::event::{Event, Observer};
use crate::hold::{BaseHold, Held, KeepBase};
use crate::name::{DatasetName, Guid, SnapshotName};
use crate::peer::{Peer, PeerError};
use crate::zfs::{Dataset, Scope};

/// A tree on a target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub root: &'a DatasetName,
    pub scope: Scope,
}

/// What is to be held, and what released.
#[derive(Debug)]
pub(crate) struct BaseChange<'a> {
    base: &'a BaseHold,
    hold: Vec<(SnapshotName, Guid)>,
    release: Vec<(SnapshotName, Guid)>,
}

impl<'a> BaseChange<'a> {
    /// What it takes until in the datasets of `wanted` these are held and
    /// nothing else is, or nothing at all if none is to be. `tree` is the tree
    /// at `place`; who holds something is only asked if anything is held.
    ///
    /// # Errors
    /// [`PeerError`].
    pub(crate) async fn find(
        peer: &mut Peer,
        place: Place<'_>,
        tree: &[Dataset],
        wanted: &[(SnapshotName, Guid)],
        base: &'a BaseHold,
    ) -> Result<Self, PeerError> {
        let ours = ours(peer, place, tree, base).await?;
        let datasets: HashSet<_> = wanted.iter().map(|(name, _)| &name.dataset).collect();
        let wanted: &[_] = match base.keep {
            KeepBase::Hold => wanted,
            KeepBase::Leave => &[],
        };
        let of_held = |held: &'_ Held| (held.snapshot.dataset.clone(), held.guid);
        let is_held: HashSet<_> = ours.iter().map(of_held).collect();
        let of_wanted = |(name, guid): &(SnapshotName, Guid)| (name.dataset.clone(), *guid);
        let is_wanted: HashSet<_> = wanted.iter().map(of_wanted).collect();
        let hold = wanted
            .iter()
            .filter(|one| !is_held.contains(&of_wanted(one)));
        let stale = ours.iter().filter(|held| {
            datasets.contains(&held.snapshot.dataset) && !is_wanted.contains(&of_held(held))
        });
        Ok(Self {
            base,
            hold: hold.cloned().collect(),
            release: stale
                .map(|held| (held.snapshot.clone(), held.guid))
                .collect(),
        })
    }

    /// What it takes until nothing of the tree is held with this tag.
    ///
    /// # Errors
    /// [`PeerError`].
    pub(crate) async fn let_go(
        peer: &mut Peer,
        place: Place<'_>,
        tree: &[Dataset],
        base: &'a BaseHold,
    ) -> Result<Self, PeerError> {
        let ours = ours(peer, place, tree, base).await?;
        let release = ours.into_iter().map(|held| (held.snapshot, held.guid));
        Ok(Self {
            base,
            hold: Vec::new(),
            release: release.collect(),
        })
    }

    /// The steps as commands.
    pub(crate) fn commands(&self) -> Vec<String> {
        let command = |verb: &str, snapshots: &[(SnapshotName, Guid)]| {
            let names: Vec<String> = snapshots.iter().map(|(name, _)| name.to_string()).collect();
            format!("zfs {verb} {} {}", self.base.tag, names.join(" "))
        };
        let mut commands = Vec::new();
        if !self.hold.is_empty() {
            commands.push(command("hold", &self.hold));
        }
        if !self.release.is_empty() {
            commands.push(command("release", &self.release));
        }
        commands
    }

    /// Does it, by guid.
    ///
    /// # Errors
    /// [`PeerError`]; what was held before is held still, or what is new is.
    pub(crate) async fn make(
        self,
        peer: &mut Peer,
        observer: &dyn Observer,
    ) -> Result<(), PeerError> {
        for command in self.commands() {
            let peer = peer.name.clone();
            observer.event(&Event::Step { peer, command });
        }
        for part in self.hold.chunks(TOGETHER_MAX) {
            peer.hold_kept(part.to_vec(), self.base.tag.clone()).await?;
        }
        for part in self.release.chunks(TOGETHER_MAX) {
            let tag = self.base.tag.clone();
            peer.release_kept(part.to_vec(), tag).await?;
        }
        Ok(())
    }
}

/// What is held with this tag.
async fn ours(
    peer: &mut Peer,
    place: Place<'_>,
    tree: &[Dataset],
    base: &BaseHold,
) -> Result<Vec<Held>, PeerError> {
    let mut snapshots = tree.iter().flat_map(|dataset| &dataset.snapshots);
    if !snapshots.any(|snapshot| snapshot.holds > 0) {
        return Ok(Vec::new());
    }
    let mut held = peer.holds(place.root, place.scope).await?;
    held.retain(|held| held.tag == base.tag.as_str());
    Ok(held)
}
