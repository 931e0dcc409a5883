//! What a cut stream left, where it cannot be completed: given up by the run
//! itself, or reported.

use super::resume::{left, source, target};
use super::*;
use crate::plan::{Discard, DiscardReason, LeftBehind, OnModified, OnNewer, OnPartial, Unusable};
use crate::zfs::PartialContent;

/// A run that was not told to give anything up.
const UNASKED: Loss = Loss {
    on_modified: OnModified::Never,
    on_newer: OnNewer::Refuse,
    on_partial: OnPartial::Report,
};
const ASKED: Loss = Loss {
    on_partial: OnPartial::Discard,
    ..UNASKED
};
/// Taken by a series, as `replicate` has it.
const SERIES: Taken<'_> = Taken::Series("ours-");

fn plan_as(
    source: &Dataset,
    target: &Dataset,
    wanted: &str,
    (loss, taken): (Loss, Taken<'_>),
) -> TreePlan {
    let (source, target) = (std::slice::from_ref(source), std::slice::from_ref(target));
    plan_tree(&TreeRequest {
        loss,
        taken,
        ..request(source, target, &short(wanted))
    })
    .unwrap()
}

fn only_discard(plan: &TreePlan) -> &Discard {
    assert_eq!(plan.conflicts, []);
    assert_eq!(plan.datasets.len(), 1);
    let discard = plan.datasets[0].discard.as_ref();
    discard.expect("nothing is given up")
}

fn reported(plan: &TreePlan) -> &LeftBehind {
    match only_conflict(plan) {
        Conflict::PartialReceive { left } => left,
        other => panic!("{other}"),
    }
}

type Left = Option<PartialReceive>;

fn with(left: Left, change: impl FnOnce(&mut PartialContent)) -> Left {
    let mut left = left?;
    change(left.content.as_mut()?);
    Some(left)
}

fn named(left: Left, text: &str) -> Left {
    with(left, |content| {
        content.to_name = SnapshotName::parse(text).ok();
    })
}

fn marked(mut source: Dataset, mark: &str, guid: u64) -> Dataset {
    source.bookmarks.push(Bookmark {
        short: short(mark),
        guid: Guid(guid),
        createtxg: CreateTxg(15),
        ivset: None,
    });
    source
}

#[test]
fn a_part_of_what_zferry_marked_goes_when_the_source_has_lost_it() {
    // Whatever it is called: a snapshot of another tool that went along.
    let source = marked(source(), "zferry.sync.1.b.9", 9);
    let there = target(&[("old", 1)], named(left(9, Some(1)), "tank/a@daily"));
    let plan = plan_as(&source, &there, "new", (UNASKED, Taken::Nothing));
    let discard = only_discard(&plan);
    assert_eq!(discard.reason, DiscardReason::Useless);
    assert_eq!(discard.to_guid, Some(Guid(9)));
    assert_eq!(discard.received_bytes, 1000);
    assert_eq!(discard.token, "1-abc");
    assert_eq!(only_step(&plan).base().unwrap().1, Guid(1));
}

#[test]
fn a_bookmark_of_another_tool_proves_nothing() {
    let source = marked(source(), "daily", 9);
    let there = target(&[("old", 1)], left(9, Some(1)));
    let plan = plan_as(&source, &there, "new", (UNASKED, SERIES));
    assert_eq!(reported(&plan).why, Unusable::UnknownSnapshot);
}

#[test]
fn a_part_by_a_name_that_such_runs_take_goes_if_its_base_is_shared() {
    let ours = named(left(9, Some(1)), "tank/elsewhere@ours-7");
    let there = target(&[("old", 1)], ours);
    for taken in [SERIES, Taken::Named(&short("ours-7"))] {
        let plan = plan_as(&source(), &there, "new", (UNASKED, taken));
        assert_eq!(only_discard(&plan).reason, DiscardReason::Useless);
    }
    // Another name, no such runs, a base that only the target has.
    let other = target(&[("old", 1)], named(left(9, Some(1)), "tank/a@daily"));
    let strange = named(left(9, Some(8)), "tank/a@ours-7");
    let strange = target(&[("x", 8), ("old", 1)], strange);
    for (there, taken) in [
        (&other, SERIES),
        (&there, Taken::Nothing),
        (&there, Taken::Named(&short("ours"))),
        (&strange, SERIES),
    ] {
        let plan = plan_as(&source(), there, "new", (UNASKED, taken));
        assert_eq!(reported(&plan).why, Unusable::UnknownSnapshot);
    }
}

#[test]
fn a_part_of_a_new_dataset_goes_with_it_if_it_is_of_this_very_dataset() {
    let there = target(&[], named(left(9, None), "tank/a@ours-7"));
    let plan = plan_as(&source(), &there, "new", (UNASKED, SERIES));
    assert_eq!(only_discard(&plan).reason, DiscardReason::Useless);
    assert_eq!(only_step(&plan), &Step::Full);

    let there = target(&[], named(left(9, None), "tank/other@ours-7"));
    let plan = plan_as(&source(), &there, "new", (UNASKED, SERIES));
    let left = reported(&plan);
    assert!(left.is_all);
    let remedy = left.remedy("vault");
    assert!(remedy.contains("and the dataset itself"), "{remedy}");
}

#[test]
fn a_part_whose_base_the_source_has_lost_goes_if_runs_took_its_snapshot() {
    let source = dataset("tank/a", &[("old", 1), ("ours-2", 2), ("new", 3)]);
    let there = target(&[("old", 1), ("mid", 8)], left(2, Some(8)));
    let plan = plan_as(&source, &there, "new", (UNASKED, SERIES));
    assert_eq!(only_discard(&plan).reason, DiscardReason::Useless);
    let plan = plan_as(&source, &there, "new", (UNASKED, Taken::Nothing));
    assert_eq!(reported(&plan).why, Unusable::NoBaseOnSource(Guid(8)));
}

#[test]
fn a_part_whose_base_the_target_has_lost_goes_if_runs_took_its_snapshot() {
    let source = dataset("tank/a", &[("old", 1), ("mid", 5), ("ours-2", 2)]);
    let there = target(&[("old", 1)], left(2, Some(5)));
    let plan = plan_as(&source, &there, "ours-2", (UNASKED, SERIES));
    assert_eq!(only_discard(&plan).reason, DiscardReason::Useless);
    let plan = plan_as(&source, &there, "ours-2", (UNASKED, Taken::Nothing));
    assert_eq!(reported(&plan).why, Unusable::NoBaseOnTarget(Guid(5)));
}

#[test]
fn a_part_of_a_snapshot_that_has_arrived_goes_whoever_sent_it() {
    let there = target(&[("old", 1), ("cut", 2)], left(2, Some(1)));
    for (wanted, is_there) in [("cut", true), ("new", false)] {
        let plan = plan_as(&source(), &there, wanted, (UNASKED, Taken::Nothing));
        assert_eq!(only_discard(&plan).reason, DiscardReason::Arrived);
        assert_eq!(*only_step(&plan) == Step::UpToDate, is_there);
    }
}

#[test]
fn a_part_in_another_form_is_never_given_up_unasked_and_the_remedy_says_which() {
    let source = marked(source(), "zferry.sync.1.b.2", 2);
    let raw = with(left(2, Some(1)), |content| content.mode = SendMode::Raw);
    let there = target(&[("old", 1)], raw);
    let plan = plan_as(&source, &there, "cut", (UNASKED, SERIES));
    let left = reported(&plan);
    assert_eq!(left.why, Unusable::OtherForm(SendMode::Raw));
    let remedy = left.remedy("vault");
    assert!(remedy.starts_with("use --raw, as before"), "{remedy}");
}

#[test]
fn the_report_says_what_is_there_what_it_costs_and_what_to_type() {
    let there = target(&[("old", 1)], named(left(9, Some(1)), "tank/a@daily"));
    let plan = plan_as(&source(), &there, "new", (UNASKED, SERIES));
    let conflict = only_conflict(&plan);
    let text = conflict.to_string();
    for part in [
        "backup/b",
        "1000 bytes",
        "tank/a@daily",
        "guid 9",
        "from guid 1",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let remedy = conflict.remedy(HOSTS);
    let by_hand = format!("on {}: zfs receive -A backup/b", HOSTS.target);
    for part in ["1000 bytes", "--discard-partial", &by_hand] {
        assert!(remedy.contains(part), "{part}: {remedy}");
    }
}

#[test]
fn what_is_asked_for_goes_and_what_can_be_completed_is_completed_all_the_same() {
    let foreign = target(&[("old", 1)], left(9, Some(1)));
    let plan = plan_as(&source(), &foreign, "new", (ASKED, Taken::Nothing));
    assert_eq!(only_discard(&plan).reason, DiscardReason::Asked);

    let usable = target(&[("old", 1)], left(2, Some(1)));
    let plan = plan_as(&source(), &usable, "cut", (ASKED, Taken::Nothing));
    assert!(matches!(only_step(&plan), Step::Resume { .. }));
    assert_eq!(plan.datasets[0].discard, None);
}

#[test]
fn a_part_whose_token_cannot_be_read_goes_only_if_that_is_asked_for() {
    let unreadable = PartialReceive {
        token: "1-x".into(),
        content: None,
    };
    let there = target(&[("old", 1)], Some(unreadable));
    let plan = plan_as(&source(), &there, "new", (ASKED, Taken::Nothing));
    assert_eq!(only_discard(&plan).to_guid, None);
    let plan = plan_as(&source(), &there, "new", (UNASKED, SERIES));
    assert_eq!(reported(&plan).why, Unusable::Unreadable);
}

#[test]
fn another_obstacle_keeps_the_part_where_it_is_and_is_the_one_that_is_told() {
    // Given up or not, no stream could follow.
    let mut there = target(&[("old", 1)], left(9, Some(1)));
    there.written_bytes = 65_536;
    let plan = plan_as(&source(), &there, "new", (ASKED, Taken::Nothing));
    assert!(matches!(only_conflict(&plan), Conflict::Modified { .. }));
    // It could be completed first, but for the changes.
    there.partial = left(2, Some(1));
    let plan = plan_as(&source(), &there, "new", (UNASKED, SERIES));
    assert!(matches!(only_conflict(&plan), Conflict::Modified { .. }));
}

#[test]
fn a_token_that_says_what_cannot_be_is_never_obeyed() {
    let insane: [fn(&mut PartialContent); 7] = [
        |content| content.to_guid = Guid(0),
        |content| content.from_guid = Some(Guid(0)),
        |content| content.from_guid = Some(content.to_guid),
        |content| content.resume.object = u64::MAX,
        |content| content.resume.object = (1 << 48) + 1,
        |content| content.resume.offset_bytes = 1 << 63,
        |content| content.received_bytes = u64::MAX,
    ];
    let source = marked(source(), "zferry.sync.1.b.2", 2);
    for (n, change) in insane.into_iter().enumerate() {
        let there = target(&[("old", 1)], with(left(2, Some(1)), change));
        let plan = plan_as(&source, &there, "cut", (UNASKED, SERIES));
        assert_eq!(reported(&plan).why, Unusable::Implausible, "{n}");
        let plan = plan_as(&source, &there, "cut", (ASKED, SERIES));
        assert_eq!(only_discard(&plan).received_bytes, 0, "{n}");
    }
}

#[test]
fn the_hidden_clone_of_a_part_that_goes_keeps_no_snapshot_that_may_go() {
    let mut there = target(&[("old", 1), ("theirs", 8)], left(9, Some(8)));
    there.snapshots[1].clones = 1;
    there.snapshots[1].written_bytes = 65_536;
    let loss = Loss {
        on_modified: OnModified::RollBack,
        on_newer: OnNewer::Destroy,
        ..ASKED
    };
    let plan = plan_as(&source(), &there, "new", (loss, Taken::Nothing));
    assert_eq!(only_discard(&plan).to_guid, Some(Guid(9)));
    let clearing = plan.datasets[0].clearing.as_ref().unwrap();
    assert!(clearing.destroys(Guid(8)));
    // One more is somebody's.
    there.snapshots[1].clones = 2;
    let plan = plan_as(&source(), &there, "new", (loss, Taken::Nothing));
    assert!(matches!(only_conflict(&plan), Conflict::Kept { .. }));
}

/// What a retention tool does to a copy between two runs.
fn overtaken() -> Dataset {
    let mut there = target(&[("old", 1), ("theirs", 50)], left(2, Some(1)));
    there.snapshots[0].clones = 1;
    there
}

#[test]
fn a_part_that_a_snapshot_of_the_target_has_overtaken_is_sent_again() {
    let plan = plan_as(&source(), &overtaken(), "cut", (UNASKED, Taken::Nothing));
    assert_eq!(only_discard(&plan).reason, DiscardReason::Overtaken);
    assert_eq!(only_step(&plan).base().unwrap().1, Guid(1));
    // One that was there before the receive began is no obstacle.
    let mut there = overtaken();
    there.snapshots[0].clones = 0;
    there.snapshots[1].clones = 1;
    let plan = plan_as(&source(), &there, "cut", (UNASKED, Taken::Nothing));
    assert!(plan.datasets[0].discard.is_none());
    assert!(matches!(only_step(&plan), Step::Resume { .. }));
}

#[test]
fn nothing_has_overtaken_a_part_whose_base_is_the_newest() {
    // Found by fuzzing. The clone of an older one is somebody's.
    let mut there = target(&[("older", 40), ("old", 1)], left(2, Some(1)));
    there.snapshots[0].clones = 1;
    let plan = plan_as(&source(), &there, "cut", (UNASKED, Taken::Nothing));
    assert!(plan.datasets[0].discard.is_none());
    assert!(matches!(only_step(&plan), Step::Resume { .. }));
}

#[test]
fn a_part_goes_on_if_what_has_overtaken_it_may_go() {
    let mut there = overtaken();
    there.snapshots[1].written_bytes = 1 << 20;
    let loss = Loss {
        on_modified: OnModified::RollBack,
        on_newer: OnNewer::Destroy,
        ..UNASKED
    };
    let plan = plan_as(&source(), &there, "cut", (loss, Taken::Nothing));
    assert!(plan.datasets[0].discard.is_none());
    assert!(matches!(only_step(&plan), Step::Resume { .. }));
    let plan = plan_as(&source(), &there, "cut", (UNASKED, Taken::Nothing));
    assert!(
        matches!(only_conflict(&plan), Conflict::Diverged { .. }),
        "{plan:?}"
    );
}
