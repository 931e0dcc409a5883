//! C lists into Rust values.

use std::ffi::{CStr, c_char, c_int, c_uint};
use std::ptr;
use std::slice;

use libzfs_sys::bindings::{self, nvlist_t, nvpair_t};

use super::{DEPTH_MAX, NvError, NvListRef, NvPairs, NvValue, c_string, check};

/// Iterator over the pairs of a list. See [`NvListRef::iter`].
pub struct NvIter<'a> {
    list: NvListRef<'a>,
    /// The pair given out last, or null before the first.
    current: *mut nvpair_t,
    depth: usize,
    done: bool,
}

impl<'a> NvIter<'a> {
    pub(super) fn new(list: NvListRef<'a>, depth: usize) -> Self {
        Self {
            list,
            current: ptr::null_mut(),
            depth,
            done: false,
        }
    }
}

impl Iterator for NvIter<'_> {
    type Item = (String, Result<NvValue, NvError>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let nv = self.list.nvpair;
        // SAFETY: the list is valid for the life of this iterator, and
        // `current` is null or one of its pairs.
        self.current = unsafe { (nv.nvlist_next_nvpair)(self.list.raw.as_ptr(), self.current) };
        if self.current.is_null() {
            self.done = true;
            return None;
        }
        let pair = Pair {
            list: self.list,
            raw: self.current,
        };
        Some((pair.name(), pair.value(self.depth)))
    }
}

pub(super) fn get(list: NvListRef<'_>, name: &str) -> Result<Option<NvValue>, NvError> {
    let name = c_string(name)?;
    let mut raw = ptr::null_mut();
    // SAFETY: list and name are valid; the pair found is written to `raw`.
    let rc =
        unsafe { (list.nvpair.nvlist_lookup_nvpair)(list.raw.as_ptr(), name.as_ptr(), &mut raw) };
    if rc == libc::ENOENT || raw.is_null() {
        return Ok(None);
    }
    check(rc)?;
    Pair { list, raw }.value(0).map(Some)
}

/// A pair of a list that is valid for as long as this value.
#[derive(Clone, Copy)]
struct Pair<'a> {
    list: NvListRef<'a>,
    raw: *mut nvpair_t,
}

impl Pair<'_> {
    fn name(self) -> String {
        // SAFETY: the pair is valid, and so is its name.
        let name = unsafe { (self.list.nvpair.nvpair_name)(self.raw) };
        // SAFETY: the name ends with a zero byte and lives as long as the pair.
        let name = unsafe { CStr::from_ptr(name) };
        name.to_string_lossy().into_owned()
    }

    fn value(self, depth: usize) -> Result<NvValue, NvError> {
        let nv = self.list.nvpair;
        // SAFETY: the pair is valid.
        let kind = unsafe { (nv.nvpair_type)(self.raw) };
        Ok(match kind {
            bindings::DATA_TYPE_BOOLEAN => NvValue::Flag,
            bindings::DATA_TYPE_BOOLEAN_VALUE => {
                NvValue::Bool(self.scalar(nv.nvpair_value_boolean_value)? != 0)
            }
            bindings::DATA_TYPE_BYTE => NvValue::Byte(self.scalar(nv.nvpair_value_byte)?),
            bindings::DATA_TYPE_INT8 => NvValue::Int8(self.scalar(nv.nvpair_value_int8)?),
            bindings::DATA_TYPE_UINT8 => NvValue::Uint8(self.scalar(nv.nvpair_value_uint8)?),
            bindings::DATA_TYPE_INT16 => NvValue::Int16(self.scalar(nv.nvpair_value_int16)?),
            bindings::DATA_TYPE_UINT16 => NvValue::Uint16(self.scalar(nv.nvpair_value_uint16)?),
            bindings::DATA_TYPE_INT32 => NvValue::Int32(self.scalar(nv.nvpair_value_int32)?),
            bindings::DATA_TYPE_UINT32 => NvValue::Uint32(self.scalar(nv.nvpair_value_uint32)?),
            bindings::DATA_TYPE_INT64 => NvValue::Int64(self.scalar(nv.nvpair_value_int64)?),
            bindings::DATA_TYPE_UINT64 => NvValue::Uint64(self.scalar(nv.nvpair_value_uint64)?),
            bindings::DATA_TYPE_HRTIME => {
                let mut time = 0;
                // SAFETY: the pair has this type; the time is written to `time`.
                check(unsafe { (nv.nvpair_value_hrtime)(self.raw, &mut time) })?;
                NvValue::HighResolutionTime(time)
            }
            bindings::DATA_TYPE_STRING => self.text()?,
            bindings::DATA_TYPE_NVLIST => {
                let mut inner = ptr::null_mut();
                // SAFETY: the pair has this type; its list is written to `inner`.
                check(unsafe { (nv.nvpair_value_nvlist)(self.raw, &mut inner) })?;
                NvValue::List(self.nested(inner, depth)?)
            }
            bindings::DATA_TYPE_BYTE_ARRAY => {
                NvValue::Bytes(self.array(nv.nvpair_value_byte_array)?.to_vec())
            }
            bindings::DATA_TYPE_UINT8_ARRAY => {
                NvValue::Bytes(self.array(nv.nvpair_value_uint8_array)?.to_vec())
            }
            bindings::DATA_TYPE_UINT64_ARRAY => {
                NvValue::Uint64Array(self.array(nv.nvpair_value_uint64_array)?.to_vec())
            }
            bindings::DATA_TYPE_STRING_ARRAY => {
                let texts = self.array::<*const c_char>(nv.nvpair_value_string_array)?;
                let text = |&text: &*const c_char| {
                    // SAFETY: the array is of strings that live in the pair.
                    let text = unsafe { CStr::from_ptr(text) };
                    text.to_string_lossy().into_owned()
                };
                NvValue::TextArray(texts.iter().map(text).collect())
            }
            bindings::DATA_TYPE_NVLIST_ARRAY => {
                let lists = self.array::<*mut nvlist_t>(nv.nvpair_value_nvlist_array)?;
                let lists: Result<_, _> = lists
                    .iter()
                    .map(|&inner| self.nested(inner, depth))
                    .collect();
                NvValue::ListArray(lists?)
            }
            other => NvValue::Unknown(other),
        })
    }

    fn scalar<T: Default>(
        self,
        read: unsafe extern "C" fn(*const nvpair_t, *mut T) -> c_int,
    ) -> Result<T, NvError> {
        let mut value = T::default();
        // SAFETY: the caller chose `read` by the type of the pair; the value
        // is written to `value`.
        check(unsafe { read(self.raw, &mut value) })?;
        Ok(value)
    }

    /// The elements of an array, which live as long as the pair.
    fn array<T>(
        &self,
        read: unsafe extern "C" fn(*mut nvpair_t, *mut *mut T, *mut c_uint) -> c_int,
    ) -> Result<&[T], NvError> {
        let mut values = ptr::null_mut();
        let mut count: c_uint = 0;
        // SAFETY: the caller chose `read` by the type of the pair; array and
        // count are written to the two variables.
        check(unsafe { read(self.raw, &mut values, &mut count) })?;
        if values.is_null() || count == 0 {
            return Ok(&[]);
        }
        // SAFETY: libnvpair returned `count` elements inside the pair, which
        // is valid and unchanged while `self` is borrowed.
        Ok(unsafe { slice::from_raw_parts(values, count as usize) })
    }

    fn text(self) -> Result<NvValue, NvError> {
        let text = {
            let mut text: *const c_char = ptr::null();
            // SAFETY: the pair has this type; its text is written to `text`.
            check(unsafe { (self.list.nvpair.nvpair_value_string)(self.raw, &mut text) })?;
            // SAFETY: it ends with a zero byte and lives as long as the pair.
            unsafe { CStr::from_ptr(text) }
        };
        Ok(match text.to_str() {
            Ok(text) => NvValue::Text(text.to_owned()),
            Err(_) => NvValue::TextBytes(text.to_bytes().to_vec()),
        })
    }

    fn nested(self, inner: *mut nvlist_t, depth: usize) -> Result<NvPairs, NvError> {
        if depth >= DEPTH_MAX {
            return Err(NvError::TooDeep);
        }
        // SAFETY: the inner list belongs to this pair and lives as long.
        let Some(inner) = (unsafe { NvListRef::from_raw(inner, self.list.nvpair) }) else {
            return Ok(Vec::new());
        };
        NvIter::new(inner, depth + 1)
            .map(|(name, value)| Ok((name, value?)))
            .collect()
    }
}
