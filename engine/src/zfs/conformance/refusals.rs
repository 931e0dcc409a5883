//! Streams that cannot be received, and what is left of them: nothing.

use super::ground::{Ground, Pair, at, full, new, next, since};
use super::{Claim, Failed, Outcome, claims, ensure, refused, same};
use crate::stream::record::RECORD_BYTES;
use crate::zfs::{Dataset, ReceiveRequest, ZfsErrorKind};

pub(super) const CLAIMS: &[Claim] = claims![
    a_stream_that_does_not_fit_the_target_is_refused_with_its_reason,
    a_target_without_the_base_says_so,
    a_target_that_was_changed_is_refused_and_keeps_its_change,
    a_later_snapshot_without_a_change_is_no_obstacle,
    a_cut_stream_is_a_truncated_stream_and_leaves_nothing,
    a_flipped_bit_is_found_and_leaves_nothing,
];

/// What there is at the target.
fn state(ground: &Ground<'_>, pair: &Pair) -> Result<Dataset, Failed> {
    ground.look(&pair.target)
}

fn a_stream_that_does_not_fit_the_target_is_refused_with_its_reason(
    ground: &Ground<'_>,
) -> Outcome {
    let pair = ground.pair()?;
    let whole = ground.stream(&full(&pair.second))?;
    let update = ground.stream(&since(&pair.first, &pair.second))?;
    let before = state(ground, &pair)?;
    let nowhere = at(&ground.there("none")?, "s")?;
    let deeper = at(&ground.there("none/deeper")?, "s")?;
    for (bytes, request, kind) in [
        (&whole, next(&pair.wanted), ZfsErrorKind::Exists),
        (&whole, next(&pair.there), ZfsErrorKind::Exists),
        (&whole, new(&deeper), ZfsErrorKind::NotFound),
        (&update, next(&nowhere), ZfsErrorKind::NotFound),
        (&update, next(&pair.there), ZfsErrorKind::Exists),
    ] {
        let received = ground.feed(&request, bytes)?;
        refused(received, kind)
            .map_err(|failed| Failed(format!("{}: {failed:?}", request.snapshot)))?;
        same!(state(ground, &pair)?, before, request.snapshot);
    }
    ensure!(
        !ground.exists(&nowhere.dataset)?,
        "a dataset came into being"
    );
    Ok(())
}

fn a_target_without_the_base_says_so(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let stranger = ground.volume("stranger", 5)?;
    ground.snapshot(&stranger, "first")?;
    let before = ground.look(&stranger)?;
    let update = ground.stream(&since(&pair.first, &pair.second))?;
    let received = ground.feed(&next(&at(&stranger, "second")?), &update)?;
    refused(received, ZfsErrorKind::NoSuchBase)?;
    same!(ground.look(&stranger)?, before, "the target");
    Ok(())
}

fn a_target_that_was_changed_is_refused_and_keeps_its_change(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let update = ground.stream(&since(&pair.first, &pair.second))?;
    ground.write(&pair.target, 7)?;
    let received = ground.feed(&next(&pair.wanted), &update)?;
    refused(received, ZfsErrorKind::Modified)?;
    ground.snapshot(&pair.target, "mine")?;
    let received = ground.feed(&next(&pair.wanted), &update)?;
    refused(received, ZfsErrorKind::Modified)?;
    same!(
        ground.snapshots(&pair.target)?,
        ["first", "mine"],
        "snapshots"
    );
    ground.ensure_content(&at(&pair.target, "mine")?, 7)
}

fn a_later_snapshot_without_a_change_is_no_obstacle(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    ground.snapshot(&pair.target, "daily")?;
    ground.transfer(&since(&pair.first, &pair.second), &next(&pair.wanted))?;
    same!(
        ground.snapshots(&pair.target)?,
        ["first", "daily", "second"],
        "snapshots"
    );
    ground.ensure_content(&pair.wanted, 2)
}

/// Feeds a spoilt full stream and a spoilt update; neither leaves a trace, and
/// both go well afterwards.
fn spoilt(
    ground: &Ground<'_>,
    kind: ZfsErrorKind,
    spoil: impl Fn(&[u8]) -> Vec<Vec<u8>>,
) -> Outcome {
    let pair = ground.pair()?;
    let beside = at(&ground.there("beside")?, "second")?;
    let before = state(ground, &pair)?;
    let cases: [(Vec<u8>, ReceiveRequest); 2] = [
        (ground.stream(&full(&pair.second))?, new(&beside)),
        (
            ground.stream(&since(&pair.first, &pair.second))?,
            next(&pair.wanted),
        ),
    ];
    for (bytes, request) in &cases {
        for (n, bytes) in spoil(bytes).iter().enumerate() {
            refused(ground.feed(request, bytes)?, kind)
                .map_err(|failed| Failed(format!("{}, {n}: {failed:?}", request.snapshot)))?;
            same!(state(ground, &pair)?, before, "the target");
            ensure!(
                !ground.exists(&beside.dataset)?,
                "a dataset came into being"
            );
        }
    }
    for (bytes, request) in &cases {
        ground.feed(request, bytes)??;
        ground.ensure_content(&request.snapshot, 2)?;
    }
    Ok(())
}

fn a_cut_stream_is_a_truncated_stream_and_leaves_nothing(ground: &Ground<'_>) -> Outcome {
    spoilt(ground, ZfsErrorKind::StreamTruncated, |bytes| {
        // After BEGIN, inside a record, in the middle, and before END.
        [
            RECORD_BYTES,
            RECORD_BYTES + 100,
            bytes.len() / 2,
            bytes.len() - 10,
        ]
        .map(|length| bytes[..length].to_vec())
        .into()
    })
}

fn a_flipped_bit_is_found_and_leaves_nothing(ground: &Ground<'_>) -> Outcome {
    spoilt(ground, ZfsErrorKind::ChecksumMismatch, |bytes| {
        [bytes.len() / 3, bytes.len() / 2, bytes.len() - 1]
            .map(|at| {
                let mut damaged = bytes.to_vec();
                damaged[at] ^= 4;
                damaged
            })
            .into()
    })
}
