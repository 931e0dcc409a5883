//! Every node's view of every resource, and what only the whole shows:
//! resources without any source, with nowhere to go, or in each other's way.

use std::collections::BTreeMap;

use super::check::Findings;
use super::cluster::Settings;
use super::command::requires_keyword;
use super::lookup::Lookup;
use super::mistake::{Mistake, MistakeKind, Notice, Place};
use super::names::{NodeName, Rid};
use super::resolve::Seen;
use super::resource::{Resource, Role};
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
    check_requirements(lookup, &views, rids, mistakes);
    for rid in rids {
        note_dead_ends(lookup, &views, rid, &mut findings.notices);
    }
    views
}

/// Senders whose `target` names nobody but themselves.
fn note_dead_ends(
    lookup: Lookup<'_>,
    views: &BTreeMap<NodeName, Vec<Resource>>,
    rid: &Rid,
    notices: &mut Vec<Notice>,
) {
    let mut alone = Vec::new();
    let mut senders = 0;
    for (node, resources) in views {
        let resource = resources.iter().find(|resource| resource.rid == *rid);
        match resource.map(|resource| (&resource.role, resource.targets())) {
            None | Some((Role::ReceiverOnly(_), _)) => continue,
            Some((_, [])) => alone.push(node),
            Some(_) => {}
        }
        senders += 1;
    }
    let mut notice = |node: Option<&NodeName>, text: String| {
        let lookup = Lookup { node, ..lookup };
        notices.push(Notice {
            place: lookup.place(rid.as_str(), "target"),
            text,
        });
    };
    if senders > 0 && senders == alone.len() {
        let text = "it goes nowhere: its `target` names no other node".to_owned();
        return notice(None, text);
    }
    for node in alone {
        let text = format!("what {node} has goes nowhere: for it, `target` names no other node");
        notice(Some(node), text);
    }
}

/// A condition is about a resource of this file.
fn check_requirements(
    lookup: Lookup<'_>,
    views: &BTreeMap<NodeName, Vec<Resource>>,
    rids: &[Rid],
    mistakes: &mut Vec<Mistake>,
) {
    for (node, resources) in views {
        for resource in resources {
            for required in &resource.requires {
                let of_node = Lookup {
                    node: Some(node),
                    ..lookup
                };
                let keyword = requires_keyword(required.action);
                let (problem, remedy) = if required.rid == resource.rid {
                    ("it requires itself".to_owned(), "name another resource")
                } else if rids.contains(&required.rid) {
                    continue;
                } else {
                    let problem = format!("there is no resource {} here", required.rid);
                    (problem, "name a resource of type zfs of this file")
                };
                mistakes.push(Mistake {
                    place: of_node.place(resource.rid.as_str(), &keyword),
                    kind: MistakeKind::BadValue,
                    problem,
                    remedy: remedy.to_owned(),
                });
            }
        }
    }
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
