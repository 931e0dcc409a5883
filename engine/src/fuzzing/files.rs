//! Files that people write, and files that zferry keeps.

use std::path::Path;

use jiff::tz::TimeZone;

use crate::sync::attempts::Attempts;
use crate::sync::config::{ConfigError, Rid, Service, ServiceName, crossings};
use crate::sync::moment::UtcSeconds;
use crate::sync::state::{ResourceState, legacy_line};

/// A configuration file: taken as it is for every node that it names, or
/// refused with words that fit on a terminal.
pub fn config(data: &[u8]) {
    let name = ServiceName::parse("web").expect("a name");
    let service = match Service::parse(&name, Path::new("web.conf"), data) {
        Ok(service) => service,
        Err(error) => {
            super::assert_printable(&error.to_string());
            if let ConfigError::Mistakes { mistakes, .. } = &error {
                assert!(!mistakes.is_empty());
                for mistake in mistakes {
                    super::assert_printable(&mistake.to_string());
                }
            }
            let _ = error.family();
            return;
        }
    };
    for notice in service.notices() {
        super::assert_printable(&notice.to_string());
    }
    for node in service.nodes().iter().chain(service.drpnodes()) {
        let resources = service.resolve(node).expect("a node of the file");
        let rids: Vec<&Rid> = resources.iter().map(|resource| &resource.rid).collect();
        assert_eq!(rids, service.rids().collect::<Vec<_>>());
        service.receives_for(node).expect("a node of the file");
        let _ = (service.images(node), service.node_env(node));
    }
    let _ = crossings(&[service]);
}

/// A state file, or a peer's state: read as it was written, merged into itself
/// without any change; and the file of attempts.
pub fn state(data: &[u8]) {
    if let Ok(attempts) = serde_json::from_slice::<Attempts>(data) {
        let _ = attempts.past(&TimeZone::UTC);
        let begun = attempts.begun(UtcSeconds(1_795_379_914));
        let _ = begun.past(&TimeZone::UTC);
        assert_eq!(begun.succeeded().failures, 0);
    }
    let state = match ResourceState::from_json(data) {
        Ok(state) => state,
        Err(error) => return super::assert_printable(&error.to_string()),
    };
    let again = ResourceState::from_json(&state.to_json());
    assert_eq!(again.as_ref().ok(), Some(&state), "{again:?}");
    let mut merged = state.clone();
    let taken = merged.merge(&state).expect("of the same resource");
    assert_eq!((merged, taken.taken.len()), (state.clone(), 0));
    let nodes: Vec<_> = state
        .targets()
        .iter()
        .map(|target| target.of.node.clone())
        .collect();
    if let Some(line) = legacy_line(&state, &nodes, &TimeZone::UTC) {
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
    }
    let mut empty = ResourceState::new(state.service.clone(), state.rid.clone());
    empty.merge(&state).expect("of the same resource");
    assert_eq!(empty, state);
    if let Some(newest) = state.newest() {
        let mut next = state.clone();
        if let Some(synced) = newest.synced.clone() {
            next.record_synced(newest.of.clone(), synced);
            assert!(ResourceState::from_json(&next.to_json()).is_ok());
        }
    }
}
