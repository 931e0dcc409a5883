//! Questions to a helper.

use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::error::{PeerCause, PeerError};
use super::sessions::More;
use super::stall::{Limits, Stalled};
use super::wire::{self, Gone, WireError, WireReader, WireWriter};
use crate::helper::Activity;
use crate::hold::{Held, HoldTag};
use crate::name::{BookmarkName, DatasetName, Guid, ShortName, SnapshotName};
use crate::protocol::hello::About;
use crate::protocol::message::{Reply, Request};
use crate::stream::frame::{Frame, Kind};
use crate::transport::Link;
use crate::zfs::{Dataset, NewBookmark, Scope, SendRequest};

/// Datasets, snapshots and bookmarks that a listing may have: some gigabytes
/// of memory, and more than any pool is known to hold.
const LISTING_ENTRIES_MAX: usize = 10_000_000;

/// A helper, in this process or on another machine, greeted and ready.
#[derive(Debug)]
pub struct Peer {
    /// Its name in messages: its host, or this node's name.
    pub name: String,
    /// What it says about itself.
    pub about: About,
    pub(crate) reader: WireReader,
    pub(crate) writer: WireWriter,
    requests: u64,
    transfers: u64,
    pub(crate) limits: Limits,
    /// It has not answered in time: nobody knows what it still says.
    lost: Option<(Stalled, Duration)>,
    /// What its time goes into, where its helper is in this process.
    pub(crate) activity: Option<Activity>,
    /// Its helper is in this process: there is no connection to wait for.
    pub(crate) here: bool,
    heartbeat: JoinHandle<()>,
    pub(super) more: Option<More>,
    /// What this side says of itself, and how long it waits for an answer to it.
    pub(super) greeting: (About, Duration),
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}

impl Peer {
    /// Greets the helper at the other end of `link`.
    ///
    /// # Errors
    /// [`PeerError`] with a [`WireError`] if there is no helper, it says
    /// nothing for `patience`, or no protocol version is common.
    pub async fn greet(
        name: &str,
        link: Link,
        about: &About,
        patience: Duration,
    ) -> Result<Self, PeerError> {
        let (mut reader, writer, hello) = wire::handshake(link, about, patience)
            .await
            .map_err(|error| PeerError::new(name, error))?;
        reader.expect_life_once_it_beats();
        let heartbeat = tokio::spawn(writer.beat(|| None));
        Ok(Self {
            name: name.to_owned(),
            about: hello.about,
            reader,
            writer,
            requests: 0,
            transfers: 0,
            limits: Limits::default(),
            lost: None,
            activity: None,
            here: false,
            heartbeat,
            more: None,
            greeting: (about.clone(), patience),
        })
    }

    /// Its helper is in this process, and `activity` is what that shows of its
    /// session: see [`serve_watched`](crate::helper::serve_watched).
    pub fn watch(&mut self, activity: Activity) {
        self.activity = Some(activity);
        self.here = true;
    }

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

    /// Estimated bytes of a stream.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn send_size(&mut self, request: SendRequest) -> Result<u64, PeerError> {
        match self.ask(&Request::SendSize { request }).await? {
            Reply::Size { bytes } => Ok(bytes),
            _ => Err(self.confused("a size was due")),
        }
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
    /// [`PeerError`], with [`crate::protocol::message::Failure::Claimed`] if
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

    /// Cuts a transfer from this peer that still runs then, or begins later.
    /// Both sides stay ready for the next request, and what arrived is kept.
    pub fn limit_transfers(&mut self, until: Option<Instant>) {
        self.limits.transfers_until = until;
    }

    /// Gives up a transfer in which nothing moves, and a question that is not
    /// answered, for this long; `None`: never.
    pub fn limit_stalls(&mut self, stall_max: Option<Duration>) {
        self.limits.stall_max = stall_max;
    }

    /// Ends the conversation, and waits until the helper has ended as well. One
    /// that takes longer than some seconds is left to itself.
    ///
    /// # Errors
    /// [`PeerError`] if it did not end cleanly.
    pub async fn close(mut self) -> Result<(), PeerError> {
        self.heartbeat.abort();
        let (gone, _) = mpsc::channel(1);
        // The last writer goes, and with it our side of the connection.
        self.writer = WireWriter::new(gone);
        match self.reader.cause_of_end().await {
            WireError::Closed => Ok(()),
            error => Err(self.broken(error)),
        }
    }

    /// Once this has ended, no heartbeat is on its way into the queue.
    pub(super) async fn stop_beating(&mut self) {
        self.heartbeat.abort();
        let _ = (&mut self.heartbeat).await;
    }

    pub(super) fn begin_beating(&mut self) {
        self.heartbeat = tokio::spawn(self.writer.beat(|| None));
    }

    /// From now on nothing is asked of it: it has kept silent for too long.
    pub(crate) fn give_up(&mut self, why: Stalled, waited: Duration) -> PeerError {
        self.lost = Some((why, waited));
        PeerError::new(&self.name, PeerCause::Stalled { why, waited })
    }

    /// A number for the next transfer of this session.
    pub(crate) fn next_transfer(&mut self) -> u64 {
        self.transfers += 1;
        self.transfers
    }

    pub(super) async fn order(&mut self, request: &Request) -> Result<(), PeerError> {
        match self.ask(request).await? {
            Reply::Done => Ok(()),
            _ => Err(self.confused("a plain confirmation was due")),
        }
    }

    pub(super) async fn ask(&mut self, request: &Request) -> Result<Reply, PeerError> {
        self.request(request).await?;
        self.reply().await
    }

    /// Sends a request without waiting for the answer.
    pub(crate) async fn request(&mut self, request: &Request) -> Result<(), PeerError> {
        if let Some((why, waited)) = self.lost {
            return Err(self.give_up(why, waited));
        }
        self.reader.begin_to_listen();
        self.requests += 1;
        let text = serde_json::to_vec(request).expect("requests are plain data");
        let frame = Frame::stored(Kind::Message, 0, self.requests, &text);
        // A peer that reads nothing keeps its question waiting as one does that
        // does not answer.
        let sent = match self.limits.stall_max {
            None => self.writer.send(frame).await,
            Some(waited) => match timeout(waited, self.writer.send(frame)).await {
                Ok(sent) => sent,
                Err(_) => return Err(self.give_up(Stalled::Unknown, waited)),
            },
        };
        match sent {
            Ok(()) => Ok(()),
            Err(Gone) => {
                let cause = self.reader.cause_of_end().await;
                Err(self.broken(cause))
            }
        }
    }

    /// The next reply; a failure comes as an error.
    pub(crate) async fn reply(&mut self) -> Result<Reply, PeerError> {
        let came = match self.limits.stall_max {
            None => self.reader.next().await,
            Some(waited) => match timeout(waited, self.reader.next()).await {
                Ok(came) => came,
                Err(_) => {
                    let why = Stalled::while_answering(self.reader.pulse());
                    return Err(self.give_up(why, waited));
                }
            },
        };
        match came {
            Ok(Some(frame)) => self.read_reply(&frame),
            Ok(None) => Err(self.broken(WireError::Closed)),
            Err(error) => Err(self.broken(error)),
        }
    }

    /// Reads a frame that has to be a reply.
    pub(crate) fn read_reply(&self, frame: &Frame) -> Result<Reply, PeerError> {
        if frame.header.kind != Kind::Message {
            return Err(self.confused("a reply was due, stream data came"));
        }
        let payload = frame
            .verified_payload()
            .map_err(|error| self.broken(WireError::Frame(error)))?;
        match serde_json::from_slice(payload).map(Reply::made_printable) {
            Ok(Reply::Failed(failure)) => Err(PeerError::new(&self.name, failure)),
            Ok(reply) => Ok(reply),
            Err(_) => Err(self.confused("the reply is unknown or malformed")),
        }
    }

    pub(crate) fn broken(&self, error: WireError) -> PeerError {
        PeerError::new(&self.name, error)
    }

    pub(crate) fn confused(&self, what: &'static str) -> PeerError {
        PeerError::new(&self.name, PeerCause::Confused(what))
    }
}
