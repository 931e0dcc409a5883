//! Names, times, keys: what stands in files, arguments and messages.

use jiff::civil::DateTime;

use crate::hold::HoldTag;
use crate::name::{DatasetName, ShortName, SnapshotName};
use crate::plan::is_of_zferry;
use crate::sync::config::{NodeName, Rid, ServiceName, duration_of, duration_text};
use crate::sync::schedule::{Due, Past, Schedule};
use crate::transport::ssh::SshEndpoint;

/// Every name that is taken is written as it was read, and lies where it says.
pub fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match DatasetName::parse(text) {
        Ok(name) => dataset(&name, text),
        Err(error) => super::assert_printable(&error.to_string()),
    }
    match SnapshotName::parse(text) {
        Ok(name) => {
            assert_eq!(name.to_string(), text);
            assert_eq!(name.dataset.snapshot(&name.short), Ok(name.clone()));
        }
        Err(error) => super::assert_printable(&error.to_string()),
    }
    match ShortName::parse(text) {
        Ok(name) => {
            assert_eq!(name.as_str(), text);
            let _ = is_of_zferry(&name);
        }
        Err(error) => super::assert_printable(&error.to_string()),
    }
    match HoldTag::parse(text) {
        Ok(tag) => {
            assert_eq!(tag.as_str(), text);
            super::assert_printable(&format!("{:?}", tag.reason()));
        }
        Err(error) => super::assert_printable(&error.to_string()),
    }
    // What becomes part of a path has to stay one component of it.
    let is_component = |word: &str| !word.contains(['/', '\0']) && word != "." && word != "..";
    if let Ok(name) = ServiceName::parse(text) {
        assert!(is_component(name.as_str()));
    }
    if let Ok(name) = Rid::parse(text) {
        assert!(is_component(&name.dotted()));
    }
    if let Ok(name) = NodeName::parse(text) {
        assert!(is_component(name.as_str()));
    }
    for (user, host) in [("root", text), (text, "host")] {
        match SshEndpoint::new(user, host, 22) {
            Ok(endpoint) => {
                super::assert_printable(&endpoint.known_hosts_name());
                assert!(!endpoint.host().starts_with('-') && !endpoint.user().starts_with('-'));
            }
            Err(error) => super::assert_printable(&error.to_string()),
        }
    }
}

fn dataset(name: &DatasetName, text: &str) {
    assert_eq!(name.as_str(), text);
    assert!(name.is_within(name));
    for ancestor in name.ancestors() {
        assert!(name.is_within(&ancestor) && !ancestor.is_within(name));
        assert_eq!(
            DatasetName::parse(ancestor.as_str()).as_ref(),
            Ok(&ancestor)
        );
    }
    let parent = name.parent();
    assert_eq!(name.ancestors().last(), parent);
    let root = DatasetName::parse(name.pool()).expect("the pool of a name is a name");
    let to = DatasetName::parse("backup/b").expect("a name");
    if let Ok(rebased) = name.rebase(&root, &to) {
        assert!(rebased.is_within(&to));
        assert_eq!(rebased.rebase(&to, &root).as_ref(), Ok(name));
    }
}

/// A duration is written so that it is read as the same.
pub fn durations(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match duration_of(text) {
        Ok(duration) => assert_eq!(duration_of(&duration_text(duration)), Ok(duration)),
        Err(words) => super::assert_printable(&words),
    }
}

/// A schedule: whenever it is asked it answers, and never with the past.
pub fn schedule(data: &[u8]) {
    let Some((numbers, text)) = data.split_first_chunk::<12>() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let schedule = match Schedule::parse(text, "web sync#1") {
        Ok(schedule) => schedule,
        Err(error) => return super::assert_printable(&error.to_string()),
    };
    assert_eq!(schedule.as_str(), text);
    let moment = |at: usize| {
        let seconds = u32::from_le_bytes([
            numbers[at],
            numbers[at + 1],
            numbers[at + 2],
            numbers[at + 3],
        ]);
        let timestamp = jiff::Timestamp::from_second(i64::from(seconds)).expect("before 2107");
        jiff::tz::TimeZone::UTC.to_datetime(timestamp)
    };
    let (now, success, attempt): (DateTime, _, _) = (moment(0), moment(4), moment(8));
    for (last_success, last_attempt, failures) in [
        (None, None, 0),
        (Some(success), Some(success), 0),
        (Some(success), Some(attempt), 1),
        (None, Some(attempt), u32::MAX),
    ] {
        let past = Past {
            last_success,
            last_attempt,
            failures,
        };
        if let Due::NotYet(Some(then)) = schedule.is_due(now, &past) {
            assert!(then > now, "due at {then}, asked at {now}");
        }
    }
}

/// Lines of known_hosts: a host is known by what they say, or not known.
pub fn known_hosts(data: &[u8]) {
    crate::transport::ssh::keys_in(data, "host.example.org");
    crate::transport::ssh::keys_in(data, "[::1]:2222");
}

/// What a remote command wrote, made fit for a terminal.
pub fn printable(data: &[u8]) {
    for text in crate::transport::shown(data) {
        super::assert_printable(&text);
        let reorders = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        assert!(!text.contains(reorders), "{text:?}");
    }
}
