//! Datasets, their properties, and the content of volumes.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};

use userland::protocol::{Fault, Property};

use super::arguments::{Items, Properties, done, done_with, text};
use super::sys;

/// Creates a volume as a kernel does, without a reservation. Nothing is left
/// if a property is refused.
///
/// Source: `dmu_objset_create`, `zvol_create_cb`.
pub fn create_volume(
    name: &str,
    bytes: u64,
    block_bytes: u64,
    properties: &[Property],
) -> Result<(), Fault> {
    let name = text(name)?;
    // SAFETY: the name outlives the call.
    done(unsafe { sys::zs_create_volume(name.as_ptr(), bytes, block_bytes) })?;
    set_or_destroy(&name, properties)
}

fn set_or_destroy(name: &CString, properties: &[Property]) -> Result<(), Fault> {
    set(name, properties).inspect_err(|_| {
        // SAFETY: the name outlives the call. If it fails the first fault is
        // still the one to tell.
        let _ = unsafe { sys::zs_destroy_dataset(name.as_ptr()) };
    })
}

/// Sets what it can; the refused ones are the items of the fault.
pub fn set_properties(dataset: &str, properties: &[Property]) -> Result<(), Fault> {
    set(&text(dataset)?, properties)
}

fn set(dataset: &CString, properties: &[Property]) -> Result<(), Fault> {
    let properties = Properties::new(properties)?;
    let mut refused = Items::default();
    // SAFETY: name, properties and items outlive the call.
    let errno = unsafe {
        sys::zs_set_properties(dataset.as_ptr(), properties.raw(), refused.taker().raw())
    };
    done_with(errno, refused)
}

/// Destroys a dataset, or a partial receive. Source: `dsl_destroy_head`.
pub fn destroy(name: &str) -> Result<(), Fault> {
    let name = text(name)?;
    // SAFETY: the name outlives the call.
    done(unsafe { sys::zs_destroy_dataset(name.as_ptr()) })
}

/// Source: `dsl_dir_rename`.
pub fn rename(from: &str, to: &str) -> Result<(), Fault> {
    let (from, to) = (text(from)?, text(to)?);
    // SAFETY: the names outlive the call.
    done(unsafe { sys::zs_rename_dataset(from.as_ptr(), to.as_ptr()) })
}

/// Source: `dmu_objset_clone`.
pub fn clone(origin: &str, name: &str) -> Result<(), Fault> {
    let (origin, name) = (text(origin)?, text(name)?);
    // SAFETY: the names outlive the call.
    done(unsafe { sys::zs_clone(origin.as_ptr(), name.as_ptr()) })
}

/// Source: `dsl_dataset_rollback`.
pub fn rollback(dataset: &str, to: &str) -> Result<(), Fault> {
    let (dataset, to) = (text(dataset)?, text(to)?);
    // SAFETY: the names outlive the call.
    done(unsafe { sys::zs_rollback(dataset.as_ptr(), to.as_ptr()) })
}

/// The bytes written; all of them are on the image. After a fault some may be.
pub fn write_volume(name: &str, offset: u64, from: &OwnedFd) -> Result<u64, Fault> {
    let name = text(name)?;
    let mut written = 0;
    // SAFETY: name, open descriptor and number outlive the call.
    done(unsafe {
        sys::zs_write_volume(name.as_ptr(), offset, from.as_raw_fd(), &raw mut written)
    })?;
    Ok(written)
}

/// The bytes read. The volume or snapshot cannot be destroyed meanwhile.
pub fn read_volume(name: &str, offset: u64, into: &OwnedFd) -> Result<u64, Fault> {
    let name = text(name)?;
    let mut read = 0;
    // SAFETY: name, open descriptor and number outlive the call.
    done(unsafe { sys::zs_read_volume(name.as_ptr(), offset, into.as_raw_fd(), &raw mut read) })?;
    Ok(read)
}
