//! Finds the three libraries and fills the tables of functions.
//!
//! Nothing is unloaded again: the tables are `'static`, and libzfs keeps state
//! of its own that does not survive it.

use std::fmt;
use std::sync::OnceLock;

use libloading::os::unix as dl;

use crate::{Core, Nvpair, Zfs};

/// One of the three libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// libnvpair
    Nvpair,
    /// libzfs_core
    Core,
    /// libzfs
    Zfs,
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nvpair => "libnvpair",
            Self::Core => "libzfs_core",
            Self::Zfs => "libzfs",
        })
    }
}

/// Why the libraries cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No file of any known name could be opened.
    #[error("{library} cannot be loaded (tried {})", tried.join(", "))]
    Missing {
        /// Which one.
        library: Library,
        /// The names that were tried, in this order.
        tried: Vec<String>,
        /// What the dynamic linker said to the first of them.
        source: libloading::Error,
    },
    /// The library is there, but a function is not.
    #[error("{library} has no function {symbol}: its version is not supported")]
    Symbol {
        /// Which library.
        library: Library,
        /// The function.
        symbol: &'static str,
        /// What the dynamic linker said.
        source: libloading::Error,
    },
}

impl LoadError {
    /// The library that cannot be used.
    #[must_use]
    pub fn library(&self) -> Library {
        match self {
            Self::Missing { library, .. } | Self::Symbol { library, .. } => *library,
        }
    }
}

/// Where the functions of one library are looked up.
pub(crate) struct Symbols {
    #[cfg_attr(
        feature = "link",
        expect(dead_code, reason = "only named in errors, which linking cannot cause")
    )]
    library: Library,
    handle: dl::Library,
}

impl Symbols {
    /// The function `name`.
    ///
    /// # Safety
    /// `T` is the type of a pointer to that function.
    #[cfg(not(feature = "link"))]
    pub(crate) unsafe fn required<T: Copy>(&self, name: &'static str) -> Result<T, LoadError> {
        // SAFETY: the caller knows the type.
        let symbol = unsafe { self.handle.get::<T>(name) };
        match symbol {
            Ok(symbol) => Ok(*symbol),
            Err(source) => Err(LoadError::Symbol {
                library: self.library,
                symbol: name,
                source,
            }),
        }
    }

    /// The function `name`, if the library has it.
    ///
    /// # Safety
    /// `T` is the type of a pointer to that function.
    pub(crate) unsafe fn optional<T: Copy>(&self, name: &'static str) -> Option<T> {
        // SAFETY: the caller knows the type.
        let symbol = unsafe { self.handle.get::<T>(name) };
        symbol.ok().map(|symbol| *symbol)
    }
}

/// All functions of all three libraries.
#[derive(Debug, Clone, Copy)]
pub struct Api {
    /// libnvpair
    pub nvpair: Nvpair,
    /// libzfs_core
    pub core: Core,
    /// libzfs
    pub zfs: Zfs,
}

/// Loads the libraries of this system, once per process. A failure is not
/// remembered: the next call tries again.
///
/// # Errors
/// If one of them is missing or lacks a function.
pub fn load() -> Result<&'static Api, LoadError> {
    static API: OnceLock<Api> = OnceLock::new();
    if let Some(api) = API.get() {
        return Ok(api);
    }
    #[cfg(not(feature = "link"))]
    let api = load_from(&LibraryNames::default())?;
    #[cfg(feature = "link")]
    let api = linked()?;
    Ok(API.get_or_init(|| api))
}

/// The tables as the linker filled them; only optional functions are looked up.
#[cfg(feature = "link")]
fn linked() -> Result<Api, LoadError> {
    let program = |library| Symbols {
        library,
        handle: dl::Library::this(),
    };
    Ok(Api {
        nvpair: Nvpair::resolve(&program(Library::Nvpair))?,
        core: Core::resolve(&program(Library::Core))?,
        zfs: Zfs::resolve(&program(Library::Zfs))?,
    })
}

/// File names to try for each library, best first.
#[cfg(not(feature = "link"))]
#[derive(Debug, Clone)]
pub struct LibraryNames {
    /// libnvpair
    pub nvpair: Vec<String>,
    /// libzfs_core
    pub core: Vec<String>,
    /// libzfs
    pub zfs: Vec<String>,
}

#[cfg(not(feature = "link"))]
impl Default for LibraryNames {
    /// The sonames of this system: on illumos there is one, in OpenZFS libzfs
    /// is .so.4 in 2.0–2.2, .so.6 in 2.3 and .so.7 in 2.4.
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        if cfg!(target_os = "illumos") {
            Self {
                nvpair: names(&["libnvpair.so.1"]),
                core: names(&["libzfs_core.so.1"]),
                zfs: names(&["libzfs.so.1"]),
            }
        } else {
            Self {
                nvpair: names(&["libnvpair.so.3"]),
                core: names(&["libzfs_core.so.3"]),
                zfs: names(&["libzfs.so.7", "libzfs.so.6", "libzfs.so.4"]),
            }
        }
    }
}

/// Loads the libraries under other names.
///
/// # Errors
/// See [`load`].
#[cfg(not(feature = "link"))]
pub fn load_from(names: &LibraryNames) -> Result<Api, LoadError> {
    let nvpair = open(Library::Nvpair, &names.nvpair)?;
    let core = open(Library::Core, &names.core)?;
    let zfs = open(Library::Zfs, &names.zfs)?;
    let api = Api {
        nvpair: Nvpair::resolve(&nvpair)?,
        core: Core::resolve(&core)?,
        zfs: Zfs::resolve(&zfs)?,
    };
    for symbols in [nvpair, core, zfs] {
        // The tables point into them from now on.
        std::mem::forget(symbols.handle);
    }
    Ok(api)
}

#[cfg(not(feature = "link"))]
fn open(library: Library, names: &[String]) -> Result<Symbols, LoadError> {
    let mut first_error = None;
    for name in names {
        // SAFETY: the initializers of these libraries only prepare tables of
        // their own; they are meant to be loaded at any time.
        let opened = unsafe { dl::Library::open(Some(name), dl::RTLD_NOW | dl::RTLD_LOCAL) };
        match opened {
            Ok(handle) => return Ok(Symbols { library, handle }),
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    Err(LoadError::Missing {
        library,
        tried: names.to_vec(),
        source: first_error.unwrap_or(libloading::Error::DlOpenUnknown),
    })
}
