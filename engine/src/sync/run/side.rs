//! One side of a resource: a tree on a peer, and its rotation.

use crate::event::{Event, Observer};
use crate::name::{DatasetName, ShortName, SnapshotName};
use crate::peer::{Peer, PeerError};
use crate::sync::config::SnapshotNames;
use crate::zfs::{Dataset, Scope};

/// A tree of a resource on one peer.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub root: &'a DatasetName,
    pub scope: Scope,
    pub names: &'a SnapshotNames,
    pub observer: &'a dyn Observer,
}

impl Side<'_> {
    /// Lists the tree, after completing a rotation that was cut. Empty if the
    /// root does not exist.
    pub(super) async fn recovered(&self, peer: &mut Peer) -> Result<Vec<Dataset>, PeerError> {
        let tree = self.tree(peer).await?;
        self.recovered_from(peer, tree).await
    }

    /// The same for a tree that has just been listed.
    pub(super) async fn recovered_from(
        &self,
        peer: &mut Peer,
        tree: Vec<Dataset>,
    ) -> Result<Vec<Dataset>, PeerError> {
        let Some(root) = tree.first() else {
            return Ok(tree);
        };
        let has = |short: &ShortName| root.snapshot_by_name(short).is_some();
        let (sent, tosend, aside) = (
            has(&self.names.sent),
            has(&self.names.tosend),
            has(&self.names.aside),
        );
        if aside && !sent {
            // Cut between the two renames, or, without a tosend, before
            // somebody destroyed it: then what is aside is the base.
            let from = if tosend {
                &self.names.tosend
            } else {
                &self.names.aside
            };
            self.rename(peer, self.root, from, &self.names.sent, self.scope)
                .await?;
        }
        let any_aside = tree
            .iter()
            .any(|dataset| dataset.snapshot_by_name(&self.names.aside).is_some());
        if any_aside {
            self.settle(peer).await?;
            return self.tree(peer).await;
        }
        Ok(tree)
    }

    /// Makes `tosend` the new `sent`. The topmost dataset has a `tosend`, and
    /// no dataset of the tree has anything aside.
    ///
    /// Atomic renames, and the old base is destroyed last: whenever this is
    /// cut, `recovered` completes it and a base is there.
    pub(super) async fn rotate(&self, peer: &mut Peer, tree: &[Dataset]) -> Result<(), PeerError> {
        let names = self.names;
        let had_sent = tree
            .first()
            .is_some_and(|root| root.snapshot_by_name(&names.sent).is_some());
        if had_sent {
            self.rename(peer, self.root, &names.sent, &names.aside, self.scope)
                .await?;
        }
        self.rename(peer, self.root, &names.tosend, &names.sent, self.scope)
            .await?;
        if had_sent {
            self.settle(peer).await?;
        }
        Ok(())
    }

    /// Destroys what stands aside wherever a new `sent` has taken its place.
    /// A dataset that has none, because its source is gone or never had a
    /// `tosend`, gets its `sent` back.
    async fn settle(&self, peer: &mut Peer) -> Result<(), PeerError> {
        let mut obsolete = Vec::new();
        for dataset in self.tree(peer).await? {
            let Some(aside) = dataset.snapshot_by_name(&self.names.aside) else {
                continue;
            };
            if dataset.snapshot_by_name(&self.names.sent).is_some() {
                let name = SnapshotName {
                    dataset: dataset.name.clone(),
                    short: aside.short.clone(),
                };
                obsolete.push((name, aside.guid));
            } else {
                self.rename(
                    peer,
                    &dataset.name,
                    &self.names.aside,
                    &self.names.sent,
                    Scope::One,
                )
                .await?;
            }
        }
        if obsolete.is_empty() {
            return Ok(());
        }
        let recursive = if obsolete.len() > 1 { "-r " } else { "" };
        self.step(
            peer,
            format!("zfs destroy {recursive}{}@{}", self.root, self.names.aside),
        );
        peer.destroy_snapshots(obsolete).await
    }

    /// Destroys `tosend` everywhere: it holds data that is no longer wanted.
    pub(super) async fn drop_tosend(
        &self,
        peer: &mut Peer,
        tree: &[Dataset],
    ) -> Result<(), PeerError> {
        let leftovers: Vec<_> = tree
            .iter()
            .filter_map(|dataset| {
                let leftover = dataset.snapshot_by_name(&self.names.tosend)?;
                let name = SnapshotName {
                    dataset: dataset.name.clone(),
                    short: leftover.short.clone(),
                };
                Some((name, leftover.guid))
            })
            .collect();
        if leftovers.is_empty() {
            return Ok(());
        }
        self.step(
            peer,
            format!("zfs destroy -r {}@{}", self.root, self.names.tosend),
        );
        peer.destroy_snapshots(leftovers).await
    }

    pub(super) async fn tree(&self, peer: &mut Peer) -> Result<Vec<Dataset>, PeerError> {
        Ok(peer.tree(self.root, self.scope).await?.unwrap_or_default())
    }

    pub(super) async fn rename(
        &self,
        peer: &mut Peer,
        dataset: &DatasetName,
        from: &ShortName,
        to: &ShortName,
        scope: Scope,
    ) -> Result<(), PeerError> {
        let recursive = if scope == Scope::Recursive { "-r " } else { "" };
        self.step(
            peer,
            format!("zfs rename {recursive}{dataset}@{from} {dataset}@{to}"),
        );
        let from = SnapshotName {
            dataset: dataset.clone(),
            short: from.clone(),
        };
        peer.rename_snapshot(from, to.clone(), scope).await
    }

    pub(super) fn step(&self, peer: &Peer, command: String) {
        self.observer.event(&Event::Step {
            peer: peer.name.clone(),
            command,
        });
    }
}
