//! Cut streams: token, resume, abort.

use anyhow::{Context, Result, ensure};
use libzfs::{ErrorKind, ResumePoint, ResumeToken, SendFlags, SendRequest, with_handle};

use crate::pipes::{PLAIN, begin_of, feed, record, record_resumed, request};
use crate::{Probe, fails, get, write};

/// A source with `@one` and, 4 MiB later, `@two`.
fn source(probe: &Probe) -> Result<String> {
    let source = probe.filesystem("src", 4)?;
    probe.core.snapshot(&[format!("{source}@one")], &[])?;
    write(&source, "more", 4)?;
    probe.core.snapshot(&[format!("{source}@two")], &[])?;
    Ok(source)
}

fn token_of(dataset: &str) -> Result<ResumeToken> {
    let token = with_handle(|handle| handle.dataset(dataset))?
        .receive_resume_token
        .with_context(|| format!("{dataset} has a token"))?;
    ensure!(
        token == get("receive_resume_token", dataset)?,
        "the same as zfs(8)"
    );
    Ok(with_handle(|handle| handle.decode_resume_token(&token))?)
}

/// Sends what the token asks for and receives it.
fn finish(probe: &Probe, token: &ResumeToken, send: SendRequest<'_>, into: &str) -> Result<()> {
    let point = ResumePoint {
        object: token.object,
        offset_bytes: token.offset_bytes,
    };
    let rest = record_resumed(probe.core, send, point)?;
    let begin = begin_of(&rest)?;
    let mut wanted = request(into, &begin);
    wanted.resumable = true;
    feed(probe.core, &rest, &wanted)??;
    ensure!(
        get("guid", send.snapshot)? == get("guid", into)?,
        "the snapshot is whole"
    );
    Ok(())
}

pub fn existing(probe: &Probe) -> Result<()> {
    let core = probe.core;
    let source = source(probe)?;
    let target = probe.name("dst");
    let (one, two) = (format!("{source}@one"), format!("{source}@two"));
    let full = record(
        core,
        SendRequest {
            snapshot: &one,
            from: None,
            flags: PLAIN,
        },
    )?;
    let begin = begin_of(&full)?;
    feed(core, &full, &request(&format!("{target}@one"), &begin))??;

    let send = SendRequest {
        snapshot: &two,
        from: Some(&one),
        flags: PLAIN,
    };
    let increment = record(core, send)?;
    let begin = begin_of(&increment)?;
    let into = format!("{target}@two");
    let mut wanted = request(&into, &begin);
    wanted.resumable = true;
    let cut = &increment[..increment.len() / 2];
    fails(feed(core, cut, &wanted)?, ErrorKind::StreamTruncated)?;
    ensure!(
        core.exists(&format!("{target}/%recv")),
        "partial state of an existing dataset"
    );

    let token = token_of(&target)?;
    ensure!(token.to_name == two, "{token:?}");
    ensure!(token.to_guid.to_string() == get("guid", &two)?, "{token:?}");
    ensure!(
        token.from_guid.map(|guid| guid.to_string()) == Some(get("guid", &one)?),
        "{token:?}"
    );
    let flags = SendFlags {
        embed_data: token.embed_data,
        large_block: token.large_block,
        compress: token.compress,
        raw: token.raw,
        saved: token.saved,
    };
    ensure!(
        flags.compress && !flags.raw && !flags.saved && !token.redacted,
        "{token:?}"
    );
    ensure!(
        token.received_bytes > 0 && token.offset_bytes > 0,
        "{token:?}"
    );

    // Nothing else can be received until it is finished or aborted.
    fails(feed(core, &increment, &wanted)?, ErrorKind::Busy)?;
    wanted.resumable = false;
    fails(feed(core, &increment, &wanted)?, ErrorKind::Busy)?;

    finish(probe, &token, SendRequest { flags, ..send }, &into)?;
    let done = with_handle(|handle| handle.dataset(&target))?;
    ensure!(done.receive_resume_token.is_none(), "{done:?}");
    Ok(())
}

pub fn new_dataset(probe: &Probe) -> Result<()> {
    let core = probe.core;
    let source = source(probe)?;
    let target = probe.name("dst");
    let one = format!("{source}@one");
    let send = SendRequest {
        snapshot: &one,
        from: None,
        flags: PLAIN,
    };
    let full = record(core, send)?;
    let begin = begin_of(&full)?;
    let into = format!("{target}@one");
    let mut wanted = request(&into, &begin);
    wanted.resumable = true;
    fails(
        feed(core, &full[..full.len() / 2], &wanted)?,
        ErrorKind::StreamTruncated,
    )?;
    let partial = with_handle(|handle| handle.dataset(&target))?;
    ensure!(
        partial.inconsistent,
        "it has no usable contents yet: {partial:?}"
    );
    let token = token_of(&target)?;
    ensure!(
        token.from_guid.is_none() && token.to_name == one,
        "{token:?}"
    );
    finish(probe, &token, send, &into)?;
    ensure!(
        !with_handle(|handle| handle.dataset(&target))?.inconsistent,
        "whole"
    );

    // One letter of a real token changed: refused, whichever it is.
    let text = "1-c7562e3d1-d8-789c636064000310a501c49c50360710a715e5e7a69766";
    for damaged in [text.to_owned(), text.replace("c7", "c8")] {
        fails(
            with_handle(|handle| handle.decode_resume_token(&damaged)),
            ErrorKind::Invalid,
        )?;
    }
    Ok(())
}

pub fn abort(probe: &Probe) -> Result<()> {
    let core = probe.core;
    let source = source(probe)?;
    let target = probe.name("dst");
    let (one, two) = (format!("{source}@one"), format!("{source}@two"));
    let full = record(
        core,
        SendRequest {
            snapshot: &one,
            from: None,
            flags: PLAIN,
        },
    )?;
    let begin = begin_of(&full)?;
    let into = format!("{target}@one");
    let mut wanted = request(&into, &begin);
    wanted.resumable = true;
    fails(
        feed(core, &full[..full.len() / 2], &wanted)?,
        ErrorKind::StreamTruncated,
    )?;
    fails(
        core.destroy(&format!("{target}/%recv")),
        ErrorKind::NotFound,
    )?;
    core.destroy(&target)?;
    ensure!(!core.exists(&target), "a new dataset goes as a whole");
    feed(core, &full, &wanted)??;

    let increment = record(
        core,
        SendRequest {
            snapshot: &two,
            from: Some(&one),
            flags: PLAIN,
        },
    )?;
    let begin = begin_of(&increment)?;
    let into = format!("{target}@two");
    let mut wanted = request(&into, &begin);
    wanted.resumable = true;
    let half = &increment[..increment.len() / 2];
    fails(feed(core, half, &wanted)?, ErrorKind::StreamTruncated)?;
    core.destroy(&format!("{target}/%recv"))?;
    let after = with_handle(|handle| handle.dataset(&target))?;
    ensure!(after.receive_resume_token.is_none(), "{after:?}");
    feed(core, &increment, &wanted)??;
    Ok(())
}
