//! `zferry status`: the state of services as an exit code, as text, as JSON.

use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::name::{DatasetName, Guid};
use engine::sync::config::{NodeName, Rid, ServiceName, TargetKind};
use engine::sync::moment::UtcSeconds;
use engine::sync::state::{
    DatasetSnapshot, Mode, ResourceState, StateStore, Synced, TargetOf, Trouble, TroubleKind,
};

use crate::configuration::SERVICE;
use crate::program::{Place, Ran, start};

const HOUR: Duration = Duration::from_secs(60 * 60);
/// More than any `sync_max_delay` that is a default.
const AGES: Duration = Duration::from_secs(90 * 24 * 60 * 60);

fn ago(age: Duration) -> UtcSeconds {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UtcSeconds((now - age).as_secs())
}

fn of() -> TargetOf {
    TargetOf {
        node: NodeName::parse("n2").unwrap(),
        kind: TargetKind::Nodes,
        sender: NodeName::parse("n1").unwrap(),
    }
}

fn record(place: &Place, service: &str, change: impl FnOnce(&mut ResourceState)) {
    let service = ServiceName::parse(service).unwrap();
    let mut state = ResourceState::new(service, Rid::parse("sync#1").unwrap());
    change(&mut state);
    StateStore::new(place.path("state")).write(&state).unwrap();
}

/// A service with a success of this age.
fn synced(place: &Place, service: &str, age: Duration) {
    place.configure(service, SERVICE);
    let dst = DatasetName::parse("backup/a").unwrap();
    // All 64 bits, to see that none is lost.
    let guid = Guid(u64::MAX - 1);
    record(place, service, |state| {
        state.record_synced(
            of(),
            Synced {
                dst: dst.clone(),
                guid,
                datasets: vec![DatasetSnapshot { dataset: dst, guid }],
                created: ago(age),
                received: ago(age),
                mode: Mode::Incremental,
                wire_bytes: 1 << 20,
                stream_bytes: 3 << 20,
                duration_ms: 500,
            },
        );
    });
}

#[test]
fn a_service_with_fresh_data_is_up() {
    let place = Place::new();
    synced(&place, "web", HOUR);
    let ran = place.run(&["status", "web"]);
    ran.fails(0, &[]);
    assert_eq!(ran.err, "");
    for text in [
        "web: up\n",
        "sync#1: up (sends)",
        "n2 backup/a (nodes): up, data 1h",
        "3.00 MiB",
    ] {
        assert!(ran.out.contains(text), "{text:?} is not in\n{}", ran.out);
    }
}

#[test]
fn old_data_warns_and_json_has_the_same_with_its_reason() {
    let place = Place::new();
    synced(&place, "web", AGES);
    let ran = place.run(&["status"]);
    ran.fails(3, &[]);
    assert!(ran.out.contains("old, more than"), "{}", ran.out);

    let ran = place.run(&["status", "--json"]);
    ran.fails(3, &[]);
    let value = ran.last_json();
    assert_eq!(value["exit_code"], 3);
    assert_eq!(value["result"]["state"], "warn");
    let copy = &value["result"]["services"][0]["resources"][0]["copies"][0];
    assert_eq!(copy["node"], "n2");
    assert_eq!(copy["reasons"][0]["code"], "too_old");
    assert_eq!(copy["synced"]["guid"], (u64::MAX - 1).to_string());
    assert!(copy["data_age_seconds"].as_u64().unwrap() >= AGES.as_secs());
}

#[test]
fn a_service_that_was_never_synchronized_warns() {
    let place = Place::new();
    place.configure("web", SERVICE);
    let ran = place.run(&["status", "web"]);
    ran.fails(3, &[]);
    assert!(ran.out.contains("never synchronized"), "{}", ran.out);
}

#[test]
fn trouble_of_the_last_run_is_shown_with_what_it_said() {
    let place = Place::new();
    synced(&place, "web", HOUR);
    let trouble = Trouble {
        kind: TroubleKind::BrokenChain,
        message: "no snapshot in common".to_owned(),
        since: ago(HOUR),
    };
    let store = StateStore::new(place.path("state"));
    let service = ServiceName::parse("web").unwrap();
    let mut state = store
        .read(&service, &Rid::parse("sync#1").unwrap())
        .unwrap()
        .unwrap();
    state.record_trouble(of(), trouble);
    store.write(&state).unwrap();
    let ran = place.run(&["status"]);
    ran.fails(4, &[]);
    assert!(ran.out.contains("no snapshot in common"), "{}", ran.out);
    // A service that cannot be evaluated does not hide it.
    let ran = place.run(&["status", "web", "wbe"]);
    ran.fails(4, &[]);
    assert!(ran.out.contains("wbe: undef"), "{}", ran.out);
}

#[test]
fn each_way_in_which_a_state_file_is_useless_warns_and_is_named() {
    let place = Place::new();
    synced(&place, "web", HOUR);
    let file = place.path("state").join("web/sync.1.json");
    let whole = std::fs::read_to_string(&file).unwrap();
    let cut = &whole[..whole.len() / 2];
    for (text, why) in [
        (cut, "cut off or damaged"),
        ("", "empty"),
        (
            &*whole.replace("\"version\": 1", "\"version\": 2"),
            "version 2",
        ),
        (&*whole.replace("\"web\"", "\"mail\""), "about mail sync#1"),
        (
            &*whole.replace("\"sync#1\"", "\"sync#2\""),
            "about web sync#2",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        let ran = place.run(&["status", "web"]);
        ran.fails(3, &[]);
        for expected in ["sync.1.json", why] {
            assert!(ran.out.contains(expected), "{expected} not in {}", ran.out);
        }
        let ran = place.run(&["status", "web", "--json"]);
        let resource = &ran.last_json()["result"]["services"][0]["resources"][0];
        assert_eq!(resource["reasons"][0]["code"], "state_unreadable", "{why}");
    }
}

#[test]
fn a_state_from_the_future_warns_of_the_clocks_and_has_no_age() {
    let place = Place::new();
    place.configure("web", SERVICE);
    synced(&place, "web", HOUR);
    let file = place.path("state").join("web/sync.1.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let (then, ahead) = (ago(HOUR).0, ago(Duration::ZERO).0 + 7200);
    // The second between the two calls of the clock may have passed.
    let future = (then - 2..=then).fold(text.clone(), |text, then| {
        text.replace(&then.to_string(), &ahead.to_string())
    });
    assert_ne!(future, text);
    std::fs::write(&file, future).unwrap();
    let ran = place.run(&["status", "web", "--json"]);
    ran.fails(3, &[]);
    let copy = &ran.last_json()["result"]["services"][0]["resources"][0]["copies"][0];
    assert_eq!(copy["reasons"][0]["code"], "clock_skew");
    assert!(copy["data_age_seconds"].is_null() && copy["run_age_seconds"].is_null());
}

#[test]
fn a_selection_narrows_the_answer_and_a_name_that_fits_nothing_is_a_mistake() {
    let place = Place::new();
    synced(&place, "web", AGES);
    let two = format!("{SERVICE}[sync#2]\nsrc@n1 = tank/b\ndst = backup/b\ntarget = nodes\n");
    let more = "tags = big\nsubset = night\ndisable = true\n";
    place.configure("web", &format!("{two}{more}"));
    place.run(&["status", "web"]).fails(3, &[]);
    for option in [
        ["--rid", "sync#2"],
        ["--tags", "big"],
        ["--subsets", "night"],
    ] {
        let ran = place.run(&[&["status", "web"], &option[..]].concat());
        ran.fails(11, &[]);
        assert!(ran.out.contains("sync#2: n/a: disabled"), "{}", ran.out);
        assert!(!ran.out.contains("sync#1"), "{}", ran.out);
    }
    let ran = place.run(&["status", "--rid", "sync#1,sync#2"]);
    ran.fails(3, &[]);
    place
        .run(&["status", "--rid", "sync#9"])
        .fails(2, &["--rid sync#9"]);
    place
        .run(&["status", "--tags", "a+"])
        .fails(2, &["tag1+tag2"]);
}

#[test]
fn a_node_without_a_part_in_a_service_answers_that_it_is_not_applicable() {
    let place = Place::new();
    synced(&place, "web", HOUR);
    let ran = place.run(&["status", "web", "--node", "n9"]);
    ran.fails(11, &[]);
    assert!(ran.out.contains("web: n/a"), "{}", ran.out);
}

#[test]
fn an_unknown_service_and_one_with_mistakes_have_no_defined_state() {
    let place = Place::new();
    synced(&place, "good", HOUR);
    let ran = place.run(&["status", "wbe"]);
    ran.fails(9, &[]);
    assert!(
        ran.out.contains("wbe: undef") && ran.out.contains("wbe.conf"),
        "{}",
        ran.out
    );

    place.configure(
        "bad",
        "[DEFAULT]\nnodes = n1 n2\n[sync#1]\nsrc = tank//a\ndst = x//y\n",
    );
    let ran = place.run(&["status"]);
    ran.fails(9, &[]);
    for text in ["bad: undef", "line 4 ", "line 5 ", "good: up"] {
        assert!(ran.out.contains(text), "{text:?} is not in\n{}", ran.out);
    }
    assert_eq!(place.run(&["status", "good"]).code, Some(0));
}

#[test]
fn a_machine_without_services_has_nothing_to_warn_of() {
    let place = Place::new();
    let ran = place.run(&["status"]);
    ran.fails(0, &["no service is configured"]);
    assert_eq!(ran.out, "");
    std::fs::remove_dir(place.path("config")).unwrap();
    place
        .run(&["status"])
        .fails(1, &["cannot read", "--config"]);
}

#[test]
fn quiet_leaves_the_exit_code_alone() {
    let place = Place::new();
    synced(&place, "web", AGES);
    let ran = place.run(&["status", "-q"]);
    ran.fails(3, &[]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
}

#[test]
fn a_reader_that_leaves_early_is_no_failure_and_a_full_disk_is_one() {
    let place = Place::new();
    synced(&place, "web", HOUR);
    let mut child = start(&mut place.command(&["status"]));
    drop(child.stdout.take());
    Ran::after(child).fails(0, &[]);

    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let Ok(full) = full else { return };
    let mut command = place.command(&["status"]);
    let child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    Ran::after(child).fails(1, &["cannot write standard output"]);
}

#[test]
fn the_line_of_the_cluster_agents_is_shown_for_one_resource() {
    let place = Place::new();
    let words = ["status", "--legacy", "web", "--rid", "sync#1"];
    place.configure("web", SERVICE);
    place
        .run(&words)
        .fails(1, &["no state of a success", "next: "]);
    synced(&place, "web", HOUR);
    let mut command = place.command(&words);
    let ran = Ran::of(command.env("TZ", "UTC"));
    ran.fails(0, &[]);
    let (time, creation) = ran.out.trim_end().split_once(';').unwrap();
    assert_eq!(time.len(), "2026-11-22 21:10:29.000000".len());
    assert_eq!(creation.len(), "Sun Nov 22 21:10 2026".len());
    let year = &ago(HOUR).to_string()[..4];
    assert!(
        time.starts_with(year) && creation.ends_with(year),
        "{ran:?}"
    );
    for words in [&["status", "--legacy"][..], &["status", "--legacy", "web"]] {
        assert_eq!(place.run(words).code, Some(2), "{words:?}");
    }
    let two = ["status", "--legacy", "web", "web", "--rid", "sync#1"];
    place.run(&two).fails(2, &["one service at a time"]);
}
