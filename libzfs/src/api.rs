//! The libraries and the kernel module: are they there, and if not, what is
//! missing.
//!
//! First step of every call; leaves the searching to `libzfs-sys`.

use std::path::Path;

use libzfs_sys::{Api, LoadError, load};

use crate::errno::Errno;

/// The device through which all three libraries talk to the kernel module.
pub const DEVICE_PATH: &str = "/dev/zfs";

/// Whether the kernel module is loaded, as far as one can see without it.
#[must_use]
pub fn device_exists() -> bool {
    Path::new(DEVICE_PATH).exists()
}

/// Why ZFS cannot be used on this machine.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// A library is missing or too different.
    #[error(
        "{} is missing or unusable: install the ZFS utilities (Debian: zfsutils-linux); \
         the kernel module is {}",
        source.library(),
        if *device_exists { "loaded" } else { "not loaded either (Debian: zfs-dkms)" }
    )]
    Library {
        /// Which one, and why.
        source: LoadError,
        /// Whether `/dev/zfs` exists all the same.
        device_exists: bool,
    },
    /// The libraries are there, `/dev/zfs` is not.
    #[error(
        "the ZFS kernel module is not loaded ({DEVICE_PATH} does not exist): \
         `modprobe zfs`, or install it first (Debian: zfs-dkms)"
    )]
    Module,
    /// The library refuses to start.
    #[error("the ZFS library does not start: {errno}{}{text}", if text.is_empty() { "" } else { ": " })]
    Start {
        /// What `libzfs_core_init` or `libzfs_init` said.
        errno: Errno,
        /// The library's own words, or empty.
        text: String,
    },
}

/// The tables of functions.
///
/// # Errors
/// [`Unavailable::Library`].
pub(crate) fn libraries() -> Result<&'static Api, Unavailable> {
    load().map_err(|source| Unavailable::Library {
        source,
        device_exists: device_exists(),
    })
}

/// The same, if the kernel module is loaded too. To be asked before
/// `libzfs_init`, which otherwise runs `modprobe` and waits up to ten seconds.
///
/// # Errors
/// [`Unavailable::Library`], [`Unavailable::Module`].
pub(crate) fn libraries_and_module() -> Result<&'static Api, Unavailable> {
    let api = libraries()?;
    if device_exists() {
        Ok(api)
    } else {
        Err(Unavailable::Module)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(not(feature = "link"))]
    #[test]
    fn missing_library_names_the_package_and_the_state_of_the_module() {
        let source = libzfs_sys::load_from(&libzfs_sys::LibraryNames {
            nvpair: vec!["libnvpair_absent.so.9".to_owned()],
            core: Vec::new(),
            zfs: Vec::new(),
        })
        .unwrap_err();
        let error = Unavailable::Library {
            source,
            device_exists: false,
        };
        let text = error.to_string();
        assert!(text.contains("libnvpair"), "{text}");
        assert!(text.contains("zfsutils-linux"), "{text}");
        assert!(text.contains("zfs-dkms"), "{text}");
    }

    #[test]
    fn missing_module_names_the_device() {
        assert!(Unavailable::Module.to_string().contains(DEVICE_PATH));
    }
}
