//! What a cut stream left on the target.

use super::*;
use crate::zfs::{BlockForm, PartialContent, ResumePoint};

pub(super) const POINT: ResumePoint = ResumePoint {
    object: 7,
    offset_bytes: 4096,
    form: BlockForm::USUAL,
};

pub(super) fn left(to: u64, from: Option<u64>) -> Option<PartialReceive> {
    Some(PartialReceive {
        token: "1-abc".into(),
        content: Some(PartialContent {
            to_guid: Guid(to),
            to_name: SnapshotName::parse("tank/a@cut").ok(),
            from_guid: from.map(Guid),
            mode: SendMode::Plain,
            resume: POINT,
            received_bytes: 1000,
        }),
    })
}

pub(super) fn source() -> Dataset {
    dataset("tank/a", &[("old", 1), ("cut", 2), ("new", 3)])
}

pub(super) fn target(snapshots: &[(&str, u64)], partial: Option<PartialReceive>) -> Dataset {
    Dataset {
        partial,
        ..dataset("backup/b", snapshots)
    }
}

fn leftovers(source: &Dataset, target: &Dataset, wanted: &str) -> Vec<DatasetPlan> {
    let request = TreeRequest {
        source: std::slice::from_ref(source),
        target: std::slice::from_ref(target),
        target_root: &name("backup/b"),
        short: &short(wanted),
        mode: SendMode::Plain,
        loss: Loss::default(),
        intermediary: Intermediary::Skip,
        on_renamed: OnRenamed::Refuse,
        taken: Taken::Nothing,
    };
    plan_leftovers(&request, None).unwrap()
}

#[test]
fn a_part_of_the_wanted_snapshot_goes_on_from_its_base() {
    let there = target(&[("other-name", 1)], left(2, Some(1)));
    let plan = plan(&[source()], std::slice::from_ref(&there), "cut");
    let base = Base::Snapshot(SnapshotName::parse("tank/a@old").unwrap());
    let expected = Step::Resume {
        base: Some((base.clone(), Guid(1))),
        point: POINT,
        received_bytes: 1000,
    };
    assert_eq!(*only_step(&plan), expected);
    let send = plan.datasets[0].send_request().unwrap();
    assert_eq!((send.base, send.resume), (Some(base), Some(POINT)));
    let receive = plan.datasets[0].receive_request();
    assert_eq!(
        (receive.landing, receive.on_cut),
        (Landing::Existing, OnCut::Keep)
    );
    assert!(leftovers(&source(), &there, "cut").is_empty());
}

#[test]
fn a_base_that_is_a_bookmark_by_now_serves_as_well() {
    let mut source = dataset("tank/a", &[("cut", 2)]);
    source.bookmarks.push(Bookmark {
        short: short("mark"),
        guid: Guid(1),
        createtxg: CreateTxg(1),
        ivset: None,
    });
    let there = target(&[("old", 1)], left(2, Some(1)));
    let plan = plan(&[source], &[there], "cut");
    let base = only_step(&plan).base().map(|(base, _)| base.clone());
    assert_eq!(base, Some(Base::Bookmark(short("mark"))));
}

#[test]
fn a_part_of_a_new_dataset_goes_on_as_a_full_stream() {
    let there = target(&[], left(2, None));
    let plan = plan(&[source()], &[there], "cut");
    assert!(only_step(&plan).is_full() && plan.is_full());
    assert_eq!(plan.datasets[0].receive_request().landing, Landing::Create);
}

#[test]
fn a_part_of_an_earlier_snapshot_is_completed_before_the_wanted_one() {
    let there = target(&[("old", 1)], left(2, Some(1)));
    let found = leftovers(&source(), &there, "new");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].guid, Guid(2));
    assert_eq!(found[0].target.to_string(), "backup/b@cut");
    let arrived = with_arrived(&[there], &found);
    let plan = plan(&[source()], &arrived, "new");
    let base = SnapshotName::parse("tank/a@cut").unwrap();
    assert_eq!(
        only_step(&plan).base(),
        Some((&Base::Snapshot(base), Guid(2)))
    );
}

#[test]
fn a_part_that_does_not_fit_is_in_the_way_and_nothing_is_planned() {
    let raw = left(2, Some(1)).map(|mut partial| {
        if let Some(content) = &mut partial.content {
            content.mode = SendMode::Raw;
        }
        partial
    });
    for there in [
        // Another snapshot, an unknown base, one that the target has lost, a
        // full stream into a dataset with snapshots, another block form.
        target(&[("old", 1)], left(9, Some(1))),
        target(&[("old", 8)], left(2, Some(8))),
        target(&[("other", 5)], left(2, Some(1))),
        target(&[("old", 1)], left(2, None)),
        target(&[("old", 1)], raw),
    ] {
        assert!(leftovers(&source(), &there, "new").is_empty());
        for wanted in ["cut", "new"] {
            let plan = plan(&[source()], std::slice::from_ref(&there), wanted);
            assert!(matches!(
                only_conflict(&plan),
                Conflict::PartialReceive { .. }
            ));
        }
    }
}

#[test]
fn changes_of_the_target_forbid_to_go_on() {
    let mut there = target(&[("old", 1)], left(2, Some(1)));
    there.written_bytes = 65_536;
    let plan = plan(&[source()], &[there], "cut");
    assert!(matches!(only_conflict(&plan), Conflict::Modified { .. }));
}
