//! Receiving: built up beside the dataset, put in place in one transaction
//! group, or nothing of it.
//!
//! The checks and their order are those of `recv_begin_check_existing_impl`
//! and `dmu_recv_end_check` without force.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::content::{Block, Extent, Space};
use super::datasets::Encrypting;
use super::machine::{Machine, ObjectId, SnapshotNode, Transfer};
use super::pipe::Inlet;
use super::properties::CANMOUNT_NOAUTO;
use super::record::{Key, Reader, Record};
use crate::name::DatasetName;
use crate::stream::record::BeginRecord;
use crate::zfs::{
    DatasetKind, Landing, Property, PropertyRefusal, PropertyValue, ReceiveRequest, ZfsErrorKind,
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
}

/// A stream that was read to its end record.
#[derive(Debug)]
pub(super) struct Arrived {
    changes: BTreeMap<u64, Option<Arc<Extent>>>,
    key: Option<Key>,
}

impl Incoming {
    pub(super) fn transfer(&self) -> Transfer {
        match self.branch {
            None => Transfer::Creating(self.dataset),
            Some(branch) => Transfer::Extending {
                dataset: self.dataset,
                branch,
            },
        }
    }

    /// Takes the stream in; calls `midway` when the first record is stored.
    pub(super) fn read(
        &self,
        begin: &BeginRecord,
        inlet: Inlet,
        midway: impl Fn(),
    ) -> Result<Arrived, ZfsErrorKind> {
        let mut reader = Reader::new(inlet, begin.bytes());
        let mut arrived = Arrived {
            changes: BTreeMap::new(),
            key: None,
        };
        if begin.is_raw() {
            let Record::Key(key) = reader.next()? else {
                return Err(ZfsErrorKind::Invalid);
            };
            if begin.from_guid.is_some() && self.base_ivset != Some(key.from_ivset) {
                return Err(ZfsErrorKind::IvsetMismatch);
            }
            arrived.key = Some(key);
        }
        loop {
            match reader.next()? {
                Record::Write { block, bytes } => {
                    let extent = self.space.store(&bytes)?;
                    arrived.changes.insert(block, Some(extent));
                }
                Record::Free { block } => {
                    arrived.changes.insert(block, None);
                }
                Record::Key(_) => return Err(ZfsErrorKind::Invalid),
                Record::End => return Ok(arrived),
            }
            if arrived.changes.len() == 1 {
                midway();
            }
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
        match self.datasets.contains_key(name) {
            true => self.begin_extending(request, begin),
            false => self.begin_creating(name, begin),
        }
    }

    fn begin_extending(
        &self,
        request: &ReceiveRequest,
        begin: &BeginRecord,
    ) -> Result<Incoming, ZfsErrorKind> {
        let node = self.dataset(&request.snapshot.dataset)?;
        if self.is_receiving(node.id) {
            return Err(ZfsErrorKind::Busy);
        }
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
        })
    }

    fn begin_creating(
        &mut self,
        name: &DatasetName,
        begin: &BeginRecord,
    ) -> Result<Incoming, ZfsErrorKind> {
        self.check_place(name)?;
        if begin.from_guid.is_some() {
            return Err(ZfsErrorKind::NotFound);
        }
        let space = Arc::clone(&self.pool(name.pool())?.space);
        let encrypting = match begin.is_raw() {
            false => Encrypting::AsParent,
            // It is locked until somebody loads the key of the source.
            true => Encrypting::Itself,
        };
        let dataset = self.create_dataset(name, begin.kind, encrypting)?;
        Ok(Incoming {
            dataset,
            branch: None,
            base_ivset: None,
            space,
        })
    }

    /// Puts what has arrived in place.
    pub(super) fn end_receive(
        &mut self,
        incoming: &Incoming,
        arrived: Arrived,
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
            hold_tags: BTreeSet::new(),
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
