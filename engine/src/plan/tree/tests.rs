use super::*;
use crate::name::CreateTxg;
use crate::plan::Hosts;
use crate::zfs::{Base, Bookmark, Encryption, PartialReceive, PropertyValue, Snapshot};

mod between;
mod encryption;
mod kin;
mod loss;
mod partial;
mod resume;

const HOSTS: Hosts<'static> = Hosts {
    source: "alpha",
    target: "beta",
};

fn name(text: &str) -> DatasetName {
    DatasetName::parse(text).unwrap()
}

fn short(text: &str) -> ShortName {
    ShortName::parse(text).unwrap()
}

/// A dataset whose snapshots are given as (name, guid), oldest first.
fn dataset(at: &str, snapshots: &[(&str, u64)]) -> Dataset {
    Dataset {
        name: name(at),
        kind: DatasetKind::Filesystem,
        guid: Guid(blake3::hash(at.as_bytes()).as_bytes()[0].into()),
        written_bytes: 0,
        origin: None,
        encryption: None,
        partial: None,
        properties: Vec::new(),
        snapshots: snapshots
            .iter()
            .enumerate()
            .map(|(n, (label, guid))| Snapshot {
                short: short(label),
                guid: Guid(*guid),
                createtxg: CreateTxg(10 * (n as u64 + 1)),
                creation_seconds: n as u64,
                written_bytes: 0,
                holds: 0,
                clones: 0,
                ivset: None,
            })
            .collect(),
        bookmarks: Vec::new(),
    }
}

fn plan(source: &[Dataset], target: &[Dataset], wanted: &str) -> TreePlan {
    plan_mode(source, target, wanted, SendMode::Plain)
}

fn plan_mode(source: &[Dataset], target: &[Dataset], wanted: &str, mode: SendMode) -> TreePlan {
    let short = short(wanted);
    plan_tree(&TreeRequest {
        mode,
        ..request(source, target, &short)
    })
    .unwrap()
}

fn request<'a>(
    source: &'a [Dataset],
    target: &'a [Dataset],
    short: &'a ShortName,
) -> TreeRequest<'a> {
    static TARGET_ROOT: std::sync::LazyLock<DatasetName> =
        std::sync::LazyLock::new(|| name("backup/b"));
    TreeRequest {
        source,
        target,
        target_root: &TARGET_ROOT,
        short,
        mode: SendMode::Plain,
        loss: Loss::default(),
        intermediary: Intermediary::Skip,
        on_renamed: OnRenamed::Refuse,
        taken: Taken::Nothing,
    }
}

fn only_step(plan: &TreePlan) -> &Step {
    assert_eq!(plan.conflicts, []);
    assert_eq!(plan.datasets.len(), 1);
    &plan.datasets[0].step
}

fn only_conflict(plan: &TreePlan) -> &Conflict {
    assert_eq!(plan.datasets, []);
    assert_eq!(plan.conflicts.len(), 1);
    &plan.conflicts[0]
}

#[test]
fn an_absent_target_gets_a_full_stream() {
    let plan = plan(&[dataset("tank/a", &[("x", 1)])], &[], "x");
    assert_eq!(only_step(&plan), &Step::Full);
    assert_eq!(plan.datasets[0].target.to_string(), "backup/b@x");
}

#[test]
fn the_base_is_the_newest_common_guid_whatever_its_name_is() {
    let source = dataset(
        "tank/a",
        &[("one", 1), ("two", 2), ("three", 3), ("new", 4)],
    );
    let target = dataset("backup/b", &[("three", 99), ("uno", 1), ("due", 2)]);
    let plan = plan(&[source], &[target], "new");
    let base = Base::Snapshot(SnapshotName::parse("tank/a@two").unwrap());
    assert_eq!(
        only_step(&plan),
        &Step::Incremental {
            base,
            guid: Guid(2)
        }
    );
}

#[test]
fn equal_names_with_other_guids_are_nothing_in_common() {
    let source = dataset("tank/a", &[("daily", 1), ("new", 2)]);
    let target = dataset("backup/b", &[("daily", 77)]);
    let plan = plan(&[source], &[target], "new");
    assert!(matches!(
        only_conflict(&plan),
        Conflict::NoCommonBase { snapshots: 1, .. }
    ));
}

#[test]
fn a_bookmark_serves_when_the_snapshot_is_gone() {
    let mut source = dataset("tank/a", &[("new", 5)]);
    source.bookmarks.push(Bookmark {
        short: short("mark"),
        guid: Guid(3),
        createtxg: CreateTxg(5),
        ivset: None,
    });
    let target = dataset("backup/b", &[("old", 3)]);
    let plan = plan(&[source], &[target], "new");
    let base = Base::Bookmark(short("mark"));
    assert_eq!(
        only_step(&plan),
        &Step::Incremental {
            base,
            guid: Guid(3)
        }
    );
}

#[test]
fn a_snapshot_is_preferred_to_its_bookmark() {
    let mut source = dataset("tank/a", &[("old", 3), ("new", 5)]);
    source.bookmarks.push(Bookmark {
        short: short("mark"),
        guid: Guid(3),
        createtxg: CreateTxg(10),
        ivset: None,
    });
    let plan = plan(&[source], &[dataset("backup/b", &[("old", 3)])], "new");
    assert!(matches!(
        only_step(&plan),
        Step::Incremental {
            base: Base::Snapshot(_),
            ..
        }
    ));
}

#[test]
fn a_target_that_has_the_snapshot_is_up_to_date() {
    let plan = plan(
        &[dataset("tank/a", &[("x", 1), ("y", 2)])],
        &[dataset("backup/b", &[("x", 1), ("renamed", 2)])],
        "y",
    );
    assert!(plan.is_up_to_date());
}

#[test]
fn an_older_snapshot_is_not_sent_over_a_newer_one() {
    let plan = plan(
        &[dataset("tank/a", &[("x", 1), ("y", 2), ("z", 3)])],
        &[dataset("backup/b", &[("x", 1), ("z", 3)])],
        "y",
    );
    assert!(matches!(only_conflict(&plan), Conflict::Ahead { .. }));
}

#[test]
fn a_modified_target_is_a_conflict_that_counts_the_bytes() {
    let mut target = dataset("backup/b", &[("x", 1)]);
    target.written_bytes = 47110;
    let plan = plan(&[dataset("tank/a", &[("x", 1), ("y", 2)])], &[target], "y");
    let text = only_conflict(&plan).to_string();
    assert!(
        text.contains("47110 bytes") && text.contains("backup/b@x"),
        "{text}"
    );
}

#[test]
fn a_dataset_that_was_rolled_back_counts_as_unchanged() {
    let mut target = dataset("backup/b", &[("x", 1)]);
    target.written_bytes = 1024;
    let plan = plan(&[dataset("tank/a", &[("x", 1), ("y", 2)])], &[target], "y");
    assert!(matches!(only_step(&plan), Step::Incremental { .. }));
}

#[test]
fn a_taken_name_is_a_conflict() {
    let plan = plan(
        &[dataset("tank/a", &[("x", 1), ("y", 2)])],
        &[dataset("backup/b", &[("y", 9), ("x", 1)])],
        "y",
    );
    assert!(matches!(
        only_conflict(&plan),
        Conflict::NameTaken { guid: Guid(9), .. }
    ));
}

#[test]
fn the_same_dataset_by_another_way_is_noticed() {
    let source = dataset("tank/a", &[("x", 1)]);
    let mut target = source.clone();
    target.name = name("backup/b");
    assert!(matches!(
        only_conflict(&plan(&[source], &[target], "x")),
        Conflict::SameDataset { .. }
    ));
}

#[test]
fn a_partial_receive_of_someone_else_is_not_touched() {
    let mut target = dataset("backup/b", &[]);
    target.partial = Some(PartialReceive {
        token: "1-abc".into(),
        content: None,
    });
    let plan = plan(&[dataset("tank/a", &[("x", 1)])], &[target], "x");
    assert!(matches!(
        only_conflict(&plan),
        Conflict::PartialReceive { .. }
    ));
}

#[test]
fn a_tree_is_planned_dataset_by_dataset() {
    let source = [
        dataset("tank/a", &[("x", 1), ("y", 2)]),
        dataset("tank/a/late", &[("z", 8)]),
        dataset("tank/a/new", &[("y", 4)]),
        dataset("tank/a/old", &[("x", 5), ("y", 6)]),
    ];
    let target = [
        dataset("backup/b", &[("x", 1)]),
        dataset("backup/b/gone", &[("x", 7)]),
        dataset("backup/b/old", &[("x", 5)]),
    ];
    let plan = plan(&source, &target, "y");
    assert_eq!(plan.conflicts, []);
    let targets: Vec<_> = plan.datasets.iter().map(|d| d.target.to_string()).collect();
    assert_eq!(targets, ["backup/b@y", "backup/b/new@y", "backup/b/old@y"]);
    assert_eq!(plan.datasets[1].step, Step::Full);
    assert_eq!(
        plan.skipped,
        [
            Skipped::NoSnapshot(name("tank/a/late")),
            Skipped::OnlyOnTarget(name("backup/b/gone"))
        ]
    );
}

#[test]
fn properties_of_the_machine_stay_there() {
    let mut source = dataset("tank/a", &[("x", 1)]);
    let number = |label: &str| Property {
        name: label.into(),
        value: PropertyValue::Number(1),
    };
    source.properties = vec![
        number("compression"),
        number("canmount"),
        number("mountpoint"),
    ];
    let plan = plan(&[source], &[], "x");
    assert_eq!(plan.datasets[0].properties, [number("compression")]);
}

#[test]
fn every_conflict_names_a_command_or_a_way_out() {
    let target = name("backup/b");
    for conflict in [
        Conflict::SameDataset {
            target: target.clone(),
        },
        Conflict::KeyNotLoaded { origin: target },
    ] {
        assert!(!conflict.remedy(HOSTS).is_empty());
    }
}
