//! Snapshots, holds and bookmarks.

use std::ffi::c_int;

use userland::protocol::{Fault, Scope};

use super::arguments::{Items, Names, all_done, done, done_with, text};
use super::sys;

/// How long a hold lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// Until somebody releases it.
    UntilReleased,
    /// The pool drops it when it is imported, by whomever.
    UntilNextImport,
}

/// All in one transaction group, or none. Source: `dsl_dataset_snapshot`.
pub fn take(names: &[String]) -> Result<(), Fault> {
    let names = Names::new(names)?;
    let mut errors = Items::default();
    // SAFETY: names and items outlive the call.
    let errno = unsafe { sys::zs_snapshot(names.raw(), errors.taker().raw()) };
    done_with(errno, errors)
}

/// All or none; missing ones do not count. Source: `dsl_destroy_snapshots_nvl`.
pub fn destroy(names: &[String]) -> Result<(), Fault> {
    let names = Names::new(names)?;
    let mut errors = Items::default();
    // SAFETY: names and items outlive the call.
    let errno = unsafe { sys::zs_destroy_snapshots(names.raw(), errors.taker().raw()) };
    done_with(errno, errors)
}

/// One transaction group. Source: `dsl_dataset_rename_snapshot`.
pub fn rename(dataset: &str, from: &str, to: &str, scope: Scope) -> Result<(), Fault> {
    let (dataset, from, to) = (text(dataset)?, text(from)?, text(to)?);
    let recursive = c_int::from(scope == Scope::Recursive);
    // SAFETY: the names outlive the call.
    done(unsafe {
        sys::zs_rename_snapshot(dataset.as_ptr(), from.as_ptr(), to.as_ptr(), recursive)
    })
}

/// A missing snapshot is a fault, but the others are held; a tag that is there
/// already is one, and nothing is held. Source: `dsl_dataset_user_hold`.
pub fn hold(names: &[String], tag: &str, lasts: Lasts) -> Result<(), Fault> {
    let names = Names::new(names)?;
    let tag = text(tag)?;
    let temporary = c_int::from(lasts == Lasts::UntilNextImport);
    let mut errors = Items::default();
    // SAFETY: names, tag and items outlive the call.
    let errno = unsafe { sys::zs_hold(names.raw(), tag.as_ptr(), temporary, errors.taker().raw()) };
    all_done(errno, errors)
}

/// Missing ones do not count. Source: `dsl_dataset_user_release`.
pub fn release(names: &[String], tag: &str) -> Result<(), Fault> {
    let names = Names::new(names)?;
    let tag = text(tag)?;
    let mut errors = Items::default();
    // SAFETY: names, tag and items outlive the call.
    let errno = unsafe { sys::zs_release(names.raw(), tag.as_ptr(), errors.taker().raw()) };
    done_with(errno, errors)
}

/// Tags and times, by tag. Source: `dsl_dataset_get_holds`.
pub fn holds(snapshot: &str) -> Result<Vec<(String, u64)>, Fault> {
    let snapshot = text(snapshot)?;
    let mut holds = Items::default();
    // SAFETY: name and items outlive the call.
    done(unsafe { sys::zs_holds(snapshot.as_ptr(), holds.taker().raw()) })?;
    let mut holds = holds.numbers();
    holds.sort();
    Ok(holds)
}

/// All or none. Source: `dsl_bookmark_create`.
pub fn bookmark(marks: &[(String, String)]) -> Result<(), Fault> {
    let of = Names::new(marks.iter().map(|(of, _)| of))?;
    let marks = Names::new(marks.iter().map(|(_, mark)| mark))?;
    let mut errors = Items::default();
    // SAFETY: both lists and the items outlive the call.
    let errno = unsafe { sys::zs_bookmark(of.raw(), marks.raw(), errors.taker().raw()) };
    done_with(errno, errors)
}

/// Missing ones do not count. Source: `dsl_bookmark_destroy`.
pub fn destroy_bookmarks(names: &[String]) -> Result<(), Fault> {
    let names = Names::new(names)?;
    let mut errors = Items::default();
    // SAFETY: names and items outlive the call.
    let errno = unsafe { sys::zs_destroy_bookmarks(names.raw(), errors.taker().raw()) };
    done_with(errno, errors)
}
