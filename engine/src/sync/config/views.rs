//! Every node's view of every resource, and what only the whole shows:
//! resources without any source, with nowhere to go, or in each other's way.

use std::collections::BTreeMap;

use super::check::Findings;
use super::cluster::Settings;
use super::lookup::Lookup;
use super::mistake::{Mistake, MistakeKind, Notice, Place};
use super::names::{NodeName, Rid};
use super::resolve::Seen;
use super::resource::Resource;
use super::{collide, resolve};
use crate::image;

/// Most resources of a service: the checks compare each with each.
const RESOURCES_MAX: usize = 256;

/// Resolves every resource for every node and compares them.
pub(super) fn all(
    lookup: Lookup<'_>,
    settings: &Settings,
    rids: &[Rid],
    findings: &mut Findings,
) -> BTreeMap<NodeName, Vec<Resource>> {
    if rids.is_empty() {
        findings.notices.push(Notice {
            place: Place::default(),
            text: "the file has no resource of type zfs".to_owned(),
        });
    }
    if let Some(rid) = rids.get(RESOURCES_MAX) {
        findings.mistakes.push(Mistake {
            place: lookup.place(rid.as_str(), "src"),
            kind: MistakeKind::BadValue,
            problem: format!("a service has at most {RESOURCES_MAX} resources"),
            remedy: "split the service".to_owned(),
        });
        return BTreeMap::new();
    }
    let mistakes = &mut findings.mistakes;
    let mut views: BTreeMap<NodeName, Vec<Resource>> = BTreeMap::new();
    for node in settings.cluster.all() {
        views.insert(node.clone(), Vec::new());
    }
    for rid in rids {
        let peers = resolve::peers(lookup, settings, rid, mistakes);
        for (node, resources) in &mut views {
            let seen = Seen { node, rid };
            resources.extend(resolve::resource(lookup, settings, &peers, seen, mistakes));
        }
    }
    for rid in rids {
        if !settings
            .cluster
            .all()
            .any(|node| has_source(lookup, rid, node))
        {
            mistakes.push(Mistake {
                place: lookup.place(rid.as_str(), "src"),
                kind: MistakeKind::Missing,
                problem: "no node has a source for this resource".to_owned(),
                remedy: "write `src = pool/dataset`, or `src@node1 = …` for each sender".to_owned(),
            });
        }
    }
    collide::check(lookup, &views, mistakes);
    check_images(lookup, &views, mistakes);
    for rid in rids {
        let sends = |resource: &&Resource| resource.rid == *rid && resource.sends().is_some();
        let mut senders = views.values().flatten().filter(sends).peekable();
        let targets = |resource: &Resource| resource.sends().map_or(0, |sends| sends.targets.len());
        if senders.peek().is_some() && senders.all(|resource| targets(resource) == 0) {
            findings.notices.push(Notice {
                place: lookup.place(rid.as_str(), "target"),
                text: "it goes nowhere: its `target` names no other node".to_owned(),
            });
        }
    }
    views
}

/// One node has one opinion about where a pool is, whatever the resource.
fn check_images(
    lookup: Lookup<'_>,
    views: &BTreeMap<NodeName, Vec<Resource>>,
    mistakes: &mut Vec<Mistake>,
) {
    for (node, resources) in views {
        let mut images = Vec::new();
        for resource in resources {
            let Err(error) = image::join(&mut images, resource.images.iter().cloned()) else {
                continue;
            };
            let of_node = Lookup {
                node: Some(node),
                ..lookup
            };
            mistakes.push(Mistake {
                place: of_node.place(resource.rid.as_str(), "image"),
                kind: MistakeKind::Collision,
                problem: format!("on {node}, {error}"),
                remedy: "write the images of a node once, in [DEFAULT]".to_owned(),
            });
        }
    }
}

/// True if a source is set for a node, be it a wrong one.
fn has_source(lookup: Lookup<'_>, rid: &Rid, node: &NodeName) -> bool {
    let lookup = Lookup {
        node: Some(node),
        ..lookup
    };
    match lookup.find(rid.as_str(), "src") {
        Ok(found) => found.is_some_and(|found| !found.text.is_empty()),
        Err(_) => true,
    }
}
