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
pub(super) struct Use<'a> {
    /// Its service, as a place in a list of them.
    pub service: usize,
    pub rid: &'a Rid,
    part: Part,
    dataset: &'a DatasetName,
    recursive: bool,
    names: &'a SnapshotNames,
}

impl Use<'_> {
    pub(super) fn keyword(&self) -> &'static str {
        match self.part {
            Part::Source => "src",
            Part::Copy => "dst",
        }
    }

    /// The pool it is in.
    pub(super) fn pool(&self) -> &str {
        self.dataset.pool()
    }
}

/// The uses of one node, each with a sender whose `src` or `dst` it is. What
/// several senders have in common is one use.
type Uses<'a> = BTreeMap<Use<'a>, &'a NodeName>;

/// What resources of one or more services do on each node.
#[derive(Debug, Default)]
pub(super) struct UsesByNode<'a>(BTreeMap<&'a NodeName, Uses<'a>>);

/// What is wrong with two uses, and with whose eyes the second one is seen.
pub(super) struct Clash<'u, 'a> {
    pub node: &'a NodeName,
    pub one: &'u Use<'a>,
    pub other: &'u Use<'a>,
    pub sender: Option<&'a NodeName>,
    pub problem: String,
    pub remedy: &'static str,
}

/// Compares all resources of all nodes; `lookup` finds the places.
pub(super) fn check(
    lookup: Lookup<'_>,
    views: &BTreeMap<NodeName, Vec<Resource>>,
    mistakes: &mut Vec<Mistake>,
) {
    let mut uses = UsesByNode::default();
    uses.add(0, views);
    for clash in uses.clashes() {
        let of_sender = Lookup {
            node: clash.sender,
            ..lookup
        };
        mistakes.push(Mistake {
            place: of_sender.place(clash.other.rid.as_str(), clash.other.keyword()),
            kind: MistakeKind::Collision,
            problem: clash.problem,
            remedy: clash.remedy.to_owned(),
        });
    }
}

impl<'a> UsesByNode<'a> {
    /// Adds what the resources of a service do.
    pub(super) fn add(&mut self, service: usize, views: &'a BTreeMap<NodeName, Vec<Resource>>) {
        for (sender, resources) in views {
            for resource in resources.iter().filter(|resource| !resource.disabled) {
                let of = |dataset, part| Use {
                    service,
                    dataset,
                    rid: &resource.rid,
                    part,
                    recursive: resource.recursive,
                    names: &resource.names,
                };
                let mut add = |node, one| {
                    let uses = self.0.entry(node).or_default();
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
    }

    /// Every two resources that are in each other's way, once for each way.
    pub(super) fn clashes<'u>(&'u self) -> Vec<Clash<'u, 'a>> {
        let mut reported = BTreeSet::new();
        let mut clashes = Vec::new();
        for (node, uses) in &self.0 {
            for (one, other) in overlapping(uses) {
                let Some((problem, remedy)) = clash(node, one, other) else {
                    continue;
                };
                let key = |one: &Use<'a>| (one.service, one.rid, one.part);
                if reported.insert((key(one), key(other))) {
                    clashes.push(Clash {
                        node,
                        one,
                        other,
                        sender: uses.get(other).copied(),
                        problem,
                        remedy,
                    });
                }
            }
        }
        clashes
    }
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
                // Uses are ordered by service and resource first.
                let mut pair = [above, below];
                pair.sort();
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
    if one.service != other.service {
        return clash_of_services(one, other, &where_both);
    }
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

/// The same for resources of two services, which share neither file nor lock.
fn clash_of_services(
    one: &Use<'_>,
    other: &Use<'_>,
    where_both: &str,
) -> Option<(String, &'static str)> {
    if (one.part, other.part) == (Part::Copy, Part::Copy) {
        return Some((
            format!("another service receives into the same place: {where_both}"),
            "give each resource a dst of its own",
        ));
    }
    (one.names == other.names).then(|| {
        (
            format!(
                "its snapshots would be those of another service, @{} and @{}: {where_both}",
                one.names.sent, one.names.tosend
            ),
            "write `naming = rid` in both, and give the two sections different numbers",
        )
    })
}
