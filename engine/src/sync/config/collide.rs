//! Resources that would overwrite each other's data or snapshots.
//!
//! Judged per node, over all resources and all senders: a dataset may be the
//! copy of one resource only, and two resources may touch one dataset only if
//! their snapshots have different names. A resource's source on a node and its
//! copy there from another sender are the same dataset: that is what makes the
//! way back after a failover incremental.

use std::collections::{BTreeMap, BTreeSet};

use super::lookup::Lookup;
use super::mistake::{Mistake, MistakeKind};
use super::names::{NodeName, Rid};
use super::resource::{Resource, SnapshotNames};
use crate::name::DatasetName;

/// What a resource does with a dataset on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Source,
    Copy,
}

/// One dataset of a node that a resource works on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Use<'a> {
    dataset: &'a DatasetName,
    rid: &'a Rid,
    part: Part,
    recursive: bool,
    names: &'a SnapshotNames,
}

impl Use<'_> {
    fn keyword(&self) -> &'static str {
        match self.part {
            Part::Source => "src",
            Part::Copy => "dst",
        }
    }
}

/// The uses of one node, each with a sender whose `src` or `dst` it is. What
/// several senders have in common is one use.
type Uses<'a> = BTreeMap<Use<'a>, &'a NodeName>;

/// Compares all resources of all nodes; `lookup` finds the places.
pub(super) fn check(
    lookup: Lookup<'_>,
    views: &BTreeMap<NodeName, Vec<Resource>>,
    mistakes: &mut Vec<Mistake>,
) {
    let mut reported: BTreeSet<(&Rid, &Rid, Part, Part)> = BTreeSet::new();
    for (node, uses) in uses_by_node(views) {
        for (one, other) in overlapping(&uses) {
            let Some((problem, remedy)) = clash(node, one, other) else {
                continue;
            };
            if !reported.insert((one.rid, other.rid, one.part, other.part)) {
                continue;
            }
            let of_sender = Lookup {
                node: uses.get(other).copied(),
                ..lookup
            };
            mistakes.push(Mistake {
                place: of_sender.place(other.rid.as_str(), other.keyword()),
                kind: MistakeKind::Collision,
                problem,
                remedy: remedy.to_owned(),
            });
        }
    }
}

fn uses_by_node(views: &BTreeMap<NodeName, Vec<Resource>>) -> BTreeMap<&NodeName, Uses<'_>> {
    let mut by_node: BTreeMap<&NodeName, Uses<'_>> = BTreeMap::new();
    for (sender, resources) in views {
        for resource in resources.iter().filter(|resource| !resource.disabled) {
            let of = |dataset, part| Use {
                dataset,
                rid: &resource.rid,
                part,
                recursive: resource.recursive,
                names: &resource.names,
            };
            let mut add = |node, one| {
                let uses = by_node.entry(node).or_default();
                uses.entry(one).or_insert(sender);
            };
            for target in resource.targets() {
                add(&target.node, of(&target.dst, Part::Copy));
            }
            if let Some(sends) = resource.sends() {
                add(sender, of(&sends.src, Part::Source));
            }
        }
    }
    by_node
}

/// Every two uses that touch one dataset, the one with the earlier resource
/// first. Found by the names above each dataset, not by comparing each use
/// with each: a large service has thousands.
fn overlapping<'u, 'a>(uses: &'u Uses<'a>) -> Vec<(&'u Use<'a>, &'u Use<'a>)> {
    let mut by_dataset: BTreeMap<&str, Vec<&Use<'_>>> = BTreeMap::new();
    for one in uses.keys() {
        by_dataset
            .entry(one.dataset.as_str())
            .or_default()
            .push(one);
    }
    let at = |name: &str| by_dataset.get(name).into_iter().flatten().copied();
    let mut pairs = BTreeSet::new();
    for below in uses.keys() {
        let mut add = |above| {
            if above != below {
                let by_rid = |one: &Use<'_>| (one.rid.clone(), one.part, one.dataset.clone());
                let mut pair = [above, below];
                pair.sort_by_cached_key(|one| by_rid(one));
                pairs.insert((pair[0], pair[1]));
            }
        };
        at(below.dataset.as_str()).for_each(&mut add);
        for ancestor in below.dataset.ancestors() {
            at(ancestor.as_str())
                .filter(|above| above.recursive)
                .for_each(&mut add);
        }
    }
    pairs.into_iter().collect()
}

/// What is wrong with two overlapping uses on `node`, and what would be right.
fn clash(node: &NodeName, one: &Use<'_>, other: &Use<'_>) -> Option<(String, &'static str)> {
    let where_both = if one.dataset == other.dataset {
        format!("{} on {node}", one.dataset)
    } else {
        format!("{} and {} on {node}", one.dataset, other.dataset)
    };
    if one.rid == other.rid {
        let nested = one.part != other.part && one.dataset != other.dataset;
        return nested.then(|| {
            (
                format!("source and copy lie inside each other: {where_both}"),
                "let a node send the dataset that it receives into, or one that lies apart from it",
            )
        });
    }
    if (one.part, other.part) == (Part::Copy, Part::Copy) {
        return Some((
            format!("{} receives into the same place: {where_both}", one.rid),
            "give each resource a dst of its own",
        ));
    }
    (one.names == other.names).then(|| {
        (
            format!(
                "its snapshots would be those of {}, @{} and @{}: {where_both}",
                one.rid, one.names.sent, one.names.tosend
            ),
            "write `naming = rid` in one of the two sections or in [DEFAULT]",
        )
    })
}
