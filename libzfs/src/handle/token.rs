//! Resume tokens: where a cut stream goes on.
//!
//! A token is what the receiving side says about its partial state, so it is
//! foreign input: it names the snapshot to be sent. It is checked for shape and
//! size here, decoded by libzfs, and compared with the plan by the caller.

use super::Handle;
use crate::error::{Cause, Error, Operation};
use crate::nvlist::{NvList, NvListRef, c_string};

/// Longest token, in bytes: the kernel keeps it in a property, whose values
/// have at most 8 KiB (`ZAP_MAXVALUELEN`).
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Largest list inside a token, in bytes. Real ones have some hundred. libzfs
/// allocates what the token says and does not look whether it got it.
const LIST_BYTES_MAX: u64 = 64 * 1024;

/// What is inside a resume token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeToken {
    /// Object to go on at.
    pub object: u64,
    /// Offset in that object, in bytes.
    pub offset_bytes: u64,
    /// Bytes of the stream that arrived so far.
    pub received_bytes: u64,
    /// Guid of the snapshot being sent.
    pub to_guid: u64,
    /// Its name on the sending side when the stream began. Do not use it
    /// unchecked, and expect it to be renamed since.
    pub to_name: String,
    /// Guid of the base; `None` for a full stream.
    pub from_guid: Option<u64>,
    /// The stream has embedded blocks.
    pub embed_data: bool,
    /// The stream has large blocks.
    pub large_block: bool,
    /// The stream has blocks as they are compressed on disk.
    pub compress: bool,
    /// The stream is raw.
    pub raw: bool,
    /// The stream was made from partial state itself (`zfs send -S`).
    pub saved: bool,
    /// The stream is redacted, which this crate cannot resume.
    pub redacted: bool,
}

impl Handle {
    /// Decodes a token (property `receive_resume_token`). No ioctl.
    /// Source: `zfs_send_resume_token_to_nvlist`.
    ///
    /// # Errors
    /// `Invalid`: not a token, of an unknown version, or damaged.
    pub fn decode_resume_token(&self, token: &str) -> Result<ResumeToken, Error> {
        let operation = Operation::DecodeResumeToken;
        let object = "resume token";
        let refused = |why| Error::new(operation, object, Cause::Refused(why));
        check_shape(token).map_err(refused)?;
        let c_token = c_string(token).map_err(|error| Error::new(operation, object, error))?;
        // SAFETY: handle and token are valid; shape and size were checked. The
        // result is null or a new list.
        let raw = unsafe {
            (self.api.zfs.zfs_send_resume_token_to_nvlist)(self.raw.as_ptr(), c_token.as_ptr())
        };
        // SAFETY: null, or a new list that the caller frees.
        let list = unsafe { NvList::from_raw(raw, &self.api.nvpair) };
        let list = list.ok_or_else(|| refused("the resume token is damaged"))?;
        read(list.as_ref()).ok_or_else(|| refused("the resume token lacks a field"))
    }
}

/// `VERSION-CHECKSUM-LISTBYTES-DATA`, the last three in hexadecimal.
fn check_shape(token: &str) -> Result<(), &'static str> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err("the resume token is too long");
    }
    let malformed = "this is not a resume token";
    let fields: Vec<&str> = token.split('-').collect();
    let [version, checksum, list_bytes, data] = fields[..] else {
        return Err(malformed);
    };
    let hexadecimal = |field: &str, digits_max: usize| {
        !field.is_empty()
            && field.len() <= digits_max
            && field.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    if version != "1" {
        return Err("the resume token has an unknown version");
    }
    if !hexadecimal(checksum, 16) || !hexadecimal(list_bytes, 16) {
        return Err(malformed);
    }
    if !hexadecimal(data, TOKEN_BYTES_MAX) || data.len() % 2 != 0 {
        return Err(malformed);
    }
    match u64::from_str_radix(list_bytes, 16) {
        Ok(bytes) if (1..=LIST_BYTES_MAX).contains(&bytes) => Ok(()),
        _ => Err("the resume token asks for too much memory"),
    }
}

fn read(list: NvListRef<'_>) -> Option<ResumeToken> {
    let get = |name: &str| list.get(name).ok().flatten();
    let number = |name: &str| get(name)?.as_u64();
    let flag = |name: &str| get(name).is_some();
    Some(ResumeToken {
        object: number("object")?,
        offset_bytes: number("offset")?,
        received_bytes: number("bytes")?,
        to_guid: number("toguid")?,
        to_name: get("toname")?.as_text()?.to_owned(),
        // One of another type is no full stream.
        from_guid: match list.get("fromguid").ok()? {
            None => None,
            Some(value) => Some(value.as_u64()?),
        },
        embed_data: flag("embedok"),
        large_block: flag("largeblockok"),
        compress: flag("compressok"),
        raw: flag("rawok"),
        saved: flag("savedok"),
        redacted: flag("redact_snaps") || flag("book_redact_snaps"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nvlist::NvValue;

    #[test]
    fn token_of_the_right_shape_passes() {
        assert_eq!(check_shape("1-1a2b3c-d8-789c6360"), Ok(()));
    }

    #[test]
    fn token_that_asks_for_memory_libzfs_would_not_check_is_refused() {
        for size in ["7fffffffffffffff", "10001", "0", "ffffffffffffffff"] {
            let token = format!("1-1a2b3c-{size}-789c6360");
            assert_eq!(
                check_shape(&token),
                Err("the resume token asks for too much memory"),
                "{size}"
            );
        }
    }

    #[test]
    fn rubbish_is_no_token() {
        let long = format!("1-1-10-{}", "00".repeat(TOKEN_BYTES_MAX));
        for token in [
            "",
            "-",
            "1",
            "1-2-3",
            "1-2-3-4",
            "1-2-3-44-5",
            "2-2-3-44",
            "1-x-3-44",
            "1--3-44",
            "1-2-3-zz",
            "1-2- 3-44",
            "1-+2-3-44",
            "1-11112222333344445-3-44",
            &long,
        ] {
            assert!(check_shape(token).is_err(), "{token:.40}");
        }
    }

    #[test]
    fn token_without_a_snapshot_guid_is_refused_not_taken_as_zero() {
        let Ok(mut list) = NvList::new() else {
            println!("not tested: no libnvpair");
            return;
        };
        for field in ["object", "offset", "bytes", "toguid"] {
            list.add(field, &NvValue::Uint64(5)).unwrap();
        }
        list.add("toname", &NvValue::Text("tank@a".to_owned()))
            .unwrap();
        list.add("rawok", &NvValue::Flag).unwrap();
        let token = read(list.as_ref()).unwrap();
        assert!(token.raw && !token.compress);
        assert_eq!(token.from_guid, None);
        let text = NvValue::Text("5".to_owned());
        list.add("fromguid", &text).unwrap();
        assert_eq!(read(list.as_ref()), None);
        list.remove("fromguid").unwrap();
        list.remove("toguid").unwrap();
        assert_eq!(read(list.as_ref()), None);
    }
}
