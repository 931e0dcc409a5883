//! The services of a folder beside each other: what no file alone shows.
//!
//! Two services lock apart and know nothing of each other; a dataset that both
//! work on would lose the snapshots of one to the other.

use super::collide::UsesByNode;
use super::ini::Document;
use super::lookup::Lookup;
use super::mistake::{Mistake, MistakeKind};
use super::names::{NodeName, Rid, ServiceName};
use super::service::Service;

/// A resource of one service that is in the way of another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crossing {
    /// The service that the mistake is told about.
    pub service: ServiceName,
    /// The other one.
    pub with: ServiceName,
    /// Its resource.
    pub with_rid: Rid,
    /// Where, what, and what would be right.
    pub mistake: Mistake,
}

/// Compares services that are configured on one machine, each with each.
/// A pool that they have in different files is not the same pool.
#[must_use]
pub fn crossings(services: &[Service]) -> Vec<Crossing> {
    let mut uses = UsesByNode::default();
    for (at, service) in services.iter().enumerate() {
        uses.add(at, service.views());
    }
    let mut crossings = Vec::new();
    for clash in uses.clashes() {
        let (one, other) = (&services[clash.one.service], &services[clash.other.service]);
        let pool = clash.other.pool();
        if clash.one.service == clash.other.service
            || file_of(one, clash.node, pool) != file_of(other, clash.node, pool)
        {
            continue;
        }
        let document = Document::parse(other.text(), &mut Vec::new());
        let lookup = Lookup {
            document: &document,
            service: other.name(),
            cluster: other.cluster(),
            node: clash.sender,
        };
        let crossing = Crossing {
            service: other.name().clone(),
            with: one.name().clone(),
            with_rid: clash.one.rid.clone(),
            mistake: Mistake {
                place: lookup.place(clash.other.rid.as_str(), clash.other.keyword()),
                kind: MistakeKind::Collision,
                problem: format!("{} ({} {})", clash.problem, one.name(), clash.one.rid),
                remedy: clash.remedy.to_owned(),
            },
        };
        // A dataset that one sends and receives is one dataset.
        if !crossings.contains(&crossing) {
            crossings.push(crossing);
        }
    }
    crossings
}

/// The file that a pool of a node is in.
fn file_of(service: &Service, node: &NodeName, pool: &str) -> Option<std::path::PathBuf> {
    let images = service.images(node);
    let image = images.iter().find(|image| image.pool().as_str() == pool);
    image.map(|image| image.file().to_owned())
}
