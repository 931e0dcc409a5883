//! An open dataset or snapshot of libzfs, and the lists of them that its
//! iterators give out.

use std::ffi::{c_int, c_void};
use std::ptr::NonNull;

use libzfs_sys::bindings::{nvlist_t, zfs_handle_t, zfs_type_t};

use super::{Handle, owned_text};
use crate::error::{Error, Operation};
use crate::nvlist::{NvListRef, c_string};

/// An open dataset or snapshot. It shows the moment it was opened.
pub(super) struct Object<'h> {
    raw: NonNull<zfs_handle_t>,
    handle: &'h Handle,
}

impl<'h> Object<'h> {
    /// Opens `name` if it is one of `types` (bits of `zfs_type_t`).
    pub(super) fn open(handle: &'h Handle, name: &str, types: zfs_type_t) -> Result<Self, Error> {
        let c_name = c_string(name).map_err(|error| Error::new(Operation::Open, name, error))?;
        let types = c_int::try_from(types).expect("there are six type bits");
        // SAFETY: handle and name are valid.
        let raw = unsafe { (handle.api.zfs.zfs_open)(handle.raw.as_ptr(), c_name.as_ptr(), types) };
        match NonNull::new(raw) {
            Some(raw) => Ok(Self { raw, handle }),
            None => Err(handle.last_error(Operation::Open, name)),
        }
    }

    pub(super) fn as_ptr(&self) -> *mut zfs_handle_t {
        self.raw.as_ptr()
    }

    pub(super) fn name(&self) -> String {
        // SAFETY: the object is open; its name lives as long.
        owned_text(unsafe { (self.handle.api.zfs.zfs_get_name)(self.as_ptr()) })
    }

    pub(super) fn kind(&self) -> zfs_type_t {
        // SAFETY: the object is open.
        unsafe { (self.handle.api.zfs.zfs_get_type)(self.as_ptr()) }
    }

    /// Everything the kernel reported when the object was opened, by property
    /// name. Source: `zfs_get_all_props`.
    pub(super) fn properties(&self) -> Option<NvListRef<'_>> {
        // SAFETY: the object is open.
        let raw = unsafe { (self.handle.api.zfs.zfs_get_all_props)(self.as_ptr()) };
        // SAFETY: the list belongs to the object and stays until it is closed.
        unsafe { self.borrowed(raw) }
    }

    /// Received values, also those without effect. One ioctl.
    /// Source: `zfs_get_recvd_props`.
    pub(super) fn received_properties(&self) -> Option<NvListRef<'_>> {
        // SAFETY: the object is open.
        let raw = unsafe { (self.handle.api.zfs.zfs_get_recvd_props)(self.as_ptr()) };
        // SAFETY: the list belongs to the object and stays until it is closed.
        unsafe { self.borrowed(raw) }
    }

    /// # Safety
    /// `raw` is null or a list that stays as long as this object is open.
    unsafe fn borrowed(&self, raw: *mut nvlist_t) -> Option<NvListRef<'_>> {
        // SAFETY: promised by the caller.
        unsafe { NvListRef::from_raw(raw, &self.handle.api.nvpair) }
    }

    /// The file systems and volumes right below, in the order of names.
    /// Source: `zfs_iter_filesystems`.
    pub(super) fn children(&self) -> Result<Vec<Self>, Error> {
        let mut children: Vec<Self> = Vec::new();
        let mut visit = |child: Object<'h>| children.push(child);
        let mut visitor = Visitor {
            handle: self.handle,
            visit: &mut visit,
        };
        let data = (&raw mut visitor).cast::<c_void>();
        // SAFETY: the object is open; `visitor` outlives the call, which calls
        // `visit_object` with it and with children that it gives away.
        let rc = unsafe {
            (self.handle.api.zfs.zfs_iter_filesystems)(self.as_ptr(), Some(visit_object), data)
        };
        if rc != 0 {
            return Err(self
                .handle
                .last_error(Operation::ListChildren, &self.name()));
        }
        let mut named: Vec<(String, Self)> = children
            .into_iter()
            .map(|child| (child.name(), child))
            .collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(named.into_iter().map(|(_, child)| child).collect())
    }

    /// Calls `visit` with each snapshot. `simple` ones know their name, guid and
    /// createtxg only. Source: `zfs_iter_snapshots`.
    pub(super) fn snapshots(
        &self,
        detail: SnapshotDetail,
        visit: &mut dyn FnMut(Object<'h>),
    ) -> Result<(), Error> {
        use libzfs_sys::bindings::{B_FALSE, B_TRUE};
        let simple = match detail {
            SnapshotDetail::Identity => B_TRUE,
            SnapshotDetail::Statistics => B_FALSE,
        };
        let mut visitor = Visitor {
            handle: self.handle,
            visit,
        };
        let data = (&raw mut visitor).cast::<c_void>();
        let iterate = self.handle.api.zfs.zfs_iter_snapshots;
        // SAFETY: the object is open; `visitor` outlives the call, which calls
        // `visit_object` with it and with snapshots that it gives away. Bounds
        // of 0 mean none.
        #[cfg(not(target_os = "illumos"))]
        let rc = unsafe { iterate(self.as_ptr(), simple, Some(visit_object), data, 0, 0) };
        // SAFETY: as above; illumos has no bounds.
        #[cfg(target_os = "illumos")]
        let rc = unsafe { iterate(self.as_ptr(), simple, Some(visit_object), data) };
        if rc != 0 {
            return Err(self
                .handle
                .last_error(Operation::ListSnapshots, &self.name()));
        }
        Ok(())
    }
}

/// How much the kernel is to tell about each snapshot. One ioctl for each
/// either way; the shorter answer is a fifth cheaper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SnapshotDetail {
    Identity,
    Statistics,
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        // SAFETY: the object is open and ours.
        unsafe { (self.handle.api.zfs.zfs_close)(self.as_ptr()) };
    }
}

/// What travels through libzfs to [`visit_object`].
struct Visitor<'v, 'h> {
    handle: &'h Handle,
    visit: &'v mut dyn FnMut(Object<'h>),
}

/// Called by libzfs' iterators with objects that it gives away. Never stops the
/// iteration. A panic in here would end the process: `visit` only collects.
unsafe extern "C" fn visit_object(raw: *mut zfs_handle_t, data: *mut c_void) -> c_int {
    // SAFETY: `data` is the `Visitor` that was given to the iterator, which has
    // not returned yet; nothing else uses it meanwhile.
    let visitor = unsafe { &mut *data.cast::<Visitor<'_, '_>>() };
    if let Some(raw) = NonNull::new(raw) {
        (visitor.visit)(Object {
            raw,
            handle: visitor.handle,
        });
    }
    0
}
