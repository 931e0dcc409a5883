//! Sending and receiving, as it should go.

use std::io::Read;
use std::thread;

use super::ground::{Ground, at, full, joined, new, next, short, since};
use super::{Claim, Failed, Outcome, claims, ensure, refused, same};
use crate::zfs::{
    Base, DatasetKind, NewBookmark, PropertyValue, ReceiveRequest, Scope, SendRequest, ZfsErrorKind,
};

pub(super) const CLAIMS: &[Claim] = claims![
    a_received_snapshot_has_the_content_guid_and_creation_of_its_source,
    an_incremental_stream_carries_the_change,
    a_bookmark_is_as_good_a_base_as_its_snapshot,
    the_base_is_found_by_guid_and_not_by_name,
    a_new_file_system_does_not_mount_by_itself,
    the_begin_record_names_both_ends,
    an_estimate_is_near_the_size_of_the_stream,
    what_cannot_be_sent_is_refused_with_its_reason,
    a_reader_that_goes_away_interrupts_the_send,
    the_way_back_is_incremental,
];

fn a_received_snapshot_has_the_content_guid_and_creation_of_its_source(
    ground: &Ground<'_>,
) -> Outcome {
    let pair = ground.pair()?;
    let here = ground.listed_snapshot(&pair.first)?;
    let there = ground.listed_snapshot(&pair.there)?;
    same!(there.guid, here.guid, "guid");
    same!(there.creation_seconds, here.creation_seconds, "creation");
    let target = ground.look(&pair.target)?;
    same!(target.kind, DatasetKind::Volume, "kind");
    same!(target.written_bytes, 0, "written");
    same!(target.partial, None, "left over");
    ensure!(
        target.guid != ground.look(&pair.source)?.guid,
        "the heads have one guid"
    );
    ground.ensure_content(&pair.there, 1)
}

fn an_incremental_stream_carries_the_change(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    ground.transfer(&since(&pair.first, &pair.second), &next(&pair.wanted))?;
    same!(
        ground.snapshots(&pair.target)?,
        ["first", "second"],
        "snapshots"
    );
    same!(
        ground.listed_snapshot(&pair.wanted)?.guid,
        ground.listed_snapshot(&pair.second)?.guid,
        "guid"
    );
    ground.ensure_content(&pair.wanted, 2)?;
    ground.ensure_content(&pair.there, 1)
}

fn a_bookmark_is_as_good_a_base_as_its_snapshot(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let mark = NewBookmark {
        of: pair.first.clone(),
        short: short("mark")?,
    };
    ground.zfs.bookmark(&[mark])?;
    ground
        .zfs
        .destroy_snapshots(std::slice::from_ref(&pair.first))?;
    let send = SendRequest {
        base: Some(Base::Bookmark(short("mark")?)),
        ..full(&pair.second)
    };
    ground.transfer(&send, &next(&pair.wanted))?;
    ground.ensure_content(&pair.wanted, 2)
}

fn the_base_is_found_by_guid_and_not_by_name(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    ground
        .zfs
        .rename_snapshot(&pair.there, &short("renamed")?, Scope::One)?;
    ground.transfer(&since(&pair.first, &pair.second), &next(&pair.wanted))?;
    same!(
        ground.snapshots(&pair.target)?,
        ["renamed", "second"],
        "snapshots"
    );
    ground.ensure_content(&pair.wanted, 2)
}

fn a_new_file_system_does_not_mount_by_itself(ground: &Ground<'_>) -> Outcome {
    let (a, target) = (ground.filesystem("a")?, ground.there("a")?);
    let sent = ground.snapshot(&a, "s")?;
    let request = ReceiveRequest {
        kind: DatasetKind::Filesystem,
        ..new(&at(&target, "s")?)
    };
    ground.transfer(&full(&at(&a, "s")?), &request)?;
    let found = ground.look(&target)?;
    same!(found.kind, DatasetKind::Filesystem, "kind");
    same!(found.snapshots[0].guid, sent.guid, "guid");
    let canmount = found.properties.iter().find(|p| p.name == "canmount");
    same!(
        canmount.map(|property| property.value.clone()),
        Some(PropertyValue::Number(2)),
        "canmount"
    );
    Ok(())
}

fn the_begin_record_names_both_ends(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let (first, second) = (
        ground.listed_snapshot(&pair.first)?,
        ground.listed_snapshot(&pair.second)?,
    );
    for (request, from) in [
        (full(&pair.second), None),
        (since(&pair.first, &pair.second), Some(first.guid)),
    ] {
        let bytes = ground.stream(&request)?;
        let begin = bytes
            .first_chunk()
            .ok_or_else(|| Failed("a short stream".to_owned()))?;
        let begin = crate::stream::record::BeginRecord::parse(begin)?;
        same!(begin.to_guid, second.guid, "to");
        same!(begin.from_guid, from, "from");
        same!(begin.kind, DatasetKind::Volume, "kind");
        same!(begin.creation_seconds, second.creation_seconds, "creation");
        ensure!(!begin.is_raw() && !begin.is_resuming(), "{begin:?}");
    }
    Ok(())
}

fn an_estimate_is_near_the_size_of_the_stream(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    for request in [full(&pair.second), since(&pair.first, &pair.second)] {
        let estimated = ground.zfs.send_size(&request)?;
        let real = ground.stream(&request)?.len() as u64;
        let near = estimated > real / 2 && estimated < real * 2;
        ensure!(near, "{estimated} bytes estimated, {real} sent");
    }
    Ok(())
}

fn what_cannot_be_sent_is_refused_with_its_reason(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let other = ground.filesystem("other")?;
    ground.snapshot(&other, "s")?;
    let from_mark = |name: &str| {
        Ok::<_, Failed>(SendRequest {
            base: Some(Base::Bookmark(short(name)?)),
            ..full(&pair.first)
        })
    };
    let mark = NewBookmark {
        of: pair.second.clone(),
        short: short("late")?,
    };
    ground.zfs.bookmark(&[mark])?;
    let missing = at(&pair.source, "none")?;
    for (request, kind) in [
        (full(&missing), ZfsErrorKind::NotFound),
        (
            full(&at(&ground.here("none")?, "s")?),
            ZfsErrorKind::NotFound,
        ),
        (since(&missing, &pair.second), ZfsErrorKind::NotFound),
        (from_mark("none")?, ZfsErrorKind::NotFound),
        // Newer, the same, and of another dataset.
        (since(&pair.second, &pair.first), ZfsErrorKind::CrossDevice),
        (since(&pair.first, &pair.first), ZfsErrorKind::CrossDevice),
        (
            since(&at(&other, "s")?, &pair.first),
            ZfsErrorKind::CrossDevice,
        ),
        (since(&pair.there, &pair.second), ZfsErrorKind::CrossDevice),
        (from_mark("late")?, ZfsErrorKind::CrossDevice),
    ] {
        let (bytes, sent) = ground.attempt(&request)?;
        refused(sent, kind).map_err(|failed| Failed(format!("{request:?}: {failed:?}")))?;
        ensure!(bytes.is_empty(), "{} bytes of {request:?}", bytes.len());
    }
    Ok(())
}

fn a_reader_that_goes_away_interrupts_the_send(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let request = full(&pair.first);
    let (mut reader, writer) = std::io::pipe()?;
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| ground.zfs.send(&request, writer.into()));
        let read = reader.read_exact(&mut [0; 4096]);
        drop(reader);
        let sent = joined(sender.join());
        read.map_err(Failed::from).and(sent)
    })?;
    refused(sent, ZfsErrorKind::Interrupted)?;
    // Nothing is left of it that would keep the snapshot.
    ground
        .zfs
        .destroy_snapshots(std::slice::from_ref(&pair.first))?;
    Ok(())
}

fn the_way_back_is_incremental(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    ground.transfer(&since(&pair.first, &pair.second), &next(&pair.wanted))?;
    ground.write(&pair.target, 3)?;
    ground.snapshot(&pair.target, "back")?;
    let (back, home) = (at(&pair.target, "back")?, at(&pair.source, "back")?);
    ground.transfer(&since(&pair.wanted, &back), &next(&home))?;
    ground.ensure_content(&home, 3)
}
