//! Lists of typed name-value pairs (nvlists): what goes into and comes out of
//! most calls.
//!
//! [`NvList`] owns a C list, [`NvListRef`] looks at one. Everything leaves this
//! module as plain Rust ([`NvValue`]), so no pointer outlives its list.
//! Encoding is in `encode`, decoding in `decode`.

mod decode;
mod encode;
mod value;

use std::ffi::{CString, c_int};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use libzfs_sys::Nvpair;
use libzfs_sys::bindings::{NV_UNIQUE_NAME, nvlist_t};

use crate::api::Unavailable;
use crate::errno::Errno;

pub use decode::NvIter;
pub use value::{NvPairs, NvValue};

/// Lists inside lists that are followed. The kernel's own have at most three
/// levels; a list in a resume token may come from anywhere.
const DEPTH_MAX: usize = 16;

/// Why a list could not be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NvError {
    /// C strings end at the first zero byte.
    #[error("{0:?} has a zero byte in it")]
    ZeroByte(String),
    /// libnvpair refused, mostly for want of memory.
    #[error("libnvpair: {0}")]
    Library(Errno),
    /// An array longer than libnvpair can count.
    #[error("array with {0} elements")]
    TooLong(usize),
    /// Lists nested deeper than anything ZFS makes.
    #[error("lists nested deeper than {DEPTH_MAX}")]
    TooDeep,
    /// A value that has no form in a list.
    #[error("a value of unknown type cannot be added")]
    Unknown,
}

/// An nvlist of ours. Freed when dropped. Names are unique: adding one again
/// replaces its value.
pub struct NvList {
    raw: NonNull<nvlist_t>,
    nvpair: &'static Nvpair,
}

// SAFETY: the list is memory of its own, owned by this value alone; libnvpair
// has no state outside of it. (Not Sync: even reading moves a cursor in it.)
unsafe impl Send for NvList {}

impl NvList {
    /// An empty list. Source: `nvlist_alloc`.
    ///
    /// # Errors
    /// [`Unavailable::Library`] without the libraries (the kernel module is not
    /// needed).
    pub fn new() -> Result<Self, Unavailable> {
        Ok(Self::empty(&crate::api::libraries()?.nvpair))
    }

    /// An empty list, if the library is at hand already.
    pub(crate) fn empty(nvpair: &'static Nvpair) -> Self {
        let mut raw = ptr::null_mut();
        // SAFETY: `raw` is where the new list is written to.
        let rc = unsafe { (nvpair.nvlist_alloc)(&mut raw, NV_UNIQUE_NAME, 0) };
        let raw = NonNull::new(raw).filter(|_| rc == 0);
        Self {
            raw: raw.expect("a list header of 24 bytes can be allocated"),
            nvpair,
        }
    }

    /// Takes over a list that a library returned, if it returned one.
    ///
    /// # Safety
    /// `raw` is null or a list that nobody else frees or keeps.
    pub(crate) unsafe fn from_raw(raw: *mut nvlist_t, nvpair: &'static Nvpair) -> Option<Self> {
        NonNull::new(raw).map(|raw| Self { raw, nvpair })
    }

    /// A list with these pairs.
    pub(crate) fn from_pairs<'a>(
        nvpair: &'static Nvpair,
        pairs: impl IntoIterator<Item = (&'a str, NvValue)>,
    ) -> Result<Self, NvError> {
        let mut list = Self::empty(nvpair);
        for (name, value) in pairs {
            list.add(name, &value)?;
        }
        Ok(list)
    }

    /// A list of names without values.
    pub(crate) fn from_names(
        nvpair: &'static Nvpair,
        names: &[impl AsRef<str>],
    ) -> Result<Self, NvError> {
        Self::from_pairs(
            nvpair,
            names.iter().map(|name| (name.as_ref(), NvValue::Flag)),
        )
    }

    /// Adds a pair, or replaces the one of this name. Source: `nvlist_add_*`.
    ///
    /// # Errors
    /// Zero bytes in name or text, lists nested too deep, [`NvValue::Unknown`].
    pub fn add(&mut self, name: &str, value: &NvValue) -> Result<(), NvError> {
        encode::add(self, name, value, 0)
    }

    /// Removes the pair of this name, if there is one.
    ///
    /// # Errors
    /// A zero byte in the name.
    pub fn remove(&mut self, name: &str) -> Result<(), NvError> {
        let name = c_string(name)?;
        // SAFETY: the list is ours, the name ends with a zero byte. ENOENT is
        // the only failure, and it is fine.
        unsafe { (self.nvpair.nvlist_remove_all)(self.raw.as_ptr(), name.as_ptr()) };
        Ok(())
    }

    /// A look at the list.
    #[must_use]
    pub fn as_ref(&self) -> NvListRef<'_> {
        NvListRef {
            raw: self.raw,
            nvpair: self.nvpair,
            owner: PhantomData,
        }
    }

    /// The value of this name. See [`NvListRef::get`].
    ///
    /// # Errors
    /// See [`NvListRef::get`].
    pub fn get(&self, name: &str) -> Result<Option<NvValue>, NvError> {
        self.as_ref().get(name)
    }

    /// All pairs. See [`NvListRef::iter`].
    #[must_use]
    pub fn iter(&self) -> NvIter<'_> {
        self.as_ref().iter()
    }

    /// All pairs at once.
    ///
    /// # Errors
    /// See [`NvListRef::iter`].
    pub fn to_pairs(&self) -> Result<NvPairs, NvError> {
        self.as_ref().to_pairs()
    }

    /// For calls that read the list, and for those that C declares as writing.
    pub(crate) fn as_ptr(&self) -> *mut nvlist_t {
        self.raw.as_ptr()
    }
}

impl Clone for NvList {
    fn clone(&self) -> Self {
        let mut raw = ptr::null_mut();
        // SAFETY: the list is valid, `raw` is where the copy is written to.
        let rc = unsafe { (self.nvpair.nvlist_dup)(self.raw.as_ptr(), &mut raw, 0) };
        let raw = NonNull::new(raw).filter(|_| rc == 0);
        Self {
            raw: raw.expect("copying a list fails only without memory"),
            nvpair: self.nvpair,
        }
    }
}

impl Drop for NvList {
    fn drop(&mut self) {
        // SAFETY: the list is ours, and nothing borrowed from it is left.
        unsafe { (self.nvpair.nvlist_free)(self.raw.as_ptr()) };
    }
}

impl fmt::Debug for NvList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

impl<'a> IntoIterator for &'a NvList {
    type Item = (String, Result<NvValue, NvError>);
    type IntoIter = NvIter<'a>;

    fn into_iter(self) -> NvIter<'a> {
        self.iter()
    }
}

/// A look at an nvlist that something else owns.
#[derive(Clone, Copy)]
pub struct NvListRef<'a> {
    raw: NonNull<nvlist_t>,
    nvpair: &'static Nvpair,
    owner: PhantomData<&'a NvList>,
}

impl<'a> NvListRef<'a> {
    /// A look at a list that a library owns, if there is one.
    ///
    /// # Safety
    /// `raw` is null or a list that stays valid and unchanged for `'a`.
    pub(crate) unsafe fn from_raw(raw: *mut nvlist_t, nvpair: &'static Nvpair) -> Option<Self> {
        NonNull::new(raw).map(|raw| Self {
            raw,
            nvpair,
            owner: PhantomData,
        })
    }

    /// The value of this name, or `None`. Source: `nvlist_lookup_nvpair`.
    ///
    /// # Errors
    /// A zero byte in the name, or a damaged or overly deep value.
    pub fn get(self, name: &str) -> Result<Option<NvValue>, NvError> {
        decode::get(self, name)
    }

    /// All pairs, in the order of the list. A name that is not UTF-8 has
    /// replacement characters in it.
    ///
    /// # Errors
    /// Each item: a damaged or overly deep value.
    #[must_use]
    pub fn iter(self) -> NvIter<'a> {
        NvIter::new(self, 0)
    }

    /// All pairs at once.
    ///
    /// # Errors
    /// See [`Self::iter`].
    pub fn to_pairs(self) -> Result<NvPairs, NvError> {
        self.iter()
            .map(|(name, value)| Ok((name, value?)))
            .collect()
    }
}

impl fmt::Debug for NvListRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for NvListRef<'a> {
    type Item = (String, Result<NvValue, NvError>);
    type IntoIter = NvIter<'a>;

    fn into_iter(self) -> NvIter<'a> {
        self.iter()
    }
}

/// Text for C.
pub(crate) fn c_string(text: &str) -> Result<CString, NvError> {
    CString::new(text).map_err(|_| NvError::ZeroByte(text.to_owned()))
}

/// The result of a function of libnvpair.
fn check(rc: c_int) -> Result<(), NvError> {
    if rc == 0 {
        Ok(())
    } else {
        Err(NvError::Library(Errno(rc)))
    }
}

#[cfg(test)]
mod tests;
