//! The state files as a helper serves them.
//!
//! Everything comes from the other side: names are checked, the text is parsed
//! in full and compared with them, and an older record never replaces a newer
//! one.

use super::{ResourceState, StateFault, StateStore};
use crate::helper::StateKeeper;
use crate::sync::config::{Rid, ServiceName};

impl StateKeeper for StateStore {
    fn put(&self, service: &str, rid: &str, state: &str) -> Result<(), String> {
        let (service, rid) = names(service, rid)?;
        let state =
            ResourceState::from_json(state.as_bytes()).map_err(|fault| fault.to_string())?;
        if state.service != service || state.rid != rid {
            return Err(StateFault::OtherResource {
                service: state.service,
                rid: state.rid,
            }
            .to_string());
        }
        self.write(&state)
            .map(drop)
            .map_err(|error| error.to_string())
    }

    fn get(&self, service: &str, rid: &str) -> Result<Option<String>, String> {
        let (service, rid) = names(service, rid)?;
        let state = self
            .read(&service, &rid)
            .map_err(|error| error.to_string())?;
        Ok(state.map(|state| String::from_utf8_lossy(&state.to_json()).into_owned()))
    }
}

fn names(service: &str, rid: &str) -> Result<(ServiceName, Rid), String> {
    let service = ServiceName::parse(service).map_err(|error| error.to_string())?;
    let rid = Rid::parse(rid).map_err(|error| error.to_string())?;
    Ok((service, rid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_kept_only_under_its_own_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = StateStore::new(dir.path());
        let state = ResourceState::new(
            ServiceName::parse("svc").unwrap(),
            Rid::parse("sync#1").unwrap(),
        );
        let text = String::from_utf8(state.to_json()).unwrap();
        assert_eq!(store.get("svc", "sync#1"), Ok(None));
        store.put("svc", "sync#1", &text).unwrap();
        assert_eq!(store.get("svc", "sync#1"), Ok(Some(text.clone())));
        for (service, rid) in [
            ("other", "sync#1"),
            ("svc", "sync#2"),
            ("../svc", "sync#1"),
            ("svc", "../1"),
        ] {
            assert!(store.put(service, rid, &text).is_err(), "{service} {rid}");
        }
        assert!(store.put("svc", "sync#1", "rubbish").is_err());
    }
}
