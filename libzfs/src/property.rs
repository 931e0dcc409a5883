//! Properties as plain data, for both doors of the crate.

use crate::nvlist::{NvError, NvListRef, NvValue};

/// The value of a property, in the form that the kernel takes and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertyValue {
    /// Number and index properties: bytes, or the number behind a word
    /// (`readonly=on` is 1, `canmount=noauto` is 2). A text for one of these
    /// is refused by a receive, which then succeeds without it.
    Number(u64),
    /// Text properties and all user properties.
    Text(String),
}

impl PropertyValue {
    pub(crate) fn to_nv(&self) -> NvValue {
        match self {
            Self::Number(number) => NvValue::Uint64(*number),
            Self::Text(text) => NvValue::Text(text.clone()),
        }
    }

    pub(crate) fn from_nv(value: NvValue) -> Option<Self> {
        match value {
            NvValue::Uint64(number) => Some(Self::Number(number)),
            NvValue::Text(text) => Some(Self::Text(text)),
            _ => None,
        }
    }
}

/// A property to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertySetting {
    /// Its name, as zfsprops(7) spells it.
    pub name: String,
    /// Its value.
    pub value: PropertyValue,
}

/// Where the value of a property comes from (`zfs get -o source`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertySource {
    /// It has none: statistics such as `used`.
    None,
    /// The built-in value.
    Default,
    /// Set on the dataset itself.
    Local,
    /// Set by a receive.
    Received,
    /// Set on this dataset above it.
    Inherited(String),
}

/// A property of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// The effective value.
    pub value: PropertyValue,
    /// Where the value comes from.
    pub source: PropertySource,
}

/// What the kernel puts in the place of the dataset name for received values
/// (`ZPROP_SOURCE_VAL_RECVD`).
const SOURCE_RECEIVED: &str = "$recvd";

/// Reads a list of `name → { value, source }` as the kernel reports it for
/// `dataset`. Entries without a usable value are left out (there are some in
/// newer versions, such as lists of clones).
///
/// # Errors
/// If the list is damaged.
pub(crate) fn read_properties(
    list: NvListRef<'_>,
    dataset: &str,
) -> Result<Vec<Property>, NvError> {
    let mut properties = Vec::new();
    for (name, entry) in list.iter() {
        let NvValue::List(fields) = entry? else {
            continue;
        };
        let mut value = None;
        let mut source = PropertySource::None;
        for (field, content) in fields {
            match (field.as_str(), content) {
                ("value", content) => value = PropertyValue::from_nv(content),
                ("source", NvValue::Text(text)) => source = read_source(text, dataset),
                _ => {}
            }
        }
        if let Some(value) = value {
            properties.push(Property {
                name,
                value,
                source,
            });
        }
    }
    properties.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(properties)
}

fn read_source(text: String, dataset: &str) -> PropertySource {
    if text.is_empty() {
        PropertySource::Default
    } else if text == SOURCE_RECEIVED {
        PropertySource::Received
    } else if text == dataset {
        PropertySource::Local
    } else {
        PropertySource::Inherited(text)
    }
}
