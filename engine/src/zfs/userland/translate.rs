//! The words of the worker and those of the engine.

use std::error::Error as _;
use std::fmt::Display;
use std::io;

use ::userland::Error;
use ::userland::protocol::{self as wire, StartFault};

pub(super) use crate::zfs::kernel::kind_of_errno;

use crate::name::{CreateTxg, DatasetName, Guid, Ivset, ShortName, SnapshotName};
use crate::zfs::{
    Base, BlockForm, Bookmark, Dataset, DatasetKind, Encryption, ItemError, PartialContent,
    PartialReceive, Property, PropertyValue, ResumePoint, Scope, SendMode, SendRequest, Snapshot,
    ZfsError, ZfsErrorKind,
};

/// `canmount` as index number.
pub(super) const CANMOUNT_OFF: u64 = 0;
pub(super) const CANMOUNT_NOAUTO: u64 = 2;

pub(super) fn canmount(value: u64) -> wire::Property {
    wire::Property {
        name: "canmount".to_owned(),
        value: wire::PropertyValue::Number(value),
    }
}

/// What was tried, for the sentence of an error.
pub(super) struct Tried {
    operation: &'static str,
    object: String,
}

impl Tried {
    pub(super) fn new(operation: &'static str, object: impl Display) -> Self {
        Self {
            operation,
            object: object.to_string(),
        }
    }

    /// It failed for this reason.
    pub(super) fn refused(&self, kind: ZfsErrorKind, detail: impl Into<String>) -> ZfsError {
        ZfsError {
            detail: detail.into(),
            ..ZfsError::new(self.operation, &self.object, kind)
        }
    }

    /// The worker gave an answer to something else: parts of two builds.
    pub(super) fn confused(&self) -> ZfsError {
        self.refused(
            ZfsErrorKind::Unavailable,
            "the worker answered something else",
        )
    }

    pub(super) fn failed(&self, error: &Error) -> ZfsError {
        let Some(fault) = error.fault() else {
            let mut detail = error.to_string();
            let mut cause = error.source();
            while let Some(next) = cause {
                let words = next.to_string();
                // Some name their cause themselves.
                if !detail.contains(&words) {
                    detail = format!("{detail}: {words}");
                }
                cause = next.source();
            }
            return self.refused(kind(error), detail);
        };
        ZfsError {
            items: fault
                .items
                .iter()
                .map(|(name, errno)| ItemError {
                    name: name.clone(),
                    kind: kind_of_errno(*errno),
                })
                .collect(),
            ..self.refused(kind_of_errno(fault.errno), fault.detail.clone())
        }
    }
}

/// The reason of an error that is not ZFS' own answer.
fn kind(error: &Error) -> ZfsErrorKind {
    match error {
        Error::NoWorker { .. } | Error::WorkerUnusable { .. } | Error::Protocol { .. } => {
            ZfsErrorKind::Unavailable
        }
        Error::ImageMissing(_) => ZfsErrorKind::NotFound,
        Error::ImageInUse(_) => ZfsErrorKind::Busy,
        Error::NotAFile(_) | Error::ImageTooSmall { .. } => ZfsErrorKind::Invalid,
        Error::Exists(_) => ZfsErrorKind::Exists,
        Error::Start { fault, .. } => match fault {
            StartFault::Protocol(_) => ZfsErrorKind::Unavailable,
            StartFault::NotAPool | StartFault::OtherName(_) | StartFault::TooSmall => {
                ZfsErrorKind::Invalid
            }
            StartFault::NewerPool => ZfsErrorKind::NotSupported,
            StartFault::Errno { errno, .. } => kind_of_errno(*errno),
        },
        Error::Fault { fault, .. } => kind_of_errno(fault.errno),
        Error::WorkerHung { .. } => ZfsErrorKind::WorkerLost,
        Error::DiskFull { .. } => ZfsErrorKind::NoSpace,
        // One that dies at each start will die at the next.
        Error::WorkerDied { .. } if error.is_transient() => ZfsErrorKind::WorkerLost,
        Error::WorkerDied { .. } => ZfsErrorKind::Io,
        Error::Io { source, .. } => match source.kind() {
            // Of the file system that the image is in; EACCES of ZFS is about
            // keys.
            io::ErrorKind::PermissionDenied => ZfsErrorKind::Permission,
            _ => source
                .raw_os_error()
                .map_or(ZfsErrorKind::Io, kind_of_errno),
        },
    }
}

pub(super) fn scope(scope: Scope) -> wire::Scope {
    match scope {
        Scope::One => wire::Scope::One,
        Scope::Recursive => wire::Scope::Recursive,
    }
}

pub(super) fn property_there(property: &Property) -> wire::Property {
    wire::Property {
        name: property.name.clone(),
        value: match &property.value {
            PropertyValue::Number(number) => wire::PropertyValue::Number(*number),
            PropertyValue::Text(text) => wire::PropertyValue::Text(text.clone()),
        },
    }
}

fn property_here(property: wire::Property) -> Property {
    Property {
        name: property.name,
        value: match property.value {
            wire::PropertyValue::Number(number) => PropertyValue::Number(number),
            wire::PropertyValue::Text(text) => PropertyValue::Text(text),
        },
    }
}

pub(super) fn send(request: &SendRequest) -> wire::SendRequest {
    let form = request.form();
    wire::SendRequest {
        snapshot: request.snapshot.to_string(),
        base: request.base.as_ref().map(|base| match base {
            Base::Snapshot(name) => wire::Base::Snapshot(name.to_string()),
            Base::Bookmark(short) => {
                wire::Base::Bookmark(format!("{}#{short}", request.snapshot.dataset))
            }
        }),
        flags: wire::SendFlags {
            embed_data: form.embed_data,
            large_block: form.large_block,
            compress: form.compress,
            raw: request.mode == SendMode::Raw,
        },
        resume: request.resume.map(|point| wire::ResumePoint {
            object: point.object,
            offset: point.offset_bytes,
        }),
    }
}

/// `None` for something whose name the engine does not know (`fs/%recv`).
pub(super) fn dataset(found: wire::Dataset, token: Option<wire::Token>) -> Option<Dataset> {
    let short = |point: &wire::Point| ShortName::parse(&point.short).ok();
    let ivset = |point: &wire::Point| Some(Ivset(point.ivset)).filter(|ivset| ivset.0 != 0);
    Some(Dataset {
        name: DatasetName::parse(&found.name).ok()?,
        kind: match found.kind {
            wire::Kind::Filesystem => DatasetKind::Filesystem,
            wire::Kind::Volume => DatasetKind::Volume,
        },
        guid: Guid(found.guid),
        written_bytes: found.written_bytes,
        origin: found
            .origin
            .and_then(|origin| SnapshotName::parse(&origin).ok()),
        encryption: match found.encryption {
            None => None,
            Some(encryption) => Some(Encryption {
                root: DatasetName::parse(&encryption.root).ok()?,
                key_loaded: encryption.key_loaded,
            }),
        },
        partial: found.resume_token.map(|text| PartialReceive {
            token: text,
            content: token.map(partial),
        }),
        properties: found.properties.into_iter().map(property_here).collect(),
        snapshots: found
            .snapshots
            .iter()
            .filter_map(|point| {
                Some(Snapshot {
                    short: short(point)?,
                    guid: Guid(point.guid),
                    createtxg: CreateTxg(point.createtxg),
                    creation_seconds: point.creation_seconds,
                    written_bytes: point.written_bytes,
                    holds: point.holds,
                    clones: point.clones,
                    ivset: ivset(point),
                })
            })
            .collect(),
        bookmarks: found
            .bookmarks
            .iter()
            .filter_map(|point| {
                Some(Bookmark {
                    short: short(point)?,
                    guid: Guid(point.guid),
                    createtxg: CreateTxg(point.createtxg),
                    ivset: ivset(point),
                })
            })
            .collect(),
    })
}

/// Takes over what a worker tells of datasets, for fuzzers.
#[cfg(feature = "fuzzing")]
pub(crate) fn answer_here(answer: wire::Answer) {
    match answer {
        wire::Answer::Tree(Some(datasets)) => {
            for found in datasets {
                dataset(found, None);
            }
        }
        wire::Answer::Token(token) => {
            partial(token);
        }
        wire::Answer::Received(refused) => {
            for (_, errno) in refused {
                kind_of_errno(errno);
            }
        }
        _ => {}
    }
}

fn partial(token: wire::Token) -> PartialContent {
    PartialContent {
        to_guid: Guid(token.to_guid),
        to_name: SnapshotName::parse(&token.to_name).ok(),
        from_guid: token.from_guid.map(Guid),
        mode: match token.flags.raw {
            true => SendMode::Raw,
            false => SendMode::Plain,
        },
        resume: ResumePoint {
            object: token.resume.object,
            offset_bytes: token.resume.offset,
            form: BlockForm {
                embed_data: token.flags.embed_data,
                large_block: token.flags.large_block,
                compress: token.flags.compress,
            },
        },
        received_bytes: token.received_bytes,
    }
}
