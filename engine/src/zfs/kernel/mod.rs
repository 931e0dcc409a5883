//! ZFS of this machine's kernel, through libzfs and libzfs_core.
//!
//! The one module of the engine that names the crate `libzfs`. It translates:
//! names and values one way, errors the other ([`listing`]: what there is). libzfs_core moves data and
//! changes snapshots; libzfs lists, and renames a snapshot in a whole tree in
//! one transaction.

mod listing;

use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use libzfs::{Core, Depth, with_handle};

use super::{
    Base, Dataset, DatasetKind, Hold, ItemError, Landing, NewBookmark, OnCut, PropertyRefusal,
    PropertyValue, ReceiveRequest, Scope, SendMode, SendRequest, Zfs, ZfsError, ZfsErrorKind, left,
};
use crate::hold::HoldTag;
use crate::name::{BookmarkName, DatasetName, Guid, ShortName, SnapshotName};
use crate::stream::record::BeginRecord;

/// The most threads that list one tree: each is one more that keeps the kernel
/// from its other work.
const LISTING_THREADS_MAX: usize = 4;

/// The kernel's ZFS.
#[derive(Debug)]
pub struct Kernel {
    core: Core,
}

impl Kernel {
    /// Loads the libraries and opens `/dev/zfs`. Does not load the kernel
    /// module.
    ///
    /// # Errors
    /// `Unavailable`, with what is missing and the package that has it.
    pub fn open() -> Result<Arc<dyn Zfs>, ZfsError> {
        let core = Core::open()?;
        Ok(Arc::new(Self { core }))
    }
}

/// What is installed and running here: versions of libraries and module, in
/// one line.
///
/// # Errors
/// `Unavailable`, with what is missing and the package that has it.
pub fn version() -> Result<String, ZfsError> {
    with_handle(|handle| {
        Ok(match handle.version() {
            Some(version) => format!("{}, {}", version.userland, version.kernel),
            None => "ZFS of this system".to_owned(),
        })
    })
}

/// The root datasets of all imported pools, by name.
///
/// # Errors
/// `Unavailable`, with what is missing and the package that has it.
pub fn pools() -> Result<Vec<DatasetName>, ZfsError> {
    with_handle(|handle| {
        let pools = handle.pools()?;
        pools.iter().map(|pool| dataset_name(&pool.name)).collect()
    })
}

impl Zfs for Kernel {
    fn tree(&self, root: &DatasetName, scope: Scope) -> Result<Option<Vec<Dataset>>, ZfsError> {
        let depth = match scope {
            Scope::One => Depth::One,
            Scope::Recursive => Depth::All,
        };
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = threads.min(LISTING_THREADS_MAX);
        let listed = libzfs::list(root.as_str(), depth, threads, |handle, listed| {
            match self.dataset(handle, listed) {
                Ok(dataset) => Ok(Some(dataset)),
                // Destroyed since it was listed.
                Err(error) if error.kind == ZfsErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        })?;
        Ok(listed.filter(|datasets| !datasets.is_empty()))
    }

    fn snapshot_guids(&self, names: &[SnapshotName]) -> Result<Vec<Option<Guid>>, ZfsError> {
        with_handle(|handle| {
            let guids = names
                .iter()
                .map(|name| match handle.snapshot_guid(&name.to_string()) {
                    Ok(guid) => Ok(Some(Guid(guid))),
                    Err(error) if error.kind() == libzfs::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error.into()),
                });
            guids.collect()
        })
    }

    fn create_ancestors(&self, dataset: &DatasetName) -> Result<Vec<DatasetName>, ZfsError> {
        let mut created = Vec::new();
        for ancestor in dataset.ancestors() {
            if self.core.exists(ancestor.as_str()) {
                continue;
            }
            if ancestor.parent().is_none() {
                return Err(ZfsError::new(
                    "find the pool",
                    &ancestor,
                    ZfsErrorKind::NotFound,
                ));
            }
            let properties = with_handle(|handle| {
                handle
                    .parse_properties(libzfs::DatasetKind::Filesystem, &[("canmount", "off")])
                    .map_err(ZfsError::from)
            })?;
            let new = libzfs::NewFilesystem {
                name: ancestor.as_str(),
                properties: &properties,
            };
            self.core.create_filesystem(&new)?;
            created.push(ancestor);
        }
        Ok(created)
    }

    fn snapshot(&self, names: &[SnapshotName]) -> Result<(), ZfsError> {
        self.core
            .snapshot(&texts(names), &[])
            .map_err(ZfsError::from)
    }

    fn destroy_snapshots(&self, names: &[SnapshotName]) -> Result<(), ZfsError> {
        if names.is_empty() {
            return Ok(());
        }
        self.core
            .destroy_snapshots(&texts(names), libzfs::DestroyTiming::Now)
            .map_err(ZfsError::from)
    }

    fn rename_snapshot(
        &self,
        from: &SnapshotName,
        to: &ShortName,
        scope: Scope,
    ) -> Result<(), ZfsError> {
        let old = from.to_string();
        match scope {
            Scope::One => {
                let new = format!("{}@{to}", from.dataset);
                let request = libzfs::Rename {
                    from: &old,
                    to: &new,
                };
                self.core.rename(&request).map_err(ZfsError::from)
            }
            Scope::Recursive => with_handle(|handle| {
                let request = libzfs::RecursiveRename {
                    snapshot: &old,
                    to: to.as_str(),
                };
                handle
                    .rename_snapshot_recursive(&request)
                    .map_err(ZfsError::from)
            }),
        }
    }

    fn rename_dataset(&self, from: &DatasetName, to: &DatasetName) -> Result<(), ZfsError> {
        if from.pool() != to.pool() {
            return Err(ZfsError::new("rename", from, ZfsErrorKind::CrossDevice));
        }
        with_handle(|handle| {
            let request = libzfs::DatasetRename {
                from: from.as_str(),
                to: to.as_str(),
            };
            handle.rename_dataset(&request).map_err(ZfsError::from)
        })
    }

    fn destroy_dataset(&self, name: &DatasetName) -> Result<(), ZfsError> {
        with_handle(|handle| handle.unmount(name.as_str()).map_err(ZfsError::from))?;
        self.core.destroy(name.as_str()).map_err(ZfsError::from)
    }

    fn discard_partial(&self, dataset: &DatasetName, token: &str) -> Result<(), ZfsError> {
        let found = left::still_there(self, dataset, token)?;
        let destroy = |name: &str| {
            self.core.destroy(name).map_err(|error| ZfsError {
                operation: left::OPERATION.to_owned(),
                object: dataset.to_string(),
                ..error.into()
            })
        };
        match destroy(&format!("{dataset}/%recv")) {
            // Nothing stands beside it: it is the one that was to come.
            Err(error) if error.kind == ZfsErrorKind::NotFound && found.snapshots.is_empty() => {
                destroy(dataset.as_str())
            }
            done => done,
        }
    }

    fn children(&self, parent: &DatasetName) -> Result<Vec<DatasetName>, ZfsError> {
        with_handle(|handle| {
            let children = handle.children(parent.as_str())?;
            children.iter().map(|name| dataset_name(name)).collect()
        })
    }

    fn available_bytes(&self, dataset: &DatasetName) -> Result<u64, ZfsError> {
        with_handle(|handle| {
            handle
                .dataset(dataset.as_str())
                .map(|found| found.available_bytes)
                .map_err(ZfsError::from)
        })
    }

    fn bookmark(&self, marks: &[NewBookmark]) -> Result<(), ZfsError> {
        let texts: Vec<(String, String)> = marks
            .iter()
            .map(|mark| {
                (
                    mark.of.to_string(),
                    format!("{}#{}", mark.of.dataset, mark.short),
                )
            })
            .collect();
        let requests: Vec<_> = texts
            .iter()
            .map(|(source, bookmark)| libzfs::BookmarkRequest { source, bookmark })
            .collect();
        self.core.bookmark(&requests).map_err(ZfsError::from)
    }

    fn destroy_bookmarks(&self, names: &[BookmarkName]) -> Result<(), ZfsError> {
        let texts: Vec<String> = names.iter().map(ToString::to_string).collect();
        self.core.destroy_bookmarks(&texts).map_err(ZfsError::from)
    }

    fn hold(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<Box<dyn Hold>, ZfsError> {
        let guard = self.core.hold_until_dropped(tag.as_str(), &texts(names))?;
        Ok(Box::new(KernelHold(guard)))
    }

    fn hold_kept(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<(), ZfsError> {
        if names.is_empty() {
            return Ok(());
        }
        let held = self.core.hold(tag.as_str(), &texts(names));
        let Err(error) = held else { return Ok(()) };
        let error = ZfsError::from(error);
        if error.kind == ZfsErrorKind::NotFound {
            // The kernel holds those that are there. None had the tag before.
            self.release(names, tag)?;
        }
        Err(error)
    }

    fn release(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<(), ZfsError> {
        if names.is_empty() {
            return Ok(());
        }
        match self.core.release(tag.as_str(), &texts(names)) {
            // The others are released.
            Err(error) if error.kind() == libzfs::ErrorKind::NotFound => Ok(()),
            released => released.map_err(ZfsError::from),
        }
    }

    fn holds(&self, snapshot: &SnapshotName) -> Result<Vec<(String, u64)>, ZfsError> {
        let holds = self.core.holds(&snapshot.to_string());
        let holds = holds?;
        let told = |hold: libzfs::Hold| (hold.tag, hold.creation_seconds);
        Ok(holds.into_iter().map(told).collect())
    }

    fn dataset_mounted_at(&self, path: &Path) -> Result<Option<DatasetName>, ZfsError> {
        super::mounted::at(path)
    }

    fn rollback(&self, to: &SnapshotName) -> Result<(), ZfsError> {
        let snapshot = to.to_string();
        let request = libzfs::Rollback {
            dataset: to.dataset.as_str(),
            snapshot: &snapshot,
        };
        self.core.rollback_to(&request).map_err(ZfsError::from)
    }

    fn send_size(&self, request: &SendRequest) -> Result<u64, ZfsError> {
        let names = SendNames::new(request);
        self.core
            .send_space(&names.request(request))
            .map_err(ZfsError::from)
    }

    fn send(&self, request: &SendRequest, into: OwnedFd) -> Result<(), ZfsError> {
        let names = SendNames::new(request);
        let stream = names.request(request);
        let sent = match request.resume {
            None => self.core.send(&stream, into.as_fd()),
            Some(point) => {
                let point = libzfs::ResumePoint {
                    object: point.object,
                    offset_bytes: point.offset_bytes,
                };
                self.core.send_resume(&stream, point, into.as_fd())
            }
        };
        sent.map_err(ZfsError::from)
    }

    fn receive(
        &self,
        request: &ReceiveRequest,
        begin: &BeginRecord,
        from: OwnedFd,
    ) -> Result<Vec<PropertyRefusal>, ZfsError> {
        let overrides = match (request.landing, request.kind) {
            (Landing::Create, DatasetKind::Filesystem) => with_handle(|handle| {
                handle
                    .parse_properties(libzfs::DatasetKind::Filesystem, &[("canmount", "noauto")])
                    .map_err(ZfsError::from)
            })?,
            _ => Vec::new(),
        };
        let received: Vec<_> = request
            .properties
            .iter()
            .map(|property| libzfs::PropertySetting {
                name: property.name.clone(),
                value: match &property.value {
                    PropertyValue::Number(number) => libzfs::PropertyValue::Number(*number),
                    PropertyValue::Text(text) => libzfs::PropertyValue::Text(text.clone()),
                },
            })
            .collect();
        let snapshot = request.snapshot.to_string();
        let origin = request.origin.as_ref().map(ToString::to_string);
        let request = libzfs::ReceiveRequest {
            snapshot: &snapshot,
            begin: begin.bytes(),
            origin: origin.as_deref(),
            resumable: request.on_cut == OnCut::Keep,
            raw: begin.is_raw(),
            received: &received,
            overrides: &overrides,
            excluded: &[],
        };
        let received = self.core.receive(&request, from.as_fd())?;
        Ok(received
            .property_errors
            .into_iter()
            .map(|item| PropertyRefusal {
                name: item.name,
                kind: kind(item.errno.kind()),
            })
            .collect())
    }
}

struct KernelHold(#[expect(dead_code, reason = "dropping it releases the hold")] libzfs::HoldGuard);

impl Hold for KernelHold {}

/// The names of a send request as libzfs_core takes them.
struct SendNames {
    snapshot: String,
    from: Option<String>,
}

impl SendNames {
    fn new(request: &SendRequest) -> Self {
        Self {
            snapshot: request.snapshot.to_string(),
            from: request.base.as_ref().map(|base| match base {
                Base::Snapshot(name) => name.to_string(),
                Base::Bookmark(short) => format!("{}#{short}", request.snapshot.dataset),
            }),
        }
    }

    fn request(&self, request: &SendRequest) -> libzfs::SendRequest<'_> {
        let form = request.form();
        libzfs::SendRequest {
            snapshot: &self.snapshot,
            from: self.from.as_deref(),
            flags: libzfs::SendFlags {
                embed_data: form.embed_data,
                large_block: form.large_block,
                compress: form.compress,
                raw: request.mode == SendMode::Raw,
                saved: false,
            },
        }
    }
}

fn texts(names: &[SnapshotName]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// A name that came from the kernel. One that does not fit belongs to
/// something the engine does not know.
fn dataset_name(text: &str) -> Result<DatasetName, ZfsError> {
    DatasetName::parse(text).map_err(|error| ZfsError {
        detail: error.to_string(),
        ..ZfsError::new("list", text.escape_debug(), ZfsErrorKind::Invalid)
    })
}

impl From<libzfs::Error> for ZfsError {
    fn from(error: libzfs::Error) -> Self {
        ZfsError {
            operation: error.operation.to_string(),
            object: error.object.clone(),
            kind: kind(error.kind()),
            items: error
                .items
                .iter()
                .map(|item| ItemError {
                    name: item.name.clone(),
                    kind: kind(item.errno.kind()),
                })
                .collect(),
            detail: match error.cause.as_ref() {
                libzfs::Cause::Errno(_) => String::new(),
                cause => cause.to_string(),
            },
        }
    }
}

/// What an errno of OpenZFS means, in a kernel or anywhere else.
pub(super) fn kind_of_errno(errno: i32) -> ZfsErrorKind {
    kind(libzfs::Errno(errno).kind())
}

fn kind(kind: libzfs::ErrorKind) -> ZfsErrorKind {
    use libzfs::ErrorKind as From;
    match kind {
        From::NotFound => ZfsErrorKind::NotFound,
        From::Exists => ZfsErrorKind::Exists,
        From::Busy => ZfsErrorKind::Busy,
        From::Permission => ZfsErrorKind::Permission,
        From::NoSpace => ZfsErrorKind::NoSpace,
        From::Quota => ZfsErrorKind::Quota,
        From::Modified => ZfsErrorKind::Modified,
        From::NoSuchBase => ZfsErrorKind::NoSuchBase,
        From::CrossDevice => ZfsErrorKind::CrossDevice,
        From::Interrupted => ZfsErrorKind::Interrupted,
        From::StreamTruncated => ZfsErrorKind::StreamTruncated,
        From::ChecksumMismatch => ZfsErrorKind::ChecksumMismatch,
        From::IvsetMismatch => ZfsErrorKind::IvsetMismatch,
        From::KeyUnavailable => ZfsErrorKind::KeyUnavailable,
        From::NotSupported => ZfsErrorKind::NotSupported,
        From::Invalid => ZfsErrorKind::Invalid,
        From::Io => ZfsErrorKind::Io,
        From::ReadOnly => ZfsErrorKind::ReadOnly,
        From::Suspended => ZfsErrorKind::Suspended,
        From::Unavailable => ZfsErrorKind::Unavailable,
        From::Other(errno) => ZfsErrorKind::Other(errno),
    }
}
