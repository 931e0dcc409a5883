//! A listing by name, for whoever looks up many of its datasets: trees of tens
//! of thousands of datasets are no rarity.

use std::collections::HashMap;

use super::Dataset;
use crate::name::DatasetName;

/// Datasets by name.
pub(crate) struct ByName<'t>(HashMap<&'t DatasetName, &'t Dataset>);

impl<'t> ByName<'t> {
    /// Those of a listing.
    pub(crate) fn of(tree: &'t [Dataset]) -> Self {
        Self(
            tree.iter()
                .map(|dataset| (&dataset.name, dataset))
                .collect(),
        )
    }

    /// The dataset of this name.
    pub(crate) fn get(&self, name: &DatasetName) -> Option<&'t Dataset> {
        self.0.get(name).copied()
    }

    /// The dataset at the place below `to` that `dataset` has below `from`.
    pub(crate) fn counterpart(
        &self,
        dataset: &DatasetName,
        from: &DatasetName,
        to: &DatasetName,
    ) -> Option<&'t Dataset> {
        self.get(&dataset.rebase(from, to).ok()?)
    }
}
