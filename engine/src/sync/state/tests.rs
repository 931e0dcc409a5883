//! Claims about states and their files.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::error::Family;

fn service() -> ServiceName {
    ServiceName::parse("svc").unwrap()
}

fn rid() -> Rid {
    Rid::parse("sync#1").unwrap()
}

fn empty() -> ResourceState {
    ResourceState::new(service(), rid())
}

pub(super) fn of(node: &str, sender: &str) -> TargetOf {
    TargetOf {
        node: NodeName::parse(node).unwrap(),
        kind: TargetKind::Nodes,
        sender: NodeName::parse(sender).unwrap(),
    }
}

pub(super) fn synced(guid: u64, created: u64) -> Synced {
    let dst = DatasetName::parse("back/a").unwrap();
    Synced {
        dst: dst.clone(),
        guid: Guid(guid),
        datasets: vec![DatasetSnapshot {
            dataset: dst,
            guid: Guid(guid),
        }],
        created: UtcSeconds(created),
        received: UtcSeconds(created + 5),
        mode: Mode::Incremental,
        wire_bytes: 10,
        stream_bytes: 3_000,
        duration_ms: 1_500,
    }
}

fn trouble(kind: TroubleKind, since: u64) -> Trouble {
    Trouble {
        kind,
        message: "no common snapshot".to_owned(),
        since: UtcSeconds(since),
    }
}

fn one_target() -> ResourceState {
    let mut state = empty();
    state.record_synced(of("n2", "n1"), synced(u64::MAX, 1_000));
    state
}

fn guid_at(state: &ResourceState, node: &str) -> Option<u64> {
    let target = state.target(&NodeName::parse(node).unwrap())?;
    Some(target.synced.as_ref()?.guid.0)
}

struct Disk {
    _dir: tempfile::TempDir,
    store: StateStore,
    file: PathBuf,
}

fn disk() -> Disk {
    let dir = tempfile::tempdir().unwrap();
    let store = StateStore::new(dir.path().join("state"));
    let file = store.file(&service(), &rid());
    Disk {
        _dir: dir,
        store,
        file,
    }
}

impl Disk {
    fn with(content: &[u8]) -> Self {
        let disk = disk();
        fs::create_dir_all(disk.file.parent().unwrap()).unwrap();
        fs::write(&disk.file, content).unwrap();
        disk
    }

    fn read(&self) -> Result<Option<ResourceState>, StateError> {
        self.store.read(&service(), &rid())
    }
}

#[test]
fn a_guid_of_64_bits_is_written_as_text_and_read_back() {
    let state = one_target();
    let text = String::from_utf8(state.to_json()).unwrap();
    assert!(
        text.contains("\"guid\": \"18446744073709551615\""),
        "{text}"
    );
    assert!(text.contains("\"version\": 1"), "{text}");
    assert_eq!(ResourceState::from_json(text.as_bytes()).unwrap(), state);
}

#[test]
fn every_cut_of_a_state_is_a_typed_fault() {
    let text = one_target().to_json();
    // The last byte is a line feed, which is no loss.
    for length in 0..text.len() - 1 {
        match ResourceState::from_json(&text[..length]) {
            Err(StateFault::Empty) => assert_eq!(length, 0),
            Err(StateFault::Damaged(_)) => {}
            other => panic!("{length}: {other:?}"),
        }
    }
}

#[test]
fn a_state_of_a_newer_program_says_so_even_if_its_fields_are_others() {
    let fault = ResourceState::from_json(br#"{"version": 2, "targets": {}}"#).unwrap_err();
    assert!(matches!(fault, StateFault::Version { found: 2 }), "{fault}");
}

#[test]
fn unknown_fields_of_this_version_are_ignored() {
    let text = String::from_utf8(one_target().to_json()).unwrap();
    let text = text.replacen("\"version\"", "\"later\": [1], \"version\"", 1);
    assert_eq!(
        ResourceState::from_json(text.as_bytes()).unwrap(),
        one_target()
    );
}

#[test]
fn states_that_no_program_writes_are_refused() {
    let text = String::from_utf8(one_target().to_json()).unwrap();
    let change = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        ResourceState::from_json(text.replace(from, to).as_bytes())
    };
    assert!(matches!(
        change("\"created\": 1000", "\"created\": 9007199254740993"),
        Err(StateFault::NumberTooLarge("created"))
    ));
    for (from, to) in [
        ("\"svc\"", "\"../svc\""),
        ("\"back/a\"", "\"back/a@b\""),
        ("\"18446744073709551615\"", "\"18446744073709551616\""),
        ("\"18446744073709551615\"", "1"),
        ("\"created\": 1000", "\"created\": -1"),
    ] {
        assert!(
            matches!(change(from, to), Err(StateFault::Damaged(_))),
            "{to}"
        );
    }
    let mut twice: serde_json::Value = serde_json::from_str(&text).unwrap();
    let entry = twice["targets"][0].clone();
    twice["targets"].as_array_mut().unwrap().push(entry);
    assert!(matches!(
        ResourceState::from_json(twice.to_string().as_bytes()),
        Err(StateFault::DuplicateTarget(_))
    ));
}

#[test]
fn an_older_state_never_overwrites_a_newer_one_of_the_same_target() {
    let old = one_target();
    let mut new = old.clone();
    new.record_synced(of("n2", "n1"), synced(2, 2_000));
    let mut merged = new.clone();
    let merge = merged.merge(&old).unwrap();
    assert_eq!((merge.taken.len(), merge.kept.len()), (0, 1));
    assert_eq!(merged, new);
    let mut merged = old;
    assert_eq!(merged.merge(&new).unwrap().taken.len(), 1);
    assert_eq!(merged, new);
    assert_eq!(merged.merge(&new).unwrap(), Merge::default());
}

#[test]
fn a_merge_keeps_the_newer_entry_of_each_target() {
    let mut ours = one_target();
    let mut theirs = ours.clone();
    ours.record_synced(of("n3", "n1"), synced(3, 2_000));
    theirs.record_synced(of("n2", "n1"), synced(4, 2_000));
    ours.merge(&theirs).unwrap();
    assert_eq!(guid_at(&ours, "n2"), Some(4));
    assert_eq!(guid_at(&ours, "n3"), Some(3));
}

#[test]
fn after_a_failover_the_new_sender_is_newer_although_its_clock_is_behind() {
    let mut state = one_target();
    assert_eq!(state.newest().unwrap().of.sender.as_str(), "n1");
    state.record_synced(of("n1", "n2"), synced(7, 10));
    assert_eq!(state.newest().unwrap().of.sender.as_str(), "n2");
    let mut known = one_target();
    assert_eq!(known.merge(&state).unwrap().taken.len(), 1);
    assert_eq!(guid_at(&known, "n1"), Some(7));
}

#[test]
fn a_state_of_another_resource_is_not_merged() {
    let other = ResourceState::new(service(), Rid::parse("sync#2").unwrap());
    let fault = empty().merge(&other).unwrap_err();
    assert!(fault.to_string().contains("svc sync#2"), "{fault}");
}

#[test]
fn trouble_keeps_the_last_success_and_the_time_it_began() {
    let mut state = one_target();
    state.record_trouble(of("n2", "n1"), trouble(TroubleKind::BrokenChain, 10));
    state.record_trouble(of("n2", "n1"), trouble(TroubleKind::BrokenChain, 20));
    let target = &state.targets()[0];
    assert_eq!(target.sequence, 3);
    assert_eq!(guid_at(&state, "n2"), Some(u64::MAX));
    assert_eq!(target.trouble.as_ref().unwrap().since, UtcSeconds(10));
    state.record_trouble(of("n2", "n1"), trouble(TroubleKind::Failed, 30));
    let since = state.targets()[0].trouble.as_ref().unwrap().since;
    assert_eq!(since, UtcSeconds(30));
    state.record_synced(of("n2", "n1"), synced(2, 40));
    assert_eq!(state.targets()[0].trouble, None);
}

#[test]
fn a_long_message_is_cut_between_characters() {
    let mut state = empty();
    let long = Trouble {
        message: format!("x{}", "é".repeat(MESSAGE_BYTES_MAX)),
        ..trouble(TroubleKind::Failed, 1)
    };
    state.record_trouble(of("n2", "n1"), long);
    let message = &state.targets()[0].trouble.as_ref().unwrap().message;
    assert_eq!(message.len(), MESSAGE_BYTES_MAX - 1);
}

#[test]
fn a_sequence_at_its_limit_still_takes_newer_snapshots() {
    let mut state = one_target();
    state.targets[0].sequence = NUMBER_MAX;
    let old = state.clone();
    state.record_synced(of("n2", "n1"), synced(2, 2_000));
    assert_eq!(state.targets[0].sequence, NUMBER_MAX);
    assert_eq!(old.clone().merge(&state).unwrap().taken.len(), 1);
    assert_eq!(ResourceState::from_json(&state.to_json()).unwrap(), state);
}

#[test]
fn speed_is_stream_bytes_per_second() {
    assert_eq!(synced(1, 1).bytes_per_second(), Some(2_000));
    let instant = Synced {
        duration_ms: 0,
        ..synced(1, 1)
    };
    assert_eq!(instant.bytes_per_second(), None);
}

#[test]
fn a_state_is_stored_under_the_dotted_id_of_its_resource() {
    let disk = disk();
    assert!(disk.read().unwrap().is_none());
    let written = disk.store.write(&one_target()).unwrap();
    assert!(
        disk.file.ends_with("state/svc/sync.1.json"),
        "{:?}",
        disk.file
    );
    assert_eq!(written.file, disk.file);
    assert_eq!(disk.read().unwrap(), Some(one_target()));
    let left: Vec<_> = fs::read_dir(disk.file.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing else is left: {left:?}");
}

#[test]
fn writing_an_older_state_leaves_the_newer_one_on_disk() {
    let disk = disk();
    let old = one_target();
    let mut new = old.clone();
    new.record_synced(of("n2", "n1"), synced(2, 2_000));
    disk.store.write(&new).unwrap();
    let written = disk.store.write(&old).unwrap();
    assert_eq!((written.merge.kept.len(), &written.state), (1, &new));
    assert_eq!(disk.read().unwrap(), Some(new));
}

#[test]
fn a_half_written_temporary_file_of_a_crash_does_no_harm() {
    let disk = disk();
    disk.store.write(&one_target()).unwrap();
    let temporary = disk.file.with_extension("json.tmp");
    fs::write(&temporary, "x".repeat(100_000)).unwrap();
    assert_eq!(disk.read().unwrap(), Some(one_target()));
    disk.store.write(&one_target()).unwrap();
    assert_eq!(disk.read().unwrap(), Some(one_target()));
    assert!(!temporary.exists());
}

#[test]
fn a_write_that_fails_leaves_the_old_state() {
    let disk = disk();
    disk.store.write(&one_target()).unwrap();
    // The temporary file cannot be created where a folder is.
    fs::create_dir(disk.file.with_extension("json.tmp")).unwrap();
    let mut new = one_target();
    new.record_synced(of("n2", "n1"), synced(2, 2_000));
    let error = disk.store.write(&new).unwrap_err();
    assert!(error.to_string().starts_with("cannot create "), "{error}");
    assert_eq!(error.family(), Family::Failed);
    assert_eq!(disk.read().unwrap(), Some(one_target()));
}

#[test]
fn an_unusable_file_is_named_with_what_to_do_and_replaced_by_the_next_success() {
    let mut other = one_target();
    other.service = ServiceName::parse("other").unwrap();
    let text = one_target().to_json();
    let cases = [
        (Vec::new(), "it is empty"),
        (text[..40].to_vec(), "cut off"),
        (b"\0".repeat(512), "damaged"),
        (other.to_json(), "about other sync#1"),
        (vec![b' '; STATE_BYTES_MAX + 1], "larger than"),
    ];
    for (content, part) in cases {
        let disk = Disk::with(&content);
        let error = disk.read().unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(part), "{part}: {cause}");
        let text = error.to_string();
        assert!(
            text.contains("sync.1.json") && text.contains("replaces it"),
            "{text}"
        );
        let aside = disk
            .store
            .write(&one_target())
            .unwrap()
            .moved_aside
            .unwrap();
        assert_eq!(fs::read(aside).unwrap(), content);
        assert_eq!(disk.read().unwrap(), Some(one_target()));
    }
}

#[test]
fn the_file_of_a_newer_program_is_never_replaced() {
    let content = br#"{"version": 2}"#;
    let disk = Disk::with(content);
    let error = disk.store.write(&one_target()).unwrap_err();
    assert!(error.to_string().contains("update zferry"), "{error}");
    assert_eq!(fs::read(&disk.file).unwrap(), content);
}

#[test]
fn what_would_not_be_read_back_is_not_written() {
    let disk = disk();
    let mut state = one_target();
    state.targets[0].sequence = NUMBER_MAX + 1;
    assert!(disk.store.write(&state).is_err());
    assert!(!disk.file.exists());
}

#[test]
fn writers_at_the_same_time_lose_no_entry() {
    let disk = disk();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let store = &disk.store;
            scope.spawn(move || {
                let mut state = empty();
                state.record_synced(of(&format!("n{writer}"), "s"), synced(writer, 1));
                store.write(&state).unwrap();
            });
        }
    });
    assert_eq!(disk.read().unwrap().unwrap().targets().len(), 8);
}

/// States as several writers may leave them: few nodes, sequences and times,
/// so that they meet.
fn states() -> impl Strategy<Value = ResourceState> {
    let entry = (0..3_u64, 0..4_u64, 0..3_u64);
    proptest::collection::vec(entry, 0..4).prop_map(|entries| {
        let mut state = empty();
        for (node, sequence, created) in entries {
            state.record(TargetState {
                of: of(&format!("n{node}"), "s"),
                sequence,
                // Equal order means equal content: one writer, one record.
                synced: Some(synced(sequence * 10 + created, created)),
                trouble: None,
            });
        }
        state
    })
}

proptest! {
    #[test]
    fn merging_reaches_the_same_state_in_any_order(a in states(), b in states(), c in states()) {
        let merged = |order: [&ResourceState; 3]| {
            let mut state = empty();
            for other in order {
                state.merge(other).unwrap();
            }
            state
        };
        let wanted = merged([&a, &b, &c]);
        prop_assert_eq!(&merged([&c, &a, &b]), &wanted);
        prop_assert_eq!(&merged([&b, &c, &a]), &wanted);
        prop_assert_eq!(&merged([&c, &b, &a]), &wanted);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(ResourceState::from_json(&text).is_err());
    }

    #[test]
    fn a_changed_byte_never_makes_the_reader_panic(at in 0..2_000_usize, byte in any::<u8>()) {
        let mut text = one_target().to_json();
        let at = at % text.len();
        text[at] = byte;
        let _ = ResourceState::from_json(&text);
    }
}
