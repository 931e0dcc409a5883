//! What is under way keeps something busy.

use std::io::Read;
use std::thread;

use super::ground::{Ground, at, full, joined, keep, new, next, short, since};
use super::{Claim, Failed, Outcome, claims, ensure, refused, same};
use crate::zfs::{Scope, ZfsErrorKind};

pub(super) const CLAIMS: &[Claim] = claims![
    a_snapshot_that_is_sent_cannot_be_destroyed_but_renamed,
    a_second_receive_into_the_same_dataset_is_refused,
    what_may_stay_as_a_part_is_listed_as_one_while_it_is_received,
    the_base_of_a_running_receive_cannot_be_destroyed_but_renamed,
    a_snapshot_taken_on_the_target_meanwhile_voids_the_receive,
];

fn a_snapshot_that_is_sent_cannot_be_destroyed_but_renamed(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let request = full(&pair.second);
    let (mut reader, writer) = std::io::pipe()?;
    let (seen, sent) = thread::scope(|scope| {
        let sender = scope.spawn(|| ground.zfs.send(&request, writer.into()));
        let mut during = || -> Outcome {
            // Nobody reads more, so it cannot end.
            reader.read_exact(&mut [0; 312])?;
            let destroyed = ground
                .zfs
                .destroy_snapshots(std::slice::from_ref(&pair.second));
            refused(destroyed, ZfsErrorKind::Busy)?;
            let renamed = ground
                .zfs
                .rename_snapshot(&pair.second, &short("renamed")?, Scope::One);
            Ok(renamed?)
        };
        let seen = during();
        let drained = reader.read_to_end(&mut Vec::new());
        let sent = joined(sender.join());
        (seen.and(drained.map(drop).map_err(Failed::from)), sent)
    });
    seen?;
    sent??;
    same!(
        ground.snapshots(&pair.source)?,
        ["first", "renamed"],
        "snapshots"
    );
    ground
        .zfs
        .destroy_snapshots(&[at(&pair.source, "renamed")?])?;
    Ok(())
}

fn a_second_receive_into_the_same_dataset_is_refused(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let whole = ground.stream(&full(&pair.second))?;
    let update = ground.stream(&since(&pair.first, &pair.second))?;
    let beside = ground.there("beside")?;
    let (first, second) = (at(&beside, "s")?, at(&beside, "t")?);
    let third = at(&ground.there("third")?, "s")?;
    let cases = [
        (
            &update,
            next(&pair.wanted),
            next(&at(&pair.target, "other")?),
            ZfsErrorKind::Busy,
        ),
        // What comes into being exists already, unless it may stay as a part.
        (&whole, new(&first), new(&second), ZfsErrorKind::Exists),
        (&whole, keep(new(&third)), new(&third), ZfsErrorKind::Busy),
    ];
    for (bytes, first, second, kind) in &cases {
        let ((), received) = ground.feed_around(first, bytes, || {
            refused(ground.feed(second, bytes)?, *kind).map(drop)
        })?;
        received?;
        ground.ensure_content(&first.snapshot, 2)?;
    }
    Ok(())
}

fn what_may_stay_as_a_part_is_listed_as_one_while_it_is_received(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let guid = ground.listed_snapshot(&pair.second)?.guid;
    let fresh = at(&ground.there("fresh")?, "s")?;
    let whole = ground.stream(&full(&pair.second))?;
    let update = ground.stream(&since(&pair.first, &pair.second))?;
    for (bytes, request) in [
        (&whole, keep(new(&fresh))),
        (&update, keep(next(&pair.wanted))),
    ] {
        let dataset = &request.snapshot.dataset;
        let (found, received) = ground.feed_around(&request, bytes, || ground.look(dataset))?;
        received?;
        let part = found.partial.and_then(|part| part.content);
        same!(part.map(|part| part.to_guid), Some(guid), "the part");
        same!(ground.look(dataset)?.partial, None, "left over");
    }
    Ok(())
}

fn the_base_of_a_running_receive_cannot_be_destroyed_but_renamed(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let update = ground.stream(&since(&pair.first, &pair.second))?;
    let ((), received) = ground.feed_around(&next(&pair.wanted), &update, || {
        let destroyed = ground
            .zfs
            .destroy_snapshots(std::slice::from_ref(&pair.there));
        refused(destroyed, ZfsErrorKind::Exists)?;
        let base = short("base")?;
        Ok(ground.zfs.rename_snapshot(&pair.there, &base, Scope::One)?)
    })?;
    received?;
    same!(
        ground.snapshots(&pair.target)?,
        ["base", "second"],
        "snapshots"
    );
    Ok(())
}

fn a_snapshot_taken_on_the_target_meanwhile_voids_the_receive(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let update = ground.stream(&since(&pair.first, &pair.second))?;
    let (_, received) = ground.feed_around(&next(&pair.wanted), &update, || {
        ground.snapshot(&pair.target, "meanwhile")
    })?;
    refused(received, ZfsErrorKind::Invalid)?;
    same!(
        ground.snapshots(&pair.target)?,
        ["first", "meanwhile"],
        "snapshots"
    );
    ensure!(
        ground.look(&pair.target)?.partial.is_none(),
        "something is left"
    );
    ground.feed(&next(&pair.wanted), &update)??;
    Ok(())
}
