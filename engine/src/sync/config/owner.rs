//! Whose snapshots a name means on a dataset.

use super::names::{NodeName, Rid};
use super::resource::Resource;
use super::service::Service;
use crate::name::{DatasetName, ShortName};

impl Service {
    /// The resource besides `rid` whose snapshots on a dataset of a node are
    /// called `short`, as source or as copy. A disabled one keeps its own.
    #[must_use]
    pub fn other_owner(
        &self,
        node: &NodeName,
        dataset: &DatasetName,
        short: &ShortName,
        rid: &Rid,
    ) -> Option<&Rid> {
        self.views().iter().find_map(|(sender, resources)| {
            let others = resources.iter().filter(|resource| resource.rid != *rid);
            let mut owners = others.filter(|resource| {
                let names = &resource.names;
                [&names.sent, &names.tosend, &names.aside].contains(&short)
                    && works_on(resource, sender, node, dataset)
            });
            owners.next().map(|resource| &resource.rid)
        })
    }
}

/// True if `dataset` of `node` is in a tree that `sender` sends as `resource`,
/// or in the copy of one.
fn works_on(
    resource: &Resource,
    sender: &NodeName,
    node: &NodeName,
    dataset: &DatasetName,
) -> bool {
    let covers =
        |root: &DatasetName| root == dataset || resource.recursive && dataset.is_within(root);
    let sent = resource.sends().map(|sends| &sends.src);
    sender == node && sent.is_some_and(covers)
        || resource
            .targets()
            .iter()
            .any(|target| target.node == *node && covers(&target.dst))
}
