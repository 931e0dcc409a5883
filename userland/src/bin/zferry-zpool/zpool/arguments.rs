//! What goes over to C and comes back: text, lists, properties, and the items
//! that a function reports.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr;

use rustix::io::Errno;
use userland::protocol::{Fault, Property, PropertyValue};

use super::sys;

/// A fault without items.
pub fn fault(errno: i32, detail: &str) -> Fault {
    Fault {
        errno,
        items: Vec::new(),
        detail: detail.to_owned(),
    }
}

/// Text for C. A NUL inside is in no valid name, tag or value.
pub fn text(text: &str) -> Result<CString, Fault> {
    CString::new(text).map_err(|_| fault(Errno::INVAL.raw_os_error(), "there is a NUL in a text"))
}

/// Text from C; `None` for a null pointer. Bytes that are not UTF-8 occur only
/// in values of properties, and are replaced.
///
/// # Safety
/// `text` is null or points to a string with a final NUL.
pub unsafe fn from_c(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, and the caller vouches for the rest.
    let text = unsafe { CStr::from_ptr(text) };
    Some(text.to_string_lossy().into_owned())
}

/// Text in an array of C, up to its NUL.
pub fn from_array(array: &[c_char]) -> String {
    let bytes: Vec<u8> = array
        .iter()
        .map(|byte| byte.cast_unsigned())
        .take_while(|byte| *byte != 0)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A list of names.
pub struct Names {
    pointers: Vec<*const c_char>,
    _texts: Vec<CString>,
}

impl Names {
    pub fn new<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<Self, Fault> {
        let texts: Vec<CString> = names
            .into_iter()
            .map(|name| text(name))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            pointers: texts.iter().map(|text| text.as_ptr()).collect(),
            _texts: texts,
        })
    }

    /// Valid as long as `self` is.
    pub fn raw(&self) -> sys::Names {
        sys::Names {
            at: self.pointers.as_ptr(),
            count: self.pointers.len(),
        }
    }
}

/// A list of properties.
pub struct Properties {
    raw: Vec<sys::Property>,
    _texts: Vec<CString>,
}

impl Properties {
    pub fn new(properties: &[Property]) -> Result<Self, Fault> {
        let mut raw = Vec::with_capacity(properties.len());
        let mut texts = Vec::new();
        for property in properties {
            let name = text(&property.name)?;
            let (value, number) = match &property.value {
                PropertyValue::Number(number) => (None, *number),
                PropertyValue::Text(value) => (Some(text(value)?), 0),
            };
            // The content of a CString stays where it is when it is moved.
            raw.push(sys::Property {
                name: name.as_ptr(),
                text: value.as_ref().map_or(ptr::null(), |value| value.as_ptr()),
                number,
            });
            texts.push(name);
            texts.extend(value);
        }
        Ok(Self { raw, _texts: texts })
    }

    /// Valid as long as `self` is.
    pub fn raw(&self) -> sys::Properties {
        sys::Properties {
            at: self.raw.as_ptr(),
            count: self.raw.len(),
        }
    }
}

/// What a function reports about single objects.
#[derive(Default)]
pub struct Items {
    taken: Vec<(String, u64)>,
}

/// Borrows the [`Items`] that it fills.
pub struct Taker<'a> {
    raw: sys::Items,
    _items: PhantomData<&'a mut Items>,
}

impl Taker<'_> {
    /// Valid as long as `self` is, for one call.
    pub fn raw(self) -> sys::Items {
        self.raw
    }
}

extern "C" fn take(context: *mut c_void, name: *const c_char, value: u64) {
    // SAFETY: the context is that of `Items::taker`, which is borrowed during
    // the call, and C calls from the calling thread alone.
    let items = unsafe { &mut *context.cast::<Items>() };
    // SAFETY: the shim hands over a string with a final NUL.
    let name = unsafe { from_c(name) };
    items.taken.push((name.unwrap_or_default(), value));
}

impl Items {
    pub fn taker(&mut self) -> Taker<'_> {
        Taker {
            raw: sys::Items {
                take,
                context: ptr::from_mut(self).cast(),
            },
            _items: PhantomData,
        }
    }

    /// Names and numbers.
    pub fn numbers(self) -> Vec<(String, u64)> {
        self.taken
    }

    /// Names and errnos.
    pub fn errnos(self) -> Vec<(String, i32)> {
        let errno = |number| i32::try_from(number).unwrap_or(Errno::IO.raw_os_error());
        self.taken
            .into_iter()
            .map(|(name, number)| (name, errno(number)))
            .collect()
    }
}

/// The result of a function that reports no items.
pub fn done(errno: c_int) -> Result<(), Fault> {
    match errno {
        0 => Ok(()),
        errno => Err(fault(errno, "")),
    }
}

/// The result of a function that reports items along with its errno.
pub fn done_with(errno: c_int, items: Items) -> Result<(), Fault> {
    match errno {
        0 => Ok(()),
        errno => Err(Fault {
            errno,
            items: items.errnos(),
            detail: String::new(),
        }),
    }
}

/// The same, where an item is a failure even if the function did the rest.
pub fn all_done(errno: c_int, items: Items) -> Result<(), Fault> {
    let items = items.errnos();
    let errno = match (errno, items.first()) {
        (0, None) => return Ok(()),
        (0, Some((_, errno))) => *errno,
        (errno, _) => errno,
    };
    Err(Fault {
        errno,
        items,
        detail: String::new(),
    })
}
