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
    /// The node whose `src` or `dst` it is.
    sender: &'a NodeName,
}

impl Use<'_> {
    fn overlaps(&self, other: &Self) -> bool {
        self.dataset == other.dataset
            || (self.recursive && other.dataset.is_within(self.dataset))
            || (other.recursive && self.dataset.is_within(other.dataset))
    }

    fn keyword(&self) -> &'static str {
        match self.part {
            Part::Source => "src",
            Part::Copy => "dst",
        }
    }
}

/// Compares all resources of all nodes; `lookup` finds the places.
pub(super) fn check(
    lookup: Lookup<'_>,
    views: &BTreeMap<NodeName, Vec<Resource>>,
    mistakes: &mut Vec<Mistake>,
) {
    let mut reported: BTreeSet<(Rid, Rid, Part, Part)> = BTreeSet::new();
    for (node, uses) in uses_by_node(views) {
        let uses: Vec<Use<'_>> = uses.into_iter().collect();
        for (index, one) in uses.iter().enumerate() {
            for other in &uses[index + 1..] {
                let Some((problem, remedy)) = clash(node, one, other) else {
                    continue;
                };
                let key = (one.rid.clone(), other.rid.clone(), one.part, other.part);
                if !reported.insert(key) {
                    continue;
                }
                let of_sender = Lookup {
                    node: Some(other.sender),
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
}

fn uses_by_node(
    views: &BTreeMap<NodeName, Vec<Resource>>,
) -> BTreeMap<&NodeName, BTreeSet<Use<'_>>> {
    let mut by_node: BTreeMap<&NodeName, BTreeSet<Use<'_>>> = BTreeMap::new();
    for (sender, resources) in views {
        for resource in resources.iter().filter(|resource| !resource.disabled) {
            let Some(sends) = resource.sends() else {
                continue;
            };
            let source = Use {
                dataset: &sends.src,
                rid: &resource.rid,
                part: Part::Source,
                recursive: resource.recursive,
                names: &resource.names,
                sender,
            };
            for target in &sends.targets {
                let copy = Use {
                    dataset: &target.dst,
                    part: Part::Copy,
                    ..source.clone()
                };
                by_node.entry(&target.node).or_default().insert(copy);
            }
            by_node.entry(sender).or_default().insert(source);
        }
    }
    by_node
}

/// What is wrong with two uses on `node`, and what would be right.
fn clash(node: &NodeName, one: &Use<'_>, other: &Use<'_>) -> Option<(String, &'static str)> {
    if !one.overlaps(other) {
        return None;
    }
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
