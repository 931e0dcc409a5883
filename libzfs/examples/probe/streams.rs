//! Streams: full, incremental, refused, damaged, cancelled.

use std::io::{Read, pipe};
use std::os::fd::AsFd;
use std::thread;

use anyhow::{Result, ensure};
use libzfs::{BookmarkRequest, ErrorKind, ReceiveRequest, Rollback, SendRequest, with_handle};

use crate::pipes::{PLAIN, begin_of, feed, into, record, request, transfer};
use crate::{Probe, fails, get, write, zfs};

fn plain<'a>(snapshot: &'a str, from: Option<&'a str>) -> SendRequest<'a> {
    SendRequest {
        snapshot,
        from,
        flags: PLAIN,
    }
}

/// A source with snapshots `@one`, `@two`, `@three`, and its bookmark `#two`.
fn source(probe: &Probe) -> Result<String> {
    let source = probe.filesystem("src", 4)?;
    for name in ["one", "two", "three"] {
        write(&source, name, 1)?;
        probe.core.snapshot(&[format!("{source}@{name}")], &[])?;
    }
    probe.core.bookmark(&[BookmarkRequest {
        source: &format!("{source}@two"),
        bookmark: &format!("{source}#two"),
    }])?;
    Ok(source)
}

pub fn full_and_incremental(probe: &Probe) -> Result<()> {
    let core = probe.core;
    let source = source(probe)?;
    let target = probe.name("dst");
    let (one, two, three) = (
        format!("{source}@one"),
        format!("{source}@two"),
        format!("{source}@three"),
    );
    let estimate = core.send_space(&plain(&one, None))?;
    let actual = record(core, plain(&one, None))?.len() as u64;
    ensure!(
        estimate > actual / 2 && estimate < actual * 2,
        "{estimate} for {actual}"
    );

    transfer(core, plain(&one, None), &into(&format!("{target}@one")))?;
    ensure!(
        get("guid", &one)? == get("guid", &format!("{target}@one"))?,
        "guid"
    );
    transfer(
        core,
        plain(&two, Some(&one)),
        &into(&format!("{target}@two")),
    )?;
    // The base is found by guid: its name on the target does not matter.
    zfs(&[
        "rename",
        &format!("{target}@two"),
        &format!("{target}@renamed"),
    ])?;
    let bookmark = format!("{source}#two");
    transfer(
        core,
        plain(&three, Some(&bookmark)),
        &into(&format!("{target}@three")),
    )?;
    ensure!(
        get("guid", &three)? == get("guid", &format!("{target}@three"))?,
        "guid"
    );
    let dataset = with_handle(|handle| handle.dataset(&target))?;
    ensure!(
        dataset.receive_resume_token.is_none() && !dataset.inconsistent,
        "{dataset:?}"
    );

    fails(
        core.send_space(&plain(&one, Some(&two))),
        ErrorKind::CrossDevice,
    )?;
    fails(
        core.send_space(&plain(&format!("{source}@no"), None)),
        ErrorKind::NotFound,
    )?;
    let (_reader, writer) = pipe()?;
    let fd = writer.as_fd();
    fails(
        core.send(&plain(&one, Some(&two)), fd),
        ErrorKind::CrossDevice,
    )?;
    fails(
        core.send(&plain(&format!("{source}@no"), None), fd),
        ErrorKind::NotFound,
    )?;
    let absent = format!("{source}#absent");
    fails(
        core.send(&plain(&two, Some(&absent)), fd),
        ErrorKind::NotFound,
    )?;
    Ok(())
}

pub fn refused(probe: &Probe) -> Result<()> {
    let core = probe.core;
    let source = source(probe)?;
    let target = probe.name("dst");
    let (one, two) = (format!("{source}@one"), format!("{source}@two"));
    let three = format!("{source}@three");
    let full = record(core, plain(&one, None))?;
    let full_begin = begin_of(&full)?;
    let increment = record(core, plain(&two, Some(&one)))?;
    let increment_begin = begin_of(&increment)?;
    let on_target = |name: &str| format!("{target}@{name}");

    let orphan = format!("{}@one", probe.name("absent/child"));
    fails(
        feed(core, &full, &request(&orphan, &full_begin))?,
        ErrorKind::NotFound,
    )?;
    fails(
        feed(
            core,
            &increment,
            &request(&on_target("two"), &increment_begin),
        )?,
        ErrorKind::NotFound,
    )?;
    feed(core, &full, &request(&on_target("one"), &full_begin))??;
    fails(
        feed(core, &full, &request(&on_target("one"), &full_begin))?,
        ErrorKind::Exists,
    )?;
    fails(
        feed(core, &full, &request(&on_target("again"), &full_begin))?,
        ErrorKind::Exists,
    )?;
    ensure!(core.exists(&on_target("one")), "nothing was destroyed");

    let late = record(core, plain(&three, Some(&two)))?;
    let late_begin = begin_of(&late)?;
    fails(
        feed(core, &late, &request(&on_target("three"), &late_begin))?,
        ErrorKind::NoSuchBase,
    )?;

    zfs(&["mount", &target])?;
    write(&target, "local change", 1)?;
    fails(
        feed(
            core,
            &increment,
            &request(&on_target("two"), &increment_begin),
        )?,
        ErrorKind::Modified,
    )?;
    ensure!(
        std::fs::exists(format!("/{target}/local change"))?,
        "the change is still there"
    );
    let roll = |snapshot: &str| {
        core.rollback_to(&Rollback {
            dataset: &target,
            snapshot,
        })
    };
    fails(roll(&on_target("absent")), ErrorKind::NotFound)?;
    roll(&on_target("one"))?;
    feed(
        core,
        &increment,
        &request(&on_target("two"), &increment_begin),
    )??;
    ensure!(
        roll(&on_target("one")).is_err(),
        "only to the most recent one"
    );
    ensure!(core.exists(&on_target("two")), "which is still there");
    Ok(())
}

pub fn damaged(probe: &Probe) -> Result<()> {
    let core = probe.core;
    let source = source(probe)?;
    let target = probe.name("dst");
    let snapshot = format!("{target}@one");
    let full = record(core, plain(&format!("{source}@one"), None))?;
    let begin = begin_of(&full)?;
    let wanted = request(&snapshot, &begin);

    let cut = &full[..full.len() / 2];
    fails(feed(core, cut, &wanted)?, ErrorKind::StreamTruncated)?;
    ensure!(!core.exists(&target), "nothing of it is left");

    let mut flipped = full.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    fails(feed(core, &flipped, &wanted)?, ErrorKind::ChecksumMismatch)?;
    ensure!(!core.exists(&target), "nothing of it is left");

    let rubbish = [0x5a; 312];
    fails(
        feed(core, &full, &request(&snapshot, &rubbish))?,
        ErrorKind::Invalid,
    )?;

    feed(core, &full, &wanted)??;
    ensure!(core.exists(&snapshot), "the whole one is fine");
    Ok(())
}

pub fn clone(probe: &Probe) -> Result<()> {
    let core = probe.core;
    let source = source(probe)?;
    let one = format!("{source}@one");
    let branch = probe.name("branch");
    zfs(&["clone", &one, &branch])?;
    write(&branch, "branch", 1)?;
    let tip = format!("{branch}@tip");
    core.snapshot(&[&tip], &[])?;

    let target = probe.name("dst");
    let target_origin = format!("{target}@one");
    transfer(core, plain(&one, None), &into(&target_origin))?;
    let target_branch = probe.name("dst-branch");
    let received = format!("{target_branch}@tip");
    transfer(
        core,
        plain(&tip, Some(&one)),
        &ReceiveRequest {
            origin: Some(&target_origin),
            ..into(&received)
        },
    )?;
    let dataset = with_handle(|handle| handle.dataset(&target_branch))?;
    ensure!(
        dataset.origin.as_deref() == Some(target_origin.as_str()),
        "{dataset:?}"
    );
    ensure!(
        dataset.used_bytes < dataset.referenced_bytes,
        "it shares blocks: {dataset:?}"
    );
    let ours = with_handle(|handle| handle.dataset(&branch))?;
    ensure!(ours.origin.as_deref() == Some(one.as_str()), "{ours:?}");
    Ok(())
}

pub fn cancelled(probe: &Probe) -> Result<()> {
    let core = probe.core;
    let source = source(probe)?;
    let one = format!("{source}@one");
    // Before the first byte, and in the midst of the stream.
    for bytes_wanted in [0, 64 * 1024 + 312] {
        let (mut reader, writer) = pipe()?;
        let mut taken = vec![0; bytes_wanted];
        let outcome = thread::scope(|scope| {
            let one = &one;
            if bytes_wanted == 0 {
                drop(reader);
                return core.send(&plain(one, None), writer.as_fd());
            }
            let sending = scope.spawn(move || core.send(&plain(one, None), writer.as_fd()));
            let read = reader.read_exact(&mut taken);
            drop(reader);
            let sent = sending.join().expect("no panic");
            read.expect("the stream is longer");
            sent
        });
        fails(outcome, ErrorKind::Interrupted)?;
    }

    let file = std::fs::File::create("/tmp/zferry-probe-not-a-pipe")?;
    let error = fails(
        core.send(&plain(&one, None), file.as_fd()),
        ErrorKind::Invalid,
    )?;
    ensure!(error.to_string().contains("needs a pipe"), "{error}");
    ensure!(file.metadata()?.len() == 0, "nothing was written");
    std::fs::remove_file("/tmp/zferry-probe-not-a-pipe")?;
    Ok(())
}

pub fn parallel(probe: &Probe) -> Result<()> {
    let core = probe.core;
    let source = source(probe)?;
    let one = format!("{source}@one");
    thread::scope(|scope| -> Result<()> {
        let threads: Vec<_> = ["d1", "d2"]
            .map(|name| {
                let (one, target) = (&one, probe.name(name));
                scope.spawn(move || -> Result<()> {
                    transfer(core, plain(one, None), &into(&format!("{target}@one")))?;
                    // Each thread has a libzfs handle of its own.
                    let dataset = with_handle(|handle| handle.dataset(&target))?;
                    ensure!(dataset.referenced_bytes > 4 * 1024 * 1024, "{dataset:?}");
                    Ok(())
                })
            })
            .into();
        for thread in threads {
            thread.join().expect("no panic")?;
        }
        Ok(())
    })
}
