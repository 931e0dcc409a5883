//! Bookmarks.

use anyhow::{Result, ensure};
use libzfs::{BookmarkRequest, ErrorKind};

use crate::{Probe, fails, get};

pub fn all(probe: &Probe) -> Result<()> {
    let core = &probe.core;
    let a = probe.filesystem("m", 1)?;
    core.snapshot(&[format!("{a}@one")], &[])?;
    core.snapshot(&[format!("{a}@two")], &[])?;
    let make = |pairs: &[(&str, &str)]| {
        let names: Vec<(String, String)> = pairs
            .iter()
            .map(|(source, bookmark)| (format!("{a}{source}"), format!("{a}#{bookmark}")))
            .collect();
        let requests: Vec<BookmarkRequest<'_>> = names
            .iter()
            .map(|(source, bookmark)| BookmarkRequest { source, bookmark })
            .collect();
        core.bookmark(&requests)
    };
    make(&[("@two", "b"), ("@one", "z")])?;
    make(&[("#z", "copy")])?;
    let listed = core.bookmarks(&a)?;
    let names: Vec<&str> = listed
        .iter()
        .map(|bookmark| bookmark.name.as_str())
        .collect();
    ensure!(names == ["copy", "z", "b"], "oldest first: {names:?}");
    for (bookmark, snapshot) in [
        (&listed[0], "one"),
        (&listed[1], "one"),
        (&listed[2], "two"),
    ] {
        let snapshot = format!("{a}@{snapshot}");
        ensure!(
            bookmark.guid.to_string() == get("guid", &snapshot)?,
            "{bookmark:?}"
        );
        ensure!(
            bookmark.createtxg.to_string() == get("createtxg", &snapshot)?,
            "{bookmark:?}"
        );
        ensure!(
            bookmark.creation_seconds.to_string() == get("creation", &snapshot)?,
            "{bookmark:?}"
        );
        ensure!(bookmark.ivset_guid.is_none(), "{bookmark:?}");
    }
    let error = fails(make(&[("@two", "new"), ("@one", "z")]), ErrorKind::Exists)?;
    ensure!(error.items.len() == 1, "{error:?}");
    ensure!(core.bookmarks(&a)?.len() == 3, "all or nothing");
    fails(make(&[("@absent", "c")]), ErrorKind::NotFound)?;
    fails(core.bookmarks(&probe.name("absent")), ErrorKind::NotFound)?;

    core.destroy_bookmarks(&[format!("{a}#z"), format!("{a}#copy"), format!("{a}#absent")])?;
    ensure!(
        core.bookmarks(&a)?.len() == 1,
        "two destroyed, the missing one ignored"
    );
    Ok(())
}
