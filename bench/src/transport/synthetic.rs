//! A ZFS that has one snapshot, whose stream is in a file, and one that takes
//! any stream and keeps its hash: what is measured is the way between them.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Mutex;

use engine::hold::HoldTag;
use engine::name::{BookmarkName, CreateTxg, DatasetName, Guid, ShortName, SnapshotName};
use engine::stream::record::BeginRecord;
use engine::zfs::{
    Dataset, DatasetKind, Hold, NewBookmark, PropertyRefusal, ReceiveRequest, Scope, SendRequest,
    Snapshot, Zfs, ZfsError, ZfsErrorKind,
};

use super::content::GUID;

/// The dataset of the source.
pub const SOURCE: &str = "tank/data";
/// Where it goes.
pub const TARGET: &str = "backup/data";
/// The snapshot.
pub const SHORT: &str = "bench";

/// One end.
pub enum Synthetic {
    /// Sends what is in this file.
    Source(PathBuf),
    /// Takes what comes, and has its hash when it is all.
    Target(Mutex<Option<blake3::Hash>>),
}

struct Nothing;
impl Hold for Nothing {}

fn no<T>(what: &'static str) -> Result<T, ZfsError> {
    Err(ZfsError::new(what, "bench", ZfsErrorKind::NotSupported))
}

fn failed(what: &'static str, error: &std::io::Error) -> ZfsError {
    ZfsError {
        detail: error.to_string(),
        ..ZfsError::new(what, "bench", ZfsErrorKind::Interrupted)
    }
}

impl Zfs for Synthetic {
    fn tree(&self, root: &DatasetName, _: Scope) -> Result<Option<Vec<Dataset>>, ZfsError> {
        if matches!(self, Self::Target(_)) {
            return Ok(None);
        }
        let snapshot = serde_json::json!({
            "short": SHORT, "guid": Guid(GUID), "createtxg": CreateTxg(1), "creation_seconds": 1,
        });
        let snapshot: Snapshot = serde_json::from_value(snapshot).expect("a snapshot");
        Ok(Some(vec![Dataset {
            name: root.clone(),
            kind: DatasetKind::Filesystem,
            guid: Guid(1),
            written_bytes: 0,
            origin: None,
            encryption: None,
            partial: None,
            properties: Vec::new(),
            snapshots: vec![snapshot],
            bookmarks: Vec::new(),
        }]))
    }
    fn create_ancestors(&self, _: &DatasetName) -> Result<Vec<DatasetName>, ZfsError> {
        Ok(Vec::new())
    }
    fn snapshot(&self, _: &[SnapshotName]) -> Result<(), ZfsError> {
        no("snapshot")
    }
    fn destroy_snapshots(&self, _: &[SnapshotName]) -> Result<(), ZfsError> {
        no("destroy")
    }
    fn rename_snapshot(&self, _: &SnapshotName, _: &ShortName, _: Scope) -> Result<(), ZfsError> {
        no("rename")
    }
    fn rename_dataset(&self, _: &DatasetName, _: &DatasetName) -> Result<(), ZfsError> {
        no("rename")
    }
    fn destroy_dataset(&self, _: &DatasetName) -> Result<(), ZfsError> {
        no("destroy")
    }
    fn discard_partial(&self, _: &DatasetName, _: &str) -> Result<(), ZfsError> {
        no("discard")
    }
    fn available_bytes(&self, _: &DatasetName) -> Result<u64, ZfsError> {
        Ok(u64::MAX)
    }
    fn bookmark(&self, _: &[NewBookmark]) -> Result<(), ZfsError> {
        no("bookmark")
    }
    fn destroy_bookmarks(&self, _: &[BookmarkName]) -> Result<(), ZfsError> {
        no("destroy")
    }
    fn hold(&self, _: &[SnapshotName], _: &HoldTag) -> Result<Box<dyn Hold>, ZfsError> {
        Ok(Box::new(Nothing))
    }
    fn hold_kept(&self, _: &[SnapshotName], _: &HoldTag) -> Result<(), ZfsError> {
        no("hold")
    }
    fn release(&self, _: &[SnapshotName], _: &HoldTag) -> Result<(), ZfsError> {
        no("release")
    }
    fn holds(&self, _: &SnapshotName) -> Result<Vec<(String, u64)>, ZfsError> {
        Ok(Vec::new())
    }
    fn rollback(&self, _: &SnapshotName) -> Result<(), ZfsError> {
        no("roll back")
    }
    fn send_size(&self, _: &SendRequest) -> Result<u64, ZfsError> {
        match self {
            Self::Source(path) => {
                let length = std::fs::metadata(path).map(|file| file.len());
                length.map_err(|error| failed("send", &error))
            }
            Self::Target(_) => no("send"),
        }
    }
    fn send(&self, _: &SendRequest, into: OwnedFd) -> Result<(), ZfsError> {
        let Self::Source(path) = self else {
            return no("send");
        };
        super::parts::pour(path, into).map_err(|error| failed("send", &error))
    }
    fn receive(
        &self,
        _: &ReceiveRequest,
        begin: &BeginRecord,
        from: OwnedFd,
    ) -> Result<Vec<PropertyRefusal>, ZfsError> {
        let Self::Target(hash) = self else {
            return no("receive");
        };
        let came = super::parts::hash(begin.bytes(), &mut std::fs::File::from(from));
        let came = came.map_err(|error| failed("receive", &error))?;
        *hash.lock().expect("nobody panics") = Some(came);
        Ok(Vec::new())
    }
}
