//! What a command that the configuration names is told in its environment.

use super::Sync;
use crate::sync::config::{Resource, Sends};

/// A list of `ZFERRY_…` variables.
#[derive(Debug, Clone)]
pub(super) struct Facts(Vec<(&'static str, String)>);

impl Facts {
    /// About the run.
    pub(super) fn of(sync: &Sync<'_>) -> Self {
        Self(vec![
            ("ZFERRY_SERVICE", sync.service.name().to_string()),
            ("ZFERRY_NODE", sync.node.to_string()),
            ("ZFERRY_ACTION", sync.action.as_str().to_owned()),
        ])
    }

    /// About a resource too.
    pub(super) fn of_resource(sync: &Sync<'_>, resource: &Resource, sends: &Sends) -> Self {
        Self::of(sync)
            .with("ZFERRY_RID", resource.rid.to_string())
            .with("ZFERRY_SRC", sends.src.to_string())
            .with("ZFERRY_DST", sends.dst.to_string())
    }

    /// And this.
    pub(super) fn with(mut self, name: &'static str, value: String) -> Self {
        self.0.push((name, value));
        self
    }

    pub(super) fn list(self) -> Vec<(&'static str, String)> {
        self.0
    }
}
