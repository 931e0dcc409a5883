//! Sending: everything that was born after the base, in the order of blocks.

use std::sync::Arc;

use super::content::Extent;
use super::machine::{DatasetNode, Machine, ObjectId, SnapshotNode};
use super::pipe::Outlet;
use super::record::{Begin, HEADER_BYTES, Key, Lineage, WORD_BYTES, Writer, feature};
use crate::name::{CreateTxg, Guid, SnapshotName};
use crate::stream::record::RECORD_BYTES;
use crate::zfs::{Base, SendMode, SendRequest, ZfsErrorKind};

/// The base, found.
#[derive(Debug)]
struct Start {
    guid: Guid,
    createtxg: CreateTxg,
    ivset: Option<u64>,
    lineage: Lineage,
}

/// A stream that only has to be written. It keeps its data whatever happens
/// to the base meanwhile.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) snapshot: ObjectId,
    begin: [u8; RECORD_BYTES],
    key: Option<Key>,
    /// Where the stream goes on, if it was cut: blocks from this one.
    resume: Option<u64>,
    changes: Vec<(u64, Option<Arc<Extent>>)>,
}

impl Machine {
    pub(super) fn outgoing(&self, request: &SendRequest) -> Result<Outgoing, ZfsErrorKind> {
        let node = self.dataset(&request.snapshot.dataset)?;
        let snapshot = self.snapshot(&request.snapshot)?;
        let start = match &request.base {
            None => None,
            Some(Base::Snapshot(base)) => Some(self.start_at_snapshot(base, node, snapshot)?),
            Some(Base::Bookmark(short)) => {
                let mut bookmarks = node.bookmarks.iter();
                let base = bookmarks.find(|b| b.short == *short);
                let base = base.ok_or(ZfsErrorKind::NotFound)?;
                Some(Start {
                    guid: base.guid,
                    createtxg: base.createtxg,
                    ivset: base.ivset,
                    lineage: Lineage::Same,
                })
            }
        };
        let base_txg = start.as_ref().map(|start| start.createtxg);
        if base_txg.is_some_and(|txg| txg >= snapshot.createtxg) {
            return Err(ZfsErrorKind::CrossDevice);
        }
        if request.mode == SendMode::Plain && !self.is_readable(node) {
            return Err(ZfsErrorKind::KeyUnavailable);
        }
        // Asking for raw blocks of a dataset that is not encrypted gives a
        // plain stream.
        let to_ivset = snapshot.ivset.filter(|_| request.mode == SendMode::Raw);
        let key = to_ivset.map(|to_ivset| Key {
            from_ivset: start.as_ref().and_then(|s| s.ivset).unwrap_or(0),
            to_ivset,
        });
        let resume = request.resume.map(|point| point.object);
        let begin = Begin {
            snapshot: &request.snapshot,
            to_guid: snapshot.guid,
            from_guid: start.as_ref().map(|start| start.guid),
            lineage: start.as_ref().map_or(Lineage::Same, |s| s.lineage),
            kind: node.kind,
            features: match key {
                Some(_) => feature::RAW_STREAM,
                None => feature::PLAIN_STREAM,
            } | match resume {
                Some(_) => feature::RESUMING,
                None => 0,
            },
            creation_seconds: snapshot.creation_seconds,
        };
        let changes = snapshot
            .content
            .born_after(base_txg.unwrap_or(CreateTxg(0)))
            // A full stream has nothing to free.
            .filter(|(_, block)| base_txg.is_some() || block.data.is_some())
            .filter(|(number, _)| resume.is_none_or(|next| *number >= next))
            .map(|(number, block)| (number, block.data.clone()));
        Ok(Outgoing {
            snapshot: snapshot.id,
            begin: begin.encode(),
            key,
            resume,
            changes: changes.collect(),
        })
    }

    /// A base must lie before the snapshot in the same dataset, or at or
    /// before the snapshot that the dataset (or its origin, and so on) was
    /// cloned from: `dsl_dataset_is_before`.
    fn start_at_snapshot(
        &self,
        name: &SnapshotName,
        node: &DatasetNode,
        snapshot: &SnapshotNode,
    ) -> Result<Start, ZfsErrorKind> {
        let base = self.snapshot(name)?;
        let home = self.dataset(&name.dataset)?.id;
        let start = |lineage| Start {
            guid: base.guid,
            createtxg: base.createtxg,
            ivset: base.ivset,
            lineage,
        };
        if home == node.id {
            return match base.createtxg < snapshot.createtxg {
                true => Ok(start(Lineage::Same)),
                false => Err(ZfsErrorKind::CrossDevice),
            };
        }
        let mut origin = node.origin;
        while let Some((_, parent, branch)) = origin.and_then(|id| self.snapshot_of(id)) {
            if parent.id == home && base.createtxg <= branch.createtxg {
                return Ok(start(Lineage::Origin));
            }
            origin = parent.origin;
        }
        Err(ZfsErrorKind::CrossDevice)
    }
}

impl Outgoing {
    /// Size of the stream, bytes. ZFS estimates; the model knows.
    pub(super) fn size_bytes(&self) -> u64 {
        let payload = self.changes.iter().map(|(_, data)| match data {
            Some(extent) => extent.bytes().len().next_multiple_of(WORD_BYTES),
            None => 0,
        });
        let key_bytes =
            self.key.map_or(0, |_| HEADER_BYTES + 16) + self.resume.map_or(0, |_| HEADER_BYTES + 8);
        let headers_bytes = HEADER_BYTES * (self.changes.len() + 1);
        (RECORD_BYTES + key_bytes + headers_bytes + payload.sum::<usize>()) as u64
    }

    /// Writes the stream; calls `midway` when half of the records are out.
    pub(super) fn write(self, outlet: &mut Outlet, midway: impl Fn()) -> Result<(), ZfsErrorKind> {
        let mut writer = Writer::begin(outlet, &self.begin)?;
        if let Some(key) = self.key {
            writer.key(key)?;
        }
        if let Some(block) = self.resume {
            writer.resume(block)?;
        }
        let half = self.changes.len() / 2;
        for (index, (number, data)) in self.changes.into_iter().enumerate() {
            if index == half {
                midway();
            }
            match data {
                Some(extent) => writer.write(number, extent.bytes())?,
                None => writer.free(number)?,
            }
        }
        writer.end()
    }
}
