//! What a helper can be asked: a method for each request, and what its answer
//! has to be.

use std::path::Path;

use super::client::Peer;
use super::error::PeerError;
use crate::hold::{Held, HoldTag};
use crate::name::{BookmarkName, DatasetName, Guid, ShortName, SnapshotName};
use crate::protocol::message::{Reply, Request};
use crate::zfs::{Dataset, NewBookmark, Scope, SendRequest};

/// Datasets, snapshots and bookmarks that a listing may have: some gigabytes
/// of memory, and more than any pool is known to hold.
const LISTING_ENTRIES_MAX: usize = 10_000_000;

impl Peer {
    /// Lists a dataset or tree; `None` if it does not exist.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn tree(
        &mut self,
        root: &DatasetName,
        scope: Scope,
    ) -> Result<Option<Vec<Dataset>>, PeerError> {
        let mut datasets: Vec<Dataset> = Vec::new();
        let mut entries = 0;
        self.request(&Request::Tree {
            root: root.clone(),
            scope,
        })
        .await?;
        loop {
            match self.reply().await? {
                Reply::Datasets { exists: false, .. } => return Ok(None),
                Reply::Datasets { part, more, .. } => {
                    entries += part
                        .iter()
                        .map(|dataset| 1 + dataset.snapshots.len() + dataset.bookmarks.len())
                        .sum::<usize>();
                    if entries > LISTING_ENTRIES_MAX {
                        return Err(self.confused("its listing has no end"));
                    }
                    for dataset in part {
                        match datasets.last_mut().filter(|last| last.name == dataset.name) {
                            Some(last) => {
                                last.snapshots.extend(dataset.snapshots);
                                last.bookmarks.extend(dataset.bookmarks);
                            }
                            None => datasets.push(dataset),
                        }
                    }
                    if !more {
                        return Ok(Some(datasets));
                    }
                }
                _ => return Err(self.confused("a listing was due")),
            }
        }
    }

    /// Creates missing ancestors and returns their names.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn create_ancestors(
        &mut self,
        dataset: &DatasetName,
    ) -> Result<Vec<DatasetName>, PeerError> {
        match self
            .ask(&Request::CreateAncestors {
                dataset: dataset.clone(),
            })
            .await?
        {
            Reply::Created { datasets } => Ok(datasets),
            _ => Err(self.confused("names of created datasets were due")),
        }
    }

    /// Takes snapshots in one transaction.
    ///
    /// # Errors
    /// [`PeerError`]; then none was taken.
    pub async fn snapshot(&mut self, names: Vec<SnapshotName>) -> Result<(), PeerError> {
        self.order(&Request::Snapshot { names }).await
    }

    /// Destroys snapshots that still have the given guids, all or none.
    ///
    /// # Errors
    /// [`PeerError`]; then none was destroyed.
    pub async fn destroy_snapshots(
        &mut self,
        snapshots: Vec<(SnapshotName, Guid)>,
    ) -> Result<(), PeerError> {
        self.order(&Request::DestroySnapshots { snapshots }).await
    }

    /// Renames a snapshot.
    ///
    /// # Errors
    /// [`PeerError`]; then nothing was renamed.
    pub async fn rename_snapshot(
        &mut self,
        from: SnapshotName,
        to: ShortName,
        scope: Scope,
    ) -> Result<(), PeerError> {
        self.order(&Request::RenameSnapshot { from, to, scope })
            .await
    }

    /// Rolls a dataset back to its newest snapshot, if that is this one.
    ///
    /// # Errors
    /// [`PeerError`]; then nothing was discarded.
    pub async fn rollback(&mut self, to: SnapshotName, guid: Guid) -> Result<(), PeerError> {
        self.order(&Request::Rollback { to, guid }).await
    }

    /// Renames a dataset that still has this guid.
    ///
    /// # Errors
    /// [`PeerError`]; then nothing was renamed.
    pub async fn rename_dataset(
        &mut self,
        from: DatasetName,
        guid: Guid,
        to: DatasetName,
    ) -> Result<(), PeerError> {
        self.order(&Request::RenameDataset { from, guid, to }).await
    }

    /// The old copies of a dataset.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn old_copies(&mut self, of: &DatasetName) -> Result<Vec<DatasetName>, PeerError> {
        let of = of.clone();
        match self.ask(&Request::OldCopies { of }).await? {
            Reply::Created { datasets } => Ok(datasets),
            _ => Err(self.confused("names of copies were due")),
        }
    }

    /// Destroys a copy of a dataset with everything in it. Not atomic: cut in
    /// between, the rest is still a copy.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn destroy_copy(
        &mut self,
        of: DatasetName,
        copy: DatasetName,
        ours: Vec<ShortName>,
    ) -> Result<(), PeerError> {
        let request = Request::DestroyCopy { of, copy, ours };
        self.order(&request).await
    }

    /// Gives up what a cut receive left in `dataset`, if that is what `token`
    /// says.
    ///
    /// # Errors
    /// [`PeerError`]; then it is still there, unless the answer was lost.
    pub async fn discard_partial(
        &mut self,
        dataset: DatasetName,
        token: String,
    ) -> Result<(), PeerError> {
        self.order(&Request::DiscardPartial { dataset, token })
            .await
    }

    /// Bytes that can still be written at, or for, this dataset.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn available_bytes(&mut self, dataset: DatasetName) -> Result<u64, PeerError> {
        match self.ask(&Request::Available { dataset }).await? {
            Reply::Size { bytes } => Ok(bytes),
            _ => Err(self.confused("a number of bytes was due")),
        }
    }

    /// Makes bookmarks in one transaction.
    ///
    /// # Errors
    /// [`PeerError`]; then none was made.
    pub async fn bookmark(&mut self, marks: Vec<NewBookmark>) -> Result<(), PeerError> {
        self.order(&Request::Bookmark { marks }).await
    }

    /// Destroys bookmarks.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn destroy_bookmarks(&mut self, names: Vec<BookmarkName>) -> Result<(), PeerError> {
        self.order(&Request::DestroyBookmarks { names }).await
    }

    /// Holds snapshots until [`Self::release`] or the end of the session.
    ///
    /// # Errors
    /// [`PeerError`]; then none is held.
    pub async fn hold(&mut self, names: Vec<SnapshotName>) -> Result<(), PeerError> {
        self.order(&Request::Hold { names }).await
    }

    /// Holds snapshots of these datasets, by guid, until [`Self::release`] or
    /// the end of the session.
    ///
    /// # Errors
    /// [`PeerError`], `NotFound` if one is not there any more; then none is held.
    pub async fn hold_bases(&mut self, bases: Vec<(DatasetName, Guid)>) -> Result<(), PeerError> {
        self.order(&Request::HoldBases { bases }).await
    }

    /// Who holds snapshots of a dataset or tree.
    ///
    /// # Errors
    /// [`PeerError`], `NotFound` if it does not exist.
    pub async fn holds(
        &mut self,
        root: &DatasetName,
        scope: Scope,
    ) -> Result<Vec<Held>, PeerError> {
        let root = root.clone();
        self.request(&Request::Holds { root, scope }).await?;
        let mut held: Vec<Held> = Vec::new();
        loop {
            match self.reply().await? {
                Reply::Holds { part, more } => {
                    held.extend(part);
                    if held.len() > LISTING_ENTRIES_MAX {
                        return Err(self.confused("its list of holds has no end"));
                    }
                    if !more {
                        return Ok(held);
                    }
                }
                _ => return Err(self.confused("a list of holds was due")),
            }
        }
    }

    /// Holds snapshots that have these guids until [`Self::release_kept`]. What
    /// has the tag already stays as it is.
    ///
    /// # Errors
    /// [`PeerError`]; then none is held that was not before.
    pub async fn hold_kept(
        &mut self,
        snapshots: Vec<(SnapshotName, Guid)>,
        tag: HoldTag,
    ) -> Result<(), PeerError> {
        self.order(&Request::HoldKept { snapshots, tag }).await
    }

    /// Releases a hold on snapshots that have these guids.
    ///
    /// # Errors
    /// [`PeerError`]; then none was released.
    pub async fn release_kept(
        &mut self,
        snapshots: Vec<(SnapshotName, Guid)>,
        tag: HoldTag,
    ) -> Result<(), PeerError> {
        self.order(&Request::ReleaseKept { snapshots, tag }).await
    }

    /// Releases what this session holds.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn release(&mut self) -> Result<(), PeerError> {
        self.order(&Request::Release).await
    }

    /// Estimated bytes of streams, in their order. They are asked at once.
    ///
    /// # Errors
    /// [`PeerError`]: of several that fail, that of the first.
    pub async fn send_sizes(&mut self, requests: Vec<SendRequest>) -> Result<Vec<u64>, PeerError> {
        let requests = requests.into_iter();
        let requests: Vec<Request> = requests
            .map(|request| Request::SendSize { request })
            .collect();
        let replies = self.ask_each(&requests).await?.into_iter();
        replies
            .map(|reply| match reply {
                Reply::Size { bytes } => Ok(bytes),
                _ => Err(self.confused("a size was due")),
            })
            .collect()
    }

    /// The dataset that is mounted at `path` on the helper's machine.
    ///
    /// # Errors
    /// [`PeerError`]; also if the dataset is not allowed.
    pub async fn dataset_mounted_at(
        &mut self,
        path: &Path,
    ) -> Result<Option<DatasetName>, PeerError> {
        let path = path.to_string_lossy().into_owned();
        match self.ask(&Request::MountedAt { path }).await? {
            Reply::Mounted { dataset } => Ok(dataset),
            _ => Err(self.confused("what is mounted there was due")),
        }
    }

    /// Keeps other drivers from a destination until this conversation ends.
    /// `purpose` says what for, to whoever comes second.
    ///
    /// # Errors
    /// [`PeerError`], with [`crate::protocol::failure::Failure::Claimed`] if
    /// another driver has it.
    pub async fn claim(
        &mut self,
        dataset: &DatasetName,
        scope: Scope,
        purpose: &str,
    ) -> Result<(), PeerError> {
        let request = Request::Claim {
            dataset: dataset.clone(),
            scope,
            purpose: purpose.to_owned(),
        };
        self.order(&request).await
    }

    /// Has the helper store the state of a resource.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn put_state(
        &mut self,
        service: &str,
        rid: &str,
        dataset: DatasetName,
        state: String,
    ) -> Result<(), PeerError> {
        let request = Request::PutState {
            service: service.to_owned(),
            rid: rid.to_owned(),
            dataset,
            state,
        };
        self.order(&request).await
    }

    /// The state of a resource as the helper has it.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn get_state(
        &mut self,
        service: &str,
        rid: &str,
    ) -> Result<Option<String>, PeerError> {
        let request = Request::GetState {
            service: service.to_owned(),
            rid: rid.to_owned(),
        };
        match self.ask(&request).await? {
            Reply::State { state } => Ok(state),
            _ => Err(self.confused("a state was due")),
        }
    }
}
