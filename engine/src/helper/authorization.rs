//! What a helper may touch.

use crate::copies;
use crate::name::DatasetName;
use crate::protocol::failure::Failure;
use crate::protocol::message::Request;
use crate::zfs::Base;

/// The datasets (with everything below them) that requests may name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authorization {
    /// `None`: every dataset.
    allowed: Option<Vec<DatasetName>>,
}

impl Authorization {
    /// Every dataset may be named: the driver's own process, or a helper that
    /// was started without `--allow`.
    #[must_use]
    pub fn everything() -> Self {
        Self { allowed: None }
    }

    /// Only these datasets and what lies below them. An empty list allows
    /// nothing.
    #[must_use]
    pub fn only(datasets: Vec<DatasetName>) -> Self {
        Self {
            allowed: Some(datasets),
        }
    }

    /// True if requests may name `dataset`. A copy beside what is allowed is
    /// allowed as well.
    #[must_use]
    pub fn permits(&self, dataset: &DatasetName) -> bool {
        match &self.allowed {
            None => true,
            Some(allowed) => {
                let original = copies::original(dataset);
                let is_within = |root| dataset.is_within(root) || original.is_within(root);
                allowed.iter().any(is_within)
            }
        }
    }

    /// Checks every dataset that `request` names.
    ///
    /// # Errors
    /// [`Failure::NotAllowed`] for the first one that lies outside.
    pub fn check(&self, request: &Request) -> Result<(), Failure> {
        match datasets_of(request)
            .into_iter()
            .find(|dataset| !self.permits(dataset))
        {
            None => Ok(()),
            Some(dataset) => Err(self.refusal(dataset)),
        }
    }

    /// The answer to a request that names `dataset`, which is outside.
    #[must_use]
    pub fn refusal(&self, dataset: &DatasetName) -> Failure {
        let allowed = self
            .allowed
            .iter()
            .flatten()
            .map(DatasetName::as_str)
            .collect::<Vec<_>>();
        Failure::NotAllowed {
            dataset: dataset.clone(),
            allowed: allowed.join(" --allow "),
        }
    }
}

/// All datasets a request reads or changes. Every variant is spelt out, so that
/// a new request cannot be forgotten here.
fn datasets_of(request: &Request) -> Vec<&DatasetName> {
    match request {
        Request::Tree { root, .. } => vec![root],
        // Ancestors that come into being have to be inside too: `requests`
        // asks `permits` for them, since only ZFS knows which are missing.
        Request::CreateAncestors { dataset } => vec![dataset],
        Request::Snapshot { names } | Request::Hold { names } => {
            names.iter().map(|name| &name.dataset).collect()
        }
        Request::DestroySnapshots { snapshots }
        | Request::HoldKept { snapshots, .. }
        | Request::ReleaseKept { snapshots, .. } => {
            snapshots.iter().map(|(name, _)| &name.dataset).collect()
        }
        Request::HoldBases { bases } => bases.iter().map(|(dataset, _)| dataset).collect(),
        Request::Holds { root, .. } => vec![root],
        Request::RenameDataset { from, to, .. } => vec![from, to],
        Request::OldCopies { of } => vec![of],
        Request::DestroyCopy { of, copy, .. } => vec![of, copy],
        Request::DiscardPartial { dataset, .. } => vec![dataset],
        Request::Available { dataset } => vec![dataset],
        Request::Bookmark { marks } => marks.iter().map(|mark| &mark.of.dataset).collect(),
        Request::DestroyBookmarks { names } => names.iter().map(|name| &name.dataset).collect(),
        Request::RenameSnapshot { from, .. } => vec![&from.dataset],
        Request::Rollback { to, .. } => vec![&to.dataset],
        Request::SendSize { request } | Request::Send { request, .. } => {
            let mut datasets = vec![&request.snapshot.dataset];
            if let Some(Base::Snapshot(base)) = &request.base {
                datasets.push(&base.dataset);
            }
            datasets
        }
        Request::Receive { request, .. } => {
            let origin = request.origin.iter().map(|origin| &origin.dataset);
            std::iter::once(&request.snapshot.dataset)
                .chain(origin)
                .collect()
        }
        Request::Claim { dataset, .. } => vec![dataset],
        Request::PutState { dataset, .. } => vec![dataset],
        // What is mounted is only known when ZFS has been asked: `requests`
        // asks `permits` about the answer.
        Request::MountedAt { .. } => Vec::new(),
        Request::Release | Request::Cancel | Request::GetState { .. } => Vec::new(),
        // More ways for the same conversation.
        Request::OfferSessions | Request::Widen { .. } | Request::Widened => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hold::HoldTag;
    use crate::name::{Guid, ShortName, SnapshotName};
    use crate::zfs::{DatasetKind, Landing, OnCut, ReceiveRequest, Scope, SendMode, SendRequest};

    fn only(names: &[&str]) -> Authorization {
        Authorization::only(
            names
                .iter()
                .map(|name| DatasetName::parse(name).unwrap())
                .collect(),
        )
    }

    fn snapshot(text: &str) -> SnapshotName {
        SnapshotName::parse(text).unwrap()
    }

    #[test]
    fn what_lies_outside_is_refused_in_every_place_of_a_request() {
        let authorization = only(&["tank/a"]);
        let outside = [
            Request::Tree {
                root: DatasetName::parse("tank").unwrap(),
                scope: Scope::One,
            },
            Request::Snapshot {
                names: vec![snapshot("tank/a@x"), snapshot("tank/ab@x")],
            },
            Request::Hold {
                names: vec![snapshot("tank@x")],
            },
            Request::DestroySnapshots {
                snapshots: vec![(snapshot("tank@x"), Guid(1))],
            },
            Request::DiscardPartial {
                dataset: DatasetName::parse("tank/b").unwrap(),
                token: "1-1-1-00".to_owned(),
            },
            Request::HoldBases {
                bases: vec![(DatasetName::parse("tank/ab").unwrap(), Guid(1))],
            },
            Request::Holds {
                root: DatasetName::parse("tank").unwrap(),
                scope: Scope::Recursive,
            },
            Request::HoldKept {
                snapshots: vec![
                    (snapshot("tank/a@x"), Guid(1)),
                    (snapshot("tank@x"), Guid(1)),
                ],
                tag: HoldTag::for_pair("p"),
            },
            Request::ReleaseKept {
                snapshots: vec![(snapshot("tank@x"), Guid(1))],
                tag: HoldTag::for_pair("p"),
            },
            Request::RenameSnapshot {
                from: snapshot("tank/b@x"),
                to: ShortName::parse("y").unwrap(),
                scope: Scope::One,
            },
            Request::Rollback {
                to: snapshot("tank/b@x"),
                guid: Guid(1),
            },
            Request::SendSize {
                request: SendRequest {
                    snapshot: snapshot("tank/a@x"),
                    base: Some(Base::Snapshot(snapshot("tank/secret@x"))),
                    mode: SendMode::Plain,
                    resume: None,
                },
            },
            Request::Receive {
                request: ReceiveRequest {
                    snapshot: snapshot("tank/a@x"),
                    landing: Landing::Create,
                    kind: DatasetKind::Filesystem,
                    properties: Vec::new(),
                    origin: Some(snapshot("tank/secret@x")),
                    on_cut: OnCut::Discard,
                },
                transfer: 1,
                to_guid: Guid(1),
                from_guid: Some(Guid(2)),
                workers: None,
            },
        ];
        for request in outside {
            let failure = authorization.check(&request).unwrap_err();
            assert!(matches!(failure, Failure::NotAllowed { .. }), "{request:?}");
        }
    }

    #[test]
    fn what_lies_inside_is_allowed() {
        let authorization = only(&["backup", "tank/a"]);
        for name in ["backup", "backup/x/y", "tank/a", "tank/a/b"] {
            let root = DatasetName::parse(name).unwrap();
            assert_eq!(
                authorization.check(&Request::Tree {
                    root,
                    scope: Scope::One
                }),
                Ok(())
            );
        }
    }

    #[test]
    fn an_empty_list_allows_nothing() {
        assert!(!only(&[]).permits(&DatasetName::parse("tank").unwrap()));
        assert!(Authorization::everything().permits(&DatasetName::parse("tank").unwrap()));
    }
}
