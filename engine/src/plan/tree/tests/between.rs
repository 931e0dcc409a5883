//! Snapshots between the base and the wanted one.

use super::*;
use crate::plan::{OnModified, OnNewer, OnPartial};

fn carrying(source: &[Dataset], target: &[Dataset], loss: Loss) -> TreePlan {
    let wanted = short("new");
    plan_tree(&TreeRequest {
        intermediary: Intermediary::Carry,
        loss,
        ..request(source, target, &wanted)
    })
    .unwrap()
}

/// Every stream: what it starts from, and what it brings.
fn streams(plan: &TreePlan) -> Vec<(Option<String>, String)> {
    assert_eq!(plan.conflicts, []);
    let streams = plan.datasets.iter().flat_map(DatasetPlan::streams);
    streams
        .map(|stream| {
            let base = stream.step.base().map(|(base, _)| match base {
                Base::Snapshot(name) => format!("@{}", name.short),
                Base::Bookmark(short) => format!("#{short}"),
            });
            assert_eq!(stream.base_guid().is_some(), base.is_some());
            (base, stream.target.to_string())
        })
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(Option<String>, String)> {
    let base = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let pairs = expected.iter();
    pairs
        .map(|(from, to)| (base(from), (*to).to_owned()))
        .collect()
}

fn source() -> Dataset {
    dataset(
        "tank/a",
        &[
            ("early", 1),
            ("sent", 2),
            ("daily.1", 3),
            ("zferry-5d41402a-20261122T211029Z", 4),
            ("sync.7.tosend", 5),
            ("daily.2", 6),
            ("new", 7),
            ("later", 8),
        ],
    )
}

#[test]
fn each_snapshot_since_the_base_goes_by_a_stream_of_its_own_except_those_of_zferry() {
    let plan = carrying(
        &[source()],
        &[dataset("backup/b", &[("x", 2)])],
        Loss::default(),
    );
    let expected = [
        ("@sent", "backup/b@daily.1"),
        ("@daily.1", "backup/b@daily.2"),
        ("@daily.2", "backup/b@new"),
    ];
    assert_eq!(streams(&plan), pairs(&expected));
    assert_eq!(plan.datasets.len(), 1, "of one dataset");
    assert_eq!(plan.datasets[0].guid, Guid(7), "what was wanted");
    assert!(!plan.is_full() && plan.skipped.is_empty());
    let landing = |stream: &DatasetPlan| stream.receive_request().landing;
    let all_land = plan.datasets[0].streams().map(landing);
    assert!(all_land.eq([Landing::Existing; 3]));
}

#[test]
fn in_full_the_oldest_goes_first_and_makes_the_dataset() {
    let plan = carrying(&[source()], &[], Loss::default());
    let expected = [
        ("", "backup/b@early"),
        ("@early", "backup/b@daily.1"),
        ("@daily.1", "backup/b@daily.2"),
        ("@daily.2", "backup/b@new"),
    ];
    assert_eq!(streams(&plan), pairs(&expected));
    assert!(plan.is_full());
    let landing = |stream: &DatasetPlan| stream.receive_request().landing;
    let mut landings = plan.datasets[0].streams().map(landing);
    assert_eq!(landings.next(), Some(Landing::Create));
    assert!(landings.all(|landing| landing == Landing::Existing));
}

#[test]
fn what_has_arrived_is_progress() {
    let target = dataset("backup/b", &[("sent", 2), ("daily.1", 3)]);
    let plan = carrying(&[source()], &[target], Loss::default());
    let expected = [
        ("@daily.1", "backup/b@daily.2"),
        ("@daily.2", "backup/b@new"),
    ];
    assert_eq!(streams(&plan), pairs(&expected));
}

#[test]
fn what_has_arrived_and_vanished_from_the_source_since_is_known_by_its_bookmark() {
    let mut source = source();
    source.snapshots.remove(2);
    source.bookmarks.push(Bookmark {
        short: short("zferry.sync.1.n2.3"),
        guid: Guid(3),
        createtxg: CreateTxg(30),
        ivset: None,
    });
    let target = dataset("backup/b", &[("sent", 2), ("daily.1", 3)]);
    let plan = carrying(&[source], &[target], Loss::default());
    let expected = [
        ("#zferry.sync.1.n2.3", "backup/b@daily.2"),
        ("@daily.2", "backup/b@new"),
    ];
    assert_eq!(streams(&plan), pairs(&expected));
}

#[test]
fn a_name_that_the_target_gave_to_another_snapshot_is_left_out_and_told() {
    let target = dataset("backup/b", &[("daily.1", 77), ("sent", 2)]);
    let plan = carrying(&[source()], &[target], Loss::default());
    let expected = [("@sent", "backup/b@daily.2"), ("@daily.2", "backup/b@new")];
    assert_eq!(streams(&plan), pairs(&expected));
    let taken = SnapshotName::parse("tank/a@daily.1").unwrap();
    assert_eq!(plan.skipped, [Skipped::NameTaken(taken)]);
}

#[test]
fn a_name_is_free_when_what_has_it_is_given_up() {
    let mut target = dataset("backup/b", &[("sent", 2), ("daily.1", 77)]);
    target.snapshots[1].written_bytes = 10_000;
    let loss = Loss {
        on_modified: OnModified::RollBack,
        on_newer: OnNewer::Destroy,
        on_partial: OnPartial::Report,
    };
    let plan = carrying(&[source()], &[target], loss);
    assert_eq!(streams(&plan).len(), 3);
    assert!(plan.datasets[0].clearing.is_some() && plan.skipped.is_empty());
}

#[test]
fn without_being_asked_for_nothing_in_between_goes_along() {
    let plan = plan(&[source()], &[dataset("backup/b", &[("x", 2)])], "new");
    assert_eq!(streams(&plan), pairs(&[("@sent", "backup/b@new")]));
}
