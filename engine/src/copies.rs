//! Names of the copies that stand beside a dataset for some time.
//!
//! A full sync onto a dataset that exists receives into `NAME.zferry-new` and
//! puts the old one aside as `NAME.zferry-old-GUID`. GUID is that dataset's own
//! in sixteen hexadecimal digits, which no rename changes: only what bears its
//! own guid in its name was put aside by us, and nothing else is ever taken for
//! an old copy. What `replicate --archive-target` put aside is called
//! `NAME.zferry-archive-GUID` in the same way; nothing ever destroys it. Whoever
//! may touch NAME may touch all of them.

use crate::name::{DatasetName, Guid, NameError};

const NEW: &str = ".zferry-new";
const OLD: &str = ".zferry-old-";
const ARCHIVE: &str = ".zferry-archive-";
const GUID_DIGITS: usize = 16;

/// Where a full sync receives that is to replace `dataset`.
///
/// # Errors
/// `TooLong` if ZFS has no room for the name.
pub fn new(dataset: &DatasetName) -> Result<DatasetName, NameError> {
    DatasetName::parse(&format!("{dataset}{NEW}"))
}

/// What `dataset` with this guid is called once it is aside.
///
/// # Errors
/// `TooLong` if ZFS has no room for the name.
pub fn old(dataset: &DatasetName, guid: Guid) -> Result<DatasetName, NameError> {
    DatasetName::parse(&format!("{dataset}{OLD}{:016x}", guid.0))
}

/// What `dataset` with this guid is called once it is put aside for good.
///
/// # Errors
/// `TooLong` if ZFS has no room for the name.
pub fn archive(dataset: &DatasetName, guid: Guid) -> Result<DatasetName, NameError> {
    DatasetName::parse(&format!("{dataset}{ARCHIVE}{:016x}", guid.0))
}

/// The guid in the name of an old copy of `dataset`; `None` for anything else.
#[must_use]
pub fn guid_of_old(copy: &DatasetName, dataset: &DatasetName) -> Option<Guid> {
    let rest = copy.as_str().strip_prefix(dataset.as_str())?;
    digits(rest.strip_prefix(OLD)?)
}

/// The dataset that a copy, or something below it, is a copy of: the same name
/// without these endings.
#[must_use]
pub fn original(name: &DatasetName) -> DatasetName {
    let plain = |component: &str| -> String {
        if let Some(plain) = component.strip_suffix(NEW) {
            return plain.to_owned();
        }
        let with_guid = |ending| {
            let (plain, guid) = component.rsplit_once(ending)?;
            digits(guid).map(|_| plain.to_owned())
        };
        let plain = with_guid(OLD).or_else(|| with_guid(ARCHIVE));
        plain.unwrap_or_else(|| component.to_owned())
    };
    let components: Vec<String> = name.as_str().split('/').map(plain).collect();
    DatasetName::parse(&components.join("/")).unwrap_or_else(|_| name.clone())
}

fn digits(text: &str) -> Option<Guid> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != GUID_DIGITS || !text.bytes().all(is_hex) {
        return None;
    }
    u64::from_str_radix(text, 16).ok().map(Guid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(name: &str) -> DatasetName {
        DatasetName::parse(name).unwrap()
    }

    #[test]
    fn an_old_copy_bears_its_own_guid_and_is_found_by_it() {
        let data = dataset("tank/data");
        let copy = old(&data, Guid(0xabc)).unwrap();
        assert_eq!(copy.as_str(), "tank/data.zferry-old-0000000000000abc");
        assert_eq!(guid_of_old(&copy, &data), Some(Guid(0xabc)));
        for other in [
            "tank/data.zferry-old-abc",
            "tank/data.zferry-old-0000000000000ABC",
            "tank/data.zferry-new",
            "tank/data",
            "tank/data2.zferry-old-0000000000000abc",
            "tank/data.zferry-old-0000000000000abc/x",
        ] {
            assert_eq!(guid_of_old(&dataset(other), &data), None, "{other}");
        }
    }

    #[test]
    fn a_copy_and_what_lies_below_it_lead_to_their_original() {
        for (name, plain) in [
            ("tank/a.zferry-new/x", "tank/a/x"),
            ("tank/a.zferry-old-0000000000000abc", "tank/a"),
            ("tank/a/b.zferry-new", "tank/a/b"),
            ("tank/a.zferry-archive-0000000000000abc/x", "tank/a/x"),
            ("tank/a.zferry-archive-x", "tank/a.zferry-archive-x"),
            ("tank/a.zferry-old-xyz", "tank/a.zferry-old-xyz"),
            ("tank/a", "tank/a"),
            // Nothing would be left of it.
            ("tank/.zferry-new", "tank/.zferry-new"),
        ] {
            assert_eq!(original(&dataset(name)), dataset(plain), "{name}");
        }
    }

    #[test]
    fn a_name_that_gets_too_long_is_refused() {
        let long = dataset(&format!("tank/{}", "x".repeat(240)));
        assert!(new(&long).is_err() && old(&long, Guid(1)).is_err());
    }
}
