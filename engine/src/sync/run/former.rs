//! Names that a resource's snapshots have from before: from the other `naming`,
//! or from the cluster agents, which call them `@sync.1.sent` whatever zferry
//! would.
//!
//! Bases are found by guid, so nothing has to be renamed for a run to be
//! incremental; but what keeps its former name would stay for ever. So each
//! side is renamed as it comes into reach: a target that is away keeps its
//! former names and, on the source, its mark. Renamed is only what is proven
//! to be this resource's: a mark of it names the guid, or both sides have the
//! snapshot and the newest one that they share is called by a name of this
//! resource; and nobody else in the configuration owns the name on that
//! dataset. What stands beside it under the other names of the same naming goes
//! with it, before it: a `tosend` that went nowhere, a base that a rotation was
//! about to destroy.
//!
//! Cut between two renames, each side has its base under one name or the other,
//! and the next run renames the rest before it looks at anything else.

use super::marks::Marks;
use super::round::Round;
use super::side::rename_command;
use super::stale::knows;
use crate::name::{DatasetName, Guid, ShortName};
use crate::peer::{Peer, PeerError};
use crate::sync::config::{Naming, NodeName, Resource, SnapshotNames, Target};
use crate::zfs::{ByName, Dataset, Scope, Snapshot};

/// One rename, of one snapshot or of all of that name in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rename {
    dataset: DatasetName,
    from: ShortName,
    to: ShortName,
    scope: Scope,
}

/// The names that the resource's snapshots would have by the other `naming`.
fn former_names(resource: &Resource) -> SnapshotNames {
    let naming = match resource.naming {
        Naming::Plain => Naming::Rid,
        Naming::Rid => Naming::Plain,
    };
    SnapshotNames::new(naming, &resource.rid)
}

fn all(names: &SnapshotNames) -> [&ShortName; 3] {
    [&names.sent, &names.tosend, &names.aside]
}

/// True for the names that resources give to their snapshots, by whatever
/// naming. Others may be newer than any of them: carried along by a run that
/// was cut, or brought by another tool.
fn is_of_scheme(short: &ShortName) -> bool {
    let words = ["sent", "tosend", "sent.old"];
    let ends = |word: &str| match short.as_str().strip_suffix(word) {
        Some(prefix) => prefix.is_empty() || prefix.ends_with('.'),
        None => false,
    };
    words.into_iter().any(ends)
}

impl Round<'_> {
    /// True if something in the tree has a former name of this resource.
    pub(super) fn has_former(&self, tree: &[Dataset]) -> bool {
        let former = former_names(self.resource);
        let has = |dataset: &Dataset| {
            let named = |short: &ShortName| dataset.snapshot_by_name(short).is_some();
            all(&former).into_iter().any(named)
        };
        tree.iter().any(has)
    }

    /// Renames what the source still calls by former names. `copies` are the
    /// trees of the targets in reach.
    ///
    /// What another resource of the service may have to start from, whose
    /// targets got it when both were one, is marked for those before.
    pub(super) async fn rename_source(
        &self,
        source: &mut Peer,
        tree: &[Dataset],
        copies: &[(&Target, Vec<Dataset>)],
    ) -> Result<(), PeerError> {
        let renames = self.source_renames(tree, copies);
        if renames.is_empty() {
            return Ok(());
        }
        self.mark_for_other_resources(source, tree).await?;
        self.rename_all(source, renames).await
    }

    fn source_renames(&self, tree: &[Dataset], copies: &[(&Target, Vec<Dataset>)]) -> Vec<Rename> {
        let by_name = copies
            .iter()
            .map(|(target, copy)| (*target, ByName::of(copy)));
        let copies: Vec<_> = by_name.collect();
        let is_ours = |here: &Dataset, snapshot: &Snapshot| {
            let marked = |target: &Target| {
                let marks = Marks::new(&self.resource.rid, target);
                marks.guids(here).contains(&snapshot.guid)
            };
            let shared = |target: &Target, copy: &ByName<'_>| {
                let there = copy.counterpart(&here.name, &self.sends.src, &target.dst);
                there.is_some_and(|there| self.shares(here, there, snapshot.guid))
            };
            self.sends.targets.iter().any(marked)
                || copies.iter().any(|(target, copy)| shared(target, copy))
        };
        self.renames(self.node, &self.sends.src, tree, is_ours)
    }

    /// What a run would rename for a target, each a line after the node that
    /// does it, and the target's tree after that.
    pub(super) fn rehearse_takeover(
        &self,
        (here, source_tree): (&str, &[Dataset]),
        there: &str,
        (target, tree): (&Target, Vec<Dataset>),
    ) -> (Vec<String>, Vec<Dataset>) {
        let copies = [(target, tree)];
        let of_source = self.source_renames(source_tree, &copies);
        let [(_, mut tree)] = copies;
        let of_target = self.renames_on(target, source_tree, &tree);
        for rename in &of_target {
            let is_in_scope = |dataset: &&mut Dataset| {
                dataset.name == rename.dataset || rename.scope == Scope::Recursive
            };
            let snapshots = tree.iter_mut().filter(is_in_scope);
            let mut snapshots = snapshots.flat_map(|dataset| &mut dataset.snapshots);
            while let Some(snapshot) = snapshots.find(|one| one.short == rename.from) {
                snapshot.short = rename.to.clone();
            }
        }
        let line = |node: &str, one: &Rename| {
            let command = rename_command(&one.dataset, &one.from, &one.to, one.scope);
            format!("{node}: {command}")
        };
        let of_source = of_source.iter().map(|one| line(here, one));
        let of_target = of_target.iter().map(|one| line(there, one));
        (of_source.chain(of_target).collect(), tree)
    }

    /// The target's tree, after what it still calls by former names was renamed
    /// and a rotation that was cut was completed.
    pub(super) async fn taken_over(
        &self,
        source_tree: &[Dataset],
        peer: &mut Peer,
        target: &Target,
    ) -> Result<Vec<Dataset>, PeerError> {
        let side = self.side(&target.dst);
        let tree = side.tree(peer).await?;
        let renames = self.renames_on(target, source_tree, &tree);
        if renames.is_empty() {
            return side.recovered_from(peer, tree).await;
        }
        self.rename_all(peer, renames).await?;
        side.recovered(peer).await
    }

    fn renames_on(
        &self,
        target: &Target,
        source_tree: &[Dataset],
        tree: &[Dataset],
    ) -> Vec<Rename> {
        let marks = Marks::new(&self.resource.rid, target);
        let source = ByName::of(source_tree);
        let is_ours = |there: &Dataset, snapshot: &Snapshot| {
            let here = source.counterpart(&there.name, &target.dst, &self.sends.src);
            here.is_some_and(|here| {
                marks.guids(here).contains(&snapshot.guid)
                    || knows(here, snapshot.guid)
                        && self.is_newest_ours(there, |guid| knows(here, guid))
            })
        };
        self.renames(&target.node, &target.dst, tree, is_ours)
    }

    /// True if the copy has the snapshot, or a part of it, as one of this
    /// resource.
    fn shares(&self, here: &Dataset, there: &Dataset, guid: Guid) -> bool {
        let partial = there.partial.as_ref();
        let arriving = partial.and_then(|partial| Some(partial.content.as_ref()?.to_guid));
        let has = |guid: Guid| there.snapshot_by_guid(guid).is_some();
        arriving == Some(guid) || has(guid) && self.is_newest_ours(here, has)
    }

    /// True if of the snapshots of resources that both sides have, the newest
    /// is called by a name of this resource in `dataset`.
    fn is_newest_ours(&self, dataset: &Dataset, other_has: impl Fn(Guid) -> bool) -> bool {
        let mut newest_first = dataset.snapshots.iter().rev();
        let newest = newest_first.find(|one| is_of_scheme(&one.short) && other_has(one.guid));
        let former = former_names(self.resource);
        let names = [all(&former), all(&self.resource.names)].concat();
        newest.is_some_and(|newest| names.contains(&&newest.short))
    }

    /// What to rename on a side, in the order that a cut may fall into.
    fn renames(
        &self,
        node: &NodeName,
        root: &DatasetName,
        tree: &[Dataset],
        is_ours: impl Fn(&Dataset, &Snapshot) -> bool,
    ) -> Vec<Rename> {
        let former = former_names(self.resource);
        let mut renames = Vec::new();
        let is_proven = |dataset: &Dataset, short: &ShortName| {
            let found = dataset.snapshot_by_name(short);
            found.is_some_and(|snapshot| is_ours(dataset, snapshot))
        };
        let names = &self.resource.names;
        for (from, to) in [
            (&former.tosend, &names.tosend),
            (&former.sent, &names.sent),
            (&former.aside, &names.aside),
        ] {
            let named = |dataset: &&Dataset| dataset.snapshot_by_name(from).is_some();
            let having: Vec<&Dataset> = tree.iter().filter(named).collect();
            let may_be_renamed = |dataset: &&&Dataset| {
                let (name, rid) = (&dataset.name, &self.resource.rid);
                dataset.snapshot_by_name(to).is_none()
                    && name.snapshot(to).is_ok()
                    && self.service.other_owner(node, name, from, rid).is_none()
                    && all(&former).iter().any(|short| is_proven(dataset, short))
            };
            let ours: Vec<_> = having.iter().filter(may_be_renamed).collect();
            let of_root = ours.first().is_some_and(|first| first.name == *root);
            let whole = of_root && ours.len() == having.len();
            let (count, scope) = match whole {
                true => (1, self.scope()),
                false => (ours.len(), Scope::One),
            };
            let proven = ours.iter().all(|dataset| is_proven(dataset, from));
            renames.extend(ours.into_iter().take(count).map(|dataset| {
                let rename = Rename {
                    dataset: dataset.name.clone(),
                    from: from.clone(),
                    to: to.clone(),
                    scope,
                };
                (proven, rename)
            }));
        }
        // What proves the others goes last: a cut does not part them.
        renames.sort_by_key(|(proven, _)| *proven);
        renames.into_iter().map(|(_, rename)| rename).collect()
    }

    async fn rename_all(&self, peer: &mut Peer, renames: Vec<Rename>) -> Result<(), PeerError> {
        for Rename {
            dataset,
            from,
            to,
            scope,
        } in renames
        {
            let side = self.side(&dataset);
            side.rename(peer, &dataset, &from, &to, scope).await?;
        }
        Ok(())
    }

    async fn mark_for_other_resources(
        &self,
        source: &mut Peer,
        tree: &[Dataset],
    ) -> Result<(), PeerError> {
        let former = former_names(self.resource);
        let resources = self.service.resolve(self.node).unwrap_or_default();
        let others = resources
            .iter()
            .filter(|other| other.rid != self.resource.rid);
        for other in others.filter(|other| former_names(other) == former) {
            let Some(sends) = other.sends() else { continue };
            let shared = tree.iter().filter(|dataset| match other.recursive {
                true => dataset.name.is_within(&sends.src),
                false => dataset.name == sends.src,
            });
            let shared: Vec<Dataset> = shared.cloned().collect();
            for target in &sends.targets {
                let marks = Marks::new(&other.rid, target);
                self.tolerate(marks.keep(source, &shared, &former.sent).await)?;
            }
        }
        Ok(())
    }
}
