//! [`Faulty`]: the pools of a machine on which operations fail and things die.
//!
//! It lies between helper and backend, so what is below is ZFS and what is
//! above is the engine. Each call of the trait is one operation, whether it
//! changes something or not.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::hold::HoldTag;
use engine::name::{BookmarkName, DatasetName, ShortName, SnapshotName};
use engine::stream::record::BeginRecord;
use engine::zfs::{
    Dataset, Hold, NewBookmark, Pools, PropertyRefusal, ReceiveRequest, Scope, SendRequest, Zfs,
    ZfsError, ZfsErrorKind,
};
use tokio::sync::watch;

use super::fault::{Fault, Faults, Moment, Victim};

/// A stream is cut somewhere in its first so many bytes: most of what these
/// tests send at once.
const CUT_BYTES: u64 = 140_000;
/// ZFS is killed at some moment of this time after an operation has begun.
const KILL_WITHIN: Duration = Duration::from_millis(4);

/// A machine.
pub struct Faulty {
    pools: Arc<Pools>,
    faults: Faults,
    dead: AtomicBool,
    /// Changes when the connections to this machine break.
    pub connections: watch::Sender<u64>,
}

impl Faulty {
    pub fn new(pools: Arc<Pools>, faults: Faults) -> Self {
        Self {
            pools,
            faults,
            dead: AtomicBool::new(false),
            connections: watch::Sender::new(0),
        }
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// The machine is up again, with a new helper.
    pub fn revive(&self) {
        if !self.dead.swap(false, Ordering::SeqCst) {
            return;
        }
        // A call that meets a worker which is just dying fails with it.
        for image in self.pools.images() {
            let root = DatasetName::parse(&image.image().pool).unwrap();
            let mut looked = (0..5).map(|_| image.tree(&root, Scope::One));
            assert!(looked.any(|tree| tree.is_ok()), "{root} stays away");
        }
    }

    fn kill_zfs(&self) {
        for image in self.pools.images() {
            if let Some(pid) = image.worker_pid() {
                // It may just have been killed.
                let _ = Command::new("kill")
                    .args(["-KILL", &pid.to_string()])
                    .output();
            }
        }
    }

    fn strike(&self, victim: Victim) {
        match victim {
            Victim::Link => {}
            Victim::Driver => self.faults.driver.send_modify(|times| *times += 1),
            Victim::Helper => self.dead.store(true, Ordering::SeqCst),
            Victim::Power => {
                self.dead.store(true, Ordering::SeqCst);
                self.kill_zfs();
            }
        }
        self.connections.send_modify(|times| *times += 1);
    }

    fn gone(operation: &'static str) -> ZfsError {
        ZfsError::new(operation, "this machine", ZfsErrorKind::Unavailable)
    }

    /// An operation that is done at once, or not.
    fn operation<T>(
        &self,
        name: &'static str,
        run: impl FnOnce(&Pools) -> Result<T, ZfsError>,
    ) -> Result<T, ZfsError> {
        if self.is_dead() {
            return Err(Self::gone(name));
        }
        let Some(fault) = self.faults.next(name) else {
            return run(&self.pools);
        };
        match fault {
            Fault::Error(kind) => Err(ZfsError::new(name, "what was asked", kind)),
            Fault::AnswerLost => {
                run(&self.pools)?;
                Err(ZfsError::new(
                    name,
                    "what was asked",
                    ZfsErrorKind::WorkerLost,
                ))
            }
            Fault::Death(victim, moment) => {
                let done = match (victim, moment) {
                    (_, Moment::Before) => None,
                    (Victim::Power, Moment::Midway) => self.killed_midway(run),
                    (_, Moment::Midway) if self.faults.random(2) == 0 => None,
                    (_, Moment::Midway | Moment::After) => Some(run(&self.pools)),
                };
                self.strike(victim);
                match (victim, done) {
                    // The helper lives and has what it was given, to let go of it
                    // when its session ends.
                    (Victim::Link | Victim::Driver, Some(done)) => done,
                    _ => Err(Self::gone(name)),
                }
            }
        }
    }

    fn killed_midway<T>(
        &self,
        run: impl FnOnce(&Pools) -> Result<T, ZfsError>,
    ) -> Option<Result<T, ZfsError>> {
        let most = u64::try_from(KILL_WITHIN.as_micros()).unwrap();
        let after = Duration::from_micros(self.faults.random(most));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // The moment is chance itself here, not a synchronization.
                std::thread::park_timeout(after);
                self.kill_zfs();
            });
            Some(run(&self.pools))
        })
    }

    /// A send or a receive: `run` moves data through the pipe that it is given,
    /// and bytes pass from `from` to `into` on one side of it.
    fn transfer<T: Send>(
        &self,
        name: &'static str,
        fd: OwnedFd,
        way: Direction,
        run: impl FnOnce(&Pools, OwnedFd) -> Result<T, ZfsError> + Send,
    ) -> Result<T, ZfsError> {
        if self.is_dead() {
            return Err(Self::gone(name));
        }
        let victim = match self.faults.next(name) {
            None => return run(&self.pools, fd),
            Some(Fault::Error(kind)) => {
                return Err(ZfsError::new(name, "what was asked", kind));
            }
            Some(Fault::AnswerLost) => {
                run(&self.pools, fd)?;
                let kind = ZfsErrorKind::WorkerLost;
                return Err(ZfsError::new(name, "what was asked", kind));
            }
            Some(Fault::Death(victim, Moment::Before)) => {
                self.strike(victim);
                return Err(Self::gone(name));
            }
            Some(Fault::Death(victim, Moment::After)) => {
                let _ = run(&self.pools, fd);
                self.strike(victim);
                return Err(Self::gone(name));
            }
            Some(Fault::Death(victim, Moment::Midway)) => victim,
        };
        let (reader, writer) = io::pipe().unwrap();
        let (ours, mut from, mut into): (OwnedFd, File, File) = match way {
            Direction::Out => (writer.into(), File::from(OwnedFd::from(reader)), fd.into()),
            Direction::In => (reader.into(), fd.into(), File::from(OwnedFd::from(writer))),
        };
        let limit = 1 + self.faults.random(CUT_BYTES);
        std::thread::scope(|scope| {
            let moving = scope.spawn(move || run(&self.pools, ours));
            // Either end may close early; that is for `run` to tell.
            let _ = io::copy(&mut (&mut from).take(limit), &mut into);
            self.strike(victim);
            if matches!(victim, Victim::Link | Victim::Driver) {
                // Until the session has heard of it and ends the stream.
                let _ = io::copy(&mut from, &mut into);
            }
            drop((from, into));
            match (victim, moving.join().unwrap()) {
                (Victim::Link | Victim::Driver, done) => done,
                _ => Err(Self::gone(name)),
            }
        })
    }
}

enum Direction {
    Out,
    In,
}

impl Zfs for Faulty {
    fn tree(&self, root: &DatasetName, scope: Scope) -> Result<Option<Vec<Dataset>>, ZfsError> {
        self.operation("tree", |pools| pools.tree(root, scope))
    }
    fn create_ancestors(&self, dataset: &DatasetName) -> Result<Vec<DatasetName>, ZfsError> {
        self.operation("create_ancestors", |pools| pools.create_ancestors(dataset))
    }
    fn snapshot(&self, names: &[SnapshotName]) -> Result<(), ZfsError> {
        self.operation("snapshot", |pools| pools.snapshot(names))
    }
    fn destroy_snapshots(&self, names: &[SnapshotName]) -> Result<(), ZfsError> {
        self.operation("destroy_snapshots", |pools| pools.destroy_snapshots(names))
    }
    fn rename_snapshot(
        &self,
        from: &SnapshotName,
        to: &ShortName,
        scope: Scope,
    ) -> Result<(), ZfsError> {
        self.operation("rename_snapshot", |pools| {
            pools.rename_snapshot(from, to, scope)
        })
    }
    fn rename_dataset(&self, from: &DatasetName, to: &DatasetName) -> Result<(), ZfsError> {
        self.operation("rename_dataset", |pools| pools.rename_dataset(from, to))
    }
    fn destroy_dataset(&self, name: &DatasetName) -> Result<(), ZfsError> {
        self.operation("destroy_dataset", |pools| pools.destroy_dataset(name))
    }
    fn discard_partial(&self, dataset: &DatasetName, token: &str) -> Result<(), ZfsError> {
        self.operation("discard_partial", |pools| {
            pools.discard_partial(dataset, token)
        })
    }
    fn children(&self, parent: &DatasetName) -> Result<Vec<DatasetName>, ZfsError> {
        self.operation("children", |pools| pools.children(parent))
    }
    fn available_bytes(&self, dataset: &DatasetName) -> Result<u64, ZfsError> {
        self.operation("available_bytes", |pools| pools.available_bytes(dataset))
    }
    fn bookmark(&self, marks: &[NewBookmark]) -> Result<(), ZfsError> {
        self.operation("bookmark", |pools| pools.bookmark(marks))
    }
    fn destroy_bookmarks(&self, names: &[BookmarkName]) -> Result<(), ZfsError> {
        self.operation("destroy_bookmarks", |pools| pools.destroy_bookmarks(names))
    }
    fn hold(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<Box<dyn Hold>, ZfsError> {
        self.operation("hold", |pools| pools.hold(names, tag))
    }
    fn hold_kept(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<(), ZfsError> {
        self.operation("hold_kept", |pools| pools.hold_kept(names, tag))
    }
    fn release(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<(), ZfsError> {
        self.operation("release", |pools| pools.release(names, tag))
    }
    fn holds(&self, snapshot: &SnapshotName) -> Result<Vec<(String, u64)>, ZfsError> {
        self.operation("holds", |pools| pools.holds(snapshot))
    }
    fn rollback(&self, to: &SnapshotName) -> Result<(), ZfsError> {
        self.operation("rollback", |pools| pools.rollback(to))
    }
    fn dataset_mounted_at(&self, path: &Path) -> Result<Option<DatasetName>, ZfsError> {
        self.operation("dataset_mounted_at", |pools| pools.dataset_mounted_at(path))
    }
    fn send_size(&self, request: &SendRequest) -> Result<u64, ZfsError> {
        self.operation("send_size", |pools| pools.send_size(request))
    }
    fn send(&self, request: &SendRequest, into: OwnedFd) -> Result<(), ZfsError> {
        self.transfer("send", into, Direction::Out, |pools, into| {
            pools.send(request, into)
        })
    }
    fn receive(
        &self,
        request: &ReceiveRequest,
        begin: &BeginRecord,
        from: OwnedFd,
    ) -> Result<Vec<PropertyRefusal>, ZfsError> {
        self.transfer("receive", from, Direction::In, |pools, from| {
            pools.receive(request, begin, from)
        })
    }
}
