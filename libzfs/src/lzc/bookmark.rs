//! Bookmarks: what remains of a snapshot to send increments from.

use std::ptr;

use super::snapshot::text;
use super::{Core, first, name};
use crate::errno::Errno;
use crate::error::{Cause, Error, Operation};
use crate::nvlist::{NvList, NvValue};

/// A bookmark to be made.
#[derive(Debug, Clone, Copy)]
pub struct BookmarkRequest<'a> {
    /// `dataset@snapshot`, or `dataset#bookmark` to copy one.
    pub source: &'a str,
    /// `dataset#bookmark`
    pub bookmark: &'a str,
}

/// A bookmark as its dataset lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bookmark {
    /// The part of its name after `#`.
    pub name: String,
    /// The guid of the snapshot it was made from.
    pub guid: u64,
    /// The transaction group that snapshot was taken in.
    pub createtxg: u64,
    /// When that snapshot was taken: seconds since 1970, UTC.
    pub creation_seconds: u64,
    /// Identity of the encrypted data, equal on both sides of raw streams;
    /// `None` without encryption.
    pub ivset_guid: Option<u64>,
}

impl Core {
    /// Makes all bookmarks in one transaction group, all in one pool.
    /// Source: `lzc_bookmark`.
    ///
    /// # Errors
    /// With the failed ones as items; then none was made. `Exists` (even of
    /// the same snapshot), `NotFound`, `NotSupported` (feature not enabled).
    pub fn bookmark(&self, requests: &[BookmarkRequest<'_>]) -> Result<(), Error> {
        let operation = Operation::Bookmark;
        let object = requests.first().map_or("", |request| request.source);
        let list = NvList::from_pairs(
            &self.api.nvpair,
            requests
                .iter()
                .map(|request| (request.bookmark, text(request.source))),
        )
        .map_err(|error| Error::new(operation, object, error))?;
        self.with_error_list(operation, object, |errors| {
            // SAFETY: the list is ours and lives until the call returns.
            unsafe { (self.api.core.lzc_bookmark)(list.as_ptr(), errors) }
        })
    }

    /// Destroys all `bookmarks` (`dataset#name`) in one transaction group.
    /// Names that do not exist are no error. Source: `lzc_destroy_bookmarks`.
    ///
    /// # Errors
    /// `Permission`, `Io`.
    pub fn destroy_bookmarks(&self, bookmarks: &[impl AsRef<str>]) -> Result<(), Error> {
        let operation = Operation::DestroyBookmarks;
        let list = self.names(operation, bookmarks)?;
        self.with_error_list(operation, first(bookmarks), |errors| {
            // SAFETY: the list is ours and lives until the call returns.
            unsafe { (self.api.core.lzc_destroy_bookmarks)(list.as_ptr(), errors) }
        })
    }

    /// The bookmarks of `dataset`, oldest first (by createtxg). One ioctl.
    /// Source: `lzc_get_bookmarks`.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn bookmarks(&self, dataset: &str) -> Result<Vec<Bookmark>, Error> {
        let operation = Operation::ListBookmarks;
        let c_dataset = name(operation, dataset)?;
        let wanted = self.names(operation, &["guid", "createtxg", "creation", "ivsetguid"])?;
        let mut raw = ptr::null_mut();
        // SAFETY: name and list live until the call returns; the answer is
        // written to `raw`.
        let rc = unsafe {
            (self.api.core.lzc_get_bookmarks)(c_dataset.as_ptr(), wanted.as_ptr(), &mut raw)
        };
        // SAFETY: the answer is null or a list that the caller frees.
        let answer = unsafe { NvList::from_raw(raw, &self.api.nvpair) };
        if rc != 0 {
            return Err(Error::new(operation, dataset, Cause::Errno(Errno(rc))));
        }
        let mut bookmarks = Vec::new();
        for (name, fields) in answer.iter().flatten() {
            let fields = fields.map_err(|error| Error::new(operation, dataset, error))?;
            bookmarks.push(read(name, &fields));
        }
        bookmarks.sort_by(|a, b| (a.createtxg, &a.name).cmp(&(b.createtxg, &b.name)));
        Ok(bookmarks)
    }
}

fn read(name: String, fields: &NvValue) -> Bookmark {
    // Each field is a list of its own: `guid → { value, source }`.
    let number = |field: &str| fields.get(field)?.get("value")?.as_u64();
    Bookmark {
        name,
        guid: number("guid").unwrap_or(0),
        createtxg: number("createtxg").unwrap_or(0),
        creation_seconds: number("creation").unwrap_or(0),
        ivset_guid: number("ivsetguid").filter(|&guid| guid != 0),
    }
}
