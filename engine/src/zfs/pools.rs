//! Which pool serves a request: an image of this process, or the kernel.
//!
//! Images are opened at once, so that a mistake in a name shows before anything
//! has begun. The kernel's ZFS is opened when the first request needs it: with
//! images alone, no machine needs it at all.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::kernel::Kernel;
use super::userland::{Image, ImagePool, Worker};
use super::{
    Base, Dataset, Hold, NewBookmark, PropertyRefusal, ReceiveRequest, Scope, SendRequest, Zfs,
    ZfsError, ZfsErrorKind, mounted,
};
use crate::hold::HoldTag;
use crate::name::{BookmarkName, DatasetName, Guid, ShortName, SnapshotName};
use crate::stream::record::BeginRecord;

/// Opens the kernel's ZFS.
type Opener = Box<dyn Fn() -> Result<Arc<dyn Zfs>, ZfsError> + Send + Sync>;

/// The pools of this process: images by name, everything else in the kernel.
pub struct Pools {
    images: BTreeMap<String, Arc<ImagePool>>,
    open_kernel: Opener,
    kernel: OnceLock<Arc<dyn Zfs>>,
}

impl Pools {
    /// Opens the images and locks them against other processes. An image goes
    /// before a pool of the kernel that has its name.
    ///
    /// # Errors
    /// That of the first image that cannot be opened (see [`ImagePool::open`]);
    /// `Invalid` if two have one name.
    pub fn open(worker: &Worker, images: &[Image]) -> Result<Self, ZfsError> {
        let mut opened = BTreeMap::new();
        for image in images {
            match opened.entry(image.pool.clone()) {
                Entry::Vacant(place) => {
                    place.insert(Arc::new(ImagePool::open(worker, image)?));
                }
                Entry::Occupied(_) => {
                    return Err(ZfsError {
                        detail: format!("two images are named `{}`", image.pool),
                        ..ZfsError::new(
                            "open the image",
                            image.path.display(),
                            ZfsErrorKind::Invalid,
                        )
                    });
                }
            }
        }
        Ok(Self::with(opened, Box::new(Kernel::open)))
    }

    fn with(images: BTreeMap<String, Arc<ImagePool>>, open_kernel: Opener) -> Self {
        Self {
            images,
            open_kernel,
            kernel: OnceLock::new(),
        }
    }

    /// The image that holds this pool.
    #[must_use]
    pub fn image(&self, pool: &str) -> Option<&Arc<ImagePool>> {
        self.images.get(pool)
    }

    /// All images, by the name of their pool.
    pub fn images(&self) -> impl Iterator<Item = &Arc<ImagePool>> {
        self.images.values()
    }

    /// Exports all images. What is still in use elsewhere is let go of by its
    /// last user, without an export, which loses nothing.
    ///
    /// # Errors
    /// The first that could not be exported; the others are.
    pub fn close(self) -> Result<(), ZfsError> {
        let outcomes: Vec<_> = self
            .images
            .into_values()
            .filter_map(Arc::into_inner)
            .map(ImagePool::close)
            .collect();
        outcomes.into_iter().collect()
    }

    /// Who serves this dataset.
    fn of(&self, dataset: &DatasetName) -> Result<&dyn Zfs, ZfsError> {
        if let Some(image) = self.images.get(dataset.pool()) {
            return Ok(image.as_ref());
        }
        if let Some(kernel) = self.kernel.get() {
            return Ok(kernel.as_ref());
        }
        let opened = (self.open_kernel)().map_err(|missing| self.unknown(dataset, missing))?;
        Ok(self.kernel.get_or_init(|| opened).as_ref())
    }

    /// No image, and no ZFS in the kernel to ask.
    fn unknown(&self, dataset: &DatasetName, missing: ZfsError) -> ZfsError {
        let known: Vec<_> = self.images.keys().map(String::as_str).collect();
        let images = match known[..] {
            [] => "no image was named".to_owned(),
            _ => format!("the images named here are {}", known.join(", ")),
        };
        ZfsError {
            detail: format!("{missing}; pool `{}` is no image: {images}", dataset.pool()),
            ..ZfsError::new("find the pool of", dataset, ZfsErrorKind::Unavailable)
        }
    }

    /// Who serves all of them. ZFS has no operation over two pools.
    fn of_all<'a>(
        &self,
        operation: &'static str,
        mut datasets: impl Iterator<Item = &'a DatasetName>,
    ) -> Result<Option<&dyn Zfs>, ZfsError> {
        let Some(first) = datasets.next() else {
            return Ok(None);
        };
        match datasets.find(|dataset| dataset.pool() != first.pool()) {
            None => self.of(first).map(Some),
            Some(other) => Err(across(operation, first, other)),
        }
    }
}

fn across(operation: &'static str, first: &DatasetName, other: &DatasetName) -> ZfsError {
    ZfsError {
        detail: format!("{other} is in another pool"),
        ..ZfsError::new(operation, first, ZfsErrorKind::CrossDevice)
    }
}

/// The hold of nothing.
struct Nothing;

impl Hold for Nothing {}

fn datasets(names: &[SnapshotName]) -> impl Iterator<Item = &DatasetName> {
    names.iter().map(|name| &name.dataset)
}

/// What the kernel has mounted, unless its name would lead to an image: that
/// is another dataset.
fn kernels_own(
    found: Option<DatasetName>,
    is_image: impl Fn(&str) -> bool,
    path: &Path,
) -> Result<Option<DatasetName>, ZfsError> {
    match found {
        Some(dataset) if is_image(dataset.pool()) => Err(ZfsError {
            detail: format!(
                "{dataset} of the kernel is; the name `{}` means an image here",
                dataset.pool()
            ),
            ..mounted::failed(path, ZfsErrorKind::Invalid)
        }),
        found => Ok(found),
    }
}

/// A base has to be in the pool of what is sent.
fn check_base(request: &SendRequest) -> Result<(), ZfsError> {
    let dataset = &request.snapshot.dataset;
    match &request.base {
        Some(Base::Snapshot(base)) if base.dataset.pool() != dataset.pool() => {
            Err(across("send", dataset, &base.dataset))
        }
        _ => Ok(()),
    }
}

impl Zfs for Pools {
    fn tree(&self, root: &DatasetName, scope: Scope) -> Result<Option<Vec<Dataset>>, ZfsError> {
        self.of(root)?.tree(root, scope)
    }

    fn snapshot_guids(&self, names: &[SnapshotName]) -> Result<Vec<Option<Guid>>, ZfsError> {
        let mut guids = Vec::with_capacity(names.len());
        for part in names.chunk_by(|one, next| one.dataset.pool() == next.dataset.pool()) {
            guids.extend(self.of(&part[0].dataset)?.snapshot_guids(part)?);
        }
        Ok(guids)
    }

    fn create_ancestors(&self, dataset: &DatasetName) -> Result<Vec<DatasetName>, ZfsError> {
        self.of(dataset)?.create_ancestors(dataset)
    }

    fn snapshot(&self, names: &[SnapshotName]) -> Result<(), ZfsError> {
        match self.of_all("take", datasets(names))? {
            None => Ok(()),
            Some(zfs) => zfs.snapshot(names),
        }
    }

    fn destroy_snapshots(&self, names: &[SnapshotName]) -> Result<(), ZfsError> {
        match self.of_all("destroy", datasets(names))? {
            None => Ok(()),
            Some(zfs) => zfs.destroy_snapshots(names),
        }
    }

    fn rename_snapshot(
        &self,
        from: &SnapshotName,
        to: &ShortName,
        scope: Scope,
    ) -> Result<(), ZfsError> {
        self.of(&from.dataset)?.rename_snapshot(from, to, scope)
    }

    fn rename_dataset(&self, from: &DatasetName, to: &DatasetName) -> Result<(), ZfsError> {
        if from.pool() != to.pool() {
            return Err(across("rename", from, to));
        }
        self.of(from)?.rename_dataset(from, to)
    }

    fn destroy_dataset(&self, name: &DatasetName) -> Result<(), ZfsError> {
        self.of(name)?.destroy_dataset(name)
    }

    fn discard_partial(&self, dataset: &DatasetName, token: &str) -> Result<(), ZfsError> {
        self.of(dataset)?.discard_partial(dataset, token)
    }

    fn children(&self, parent: &DatasetName) -> Result<Vec<DatasetName>, ZfsError> {
        self.of(parent)?.children(parent)
    }

    fn available_bytes(&self, dataset: &DatasetName) -> Result<u64, ZfsError> {
        self.of(dataset)?.available_bytes(dataset)
    }

    fn bookmark(&self, marks: &[NewBookmark]) -> Result<(), ZfsError> {
        let datasets = marks.iter().map(|mark| &mark.of.dataset);
        match self.of_all("bookmark", datasets) {
            // Unlike its siblings this ioctl finds that malformed.
            Err(error) if error.kind == ZfsErrorKind::CrossDevice => Err(ZfsError {
                kind: ZfsErrorKind::Invalid,
                ..error
            }),
            Err(error) => Err(error),
            Ok(None) => Ok(()),
            Ok(Some(zfs)) => zfs.bookmark(marks),
        }
    }

    fn destroy_bookmarks(&self, names: &[BookmarkName]) -> Result<(), ZfsError> {
        match self.of_all("destroy", names.iter().map(|name| &name.dataset))? {
            None => Ok(()),
            Some(zfs) => zfs.destroy_bookmarks(names),
        }
    }

    fn hold(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<Box<dyn Hold>, ZfsError> {
        match self.of_all("hold", datasets(names))? {
            None => Ok(Box::new(Nothing)),
            Some(zfs) => zfs.hold(names, tag),
        }
    }

    fn hold_kept(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<(), ZfsError> {
        match self.of_all("hold", datasets(names))? {
            None => Ok(()),
            Some(zfs) => zfs.hold_kept(names, tag),
        }
    }

    fn release(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<(), ZfsError> {
        match self.of_all("release", datasets(names))? {
            None => Ok(()),
            Some(zfs) => zfs.release(names, tag),
        }
    }

    fn holds(&self, snapshot: &SnapshotName) -> Result<Vec<(String, u64)>, ZfsError> {
        self.of(&snapshot.dataset)?.holds(snapshot)
    }

    /// Images are mounted nowhere; what is mounted belongs to the kernel.
    fn dataset_mounted_at(&self, path: &Path) -> Result<Option<DatasetName>, ZfsError> {
        let found = match self.kernel.get() {
            Some(kernel) => kernel.dataset_mounted_at(path)?,
            None => match (self.open_kernel)() {
                Ok(opened) => self
                    .kernel
                    .get_or_init(|| opened)
                    .dataset_mounted_at(path)?,
                Err(missing) => {
                    return Err(ZfsError {
                        detail: format!("{missing}, and images are mounted nowhere"),
                        ..mounted::failed(path, ZfsErrorKind::NotSupported)
                    });
                }
            },
        };
        kernels_own(found, |pool| self.images.contains_key(pool), path)
    }

    fn rollback(&self, to: &SnapshotName) -> Result<(), ZfsError> {
        self.of(&to.dataset)?.rollback(to)
    }

    fn send_size(&self, request: &SendRequest) -> Result<u64, ZfsError> {
        check_base(request)?;
        self.of(&request.snapshot.dataset)?.send_size(request)
    }

    fn send(&self, request: &SendRequest, into: OwnedFd) -> Result<(), ZfsError> {
        check_base(request)?;
        self.of(&request.snapshot.dataset)?.send(request, into)
    }

    fn receive(
        &self,
        request: &ReceiveRequest,
        begin: &BeginRecord,
        from: OwnedFd,
    ) -> Result<Vec<PropertyRefusal>, ZfsError> {
        let dataset = &request.snapshot.dataset;
        if let Some(origin) = &request.origin
            && origin.dataset.pool() != dataset.pool()
        {
            return Err(across("receive", dataset, &origin.dataset));
        }
        self.of(dataset)?.receive(request, begin, from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zfs::model::Model;

    fn dataset(name: &str) -> DatasetName {
        DatasetName::parse(name).unwrap()
    }

    fn snapshot(name: &str) -> SnapshotName {
        SnapshotName::parse(name).unwrap()
    }

    fn absent() -> Pools {
        let missing = || {
            let kind = ZfsErrorKind::Unavailable;
            Err(ZfsError {
                detail: "no /dev/zfs".to_owned(),
                ..ZfsError::new("use", "ZFS", kind)
            })
        };
        Pools::with(BTreeMap::new(), Box::new(missing))
    }

    #[test]
    fn the_kernel_is_opened_by_the_first_request_and_once() {
        let model = Model::new(1);
        model.by_hand().add_pool("tank", 1 << 20).unwrap();
        let opened = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = Arc::clone(&opened);
        let open = move || {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok(Arc::new(model.clone()) as Arc<dyn Zfs>)
        };
        let pools = Pools::with(BTreeMap::new(), Box::new(open));
        assert_eq!(opened.load(std::sync::atomic::Ordering::SeqCst), 0);
        for _ in 0..2 {
            let tree = pools.tree(&dataset("tank"), Scope::One).unwrap();
            assert_eq!(tree.unwrap().len(), 1);
        }
        assert_eq!(opened.load(std::sync::atomic::Ordering::SeqCst), 1);
    }

    #[test]
    fn what_the_kernel_has_mounted_is_not_taken_for_an_image_of_the_same_name() {
        let path = Path::new("/srv");
        let found = || Some(dataset("tank/a"));
        let own = kernels_own(found(), |pool| pool == "safe", path);
        assert_eq!(own, Ok(found()));
        let error = kernels_own(found(), |pool| pool == "tank", path).unwrap_err();
        assert_eq!(error.kind, ZfsErrorKind::Invalid);
        assert!(
            error.to_string().contains("tank/a of the kernel"),
            "{error}"
        );
    }

    #[test]
    fn without_zfs_what_is_mounted_cannot_be_said() {
        let error = absent().dataset_mounted_at(Path::new("/srv")).unwrap_err();
        assert_eq!(error.kind, ZfsErrorKind::NotSupported);
        assert!(error.to_string().contains("no /dev/zfs"), "{error}");
    }

    #[test]
    fn without_zfs_an_unknown_pool_is_told_with_both_reasons() {
        let error = absent().tree(&dataset("tank/a"), Scope::One).unwrap_err();
        assert_eq!(error.kind, ZfsErrorKind::Unavailable);
        let text = error.to_string();
        assert!(
            text.contains("no /dev/zfs") && text.contains("no image"),
            "{text}"
        );
    }

    #[test]
    fn two_pools_at_once_are_refused_as_a_kernel_refuses_them() {
        let pools = absent();
        let names = [snapshot("tank/a@x"), snapshot("safe/a@x")];
        assert_eq!(
            pools.snapshot(&names).unwrap_err().kind,
            ZfsErrorKind::CrossDevice
        );
        let held = pools
            .hold(&names, &HoldTag::for_run("test"))
            .err()
            .map(|error| error.kind);
        assert_eq!(held, Some(ZfsErrorKind::CrossDevice));
        let request = SendRequest {
            snapshot: names[0].clone(),
            base: Some(Base::Snapshot(names[1].clone())),
            mode: crate::zfs::SendMode::Plain,
            resume: None,
        };
        assert_eq!(
            pools.send_size(&request).unwrap_err().kind,
            ZfsErrorKind::CrossDevice
        );
    }
}
