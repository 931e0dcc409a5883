//! Receives that are cut and go on.

use super::ground::{Ground, at, full, keep, new, next, since};
use super::{Claim, Failed, Outcome, claims, ensure, refused, same};
use crate::name::DatasetName;
use crate::zfs::{PartialContent, ReceiveRequest, Scope, SendMode, SendRequest, ZfsErrorKind};

pub(super) const CLAIMS: &[Claim] = claims![
    a_cut_update_goes_on_where_it_was_cut,
    a_cut_new_dataset_goes_on_where_it_was_cut,
    a_stream_that_was_cut_twice_still_arrives,
    what_is_left_keeps_other_streams_out_and_its_base_in,
    the_rest_of_another_stream_is_refused_and_what_is_left_stays,
    what_is_left_stays_when_its_dataset_is_rolled_back,
    a_flipped_bit_keeps_what_came_before_it,
    what_is_left_is_given_up_and_its_dataset_stays_as_it_was,
    what_is_left_of_a_new_dataset_is_given_up_with_it,
    what_is_left_is_not_given_up_for_another_or_where_nothing_is,
];

fn left(ground: &Ground<'_>, name: &DatasetName) -> Result<PartialContent, Failed> {
    let partial = ground.look(name)?.partial;
    let partial = partial.ok_or_else(|| Failed(format!("nothing is left in {name}")))?;
    let token = partial.token;
    partial
        .content
        .ok_or_else(|| Failed(format!("the token cannot be read: {token}")))
}

fn rest(send: &SendRequest, left: &PartialContent) -> SendRequest {
    SendRequest {
        resume: Some(left.resume),
        ..send.clone()
    }
}

/// Feeds the first half; what is left has to say which stream it is of.
fn cut(
    ground: &Ground<'_>,
    send: &SendRequest,
    receive: &ReceiveRequest,
) -> Result<PartialContent, Failed> {
    let bytes = ground.stream(send)?;
    let received = ground.feed(receive, &bytes[..bytes.len() / 2])?;
    refused(received, ZfsErrorKind::StreamTruncated)?;
    let left = left(ground, &receive.snapshot.dataset)?;
    same!(
        left.to_guid,
        ground.listed_snapshot(&send.snapshot)?.guid,
        "to"
    );
    same!(left.mode, SendMode::Plain, "mode");
    let arrived = left.received_bytes;
    ensure!(
        arrived > 0 && arrived < bytes.len() as u64,
        "{arrived} bytes have arrived of {}",
        bytes.len()
    );
    Ok(left)
}

fn goes_on(ground: &Ground<'_>, send: &SendRequest, receive: &ReceiveRequest) -> Outcome {
    let left = cut(ground, send, receive)?;
    let rest = rest(send, &left);
    let (whole, part) = (ground.stream(send)?.len(), ground.stream(&rest)?.len());
    ensure!(part < whole * 3 / 4, "the rest has {part} bytes of {whole}");
    ground.transfer(&rest, receive)?;
    let target = ground.look(&receive.snapshot.dataset)?;
    same!(target.partial, None, "left over");
    same!(
        ground.listed_snapshot(&receive.snapshot)?.guid,
        ground.listed_snapshot(&send.snapshot)?.guid,
        "guid"
    );
    ground.ensure_content(&receive.snapshot, 2)
}

fn a_cut_update_goes_on_where_it_was_cut(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let send = since(&pair.first, &pair.second);
    let receive = keep(next(&pair.wanted));
    let from = ground.listed_snapshot(&pair.first)?.guid;
    goes_on(ground, &send, &receive)?;
    same!(
        ground.snapshots(&pair.target)?,
        ["first", "second"],
        "snapshots"
    );
    // And that the base was named, on a second target.
    let beside = at(&ground.there("beside")?, "first")?;
    ground.transfer(&full(&pair.first), &new(&beside))?;
    let request = keep(next(&at(&beside.dataset, "second")?));
    let left = cut(ground, &send, &request)?;
    same!(left.from_guid, Some(from), "from");
    Ok(())
}

fn a_cut_new_dataset_goes_on_where_it_was_cut(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let beside = at(&ground.there("beside")?, "second")?;
    let (send, receive) = (full(&pair.second), keep(new(&beside)));
    goes_on(ground, &send, &receive)?;
    let third = keep(new(&at(&ground.there("third")?, "second")?));
    let left = cut(ground, &send, &third)?;
    same!(left.from_guid, None, "from");
    same!(
        ground.snapshots(&third.snapshot.dataset)?,
        Vec::<String>::new(),
        "snapshots of a dataset of which a part has arrived"
    );
    Ok(())
}

fn a_stream_that_was_cut_twice_still_arrives(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let (send, receive) = (full(&pair.second), at(&ground.there("beside")?, "second")?);
    let receive = keep(new(&receive));
    let first = cut(ground, &send, &receive)?;
    let bytes = ground.stream(&rest(&send, &first))?;
    let received = ground.feed(&receive, &bytes[..bytes.len() / 2])?;
    refused(received, ZfsErrorKind::StreamTruncated)?;
    let second = left(ground, &receive.snapshot.dataset)?;
    ensure!(
        second.received_bytes > first.received_bytes,
        "{} bytes after {}",
        second.received_bytes,
        first.received_bytes
    );
    ground.transfer(&rest(&send, &second), &receive)?;
    ground.ensure_content(&receive.snapshot, 2)
}

fn what_is_left_keeps_other_streams_out_and_its_base_in(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let send = since(&pair.first, &pair.second);
    let receive = keep(next(&pair.wanted));
    let before = cut(ground, &send, &receive)?;
    let bytes = ground.stream(&send)?;
    for request in [next(&pair.wanted), receive.clone()] {
        refused(ground.feed(&request, &bytes)?, ZfsErrorKind::Busy)?;
    }
    let base = ground
        .zfs
        .destroy_snapshots(std::slice::from_ref(&pair.there));
    refused(base, ZfsErrorKind::Exists)?;
    same!(left(ground, &pair.target)?, before, "what is left");
    ground.transfer(&rest(&send, &before), &receive)
}

fn the_rest_of_another_stream_is_refused_and_what_is_left_stays(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let send = since(&pair.first, &pair.second);
    let receive = keep(next(&pair.wanted));
    let before = cut(ground, &send, &receive)?;
    // The same snapshot, but from nothing.
    let other = ground.stream(&rest(&full(&pair.second), &before))?;
    refused(ground.feed(&receive, &other)?, ZfsErrorKind::Busy)?;
    same!(left(ground, &pair.target)?, before, "what is left");
    ground.transfer(&rest(&send, &before), &receive)?;
    ground.ensure_content(&pair.wanted, 2)
}

fn a_flipped_bit_keeps_what_came_before_it(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let (send, receive) = (since(&pair.first, &pair.second), keep(next(&pair.wanted)));
    let mut bytes = ground.stream(&send)?;
    let at = bytes.len() * 3 / 4;
    bytes[at] ^= 1;
    let received = ground.feed(&receive, &bytes)?;
    refused(received, ZfsErrorKind::ChecksumMismatch)?;
    let left = left(ground, &pair.target)?;
    ground.transfer(&rest(&send, &left), &receive)?;
    ground.ensure_content(&pair.wanted, 2)
}

fn what_is_left_stays_when_its_dataset_is_rolled_back(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let send = since(&pair.first, &pair.second);
    let receive = keep(next(&pair.wanted));
    let before = cut(ground, &send, &receive)?;
    ground.write(&pair.target, 7)?;
    ground.zfs.rollback(&pair.there)?;
    same!(left(ground, &pair.target)?, before, "what is left");
    ground.transfer(&rest(&send, &before), &receive)?;
    ground.ensure_content(&pair.wanted, 2)
}

fn token(ground: &Ground<'_>, name: &DatasetName) -> Result<String, Failed> {
    let partial = ground.look(name)?.partial;
    let partial = partial.ok_or_else(|| Failed(format!("nothing is left in {name}")))?;
    Ok(partial.token)
}

fn what_is_left_is_given_up_and_its_dataset_stays_as_it_was(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let before = ground.look(&pair.target)?;
    let send = since(&pair.first, &pair.second);
    let receive = keep(next(&pair.wanted));
    cut(ground, &send, &receive)?;
    let token = token(ground, &pair.target)?;
    ground.zfs.discard_partial(&pair.target, &token)?;
    same!(ground.look(&pair.target)?, before, "the dataset");
    // Nothing hinders the next stream.
    ground.transfer(&send, &receive)?;
    ground.ensure_content(&pair.wanted, 2)
}

fn what_is_left_of_a_new_dataset_is_given_up_with_it(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let beside = at(&ground.there("beside")?, "second")?;
    let (send, receive) = (full(&pair.second), keep(new(&beside)));
    cut(ground, &send, &receive)?;
    let token = token(ground, &beside.dataset)?;
    ground.zfs.discard_partial(&beside.dataset, &token)?;
    let gone = ground.zfs.tree(&beside.dataset, Scope::One)?;
    same!(gone, None, "the dataset that was to come");
    let again = ground.zfs.discard_partial(&beside.dataset, &token);
    refused(again, ZfsErrorKind::NotFound)?;
    ground.transfer(&send, &receive)?;
    ground.ensure_content(&beside, 2)
}

fn what_is_left_is_not_given_up_for_another_or_where_nothing_is(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let send = since(&pair.first, &pair.second);
    let receive = keep(next(&pair.wanted));
    let nowhere = ground.zfs.discard_partial(&pair.target, "1-2-3-44");
    refused(nowhere, ZfsErrorKind::NotFound)?;
    let before = cut(ground, &send, &receive)?;
    let looked_at = token(ground, &pair.target)?;
    // Meanwhile it goes on, and is cut again.
    let bytes = ground.stream(&rest(&send, &before))?;
    let received = ground.feed(&receive, &bytes[..bytes.len() / 2])?;
    refused(received, ZfsErrorKind::StreamTruncated)?;
    let now = left(ground, &pair.target)?;
    ensure!(now != before, "it should have gone on");
    let other = ground.zfs.discard_partial(&pair.target, &looked_at);
    refused(other, ZfsErrorKind::Busy)?;
    same!(left(ground, &pair.target)?, now, "what is left");
    ground.transfer(&rest(&send, &now), &receive)?;
    ground.ensure_content(&pair.wanted, 2)
}
