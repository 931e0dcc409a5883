//! Raw bindings to libnvpair, libzfs_core and libzfs.
//!
//! Place in the way of the data: the lowest crate. `libzfs` above it is the
//! only user; it adds ownership, errors and safety. Here are only
//!
//! - the types and constants of the C headers ([`bindings`]), made by bindgen
//!   from the installed headers or taken from the committed copy;
//! - the functions as tables of pointers ([`Nvpair`], [`Core`], [`Zfs`]);
//! - the loader ([`load`]), which fills them.
//!
//! # Loading
//! The libraries are opened when [`load`] is called, so one program works with
//! OpenZFS 2.0 to 2.4 (libzfs changed its soname in between, the functions
//! used here did not change) and starts on a machine without ZFS. With the
//! feature `link` the same tables are filled by the system's linker.
//!
//! # Committed bindings
//! `bindings/SYSTEM-lp64.rs` is used where headers or libclang are missing.
//! `cargo test -p libzfs-sys` compares it with what the headers give;
//! `ZFERRY_BLESS=1 cargo test -p libzfs-sys` writes it anew.

mod functions;
mod loader;

pub use functions::{Core, Nvpair, Zfs};
pub use loader::{Api, Library, LoadError, load};
#[cfg(not(feature = "link"))]
pub use loader::{LibraryNames, load_from};

/// What bindgen made of the C headers. The functions in it are only there to be
/// compared with [`Nvpair`], [`Core`] and [`Zfs`]: use those.
#[allow(
    missing_docs,
    non_camel_case_types,
    clippy::all,
    unused_qualifications,
    reason = "generated; which of these fire depends on the version of the headers"
)]
pub mod bindings {
    use crate::dmu_replay_record;

    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

/// Bytes of a record of a send stream (`sizeof (dmu_replay_record_t)`): the
/// same since the format exists, on all platforms.
pub const REPLAY_RECORD_BYTES: usize = 312;

/// A record of a send stream, as bytes. Its header (`sys/zfs_ioctl.h`) is not
/// among the installed ones; libzfs_core only hands it to the kernel.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub struct dmu_replay_record {
    /// The record, in the byte order of this machine.
    pub bytes: [u8; REPLAY_RECORD_BYTES],
}

const _: () = assert!(size_of::<dmu_replay_record>() == REPLAY_RECORD_BYTES);

/// The flags of `zfs_rename` for a dataset, which takes its children along
/// and is mounted again where it was (`renameflags_t { 0 }`).
///
/// OpenZFS only: illumos takes two `boolean_t` instead.
#[cfg(not(target_os = "illumos"))]
#[must_use]
pub fn rename_gently() -> bindings::renameflags_t {
    bindings::renameflags_t {
        _bindgen_align: [],
        _bindgen_opaque_blob: 0,
    }
}

/// The flags of `zfs_rename` that rename a snapshot in all children too
/// (`renameflags_t { .recursive = 1 }`).
///
/// OpenZFS only: illumos takes two `boolean_t` instead.
#[cfg(not(target_os = "illumos"))]
#[must_use]
pub fn rename_recursively() -> bindings::renameflags_t {
    // The first of the bit fields of an `unsigned int`: the lowest bit where
    // the least significant byte comes first, the highest elsewhere.
    let recursive = if cfg!(target_endian = "little") {
        1
    } else {
        1 << (u32::BITS - 1)
    };
    bindings::renameflags_t {
        _bindgen_align: [],
        _bindgen_opaque_blob: recursive,
    }
}
