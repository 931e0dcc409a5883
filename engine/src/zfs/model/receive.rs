//! Receiving: built up beside the dataset, put in place in one transaction
//! group, or nothing of it.
//!
//! The checks and their order are those of `recv_begin_check_existing_impl`
//! and `dmu_recv_end_check` without force.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::content::{Block, Extent, Space};
use super::datasets::Encrypting;
use super::machine::{Machine, ObjectId, Receiving, SnapshotNode};
use super::pipe::Inlet;
use super::properties::CANMOUNT_NOAUTO;
use super::record::{Key, Reader, Record};
use crate::name::{Guid, SnapshotName};
use crate::stream::record::BeginRecord;
use crate::zfs::{
    BlockForm, DatasetKind, Landing, OnCut, PartialContent, PartialReceive, Property,
    PropertyRefusal, PropertyValue, ReceiveRequest, ResumePoint, SendMode, ZfsErrorKind,
};

/// A receive whose beginning was accepted.
#[derive(Debug)]
pub(super) struct Incoming {
    dataset: ObjectId,
    /// Newest snapshot at the beginning; `None` for a new dataset.
    branch: Option<ObjectId>,
    /// Encryption of the blocks of the base, for a raw incremental stream.
    base_ivset: Option<u64>,
    space: Arc<Space>,
    arrival: Arrival,
    on_cut: OnCut,
}

/// What has arrived of a stream.
#[derive(Debug, Clone)]
pub(super) struct Arrived {
    to_guid: Guid,
    to_name: Option<SnapshotName>,
    from_guid: Option<Guid>,
    mode: SendMode,
    pub(super) changes: BTreeMap<u64, Option<Arc<Extent>>>,
    key: Option<Key>,
    /// The block that comes next; in a stream they come in order.
    next_block: u64,
    bytes: u64,
}

impl Arrived {
    fn nothing(begin: &BeginRecord) -> Self {
        Self {
            to_guid: begin.to_guid,
            to_name: begin.to_name(),
            from_guid: begin.from_guid,
            mode: mode(begin),
            changes: BTreeMap::new(),
            key: None,
            next_block: 0,
            bytes: 0,
        }
    }

    fn store(&mut self, block: u64, data: Option<Arc<Extent>>) {
        self.bytes += data.as_ref().map_or(0, |data| data.bytes().len() as u64);
        self.next_block = block.saturating_add(1);
        self.changes.insert(block, data);
    }

    /// As the trait lists it. The token of the model has no content of its own.
    pub(super) fn describe(&self) -> PartialReceive {
        PartialReceive {
            token: format!("1-model-{:x}-{:x}", self.to_guid.0, self.next_block),
            content: Some(PartialContent {
                to_guid: self.to_guid,
                to_name: self.to_name.clone(),
                from_guid: self.from_guid,
                mode: self.mode,
                resume: ResumePoint {
                    object: self.next_block,
                    offset_bytes: 0,
                    form: BlockForm::USUAL,
                },
                received_bytes: self.bytes,
            }),
        }
    }
}

fn mode(begin: &BeginRecord) -> SendMode {
    match begin.is_raw() {
        true => SendMode::Raw,
        false => SendMode::Plain,
    }
}

/// What has arrived so far: the thread that receives adds to it, and a crash
/// finds it as it is.
#[derive(Debug, Clone)]
pub(super) struct Arrival(Arc<Mutex<Arrived>>);

impl Arrival {
    fn new(arrived: Arrived) -> Self {
        Self(Arc::new(Mutex::new(arrived)))
    }

    pub(super) fn copy(&self) -> Arrived {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Arrived> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Incoming {
    pub(super) fn receiving(&self) -> Receiving {
        Receiving {
            dataset: self.dataset,
            branch: self.branch,
            kept: match self.on_cut {
                OnCut::Keep => Some(self.arrival.clone()),
                OnCut::Discard => None,
            },
        }
    }

    /// Takes the stream in; calls `midway` when the first record is stored.
    pub(super) fn read(
        &self,
        begin: &BeginRecord,
        inlet: Inlet,
        midway: impl Fn(),
    ) -> Result<(), ZfsErrorKind> {
        let mut reader = Reader::new(inlet, begin.bytes());
        if begin.is_raw() {
            let Record::Key(key) = reader.next()? else {
                return Err(ZfsErrorKind::Invalid);
            };
            if begin.from_guid.is_some() && self.base_ivset != Some(key.from_ivset) {
                return Err(ZfsErrorKind::IvsetMismatch);
            }
            self.arrival.lock().key = Some(key);
        }
        if begin.is_resuming() {
            let Record::Resume { block } = reader.next()? else {
                return Err(ZfsErrorKind::Invalid);
            };
            if block != self.arrival.lock().next_block {
                return Err(ZfsErrorKind::Invalid);
            }
        }
        // A record is proven by the header of the one after it, and stored then:
        // what is left of a damaged stream has nothing damaged in it.
        let mut unproven = None;
        let mut stored = 0;
        loop {
            let record = reader.next()?;
            if let Some((block, data)) = unproven.take() {
                self.arrival.lock().store(block, data);
                stored += 1;
                if stored == 1 {
                    midway();
                }
            }
            unproven = Some(match record {
                Record::Write { block, bytes } => (block, Some(self.space.store(&bytes)?)),
                Record::Free { block } => (block, None),
                Record::Key(_) | Record::Resume { .. } => return Err(ZfsErrorKind::Invalid),
                Record::End => return Ok(()),
            });
        }
    }
}

impl Machine {
    /// Decides on the BEGIN record alone whether the stream may come in; a
    /// new dataset is there (empty) from now on.
    pub(super) fn begin_receive(
        &mut self,
        request: &ReceiveRequest,
        begin: &BeginRecord,
    ) -> Result<Incoming, ZfsErrorKind> {
        let name = &request.snapshot.dataset;
        let Some(node) = self.datasets.get(name) else {
            return self.begin_creating(request, begin);
        };
        if node.partial.is_some() && !begin.is_resuming() {
            return Err(ZfsErrorKind::Busy);
        }
        match self.receiving_into(node.id) {
            // One that comes into being and keeps no state is a dataset without
            // snapshots like any other.
            Some(running) if running.branch.is_none() && running.kept.is_none() => {
                return Err(match begin.from_guid {
                    None => ZfsErrorKind::Exists,
                    Some(_) => ZfsErrorKind::NoSuchBase,
                });
            }
            Some(_) => return Err(ZfsErrorKind::Busy),
            None => {}
        }
        match begin.is_resuming() {
            false => self.begin_extending(request, begin),
            true => self.begin_resuming(request, begin),
        }
    }

    /// Goes on with what a cut receive left (`dmu_recv_resume_begin_check`).
    fn begin_resuming(
        &mut self,
        request: &ReceiveRequest,
        begin: &BeginRecord,
    ) -> Result<Incoming, ZfsErrorKind> {
        let name = &request.snapshot.dataset;
        let space = Arc::clone(&self.pool(name.pool())?.space);
        let node = self.dataset_mut(name)?;
        let dataset = node.id;
        let left = node.partial.take().ok_or(ZfsErrorKind::Invalid)?;
        if request.on_cut == OnCut::Discard {
            // Seen: it takes what is left with it.
            if left.branch.is_none() {
                self.datasets.remove(name);
            }
            return Err(ZfsErrorKind::Invalid);
        }
        let same_base = begin.from_guid == left.arrived.from_guid;
        let same_snapshot = begin.to_guid == left.arrived.to_guid;
        if !same_base || !same_snapshot || mode(begin) != left.arrived.mode {
            node.partial = Some(left);
            return Err(match same_base {
                true => ZfsErrorKind::Invalid,
                // Seen with a full stream.
                false => ZfsErrorKind::Busy,
            });
        }
        let base = node.snapshots.iter().rev();
        let base = base.clone().find(|s| Some(s.guid) == begin.from_guid);
        Ok(Incoming {
            dataset,
            branch: left.branch,
            base_ivset: base.and_then(|base| base.ivset),
            space,
            arrival: Arrival::new(left.arrived),
            on_cut: request.on_cut,
        })
    }

    fn begin_extending(
        &self,
        request: &ReceiveRequest,
        begin: &BeginRecord,
    ) -> Result<Incoming, ZfsErrorKind> {
        let node = self.dataset(&request.snapshot.dataset)?;
        if node.snapshot(&request.snapshot.short).is_some() {
            return Err(ZfsErrorKind::Exists);
        }
        let from = begin.from_guid.ok_or(ZfsErrorKind::Exists)?;
        let base = node.snapshots.iter().rev().find(|s| s.guid == from);
        let (Some(base), Some(branch)) = (base, node.snapshots.last()) else {
            return Err(ZfsErrorKind::NoSuchBase);
        };
        // Later snapshots are no obstacle, changes are.
        if node.head.modified > base.createtxg {
            return Err(ZfsErrorKind::Modified);
        }
        match begin.is_raw() {
            true if node.encryption_root.is_none() => return Err(ZfsErrorKind::Invalid),
            false if !self.is_readable(node) => return Err(ZfsErrorKind::KeyUnavailable),
            _ => {}
        }
        Ok(Incoming {
            dataset: node.id,
            branch: Some(branch.id),
            base_ivset: base.ivset,
            space: Arc::clone(&self.pool(request.snapshot.dataset.pool())?.space),
            arrival: Arrival::new(Arrived::nothing(begin)),
            on_cut: request.on_cut,
        })
    }

    fn begin_creating(
        &mut self,
        request: &ReceiveRequest,
        begin: &BeginRecord,
    ) -> Result<Incoming, ZfsErrorKind> {
        let name = &request.snapshot.dataset;
        self.check_place(name)?;
        let origin = match (&request.origin, begin.from_guid) {
            (None, None) => None,
            (None, Some(_)) => return Err(ZfsErrorKind::NotFound),
            (Some(origin), from) => {
                let origin = self.snapshot(origin)?.clone();
                if from.is_some_and(|from| from != origin.guid) {
                    return Err(ZfsErrorKind::NoSuchBase);
                }
                Some(origin)
            }
        };
        let space = Arc::clone(&self.pool(name.pool())?.space);
        let encrypting = match begin.is_raw() {
            false => Encrypting::AsParent,
            // It is locked until somebody loads the key of the source.
            true => Encrypting::Itself,
        };
        let dataset = self.create_dataset(name, begin.kind, encrypting)?;
        let base_ivset = origin.as_ref().and_then(|origin| origin.ivset);
        if let Some(origin) = origin {
            let node = self.dataset_mut(name)?;
            node.origin = Some(origin.id);
            node.head = origin.content;
        }
        Ok(Incoming {
            dataset,
            branch: None,
            base_ivset,
            space,
            arrival: Arrival::new(Arrived::nothing(begin)),
            on_cut: request.on_cut,
        })
    }

    /// Puts what has arrived in place.
    pub(super) fn end_receive(
        &mut self,
        incoming: &Incoming,
        request: &ReceiveRequest,
        begin: &BeginRecord,
    ) -> Result<Vec<PropertyRefusal>, ZfsErrorKind> {
        // Renaming a dataset does not disturb a receive into it.
        let name = self.name_of(incoming.dataset).cloned();
        let name = name.ok_or(ZfsErrorKind::NotFound)?;
        let node = self.dataset(&name)?;
        let newest = node.snapshots.last();
        if newest.map(|s| s.id) != incoming.branch {
            return Err(ZfsErrorKind::Invalid);
        }
        if newest.is_some_and(|s| node.head.modified > s.createtxg) {
            return Err(ZfsErrorKind::Modified);
        }
        if node.snapshot(&request.snapshot.short).is_some() {
            return Err(ZfsErrorKind::Exists);
        }
        let arrived = incoming.arrival.copy();
        let id = self.new_object();
        let own_ivset = self.random.identity();
        let txg = self.next_txg(name.pool())?;
        let node = self.dataset_mut(&name)?;
        for (number, data) in arrived.changes {
            node.head.put(number, Block { birth: txg, data });
        }
        let ivset = match arrived.key {
            Some(key) => Some(key.to_ivset),
            None => node.encryption_root.map(|_| own_ivset),
        };
        node.snapshots.push(SnapshotNode {
            id,
            short: request.snapshot.short.clone(),
            guid: begin.to_guid,
            createtxg: txg,
            creation_seconds: begin.creation_seconds,
            content: node.head.clone(),
            ivset,
            hold_tags: BTreeMap::new(),
        });
        if (request.landing, request.kind) == (Landing::Create, DatasetKind::Filesystem) {
            node.settings.set_local(Property {
                name: "canmount".to_owned(),
                value: PropertyValue::Number(CANMOUNT_NOAUTO),
            });
        }
        Ok(node.settings.receive(node.kind, &request.properties))
    }
}
