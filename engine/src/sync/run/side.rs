//! One side of a resource: a tree on a peer, and its rotation.

use crate::event::{Event, Observer};
use crate::hold::BaseHold;
use crate::name::{DatasetName, Guid, ShortName, SnapshotName};
use crate::peer::{Peer, PeerError};
use crate::replicate::{BaseChange, Place};
use crate::sync::config::SnapshotNames;
use crate::zfs::{Dataset, Scope, Snapshot};

/// A tree of a resource on one peer.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub root: &'a DatasetName,
    pub scope: Scope,
    pub names: &'a SnapshotNames,
    /// The hold on a base between two runs, wherever one is met.
    pub base: &'a BaseHold,
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
        let has_sent = |dataset: &&Dataset| dataset.snapshot_by_name(&names.sent).is_some();
        let with_sent: Vec<&Dataset> = tree.iter().filter(has_sent).collect();
        match with_sent.first() {
            Some(first) if first.name == *self.root => {
                self.rename(peer, self.root, &names.sent, &names.aside, self.scope)
                    .await?;
            }
            // That of the topmost dataset was destroyed or renamed by hand.
            _ => {
                for dataset in &with_sent {
                    let name = &dataset.name;
                    self.rename(peer, name, &names.sent, &names.aside, Scope::One)
                        .await?;
                }
            }
        }
        self.rename(peer, self.root, &names.tosend, &names.sent, self.scope)
            .await?;
        if !with_sent.is_empty() {
            self.settle(peer).await?;
        }
        Ok(())
    }

    /// Destroys what stands aside wherever a new `sent` has taken its place,
    /// and what was kept from being destroyed and is free by now. A dataset
    /// that has no `sent`, because its source is gone or never had a `tosend`,
    /// gets the old one back.
    async fn settle(&self, peer: &mut Peer) -> Result<(), PeerError> {
        let mut obsolete = Vec::new();
        for dataset in self.tree(peer).await? {
            let released = dataset.snapshots.iter().filter(|snapshot| {
                !is_in_use(snapshot) && kept(snapshot.guid).as_ref() == Some(&snapshot.short)
            });
            obsolete.extend(released.map(|snapshot| named(&dataset, snapshot)));
            let Some(aside) = dataset.snapshot_by_name(&self.names.aside) else {
                continue;
            };
            if dataset.snapshot_by_name(&self.names.sent).is_none() {
                let (aside, sent) = (&self.names.aside, &self.names.sent);
                self.rename(peer, &dataset.name, aside, sent, Scope::One)
                    .await?;
            } else if !self.keep_used(peer, &dataset, aside).await? {
                obsolete.push(named(&dataset, aside));
            }
        }
        self.destroy(peer, obsolete, &self.names.aside).await
    }

    /// On a target, before it rotates: holds the new bases, if that is asked
    /// for, and then releases what was held before in their datasets.
    pub(super) async fn keep_base(
        &self,
        peer: &mut Peer,
        tree: &[Dataset],
        bases: &[(SnapshotName, Guid)],
    ) -> Result<(), PeerError> {
        let change = BaseChange::find(peer, self.place(), tree, bases, self.base).await?;
        change.make(peer, self.observer).await
    }

    /// Releases everything in the tree that is held as a base of the resource.
    pub(super) async fn let_bases_go(&self, peer: &mut Peer) -> Result<(), PeerError> {
        let tree = self.tree(peer).await?;
        let change = BaseChange::let_go(peer, self.place(), &tree, self.base).await?;
        change.make(peer, self.observer).await
    }

    pub(super) fn place(&self) -> Place<'_> {
        Place {
            root: self.root,
            scope: self.scope,
        }
    }

    /// True if somebody needs a snapshot that is not wanted any more. What the
    /// resource itself holds as a base, since its node was a target before it
    /// was the sender, is no such need: that hold is released.
    async fn is_needed(
        &self,
        peer: &mut Peer,
        dataset: &Dataset,
        snapshot: &Snapshot,
    ) -> Result<bool, PeerError> {
        if snapshot.holds == 0 {
            return Ok(snapshot.clones > 0);
        }
        let mut held = peer.holds(&dataset.name, Scope::One).await?;
        held.retain(|held| held.guid == snapshot.guid);
        let tag = &self.base.tag;
        let (ours, others): (Vec<_>, Vec<_>) =
            held.into_iter().partition(|held| held.tag == tag.as_str());
        if !ours.is_empty() {
            let (name, guid) = named(dataset, snapshot);
            self.step(peer, format!("zfs release {tag} {name}"));
            peer.release_kept(vec![(name, guid)], tag.clone()).await?;
        }
        Ok(!others.is_empty() || snapshot.clones > 0)
    }

    /// Gives a snapshot that is not wanted any more, but held or cloned by
    /// somebody, a name that is in nobody's way; false if it may be destroyed.
    async fn keep_used(
        &self,
        peer: &mut Peer,
        dataset: &Dataset,
        snapshot: &Snapshot,
    ) -> Result<bool, PeerError> {
        let kept = kept(snapshot.guid).filter(|kept| dataset.name.snapshot(kept).is_ok());
        let (true, Some(kept)) = (self.is_needed(peer, dataset, snapshot).await?, kept) else {
            return Ok(false);
        };
        let text = format!(
            "{}@{} is held or cloned: it stays as @{kept} until it is free",
            dataset.name, snapshot.short
        );
        self.observer.event(&Event::Notice {
            peer: peer.name.clone(),
            text,
        });
        self.rename(peer, &dataset.name, &snapshot.short, &kept, Scope::One)
            .await?;
        Ok(true)
    }

    /// Destroys `tosend` everywhere: it holds data that is no longer wanted.
    pub(super) async fn drop_tosend(
        &self,
        peer: &mut Peer,
        tree: &[Dataset],
    ) -> Result<(), PeerError> {
        let mut leftovers = Vec::new();
        for dataset in tree {
            let Some(leftover) = dataset.snapshot_by_name(&self.names.tosend) else {
                continue;
            };
            if !self.keep_used(peer, dataset, leftover).await? {
                leftovers.push(named(dataset, leftover));
            }
        }
        self.destroy(peer, leftovers, &self.names.tosend).await
    }

    /// Destroys these, most of which are called `short`, all or none, by guid.
    async fn destroy(
        &self,
        peer: &mut Peer,
        snapshots: Vec<(SnapshotName, Guid)>,
        short: &ShortName,
    ) -> Result<(), PeerError> {
        let is_other = |name: &SnapshotName| name.short != *short;
        let (others, usual): (Vec<_>, Vec<_>) =
            snapshots.iter().partition(|(name, _)| is_other(name));
        for (name, _) in others {
            self.step(peer, format!("zfs destroy {name}"));
        }
        match usual.as_slice() {
            [] => {}
            [(name, _)] if *short == self.names.aside => {
                self.step(peer, format!("zfs destroy {name}"));
            }
            _ => self.step(peer, format!("zfs destroy -r {}@{short}", self.root)),
        }
        if snapshots.is_empty() {
            return Ok(());
        }
        peer.destroy_snapshots(snapshots).await
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
        self.step(peer, rename_command(dataset, from, to, scope));
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

/// The rename of a snapshot as a command.
pub(super) fn rename_command(
    dataset: &DatasetName,
    from: &ShortName,
    to: &ShortName,
    scope: Scope,
) -> String {
    let recursive = if scope == Scope::Recursive { "-r " } else { "" };
    format!("zfs rename {recursive}{dataset}@{from} {dataset}@{to}")
}

/// What is called so was in use when its time had come. The name carries the
/// guid, so that nothing else is ever taken for it.
fn kept(guid: Guid) -> Option<ShortName> {
    ShortName::parse(&format!("zferry-kept-{guid}")).ok()
}

fn is_in_use(snapshot: &Snapshot) -> bool {
    snapshot.holds > 0 || snapshot.clones > 0
}

fn named(dataset: &Dataset, snapshot: &Snapshot) -> (SnapshotName, Guid) {
    let name = SnapshotName {
        dataset: dataset.name.clone(),
        short: snapshot.short.clone(),
    };
    (name, snapshot.guid)
}
