//! The state files as a helper serves them.
//!
//! Everything comes from the other side: names are checked, the text is parsed
//! in full and compared with them, and an older record never replaces a newer
//! one. A helper that is bound to some datasets neither tells nor changes what
//! is known about copies of this node that lie elsewhere.

use super::{ResourceState, StateStore};
use crate::helper::{Reach, StateKeeper};
use crate::sync::config::{NodeName, Rid, ServiceName};

impl StateKeeper for StateStore {
    fn put(&self, service: &str, rid: &str, state: &str, reach: Reach<'_>) -> Result<(), String> {
        let (service, rid) = names(service, rid)?;
        let state = ResourceState::of_peer(state.as_bytes(), &service, &rid)
            .map_err(|fault| fault.to_string())?;
        // A stored state that cannot be read protects nothing; `write` deals
        // with it as with any.
        if let Ok(Some(stored)) = self.read(&service, &rid) {
            check_reach(&stored, reach)?;
        }
        check_reach(&state, reach)?;
        let written = self.write(&state).map_err(|error| error.to_string())?;
        match NodeName::parse(reach.node) {
            Ok(node) => self
                .write_legacy(&written.state, &node)
                .map_err(|error| error.to_string()),
            // Then no entry is about this node.
            Err(_) => Ok(()),
        }
    }

    fn get(&self, service: &str, rid: &str, reach: Reach<'_>) -> Result<Option<String>, String> {
        let (service, rid) = names(service, rid)?;
        let state = self
            .read(&service, &rid)
            .map_err(|error| error.to_string())?;
        let Some(state) = state else {
            return Ok(None);
        };
        check_reach(&state, reach)?;
        Ok(Some(String::from_utf8_lossy(&state.to_json()).into_owned()))
    }
}

fn names(service: &str, rid: &str) -> Result<(ServiceName, Rid), String> {
    let service = ServiceName::parse(service).map_err(|error| error.to_string())?;
    let rid = Rid::parse(rid).map_err(|error| error.to_string())?;
    Ok((service, rid))
}

/// Refuses if the copy that `state` records for this node lies outside.
fn check_reach(state: &ResourceState, reach: Reach<'_>) -> Result<(), String> {
    let outside = state
        .targets()
        .iter()
        .filter(|target| target.of.node.as_str() == reach.node)
        .filter_map(|target| target.synced.as_ref())
        .any(|synced| !reach.authorization.permits(&synced.dst));
    match outside {
        // Which dataset it is, is no business of who asks.
        true => Err(
            "its copy on this machine lies outside of what the helper was started for".to_owned(),
        ),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::Authorization;
    use crate::name::{DatasetName, Guid};
    use crate::sync::config::TargetKind;
    use crate::sync::moment::UtcSeconds;
    use crate::sync::state::{Mode, Synced, TargetOf};

    fn state() -> ResourceState {
        ResourceState::new(
            ServiceName::parse("svc").unwrap(),
            Rid::parse("sync#1").unwrap(),
        )
    }

    fn synced_to(node: &str, dst: &str) -> String {
        let mut state = state();
        let of = TargetOf {
            node: NodeName::parse(node).unwrap(),
            kind: TargetKind::Nodes,
            sender: NodeName::parse("alpha").unwrap(),
        };
        let synced = Synced {
            dst: DatasetName::parse(dst).unwrap(),
            guid: Guid(1),
            datasets: Vec::new(),
            created: UtcSeconds(1),
            received: UtcSeconds(2),
            mode: Mode::Full,
            wire_bytes: 0,
            stream_bytes: 0,
            duration_ms: 0,
        };
        state.record_synced(of, synced);
        String::from_utf8(state.to_json()).unwrap()
    }

    #[test]
    fn a_state_is_kept_only_under_its_own_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = StateStore::new(dir.path());
        let everything = Authorization::everything();
        let reach = Reach {
            authorization: &everything,
            node: "beta",
        };
        let text = String::from_utf8(state().to_json()).unwrap();
        assert_eq!(store.get("svc", "sync#1", reach), Ok(None));
        store.put("svc", "sync#1", &text, reach).unwrap();
        assert_eq!(store.get("svc", "sync#1", reach), Ok(Some(text.clone())));
        for (service, rid) in [
            ("other", "sync#1"),
            ("svc", "sync#2"),
            ("../svc", "sync#1"),
            ("svc", "../1"),
        ] {
            assert!(
                store.put(service, rid, &text, reach).is_err(),
                "{service} {rid}"
            );
        }
        assert!(store.put("svc", "sync#1", "rubbish", reach).is_err());
    }

    #[test]
    fn a_bound_helper_neither_tells_nor_changes_what_lies_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let store = StateStore::new(dir.path());
        let bound = Authorization::only(vec![DatasetName::parse("backup/a").unwrap()]);
        let free = Authorization::everything();
        let reach = |authorization| Reach {
            authorization,
            node: "beta",
        };
        let (elsewhere, inside) = (
            synced_to("beta", "backup/b"),
            synced_to("beta", "backup/a/x"),
        );
        // It cannot claim a copy elsewhere either.
        assert!(
            store
                .put("svc", "sync#1", &elsewhere, reach(&bound))
                .is_err()
        );
        store
            .put("svc", "sync#1", &elsewhere, reach(&free))
            .unwrap();
        assert!(store.get("svc", "sync#1", reach(&bound)).is_err());
        assert!(store.put("svc", "sync#1", &inside, reach(&bound)).is_err());
        assert_eq!(
            store.get("svc", "sync#1", reach(&free)),
            Ok(Some(elsewhere))
        );
    }

    #[test]
    fn a_delivered_state_leaves_the_line_of_the_copy_here_under_a_checked_name() {
        let dir = tempfile::tempdir().unwrap();
        let lines = dir.path().join("lines");
        let store =
            StateStore::new(dir.path().join("state")).with_legacy(&lines, jiff::tz::TimeZone::UTC);
        let free = Authorization::everything();
        let reach = |node| Reach {
            authorization: &free,
            node,
        };
        let text = synced_to("beta", "backup/a");
        store.put("svc", "sync#1", &text, reach("gamma")).unwrap();
        assert!(!lines.exists(), "gamma has no copy");
        for name in ["../svc", "svc/x", "", "."] {
            assert!(store.put(name, "sync#1", &text, reach("beta")).is_err());
        }
        assert!(!lines.exists());
        store.put("svc", "sync#1", &text, reach("beta")).unwrap();
        let line = std::fs::read_to_string(lines.join("svc_sync#1_zfs_state")).unwrap();
        assert_eq!(line, "1970-01-01 00:00:02.000000;Thu Jan  1  0:00 1970\n");
    }

    #[test]
    fn copies_of_other_nodes_do_not_bind_a_helper() {
        let dir = tempfile::tempdir().unwrap();
        let store = StateStore::new(dir.path());
        let bound = Authorization::only(vec![DatasetName::parse("pool2").unwrap()]);
        let reach = Reach {
            authorization: &bound,
            node: "gamma",
        };
        let text = synced_to("beta", "backup/a");
        store.put("svc", "sync#1", &text, reach).unwrap();
        store.put("svc", "sync#1", &text, reach).unwrap();
        assert_eq!(store.get("svc", "sync#1", reach), Ok(Some(text)));
    }
}
