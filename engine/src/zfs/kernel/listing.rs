//! What libzfs lists, as the engine has it.

use libzfs::Handle;

use super::{Kernel, dataset_name};
use crate::name::{CreateTxg, Guid, Ivset, ShortName, SnapshotName};
use crate::zfs::{
    BlockForm, Bookmark, Dataset, DatasetKind, Encryption, PartialContent, PartialReceive,
    Property, PropertyValue, ResumePoint, SendMode, Snapshot, ZfsError,
};

impl Kernel {
    /// A dataset with its snapshots and bookmarks; the latter are listed here.
    pub(super) fn dataset(
        &self,
        handle: &Handle,
        listed: libzfs::Listed,
    ) -> Result<Dataset, ZfsError> {
        let found = listed.dataset;
        let snapshots = listed
            .snapshots
            .into_iter()
            .filter_map(|snapshot| {
                Some(Snapshot {
                    // Names that the engine does not know (`%recv`) are not ours.
                    short: ShortName::parse(&snapshot.id.name).ok()?,
                    guid: Guid(snapshot.id.guid),
                    createtxg: CreateTxg(snapshot.id.createtxg),
                    creation_seconds: snapshot.creation_seconds,
                    written_bytes: snapshot.written_bytes,
                    holds: snapshot.holds,
                    clones: snapshot.clones,
                    ivset: snapshot.ivset_guid.map(Ivset),
                })
            })
            .collect();
        let bookmarks = self
            .core
            .bookmarks(&found.name)?
            .into_iter()
            .filter_map(|bookmark| {
                Some(Bookmark {
                    short: ShortName::parse(&bookmark.name).ok()?,
                    guid: Guid(bookmark.guid),
                    createtxg: CreateTxg(bookmark.createtxg),
                    ivset: bookmark.ivset_guid.map(Ivset),
                })
            })
            .collect();
        let properties = found
            .properties
            .into_iter()
            .filter(|property| is_transferable(handle, property))
            .map(|property| Property {
                name: property.name,
                value: match property.value {
                    libzfs::PropertyValue::Number(number) => PropertyValue::Number(number),
                    libzfs::PropertyValue::Text(text) => PropertyValue::Text(text),
                },
            })
            .collect();
        let encryption = found.encryption.map(|encryption| {
            Ok::<_, ZfsError>(Encryption {
                root: dataset_name(&encryption.root)?,
                key_loaded: encryption.key == libzfs::KeyStatus::Available,
            })
        });
        Ok(Dataset {
            name: dataset_name(&found.name)?,
            kind: match found.kind {
                libzfs::DatasetKind::Filesystem => DatasetKind::Filesystem,
                libzfs::DatasetKind::Volume => DatasetKind::Volume,
            },
            guid: Guid(found.guid),
            written_bytes: found.written_bytes,
            origin: found
                .origin
                .and_then(|origin| SnapshotName::parse(&origin).ok()),
            encryption: encryption.transpose()?,
            partial: found
                .receive_resume_token
                .map(|token| partial(handle, token)),
            properties,
            snapshots,
            bookmarks,
        })
    }
}

/// Set on the dataset itself, and of a kind that may be set again elsewhere.
fn is_transferable(handle: &Handle, property: &libzfs::Property) -> bool {
    let set_here = matches!(
        property.source,
        libzfs::PropertySource::Local | libzfs::PropertySource::Received
    );
    set_here
        && match handle.property_info(&property.name) {
            libzfs::PropertyInfo::User => true,
            libzfs::PropertyInfo::Native {
                readonly, set_once, ..
            } => !readonly && !set_once,
            libzfs::PropertyInfo::Unknown => false,
        }
}

/// A token of the kernel, with what it says.
pub(super) fn partial(handle: &Handle, token: String) -> PartialReceive {
    let content = handle
        .decode_resume_token(&token)
        .ok()
        .filter(|content| !content.saved && !content.redacted)
        .map(|content| PartialContent {
            to_guid: Guid(content.to_guid),
            to_name: SnapshotName::parse(&content.to_name).ok(),
            from_guid: content.from_guid.map(Guid),
            mode: match content.raw {
                true => SendMode::Raw,
                false => SendMode::Plain,
            },
            resume: ResumePoint {
                object: content.object,
                offset_bytes: content.offset_bytes,
                form: BlockForm {
                    embed_data: content.embed_data,
                    large_block: content.large_block,
                    compress: content.compress,
                },
            },
            received_bytes: content.received_bytes,
        });
    PartialReceive { token, content }
}
