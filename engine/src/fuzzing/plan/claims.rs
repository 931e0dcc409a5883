//! What has to be true of every plan.

use std::collections::HashSet;

use crate::name::Guid;
use crate::plan::{
    Clearing, DatasetPlan, Discard, DiscardReason, Hosts, OnModified, OnNewer, OnPartial, Step,
    Taken, TreePlan, TreeRequest, is_of_zferry,
};
use crate::zfs::{Base, Dataset, SendMode, Snapshot};

/// More than this was written by somebody: see `plan/loss.rs`.
const UNCHANGED_BYTES_MAX: u64 = 8192;

const HOSTS: Hosts<'static> = Hosts {
    source: "alpha",
    target: "beta",
};

pub(super) fn hold(request: &TreeRequest<'_>, plan: &TreePlan) {
    for conflict in &plan.conflicts {
        crate::fuzzing::assert_printable(&conflict.to_string());
        crate::fuzzing::assert_printable(&conflict.remedy(HOSTS));
        let _ = conflict.family();
    }
    if request.source.is_empty() {
        assert!(plan.datasets.is_empty());
    }
    let mut places = HashSet::new();
    for dataset in &plan.datasets {
        assert!(places.insert(&dataset.target.dataset), "planned twice");
        assert_eq!(dataset.snapshot.short, *request.short);
        assert_eq!(dataset.target.short, *request.short);
        of_dataset(request, dataset);
    }
    let _ = (plan.is_up_to_date(), plan.is_full());
}

pub(super) fn of_leftover(request: &TreeRequest<'_>, plan: &DatasetPlan) {
    assert!(matches!(plan.step, Step::Resume { .. }), "{plan:?}");
    assert!(plan.before.is_empty() && plan.discard.is_none());
    of_dataset(request, plan);
}

fn of_dataset(request: &TreeRequest<'_>, plan: &DatasetPlan) {
    let source = request
        .source
        .iter()
        .find(|d| d.name == plan.snapshot.dataset);
    let source = source.expect("what is sent is on the source");
    let before = request.target.iter();
    let before = before.clone().find(|d| d.name == plan.target.dataset);
    let without = match (before, &plan.discard) {
        (Some(before), Some(discard)) => may_go(request, source, before, discard),
        (None, Some(_)) => panic!("gives up what is not there"),
        (before, None) => before.cloned(),
    };
    let target = without.as_ref();
    if let Some(target) = target {
        assert_ne!(source.guid, target.guid, "onto itself");
        assert_eq!(source.kind, target.kind, "onto another kind");
    }
    for stream in plan.streams() {
        let wanted = source
            .snapshot_by_guid(stream.guid)
            .expect("it is on the source");
        assert_eq!(wanted.short, stream.snapshot.short);
        assert_eq!(stream.snapshot.dataset, source.name);
        assert_eq!(stream.mode, request.mode);
        assert_eq!(
            stream.send_request().is_none(),
            stream.step == Step::UpToDate
        );
        if stream.step != Step::UpToDate {
            let locked = source.encryption.as_ref().is_some_and(|e| !e.key_loaded);
            assert!(
                request.mode == SendMode::Raw || !locked,
                "plain without the key"
            );
        }
    }
    match plan.first_step() {
        Step::UpToDate => {
            let target = target.expect("up to date, and not there");
            assert!(target.snapshot_by_guid(plan.guid).is_some());
            assert!(plan.before.is_empty() && plan.clearing.is_none());
            return;
        }
        Step::Full => assert!(target.is_none(), "in full onto what exists"),
        Step::Incremental { base, guid } => {
            let target = target.expect("an increment for nothing");
            assert!(target.partial.is_none(), "onto what a cut receive left");
            is_base(source, target, plan, base, *guid);
        }
        Step::Resume {
            base,
            point,
            received_bytes,
        } => {
            let target = target.expect("goes on where nothing is");
            let left = target
                .partial
                .as_ref()
                .and_then(|left| left.content.as_ref());
            let left = left.expect("goes on without knowing with what");
            assert_eq!((left.to_guid, left.mode), (plan.guid, request.mode));
            assert_eq!(
                (left.resume, left.received_bytes),
                (*point, *received_bytes)
            );
            assert_eq!(left.from_guid, base.as_ref().map(|(_, guid)| *guid));
            match base {
                Some((base, guid)) => is_base(source, target, plan, base, *guid),
                None => assert!(target.snapshots.is_empty()),
            }
        }
    }
    if let Some(target) = target {
        keeps_its_key(request, source, target, plan);
    }
    follows(source, plan);
    if let (Some(target), Some(clearing)) = (target, &plan.clearing) {
        is_allowed(request, source, target, clearing);
    }
    names_are_free(target, plan);
    assert!(target.is_some() || plan.clearing.is_none());
}

/// The target without its part, which may go: it is there already, or can never
/// be completed and is of a run like this one, or that was asked for.
fn may_go(
    request: &TreeRequest<'_>,
    source: &Dataset,
    target: &Dataset,
    discard: &Discard,
) -> Option<Dataset> {
    let left = target.partial.as_ref().expect("gives up what is not there");
    assert_eq!(
        (&discard.dataset, &discard.token),
        (&target.name, &left.token)
    );
    let content = left.content.as_ref();
    match discard.reason {
        DiscardReason::Arrived => {
            let content = content.expect("the token says of what it is");
            assert!(target.snapshot_by_guid(content.to_guid).is_some());
        }
        DiscardReason::Useless => {
            let content = content.expect("the token says of what it is");
            assert_ne!(request.taken, Taken::Nothing, "who sent it?");
            let has = |guid| source.snapshot_by_guid(guid).is_some();
            let base = |guid| has(guid) || source.bookmarks.iter().any(|b| b.guid == guid);
            let can = has(content.to_guid) && content.from_guid.is_none_or(base);
            let on_both = content
                .from_guid
                .is_none_or(|g| target.snapshot_by_guid(g).is_some());
            assert!(!(can && on_both), "the source could complete it");
        }
        DiscardReason::Overtaken => {
            let content = content.expect("the token says of what it is");
            let has = source.snapshot_by_guid(content.to_guid).is_some();
            let newest = target.snapshots.last().map(|newest| newest.guid);
            assert!(has, "what is given up could not be sent again");
            assert_ne!(newest, content.from_guid, "nothing has overtaken it");
        }
        DiscardReason::Asked => assert_eq!(request.loss.on_partial, OnPartial::Discard),
    }
    if target.snapshots.is_empty() {
        return None;
    }
    let mut without = target.clone();
    without.partial = None;
    // What is being received is a hidden clone of its base; of an unreadable
    // one, of the newest that has a clone.
    let base = content.and_then(|content| content.from_guid);
    let is_branch = |one: &Snapshot| base.map_or(one.clones > 0, |base| one.guid == base);
    let branch = without.snapshots.iter().rposition(is_branch);
    if let Some(branch) = branch {
        let clones = &mut without.snapshots[branch].clones;
        *clones = clones.saturating_sub(1);
    }
    Some(without)
}

/// Both have it, by guid, and it stays.
fn is_base(source: &Dataset, target: &Dataset, plan: &DatasetPlan, base: &Base, guid: Guid) {
    assert!(
        target.snapshot_by_guid(guid).is_some(),
        "the target lacks the base"
    );
    let here = match base {
        Base::Snapshot(name) => {
            assert_eq!(name.dataset, source.name);
            source
                .snapshot_by_name(&name.short)
                .map(|snapshot| snapshot.guid)
        }
        Base::Bookmark(short) => {
            let mark = source.bookmarks.iter().find(|mark| mark.short == *short);
            mark.map(|mark| mark.guid)
        }
    };
    assert_eq!(here, Some(guid), "the source calls another one so");
    if let Some(clearing) = &plan.clearing {
        assert!(!clearing.destroys(guid), "the base would go");
    }
}

/// A raw increment goes onto the blocks that it was made from, and its key in
/// the place of one that comes from the source too.
fn keeps_its_key(
    request: &TreeRequest<'_>,
    source: &Dataset,
    target: &Dataset,
    plan: &DatasetPlan,
) {
    let (Some(from), Some((base, guid))) = (&source.encryption, plan.first_step().base()) else {
        return;
    };
    let there = target.snapshot_by_guid(guid).and_then(|base| base.ivset);
    let here = match base {
        Base::Snapshot(name) => source.snapshot_by_name(&name.short).and_then(|s| s.ivset),
        Base::Bookmark(short) => {
            let mark = source.bookmarks.iter().find(|mark| mark.short == *short);
            mark.and_then(|mark| mark.ivset)
        }
    };
    if request.mode == SendMode::Plain {
        assert!(here.is_none() || here != there, "plain onto a raw copy");
        return;
    }
    let to = target.encryption.as_ref().expect("raw onto a plain copy");
    assert_eq!(here, there, "raw onto other blocks");
    let top = &request.source[0].name;
    let copy_of_root = from.root.rebase(top, request.target_root);
    assert!(
        to.root == target.name || copy_of_root.is_ok_and(|root| root == to.root),
        "the key would be lost"
    );
}

/// Each stream starts from what the one before has brought, never backwards.
fn follows(source: &Dataset, plan: &DatasetPlan) {
    let streams: Vec<&DatasetPlan> = plan.streams().collect();
    for pair in streams.windows(2) {
        assert_eq!(pair[1].base_guid(), Some(pair[0].guid));
        assert!(pair[0].clearing.is_none());
        assert!(
            !is_of_zferry(&pair[0].snapshot.short),
            "ours is not carried along"
        );
        let place = |guid| source.snapshot_by_guid(guid).map(|s| s.createtxg);
        assert!(place(pair[0].guid) < place(pair[1].guid));
    }
}

fn is_allowed(request: &TreeRequest<'_>, source: &Dataset, target: &Dataset, clearing: &Clearing) {
    let base = target
        .snapshot_by_guid(clearing.guid)
        .expect("rolled back to what is there");
    assert_eq!(clearing.to.short, base.short);
    assert_eq!(clearing.to.dataset, target.name);
    assert!(source.guid != target.guid);
    let newer: Vec<_> = target
        .snapshots
        .iter()
        .filter(|s| s.createtxg > base.createtxg)
        .collect();
    if !clearing.snapshots.is_empty() {
        assert_eq!(request.loss.on_newer, OnNewer::Destroy);
    }
    assert_eq!(
        clearing.snapshots.len(),
        newer.len(),
        "all that go are named"
    );
    for (name, guid) in &clearing.snapshots {
        let there = newer
            .iter()
            .find(|s| s.guid == *guid)
            .expect("newer than the base");
        assert_eq!((&name.dataset, &name.short), (&target.name, &there.short));
        assert_eq!((there.holds, there.clones), (0, 0), "held, or cloned");
    }
    let written = newer.iter().fold(target.written_bytes, |sum, s| {
        sum.saturating_add(s.written_bytes)
    });
    assert_eq!(clearing.lost_bytes, written, "all that is lost is told");
    if written > UNCHANGED_BYTES_MAX {
        assert_eq!(request.loss.on_modified, OnModified::RollBack);
    }
    for mark in &clearing.bookmarks {
        let there = target
            .bookmarks
            .iter()
            .find(|there| there.short == mark.short);
        let there = there.expect("a bookmark of the target");
        assert!(there.createtxg > base.createtxg);
    }
}

/// No snapshot arrives under a name that another one keeps.
fn names_are_free(target: Option<&Dataset>, plan: &DatasetPlan) {
    let mut arriving = HashSet::new();
    for stream in plan.streams() {
        assert!(arriving.insert(&stream.target.short), "two of one name");
        let there = target.and_then(|target| target.snapshot_by_name(&stream.target.short));
        if let Some(there) = there {
            let goes = plan
                .clearing
                .as_ref()
                .is_some_and(|c| c.destroys(there.guid));
            assert!(goes, "{} is there already", stream.target);
        }
    }
}
