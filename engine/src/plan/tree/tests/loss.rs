//! What stands on the target after the base: a conflict, or what is lost.

use super::*;
use crate::plan::{OnModified, OnNewer, OnPartial};

const ROLL_BACK: Loss = Loss {
    on_modified: OnModified::RollBack,
    on_newer: OnNewer::Refuse,
    on_partial: OnPartial::Report,
};
const DESTROY: Loss = Loss {
    on_modified: OnModified::RollBack,
    on_newer: OnNewer::Destroy,
    on_partial: OnPartial::Report,
};

fn source() -> Dataset {
    dataset("tank/a", &[("base", 1), ("new", 2)])
}

/// What the target has after the base, with bytes written in it.
fn target(newer: &[(&str, u64)]) -> Dataset {
    let all: Vec<_> = [("base", 1)].iter().chain(newer).copied().collect();
    let mut target = dataset("backup/b", &all);
    for snapshot in target.snapshots.iter_mut().skip(1) {
        snapshot.written_bytes = 10_000;
    }
    target
}

fn allowing(loss: Loss, target: &Dataset) -> TreePlan {
    let (source, wanted) = (source(), short("new"));
    plan_tree(&TreeRequest {
        loss,
        ..request(
            std::slice::from_ref(&source),
            std::slice::from_ref(target),
            &wanted,
        )
    })
    .unwrap()
}

fn cleared(plan: &TreePlan) -> &Clearing {
    assert!(matches!(only_step(plan), Step::Incremental { .. }));
    plan.datasets[0].clearing.as_ref().unwrap()
}

fn at(text: &str) -> SnapshotName {
    SnapshotName::parse(text).unwrap()
}

#[test]
fn snapshots_that_the_source_does_not_know_are_named_with_the_bytes_since_the_base() {
    let mut target = target(&[("theirs", 7), ("more", 8)]);
    target.written_bytes = 500;
    for loss in [Loss::default(), ROLL_BACK] {
        let plan = allowing(loss, &target);
        let Conflict::Diverged {
            newer,
            written_bytes,
            ..
        } = only_conflict(&plan)
        else {
            panic!("{plan:?}")
        };
        let expected = [(short("theirs"), Guid(7)), (short("more"), Guid(8))];
        assert_eq!((&**newer, *written_bytes), (&expected[..], 20_500));
        let text = plan.conflicts[0].to_string();
        assert!(text.contains("@theirs, @more"), "{text}");
        assert!(text.contains("backup/b@base") && text.contains("20500 bytes"));
        let remedy = plan.conflicts[0].remedy(HOSTS);
        assert!(remedy.contains("--destroy-newer-snapshots"), "{remedy}");
    }
}

#[test]
fn what_diverges_in_one_dataset_is_seen_before_anything_is_sent_in_another() {
    let source = [source(), dataset("tank/a/x", &[("base", 5), ("new", 6)])];
    let mut child = dataset("backup/b/x", &[("base", 5), ("theirs", 9)]);
    child.snapshots[1].written_bytes = 10_000;
    let plan = plan(&source, &[target(&[]), child], "new");
    assert_eq!(plan.conflicts.len(), 1);
    assert!(matches!(plan.conflicts[0], Conflict::Diverged { .. }));
}

#[test]
fn what_the_source_knows_by_another_name_or_by_a_bookmark_is_not_foreign() {
    let mut source = source();
    source.bookmarks.push(Bookmark {
        short: short("mark"),
        guid: Guid(7),
        createtxg: CreateTxg(15),
        ivset: None,
    });
    let plan = plan(&[source], &[target(&[("renamed", 7)])], "new");
    let base = only_step(&plan).base().map(|(base, _)| base.clone());
    assert_eq!(base, Some(Base::Bookmark(short("mark"))));
    assert_eq!(plan.datasets[0].clearing, None);
}

#[test]
fn a_state_newer_than_the_wanted_one_is_known_by_its_bookmark_too() {
    let mut source = source();
    source.bookmarks.push(Bookmark {
        short: short("mark"),
        guid: Guid(7),
        createtxg: CreateTxg(99),
        ivset: None,
    });
    for loss in [Loss::default(), DESTROY] {
        let (wanted, target) = (short("new"), target(&[("later", 7)]));
        let plan = plan_tree(&TreeRequest {
            loss,
            ..request(
                std::slice::from_ref(&source),
                std::slice::from_ref(&target),
                &wanted,
            )
        })
        .unwrap();
        assert!(matches!(only_conflict(&plan), Conflict::Ahead { .. }));
    }
}

#[test]
fn a_modified_target_is_rolled_back_to_the_base_if_that_is_allowed() {
    let mut target = target(&[]);
    target.written_bytes = 47_110;
    let plan = allowing(ROLL_BACK, &target);
    let expected = Clearing {
        to: at("backup/b@base"),
        guid: Guid(1),
        snapshots: Vec::new(),
        bookmarks: Vec::new(),
        lost_bytes: 47_110,
    };
    assert_eq!(cleared(&plan), &expected);
}

#[test]
fn an_unchanged_target_is_not_rolled_back() {
    for loss in [ROLL_BACK, DESTROY] {
        let plan = allowing(loss, &target(&[]));
        assert!(matches!(only_step(&plan), Step::Incremental { .. }));
        assert_eq!(plan.datasets[0].clearing, None);
    }
}

#[test]
fn newer_snapshots_go_by_guid_if_that_is_allowed_and_nothing_of_the_base_does() {
    let plan = allowing(DESTROY, &target(&[("theirs", 7), ("new", 8)]));
    let clearing = cleared(&plan);
    let expected = [
        (at("backup/b@theirs"), Guid(7)),
        (at("backup/b@new"), Guid(8)),
    ];
    assert_eq!(clearing.snapshots, expected);
    assert_eq!(clearing.to, at("backup/b@base"));
    assert_eq!(clearing.lost_bytes, 20_000);
}

#[test]
fn changes_are_no_snapshots_so_destroying_these_alone_does_not_lose_those() {
    let loss = Loss {
        on_modified: OnModified::Never,
        on_newer: OnNewer::Destroy,
        on_partial: OnPartial::Report,
    };
    let plan = allowing(loss, &target(&[("theirs", 7)]));
    assert!(matches!(only_conflict(&plan), Conflict::Modified { .. }));
}

#[test]
fn what_is_held_or_cloned_is_never_destroyed() {
    for (holds, clones) in [(1, 0), (0, 1)] {
        let mut target = target(&[("theirs", 7), ("more", 8)]);
        target.snapshots[2].holds = holds;
        target.snapshots[2].clones = clones;
        let plan = allowing(DESTROY, &target);
        let conflict = only_conflict(&plan);
        assert!(matches!(conflict, Conflict::Kept { .. }), "{conflict}");
        let text = format!("{conflict} {}", conflict.remedy(HOSTS));
        assert!(text.contains("backup/b@more"), "{text}");
    }
}

#[test]
fn a_rollback_takes_marks_of_the_scheme_along_and_no_bookmark_of_others() {
    let with_mark = |label: &str| {
        let mut target = target(&[]);
        target.written_bytes = 47_110;
        target.bookmarks.push(Bookmark {
            short: short(label),
            guid: Guid(50),
            createtxg: CreateTxg(50),
            ivset: None,
        });
        target
    };
    let plan = allowing(ROLL_BACK, &with_mark("zferry.sync.1.n2.50"));
    assert_eq!(cleared(&plan).bookmarks.len(), 1);
    let plan = allowing(ROLL_BACK, &with_mark("theirs"));
    assert!(only_conflict(&plan).to_string().contains("#theirs"));
    let plan = allowing(DESTROY, &with_mark("theirs"));
    assert_eq!(cleared(&plan).bookmarks.len(), 1);
    // Without a rollback they are in nobody's way.
    let mut unchanged = with_mark("theirs");
    unchanged.written_bytes = 0;
    let plan = allowing(Loss::default(), &unchanged);
    assert_eq!(plan.datasets[0].clearing, None);
}

#[test]
fn snapshots_without_a_change_stay_where_they_are_unless_the_stream_is_raw() {
    let mut idle = target(&[("theirs", 7), ("more", 8)]);
    for snapshot in &mut idle.snapshots {
        snapshot.written_bytes = 0;
    }
    for loss in [Loss::default(), ROLL_BACK, DESTROY] {
        let plan = allowing(loss, &idle);
        assert!(matches!(only_step(&plan), Step::Incremental { .. }));
        assert_eq!(plan.datasets[0].clearing, None);
    }
    let raw = plan_mode(&[source()], &[idle], "new", SendMode::Raw);
    assert!(matches!(only_conflict(&raw), Conflict::Diverged { .. }));
}
