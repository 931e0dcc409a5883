//! The operations of [`Zfs`] on a pool in a file.

use std::os::fd::OwnedFd;

use ::userland::protocol::{self as wire, Answer, Call};

use super::hold::ImageHold;
use super::translate::{self, Tried, canmount, kind_of_errno};
use super::{ImagePool, first, texts};
use crate::hold::HoldTag;
use crate::name::{BookmarkName, DatasetName, ShortName, SnapshotName};
use crate::stream::record::BeginRecord;
use crate::zfs::{
    Dataset, DatasetKind, Hold, Landing, NewBookmark, OnCut, PropertyRefusal, ReceiveRequest,
    Scope, SendRequest, Zfs, ZfsError, ZfsErrorKind, left,
};

impl Zfs for ImagePool {
    fn tree(&self, root: &DatasetName, scope: Scope) -> Result<Option<Vec<Dataset>>, ZfsError> {
        let tried = Tried::new("list", root);
        let Some(listed) = self.listed(&tried, root, scope)? else {
            return Ok(None);
        };
        let datasets: Result<Vec<Dataset>, ZfsError> = listed
            .into_iter()
            .filter_map(|dataset| {
                let token = dataset.resume_token.as_ref();
                let content = match token.map(|token| self.read_token(token)).transpose() {
                    Ok(content) => content.flatten(),
                    Err(error) => return Some(Err(error)),
                };
                translate::dataset(dataset, content).map(Ok)
            })
            .collect();
        let mut datasets = datasets?;
        // The worker lists siblings as the pool stores them, a kernel's library
        // by name.
        datasets.sort_by(|one, other| {
            let (one, other) = (one.name.as_str(), other.name.as_str());
            one.split('/').cmp(other.split('/'))
        });
        Ok(Some(datasets).filter(|datasets| !datasets.is_empty()))
    }

    fn create_ancestors(&self, dataset: &DatasetName) -> Result<Vec<DatasetName>, ZfsError> {
        let mut created = Vec::new();
        for ancestor in dataset.ancestors() {
            let tried = Tried::new("create", &ancestor);
            if self.exists(&tried, &ancestor)? {
                continue;
            }
            if ancestor.parent().is_none() {
                let kind = ZfsErrorKind::NotFound;
                return Err(ZfsError::new("find the pool", &ancestor, kind));
            }
            let call = Call::CreateFilesystem {
                name: ancestor.to_string(),
                properties: vec![canmount(translate::CANMOUNT_OFF)],
            };
            self.order(&tried, call)?;
            created.push(ancestor);
        }
        Ok(created)
    }

    fn snapshot(&self, names: &[SnapshotName]) -> Result<(), ZfsError> {
        let call = Call::Snapshot {
            names: texts(names),
        };
        self.order(&Tried::new("take", first(names)), call)
    }

    fn destroy_snapshots(&self, names: &[SnapshotName]) -> Result<(), ZfsError> {
        if names.is_empty() {
            return Ok(());
        }
        let call = Call::DestroySnapshots {
            names: texts(names),
        };
        self.order(&Tried::new("destroy", first(names)), call)
    }

    fn rename_snapshot(
        &self,
        from: &SnapshotName,
        to: &ShortName,
        scope: Scope,
    ) -> Result<(), ZfsError> {
        let tried = Tried::new("rename", from);
        // The DSL itself ignores snapshots that are missing; it is the layers
        // above it that look, in a kernel too.
        let top = self.tree(&from.dataset, Scope::One)?.unwrap_or_default();
        let found = top
            .first()
            .and_then(|top| top.snapshot_by_name(&from.short));
        if found.is_none() {
            return Err(tried.refused(ZfsErrorKind::NotFound, ""));
        }
        // As libzfs has it, which renames trees.
        if scope == Scope::Recursive && from.short == *to {
            return Ok(());
        }
        let call = Call::RenameSnapshot {
            dataset: from.dataset.to_string(),
            from: from.short.to_string(),
            to: to.to_string(),
            scope: translate::scope(scope),
        };
        self.order(&tried, call)
    }

    fn rename_dataset(&self, from: &DatasetName, to: &DatasetName) -> Result<(), ZfsError> {
        self.rename(from, to)
    }

    fn destroy_dataset(&self, name: &DatasetName) -> Result<(), ZfsError> {
        self.destroy(name)
    }

    fn discard_partial(&self, dataset: &DatasetName, token: &str) -> Result<(), ZfsError> {
        left::still_there(self, dataset, token)?;
        self.abort_receive(dataset)
    }

    fn available_bytes(&self, dataset: &DatasetName) -> Result<u64, ZfsError> {
        let tried = Tried::new("examine", dataset);
        if !self.exists(&tried, dataset)? {
            return Err(ZfsError::new("examine", dataset, ZfsErrorKind::NotFound));
        }
        let space = self.space()?;
        Ok(space.total_bytes.saturating_sub(space.allocated_bytes))
    }

    fn bookmark(&self, marks: &[NewBookmark]) -> Result<(), ZfsError> {
        let name = |mark: &NewBookmark| format!("{}#{}", mark.of.dataset, mark.short);
        let call = Call::Bookmark {
            marks: marks
                .iter()
                .map(|mark| (mark.of.to_string(), name(mark)))
                .collect(),
        };
        let object = marks.first().map_or_else(String::new, name);
        self.order(&Tried::new("bookmark", object), call)
    }

    fn destroy_bookmarks(&self, names: &[BookmarkName]) -> Result<(), ZfsError> {
        let call = Call::DestroyBookmarks {
            names: texts(names),
        };
        self.order(&Tried::new("destroy", first(names)), call)
    }

    fn hold(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<Box<dyn Hold>, ZfsError> {
        Ok(Box::new(ImageHold::take(&self.pool, tag, names)?))
    }

    fn hold_kept(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<(), ZfsError> {
        if names.is_empty() {
            return Ok(());
        }
        let call = Call::Hold {
            names: texts(names),
            tag: tag.to_string(),
            temporary: false,
        };
        let held = self.order(&Tried::new("hold", first(names)), call);
        if let Err(error) = &held
            && error.kind == ZfsErrorKind::NotFound
        {
            // ZFS holds those that are there. None had the tag before.
            self.release(names, tag)?;
        }
        held
    }

    fn release(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<(), ZfsError> {
        if names.is_empty() {
            return Ok(());
        }
        let call = Call::Release {
            names: texts(names),
            tag: tag.to_string(),
        };
        self.order(&Tried::new("release", first(names)), call)
    }

    fn holds(&self, snapshot: &SnapshotName) -> Result<Vec<(String, u64)>, ZfsError> {
        let tried = Tried::new("list the holds on", snapshot);
        let call = Call::Holds {
            snapshot: snapshot.to_string(),
        };
        match self.ask(&tried, call)? {
            Answer::Holds(holds) => Ok(holds),
            _ => Err(tried.confused()),
        }
    }

    fn rollback(&self, to: &SnapshotName) -> Result<(), ZfsError> {
        let call = Call::Rollback {
            dataset: to.dataset.to_string(),
            to: to.to_string(),
        };
        self.order(&Tried::new("roll back", &to.dataset), call)
    }

    fn send_size(&self, request: &SendRequest) -> Result<u64, ZfsError> {
        let tried = Tried::new("estimate the send of", &request.snapshot);
        match self.ask(&tried, Call::SendSize(translate::send(request)))? {
            Answer::Bytes(bytes) => Ok(bytes),
            _ => Err(tried.confused()),
        }
    }

    fn send(&self, request: &SendRequest, into: OwnedFd) -> Result<(), ZfsError> {
        let tried = Tried::new("send", &request.snapshot);
        match self.ask_with(&tried, Call::Send(translate::send(request)), into)? {
            Answer::Done => Ok(()),
            _ => Err(tried.confused()),
        }
    }

    fn receive(
        &self,
        request: &ReceiveRequest,
        begin: &BeginRecord,
        from: OwnedFd,
    ) -> Result<Vec<PropertyRefusal>, ZfsError> {
        let tried = Tried::new("receive", &request.snapshot);
        let local = match (request.landing, request.kind) {
            (Landing::Create, DatasetKind::Filesystem) => {
                vec![canmount(translate::CANMOUNT_NOAUTO)]
            }
            _ => Vec::new(),
        };
        let call = Call::Receive(wire::ReceiveRequest {
            snapshot: request.snapshot.to_string(),
            begin: begin.bytes().to_vec(),
            origin: request.origin.as_ref().map(ToString::to_string),
            resumable: request.on_cut == OnCut::Keep,
            received: request
                .properties
                .iter()
                .map(translate::property_there)
                .collect(),
            local,
        });
        match self.ask_with(&tried, call, from)? {
            Answer::Received(refused) => Ok(refused
                .into_iter()
                .map(|(name, errno)| PropertyRefusal {
                    name,
                    kind: kind_of_errno(errno),
                })
                .collect()),
            _ => Err(tried.confused()),
        }
    }
}
