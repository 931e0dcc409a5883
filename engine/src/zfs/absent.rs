//! A machine without ZFS: every call says why.
//!
//! So that a helper on such a machine still greets and answers, and the driver
//! can say which machine lacks what.

use std::os::fd::OwnedFd;
use std::path::Path;

use super::{
    Dataset, Hold, NewBookmark, PropertyRefusal, ReceiveRequest, Scope, SendRequest, Zfs, ZfsError,
};
use crate::hold::HoldTag;
use crate::name::{BookmarkName, DatasetName, ShortName, SnapshotName};
use crate::stream::record::BeginRecord;

/// Answers every call with this error.
#[derive(Debug, Clone)]
pub struct Absent(pub ZfsError);

impl Absent {
    fn say<T>(&self) -> Result<T, ZfsError> {
        Err(self.0.clone())
    }
}

impl Zfs for Absent {
    fn tree(&self, _: &DatasetName, _: Scope) -> Result<Option<Vec<Dataset>>, ZfsError> {
        self.say()
    }
    fn create_ancestors(&self, _: &DatasetName) -> Result<Vec<DatasetName>, ZfsError> {
        self.say()
    }
    fn snapshot(&self, _: &[SnapshotName]) -> Result<(), ZfsError> {
        self.say()
    }
    fn destroy_snapshots(&self, _: &[SnapshotName]) -> Result<(), ZfsError> {
        self.say()
    }
    fn rename_snapshot(&self, _: &SnapshotName, _: &ShortName, _: Scope) -> Result<(), ZfsError> {
        self.say()
    }
    fn rename_dataset(&self, _: &DatasetName, _: &DatasetName) -> Result<(), ZfsError> {
        self.say()
    }
    fn destroy_dataset(&self, _: &DatasetName) -> Result<(), ZfsError> {
        self.say()
    }
    fn discard_partial(&self, _: &DatasetName, _: &str) -> Result<(), ZfsError> {
        self.say()
    }
    fn available_bytes(&self, _: &DatasetName) -> Result<u64, ZfsError> {
        self.say()
    }
    fn bookmark(&self, _: &[NewBookmark]) -> Result<(), ZfsError> {
        self.say()
    }
    fn destroy_bookmarks(&self, _: &[BookmarkName]) -> Result<(), ZfsError> {
        self.say()
    }
    fn hold(&self, _: &[SnapshotName], _: &HoldTag) -> Result<Box<dyn Hold>, ZfsError> {
        self.say()
    }
    fn hold_kept(&self, _: &[SnapshotName], _: &HoldTag) -> Result<(), ZfsError> {
        self.say()
    }
    fn release(&self, _: &[SnapshotName], _: &HoldTag) -> Result<(), ZfsError> {
        self.say()
    }
    fn holds(&self, _: &SnapshotName) -> Result<Vec<(String, u64)>, ZfsError> {
        self.say()
    }
    fn rollback(&self, _: &SnapshotName) -> Result<(), ZfsError> {
        self.say()
    }
    fn dataset_mounted_at(&self, _: &Path) -> Result<Option<DatasetName>, ZfsError> {
        self.say()
    }
    fn send_size(&self, _: &SendRequest) -> Result<u64, ZfsError> {
        self.say()
    }
    fn send(&self, _: &SendRequest, _: OwnedFd) -> Result<(), ZfsError> {
        self.say()
    }
    fn receive(
        &self,
        _: &ReceiveRequest,
        _: &BeginRecord,
        _: OwnedFd,
    ) -> Result<Vec<PropertyRefusal>, ZfsError> {
        self.say()
    }
}
