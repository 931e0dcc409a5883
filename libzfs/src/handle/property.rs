//! What ZFS knows about properties as such: their types, whether they can be
//! set, and what the words of the command line mean.
//!
//! Numbers of properties differ between systems, so they are looked up by name,
//! in the tables of the library that is loaded.

use std::ffi::CString;
use std::ptr;

use libzfs_sys::bindings::{B_TRUE, PROP_TYPE_INDEX, PROP_TYPE_NUMBER, ZPROP_INVAL, zfs_prop_t};

use super::{DatasetKind, Handle, owned_text};
use crate::error::{Error, Operation};
use crate::nvlist::{NvList, NvValue, c_string};
use crate::property::{PropertySetting, PropertyValue};

/// The form of a property's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// A number, mostly of bytes.
    Number,
    /// A number that stands for a word.
    Index,
    /// A text.
    Text,
}

/// What kind of property a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropertyInfo {
    /// Built in.
    Native {
        /// The form of its value.
        value: ValueKind,
        /// Nobody can set it: a statistic.
        readonly: bool,
        /// It can be set when the dataset is created, and not later.
        set_once: bool,
        /// Children inherit it.
        inheritable: bool,
    },
    /// A user property: has a colon in its name, may be set to any text.
    User,
    /// Neither: not known to this version, or per user (`userquota@…`).
    Unknown,
}

impl PropertyInfo {
    /// Whether it can be set on a dataset that exists.
    #[must_use]
    pub fn is_settable(self) -> bool {
        match self {
            Self::Native {
                readonly, set_once, ..
            } => !readonly && !set_once,
            Self::User => true,
            Self::Unknown => false,
        }
    }
}

impl Handle {
    /// What this version of ZFS knows about a property. No ioctl.
    /// Source: `zfs_name_to_prop`, `zfs_prop_readonly`, `zfs_prop_setonce`.
    #[must_use]
    pub fn property_info(&self, name: &str) -> PropertyInfo {
        let Ok(c_name) = c_string(name) else {
            return PropertyInfo::Unknown;
        };
        let zfs = &self.api.zfs;
        let property = self.lookup(&c_name);
        if property == ZPROP_INVAL {
            // SAFETY: the name ends with a zero byte.
            let user = unsafe { (zfs.zfs_prop_user)(c_name.as_ptr()) } != 0;
            return if user {
                PropertyInfo::User
            } else {
                PropertyInfo::Unknown
            };
        }
        // SAFETY: the number comes from the tables of this library.
        let kind = unsafe { (zfs.zfs_prop_get_type)(property) };
        // SAFETY: as above.
        let readonly = unsafe { (zfs.zfs_prop_readonly)(property) } != 0;
        // SAFETY: as above.
        let set_once = unsafe { (zfs.zfs_prop_setonce)(property) } != 0;
        // SAFETY: as above.
        let inheritable = unsafe { (zfs.zfs_prop_inheritable)(property) } != 0;
        PropertyInfo::Native {
            value: match kind {
                PROP_TYPE_NUMBER => ValueKind::Number,
                PROP_TYPE_INDEX => ValueKind::Index,
                _ => ValueKind::Text,
            },
            // libzfs counts those that are set at creation as read-only too.
            readonly: readonly && !set_once,
            set_once,
            inheritable,
        }
    }

    /// The word behind the number of an index property (`canmount`, 2:
    /// `noauto`). No ioctl. Source: `zfs_prop_index_to_string`.
    #[must_use]
    pub fn index_word(&self, name: &str, index: u64) -> Option<String> {
        let property = self.lookup(&c_string(name).ok()?);
        if property == ZPROP_INVAL {
            return None;
        }
        let mut word = ptr::null();
        // SAFETY: the number comes from the tables of this library; the answer,
        // a constant text, is written to `word`.
        let rc = unsafe { (self.api.zfs.zfs_prop_index_to_string)(property, index, &mut word) };
        (rc == 0 && !word.is_null()).then(|| owned_text(word))
    }

    /// Turns `settings`, whose values are texts as the command line takes them
    /// (`readonly` = `on`, `quota` = `10G`), into the form that the kernel
    /// takes, for a new dataset of this kind. Checks names and values like
    /// `zfs create -o`. Source: `zfs_valid_proplist`.
    ///
    /// # Errors
    /// `Invalid`, with libzfs' words about the property that is wrong.
    pub fn parse_properties(
        &self,
        kind: DatasetKind,
        settings: &[(&str, &str)],
    ) -> Result<Vec<PropertySetting>, Error> {
        let operation = Operation::CheckProperties;
        let object = "a new dataset";
        let texts = NvList::from_pairs(
            &self.api.nvpair,
            settings
                .iter()
                .map(|&(name, text)| (name, NvValue::Text(text.to_owned()))),
        )
        .map_err(|error| Error::new(operation, object, error))?;
        // SAFETY: handle and list are valid; no dataset and no pool are meant;
        // the text ends with a zero byte. The result is a list of ours.
        let raw = unsafe {
            (self.api.zfs.zfs_valid_proplist)(
                self.raw.as_ptr(),
                kind.bit(),
                texts.as_ptr(),
                0,
                ptr::null_mut(),
                ptr::null_mut(),
                B_TRUE,
                c"cannot use these properties".as_ptr(),
            )
        };
        // Taken before anything else can change errno.
        let error = raw.is_null().then(|| self.last_error(operation, object));
        // SAFETY: null, or a new list that the caller frees.
        let parsed = unsafe { NvList::from_raw(raw, &self.api.nvpair) };
        match (parsed, error) {
            (Some(parsed), _) => parsed
                .iter()
                .filter_map(|(name, value)| match value {
                    Ok(value) => PropertyValue::from_nv(value)
                        .map(|value| Ok(PropertySetting { name, value })),
                    Err(error) => Some(Err(Error::new(operation, object, error))),
                })
                .collect(),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(Vec::new()),
        }
    }

    /// The number of a property that every version has.
    pub(super) fn property_number(&self, name: &'static str) -> zfs_prop_t {
        let name = c_string(name).expect("no zero byte in a property name");
        self.lookup(&name)
    }

    /// The number of a property of an open object.
    pub(super) fn number_of(
        &self,
        object: &super::object::Object<'_>,
        property: zfs_prop_t,
    ) -> u64 {
        // SAFETY: the object is open, and the property is one of libzfs' own.
        unsafe { (self.api.zfs.zfs_prop_get_int)(object.as_ptr(), property) }
    }

    fn lookup(&self, name: &CString) -> zfs_prop_t {
        // SAFETY: the name ends with a zero byte; the tables were filled by
        // libzfs_init, which made this handle.
        unsafe { (self.api.zfs.zfs_name_to_prop)(name.as_ptr()) }
    }
}
