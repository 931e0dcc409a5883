//! Claims about the status of services.

mod lost;

use std::path::Path;

use super::*;
use crate::name::Guid;
use crate::sync::state::{DatasetSnapshot, Mode, StateStore, TargetOf, Trouble, TroubleKind};

/// The time at which all evaluations happen.
const NOW: u64 = 1_700_000_000;
const HOUR: u64 = 3_600;

const BOTH_WAYS: &str = "[DEFAULT]\nnodes = n1 n2\ndrpnodes = d1\nsync_max_delay = 1d\n\
    [sync#1]\nsrc@nodes = tank/a\ndst = back/a\ndst@nodes = back/a\ntarget = nodes drpnodes\n";

fn service(text: &str) -> Service {
    let name = ServiceName::parse("svc").unwrap();
    Service::parse(&name, Path::new("f"), text.as_bytes()).unwrap()
}

fn node(name: &str) -> NodeName {
    NodeName::parse(name).unwrap()
}

fn rid() -> Rid {
    Rid::parse("sync#1").unwrap()
}

fn synced(age: u64) -> Synced {
    let dst = DatasetName::parse("back/a").unwrap();
    Synced {
        dst: dst.clone(),
        guid: Guid(1),
        datasets: vec![DatasetSnapshot {
            dataset: dst,
            guid: Guid(1),
        }],
        created: UtcSeconds(NOW - age),
        received: UtcSeconds(NOW - age + 10),
        mode: Mode::Full,
        wire_bytes: 1,
        stream_bytes: 1,
        duration_ms: 1,
    }
}

fn of(target: &str, sender: &str) -> TargetOf {
    TargetOf {
        node: node(target),
        kind: TargetKind::Nodes,
        sender: node(sender),
    }
}

/// A state with these successes, in this order: target, sender, age.
fn state(successes: &[(&str, &str, u64)]) -> ResourceState {
    let mut state = ResourceState::new(ServiceName::parse("svc").unwrap(), rid());
    for (target, sender, age) in successes {
        state.record_synced(of(target, sender), synced(*age));
    }
    state
}

fn only(service: &Service, on: &str, state: Option<ResourceState>) -> ResourceStatus {
    let states = state.into_iter().map(|state| (rid(), Ok(state))).collect();
    let status = status_of(service, on, &states, &Snapshots::default());
    assert_eq!(status.resources.len(), 1);
    status.resources.into_iter().next().unwrap()
}

fn status_of(service: &Service, on: &str, states: &States, snapshots: &Snapshots) -> ServiceStatus {
    let known = Known {
        states,
        snapshots,
        now: UtcSeconds(NOW),
    };
    ServiceStatus::new(service, &node(on), known, |_| true)
}

fn codes(status: &ResourceStatus) -> Vec<&'static str> {
    let of_copies = status.copies.iter().flat_map(|copy| &copy.reasons);
    let all = status.reasons.iter().chain(of_copies);
    all.map(Reason::code).collect()
}

#[test]
fn a_sender_is_up_while_every_target_is_young_enough() {
    let service = service(BOTH_WAYS);
    let fresh = state(&[("n2", "n1", HOUR), ("d1", "n1", 24 * HOUR)]);
    let status = only(&service, "n1", Some(fresh));
    assert_eq!((status.state, status.role), (State::Up, StatusRole::Sender));
    assert_eq!(status.copies.len(), 2);
    let copy = &status.copies[0];
    assert_eq!(copy.data_age, Some(Duration::from_secs(HOUR)));
    assert_eq!(copy.run_age, Some(Duration::from_secs(HOUR - 10)));
}

#[test]
fn one_old_target_turns_the_sender_to_warn_and_only_that_receiver() {
    let service = service(BOTH_WAYS);
    let mixed = || Some(state(&[("n2", "n1", HOUR), ("d1", "n1", 24 * HOUR + 1)]));
    let sender = only(&service, "n1", mixed());
    assert_eq!(
        (sender.state, codes(&sender)),
        (State::Warn, vec!["too_old"])
    );
    assert_eq!(sender.copies[0].state, State::Up);
    let reason = sender.copies[1].reasons[0].to_string();
    assert_eq!(reason, "the data is 1d1s old, more than 1d");
    let young = only(&service, "n2", mixed());
    assert_eq!((young.state, young.role), (State::Up, StatusRole::Receiver));
    assert_eq!(young.copies.len(), 1);
    assert_eq!(only(&service, "d1", mixed()).state, State::Warn);
}

#[test]
fn without_a_state_every_node_that_takes_part_warns() {
    let service = service(BOTH_WAYS);
    for (on, role) in [
        ("n1", StatusRole::Either),
        ("n2", StatusRole::Either),
        ("d1", StatusRole::Receiver),
    ] {
        let status = only(&service, on, None);
        assert_eq!((status.state, status.role), (State::Warn, role), "{on}");
        assert_eq!(codes(&status), ["never_synced"]);
    }
}

#[test]
fn a_target_that_was_added_later_is_the_only_one_that_was_never_synchronized() {
    let service = service(BOTH_WAYS);
    let status = only(&service, "n1", Some(state(&[("n2", "n1", HOUR)])));
    assert_eq!(status.copies[0].state, State::Up);
    assert_eq!(status.copies[1].state, State::Warn);
    assert_eq!(codes(&status), ["never_synced"]);
}

#[test]
fn after_a_failover_the_roles_follow_the_newest_record() {
    let service = service(BOTH_WAYS);
    let swapped = || {
        let before = [("n2", "n1", 90 * HOUR), ("d1", "n1", 2 * HOUR)];
        Some(state(&[before[0], before[1], ("n1", "n2", HOUR)]))
    };
    let old_sender = only(&service, "n1", swapped());
    assert_eq!(
        (old_sender.state, old_sender.role),
        (State::Up, StatusRole::Receiver)
    );
    // d1 was synchronized by n1 before: its data is as young as it was.
    let new_sender = only(&service, "n2", swapped());
    assert_eq!(
        (new_sender.state, new_sender.role),
        (State::Up, StatusRole::Sender)
    );
}

#[test]
fn trouble_warns_with_its_message_although_the_data_is_young() {
    let service = service(BOTH_WAYS);
    let mut broken = state(&[("n2", "n1", HOUR), ("d1", "n1", HOUR)]);
    let trouble = Trouble {
        kind: TroubleKind::BrokenChain,
        message: "no common snapshot; run `sync full`".to_owned(),
        since: UtcSeconds(NOW),
    };
    broken.record_trouble(of("n2", "n1"), trouble);
    let status = only(&service, "n1", Some(broken));
    assert_eq!(
        (status.state, codes(&status)),
        (State::Warn, vec!["broken_chain"])
    );
    let text = status.copies[0].reasons[0].to_string();
    assert_eq!(
        text,
        "no common snapshot; run `sync full` (since 2023-11-14T22:13:20Z)"
    );
    assert!(status.copies[0].synced.is_some());
}

#[test]
fn a_snapshot_from_the_future_warns_about_the_clocks() {
    let service = service(BOTH_WAYS);
    let ahead = |seconds: u64| {
        let mut state = state(&[("d1", "n1", HOUR)]);
        let mut success = synced(0);
        success.created = UtcSeconds(NOW + seconds);
        state.record_synced(of("n2", "n1"), success);
        only(&service, "n2", Some(state))
    };
    let close = ahead(60);
    assert_eq!(
        (close.state, close.copies[0].data_age),
        (State::Up, Some(Duration::ZERO))
    );
    let far = ahead(61);
    assert_eq!((far.state, far.copies[0].data_age), (State::Warn, None));
    let text = far.copies[0].reasons[0].to_string();
    assert!(
        text.contains("1m1s in the future") && text.contains("of n1"),
        "{text}"
    );
}

#[test]
fn a_copy_at_another_place_than_configured_does_not_count() {
    let service = service(&BOTH_WAYS.replace("back/a", "back/moved"));
    let elsewhere = state(&[("n2", "n1", HOUR), ("d1", "n1", HOUR)]);
    let status = only(&service, "n1", Some(elsewhere));
    assert_eq!(status.state, State::Warn);
    assert_eq!(codes(&status), ["other_destination", "other_destination"]);
}

#[test]
fn disabled_foreign_and_unlisted_resources_are_not_applicable() {
    let one_way = "[DEFAULT]\nnodes = n1 n2 n3\n[sync#1]\nsrc@n1 = a/b\ntarget@n1 = drpnodes\n";
    let status = only(&service(one_way), "n3", None);
    assert_eq!(
        (status.state, codes(&status)),
        (State::NotApplicable, vec!["not_for_this_node"])
    );
    let disabled = BOTH_WAYS.replace("[sync#1]", "[sync#1]\ndisable@n1 = true");
    let status = only(
        &service(&disabled),
        "n1",
        Some(state(&[("n2", "n1", 90 * HOUR)])),
    );
    assert_eq!(
        (status.state, codes(&status)),
        (State::NotApplicable, vec!["disabled"])
    );
    let status = only(&service(BOTH_WAYS), "n9", None);
    assert_eq!(
        (status.state, codes(&status)),
        (State::NotApplicable, vec!["node_not_listed"])
    );
}

#[test]
fn a_local_copy_is_judged_on_the_machine_that_keeps_it() {
    let service =
        service("[DEFAULT]\nnodes = n1\n[sync#1]\nsrc = tank/a\ndst = back/a\ntarget = local\n");
    let status = only(&service, "n1", Some(state(&[("n1", "n1", HOUR)])));
    assert_eq!((status.state, status.role), (State::Up, StatusRole::Sender));
    assert_eq!(status.copies[0].kind, TargetKind::Local);
}

#[test]
fn a_state_file_that_cannot_be_used_warns_and_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = StateStore::new(dir.path());
    let service = service(BOTH_WAYS);
    let file = store.file(service.name(), &rid());
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "{").unwrap();
    let states = store.read_all(&service);
    let status = status_of(&service, "n1", &states, &Snapshots::default());
    assert_eq!(status.state, State::Warn);
    let reason = status.resources[0].reasons[0].to_string();
    assert!(
        reason.contains("sync.1.json") && reason.contains("damaged"),
        "{reason}"
    );
}

#[test]
fn states_on_disk_are_found_by_resource() {
    let dir = tempfile::tempdir().unwrap();
    let store = StateStore::new(dir.path());
    let service = service(BOTH_WAYS);
    assert!(store.read_all(&service).is_empty());
    store
        .write(&state(&[("n2", "n1", HOUR), ("d1", "n1", HOUR)]))
        .unwrap();
    let states = store.read_all(&service);
    let status = status_of(&service, "n1", &states, &Snapshots::default());
    assert_eq!(status.state, State::Up);
}

#[test]
fn the_worst_state_wins_and_not_applicable_is_the_mildest() {
    use State::{NotApplicable, Undef, Up, Warn};
    assert_eq!(State::worst([]), NotApplicable);
    assert_eq!(State::worst([NotApplicable, Up]), Up);
    assert_eq!(State::worst([Up, Warn, NotApplicable]), Warn);
    assert_eq!(State::worst([Warn, Undef, Up]), Undef);
    assert_eq!(serde_json::to_string(&NotApplicable).unwrap(), "\"n/a\"");
}

#[test]
fn a_service_without_usable_configuration_is_undefined() {
    let name = ServiceName::parse("svc").unwrap();
    let error = Service::parse(&name, Path::new("f"), b"rubbish").unwrap_err();
    let status = ServiceStatus::undefined(name, error);
    assert_eq!(status.state, State::Undef);
    let error = status.error.unwrap().to_string();
    assert!(error.contains("f: line 1: this is neither"), "{error}");
    assert_eq!(status.resources, []);
}

#[test]
fn a_source_that_is_a_mount_point_is_judged_without_asking_what_is_mounted() {
    let text =
        "[DEFAULT]\nnodes = n1 n2\n[sync#1]\nsrc@n1 = /srv/a\ndst = back/a\ntarget = nodes\n";
    let service = service(text);
    let fresh = state(&[("n2", "n1", HOUR)]);
    for (on, role) in [("n1", StatusRole::Sender), ("n2", StatusRole::Receiver)] {
        let status = only(&service, on, Some(fresh.clone()));
        assert_eq!((status.state, status.role), (State::Up, role), "{on}");
    }
}
