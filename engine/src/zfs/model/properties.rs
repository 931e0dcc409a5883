//! Properties of a dataset, as far as a receive sets them.
//!
//! A property that is refused does not fail the receive: the data is there and
//! the refusal is reported beside it, as `lzc_receive_with_cmdprops` does.

use std::collections::BTreeMap;

use crate::zfs::{DatasetKind, Property, PropertyRefusal, PropertyValue, ZfsErrorKind};

/// `canmount` as index number, `off` and `noauto`.
pub(super) const CANMOUNT_OFF: u64 = 0;
pub(super) const CANMOUNT_NOAUTO: u64 = 2;

/// Native properties that are numbers or indexes. Not all of zfsprops(7): those
/// that a dataset usually has set.
const NUMBERS: [&str; 32] = [
    "aclinherit",
    "aclmode",
    "acltype",
    "atime",
    "canmount",
    "checksum",
    "compression",
    "copies",
    "dedup",
    "devices",
    "dnodesize",
    "exec",
    "logbias",
    "overlay",
    "primarycache",
    "quota",
    "readonly",
    "recordsize",
    "redundant_metadata",
    "refquota",
    "refreservation",
    "relatime",
    "reservation",
    "secondarycache",
    "setuid",
    "snapdev",
    "snapdir",
    "special_small_blocks",
    "sync",
    "volmode",
    "volsize",
    "xattr",
];

/// Native properties that are texts.
const TEXTS: [&str; 4] = ["keylocation", "mountpoint", "sharenfs", "sharesmb"];

/// Who set a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Local,
    Received,
}

/// What is set on one dataset itself.
#[derive(Debug, Default)]
pub(super) struct Settings(BTreeMap<String, (PropertyValue, Source)>);

impl Settings {
    /// Sets a local value, which no receive replaces.
    pub(super) fn set_local(&mut self, property: Property) {
        self.0
            .insert(property.name, (property.value, Source::Local));
    }

    /// Stores received values, under those that were set locally.
    pub(super) fn receive(
        &mut self,
        kind: DatasetKind,
        properties: &[Property],
    ) -> Vec<PropertyRefusal> {
        let mut refused = Vec::new();
        for property in properties {
            if let Err(kind) = check(kind, property) {
                let name = property.name.clone();
                refused.push(PropertyRefusal { name, kind });
                continue;
            }
            if self.0.get(&property.name).map(|(_, source)| *source) != Some(Source::Local) {
                let value = (property.value.clone(), Source::Received);
                self.0.insert(property.name.clone(), value);
            }
        }
        refused
    }

    /// The effective values, by name.
    pub(super) fn list(&self) -> Vec<Property> {
        self.0
            .iter()
            .map(|(name, (value, _))| Property {
                name: name.clone(),
                value: value.clone(),
            })
            .collect()
    }
}

fn check(kind: DatasetKind, property: &Property) -> Result<(), ZfsErrorKind> {
    let name = property.name.as_str();
    if name == "volsize" && kind == DatasetKind::Filesystem {
        return Err(ZfsErrorKind::Busy);
    }
    let text = TEXTS.contains(&name) || name.contains(':');
    match property.value {
        PropertyValue::Number(_) if NUMBERS.contains(&name) => Ok(()),
        PropertyValue::Text(_) if text => Ok(()),
        _ => Err(ZfsErrorKind::Invalid),
    }
}
