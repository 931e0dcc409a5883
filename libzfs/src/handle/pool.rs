//! Pools, and the versions of library and kernel module.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};

use libzfs_sys::bindings::zpool_handle_t;

use super::{Handle, owned_text};
use crate::error::{Error, Operation};
use crate::nvlist::{NvListRef, c_string};

/// An imported pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub guid: u64,
    /// Bytes of its devices, redundancy included.
    pub size_bytes: u64,
    /// Bytes of these not allocated.
    pub free_bytes: u64,
    /// Enabled features by their long names (`org.open-zfs:large_blocks`), with
    /// the number of users: 0 is enabled, more is active.
    pub features: BTreeMap<String, u64>,
}

/// Versions of ZFS on this machine, as they name themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The libraries.
    pub userland: String,
    /// The kernel module.
    pub kernel: String,
}

impl Handle {
    /// All imported pools, by name. Source: `zpool_iter`.
    ///
    /// # Errors
    /// `Permission`, `Io`.
    pub fn pools(&self) -> Result<Vec<Pool>, Error> {
        let mut visitor = Visitor {
            handle: self,
            pools: Vec::new(),
        };
        let data = (&raw mut visitor).cast::<c_void>();
        // SAFETY: the handle is valid; `visitor` outlives the call, which calls
        // `visit_pool` with it and with pools that it gives away.
        let rc = unsafe { (self.api.zfs.zpool_iter)(self.raw.as_ptr(), Some(visit_pool), data) };
        if rc != 0 {
            return Err(self.last_error(Operation::ListPools, "pools"));
        }
        let mut pools = visitor.pools;
        pools.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(pools)
    }

    /// Versions of libraries and module; `None` on illumos, which has none.
    /// Source: `zfs_version_userland`, `zfs_version_kernel`.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        let userland = self.api.zfs.zfs_version_userland?;
        let kernel = self.api.zfs.zfs_version_kernel?;
        // SAFETY: returns a constant text.
        let userland = owned_text(unsafe { userland() });
        // SAFETY: returns null or a new text that the caller frees.
        let raw = unsafe { kernel() };
        let kernel = owned_text(raw);
        // SAFETY: from malloc, or null; not used any more.
        unsafe { libc::free(raw.cast()) };
        Some(Version { userland, kernel })
    }

    fn read_pool(&self, pool: *mut zpool_handle_t) -> Pool {
        let zfs = &self.api.zfs;
        let number = |name: &str| {
            let name = c_string(name).expect("no zero byte in a property name");
            // SAFETY: the name ends with a zero byte.
            let property = unsafe { (zfs.zpool_name_to_prop)(name.as_ptr()) };
            // SAFETY: the pool is open, the number comes from this library, and
            // nobody asks for the source.
            unsafe { (zfs.zpool_get_prop_int)(pool, property, std::ptr::null_mut()) }
        };
        // SAFETY: the pool is open.
        let name = owned_text(unsafe { (zfs.zpool_get_name)(pool) });
        // SAFETY: the pool is open.
        let features = unsafe { (zfs.zpool_get_features)(pool) };
        // SAFETY: the list belongs to the pool, which is open until the end of
        // this function.
        let features = unsafe { NvListRef::from_raw(features, &self.api.nvpair) };
        Pool {
            name,
            guid: number("guid"),
            size_bytes: number("size"),
            free_bytes: number("free"),
            features: features
                .into_iter()
                .flatten()
                .filter_map(|(name, users)| Some((name, users.ok()?.as_u64()?)))
                .collect(),
        }
    }
}

/// What travels through libzfs to [`visit_pool`].
struct Visitor<'h> {
    handle: &'h Handle,
    pools: Vec<Pool>,
}

/// Called by `zpool_iter` with pools that it gives away.
unsafe extern "C" fn visit_pool(pool: *mut zpool_handle_t, data: *mut c_void) -> c_int {
    // SAFETY: `data` is the `Visitor` that was given to the iterator, which has
    // not returned yet; nothing else uses it meanwhile.
    let visitor = unsafe { &mut *data.cast::<Visitor<'_>>() };
    visitor.pools.push(visitor.handle.read_pool(pool));
    // SAFETY: the pool is open and ours, and not used any more.
    unsafe { (visitor.handle.api.zfs.zpool_close)(pool) };
    0
}
