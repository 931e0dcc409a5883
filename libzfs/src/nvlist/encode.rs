//! Rust values into C lists.
//!
//! libnvpair copies everything it is given, so nothing of ours has to live on.

use std::ffi::{CString, c_char, c_int, c_uint};

use libzfs_sys::bindings::{B_FALSE, B_TRUE, nvlist_t};

use super::{DEPTH_MAX, NvError, NvList, NvPairs, NvValue, c_string, check};

/// Adds one pair; `depth` counts the lists around this one.
pub(super) fn add(
    list: &mut NvList,
    name: &str,
    value: &NvValue,
    depth: usize,
) -> Result<(), NvError> {
    let name = c_string(name)?;
    let target = Target {
        list: list.raw.as_ptr(),
        name: name.as_ptr(),
    };
    let nv = list.nvpair;
    match value {
        NvValue::Flag => {
            // SAFETY: see `Target`.
            check(unsafe { (nv.nvlist_add_boolean)(target.list, target.name) })
        }
        NvValue::Bool(value) => {
            let value = if *value { B_TRUE } else { B_FALSE };
            target.number(nv.nvlist_add_boolean_value, value)
        }
        NvValue::Byte(value) => target.number(nv.nvlist_add_byte, *value),
        NvValue::Int8(value) => target.number(nv.nvlist_add_int8, *value),
        NvValue::Uint8(value) => target.number(nv.nvlist_add_uint8, *value),
        NvValue::Int16(value) => target.number(nv.nvlist_add_int16, *value),
        NvValue::Uint16(value) => target.number(nv.nvlist_add_uint16, *value),
        NvValue::Int32(value) => target.number(nv.nvlist_add_int32, *value),
        NvValue::Uint32(value) => target.number(nv.nvlist_add_uint32, *value),
        NvValue::Int64(value) => target.number(nv.nvlist_add_int64, *value),
        NvValue::Uint64(value) => target.number(nv.nvlist_add_uint64, *value),
        NvValue::Text(text) => target.text(nv.nvlist_add_string, &c_string(text)?),
        NvValue::TextBytes(bytes) => {
            let text = CString::new(bytes.as_slice())
                .map_err(|_| NvError::ZeroByte(String::from_utf8_lossy(bytes).into_owned()))?;
            target.text(nv.nvlist_add_string, &text)
        }
        NvValue::List(pairs) => {
            let inner = nested(list, pairs, depth)?;
            // SAFETY: see `Target`; `inner` is a list and is copied.
            check(unsafe { (nv.nvlist_add_nvlist)(target.list, target.name, inner.as_ptr()) })
        }
        NvValue::Bytes(bytes) => target.array(nv.nvlist_add_byte_array, bytes),
        NvValue::Uint64Array(values) => target.array(nv.nvlist_add_uint64_array, values),
        NvValue::TextArray(texts) => {
            let owned = texts
                .iter()
                .map(|text| c_string(text))
                .collect::<Result<Vec<_>, _>>()?;
            let pointers: Vec<*const c_char> = owned.iter().map(|text| text.as_ptr()).collect();
            target.array(nv.nvlist_add_string_array, &pointers)
        }
        NvValue::ListArray(lists) => {
            let owned = lists
                .iter()
                .map(|pairs| nested(list, pairs, depth))
                .collect::<Result<Vec<_>, _>>()?;
            let pointers: Vec<*const nvlist_t> = owned
                .iter()
                .map(|list| list.as_ptr().cast_const())
                .collect();
            target.array(nv.nvlist_add_nvlist_array, &pointers)
        }
        NvValue::HighResolutionTime(_) | NvValue::Unknown(_) => Err(NvError::Unknown),
    }
}

fn nested(outer: &NvList, pairs: &NvPairs, depth: usize) -> Result<NvList, NvError> {
    if depth >= DEPTH_MAX {
        return Err(NvError::TooDeep);
    }
    let mut list = NvList::empty(outer.nvpair);
    for (name, value) in pairs {
        add(&mut list, name, value, depth + 1)?;
    }
    Ok(list)
}

/// Where a pair goes: a valid list, borrowed mutably by [`add`] for as long as
/// this value lives, and a name that ends with a zero byte.
#[derive(Clone, Copy)]
struct Target {
    list: *mut nvlist_t,
    name: *const c_char,
}

type AddNumber<T> = unsafe extern "C" fn(*mut nvlist_t, *const c_char, T) -> c_int;
type AddArray<T> = unsafe extern "C" fn(*mut nvlist_t, *const c_char, *const T, c_uint) -> c_int;

impl Target {
    fn number<T>(self, add: AddNumber<T>, value: T) -> Result<(), NvError> {
        // SAFETY: list and name are valid; the value is passed by value.
        check(unsafe { add(self.list, self.name, value) })
    }

    fn text(self, add: AddNumber<*const c_char>, text: &CString) -> Result<(), NvError> {
        // SAFETY: list and name are valid; the text ends with a zero byte and
        // is copied.
        check(unsafe { add(self.list, self.name, text.as_ptr()) })
    }

    /// Elements are copied; pointers among them point to valid objects.
    fn array<T>(self, add: AddArray<T>, values: &[T]) -> Result<(), NvError> {
        let count = c_uint::try_from(values.len()).map_err(|_| NvError::TooLong(values.len()))?;
        // SAFETY: list and name are valid; `count` elements are there.
        check(unsafe { add(self.list, self.name, values.as_ptr(), count) })
    }
}
