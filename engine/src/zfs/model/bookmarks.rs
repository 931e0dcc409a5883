//! Bookmarks: what stays of a base when its snapshot goes.

use std::collections::BTreeMap;

use super::machine::{BookmarkNode, Machine, Refusal};
use super::snapshots::one_pool;
use crate::name::BookmarkName;
use crate::zfs::{ItemError, NewBookmark, ZfsErrorKind};

impl Machine {
    /// Makes all of them or none. The list travels as an nvlist whose keys are
    /// the bookmarks: of two requests for one name the last counts.
    pub(super) fn make_bookmarks(&mut self, marks: &[NewBookmark]) -> Result<(), Refusal> {
        one_pool(marks.iter().map(|mark| &mark.of.dataset))
            // Unlike its siblings this ioctl finds that malformed.
            .map_err(|_| ZfsErrorKind::Invalid)?;
        let unique: BTreeMap<_, _> = marks
            .iter()
            .map(|mark| ((&mark.of.dataset, &mark.short), mark))
            .collect();
        let Some(first) = marks.first() else {
            return Ok(());
        };
        let refused = |mark: &NewBookmark| {
            let kind = self.check_bookmark(mark).err()?;
            let name = bookmark_name(mark).to_string();
            Some(ItemError { name, kind })
        };
        Refusal::unless_empty(unique.values().filter_map(|mark| refused(mark)).collect())?;
        for mark in unique.into_values() {
            let source = self.snapshot(&mark.of)?;
            let bookmark = BookmarkNode {
                short: mark.short.clone(),
                guid: source.guid,
                createtxg: source.createtxg,
                ivset: source.ivset,
            };
            let bookmarks = &mut self.dataset_mut(&mark.of.dataset)?.bookmarks;
            let at = bookmarks.partition_point(|b| b.createtxg <= bookmark.createtxg);
            bookmarks.insert(at, bookmark);
        }
        self.next_txg(first.of.dataset.pool())?;
        Ok(())
    }

    fn check_bookmark(&self, mark: &NewBookmark) -> Result<(), ZfsErrorKind> {
        self.snapshot(&mark.of)?;
        let bookmarks = &self.dataset(&mark.of.dataset)?.bookmarks;
        match bookmarks.iter().any(|b| b.short == mark.short) {
            // Even if it is one of the same snapshot.
            true => Err(ZfsErrorKind::Exists),
            false => Ok(()),
        }
    }

    pub(super) fn destroy_bookmarks(&mut self, names: &[BookmarkName]) -> Result<(), Refusal> {
        one_pool(names.iter().map(|name| &name.dataset))?;
        for name in names {
            if let Ok(node) = self.dataset_mut(&name.dataset) {
                node.bookmarks.retain(|b| b.short != name.short);
            }
        }
        // What is missing is no error, be it the pool.
        if let Some(first) = names.first()
            && self.pools.contains_key(first.dataset.pool())
        {
            self.next_txg(first.dataset.pool())?;
        }
        Ok(())
    }
}

/// The name that the bookmark gets.
pub(super) fn bookmark_name(mark: &NewBookmark) -> BookmarkName {
    BookmarkName {
        dataset: mark.of.dataset.clone(),
        short: mark.short.clone(),
    }
}
