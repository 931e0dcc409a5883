//! The one-line form that tools around the cluster agents read:
//! `LOCAL-TIME;SNAPSHOT-CREATION`, both in the local time of the machine.
//!
//! `2026-11-22 21:10:29.000000;Sun Nov 22 21:10 2026`: the end of the run, and
//! the creation of the snapshot as `zfs list -o creation` shows it in the C
//! locale. It is written beside the state file, on request, never read: its
//! minute is no identity.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::store::failed;
use super::{ResourceState, StateError, StateStore};
use crate::sync::config::{NodeName, Rid, ServiceName};
use crate::sync::moment::UtcSeconds;

/// Where a helper writes lines, and the time zone of its machine.
#[derive(Debug, Clone)]
pub(super) struct LegacyFolder {
    dir: PathBuf,
    zone: TimeZone,
}

impl StateStore {
    /// The same store, which also writes the line of this machine's own copy
    /// for every state that is delivered, as `DIR/SERVICE_RID_zfs_state`.
    #[must_use]
    pub fn with_legacy(self, dir: impl Into<PathBuf>, zone: TimeZone) -> Self {
        let dir = dir.into();
        Self {
            legacy: Some(LegacyFolder { dir, zone }),
            ..self
        }
    }

    /// Writes the line of `node`'s copy, if lines are wanted and it has one.
    pub(super) fn write_legacy(
        &self,
        state: &ResourceState,
        node: &NodeName,
    ) -> Result<(), StateError> {
        let Some(LegacyFolder { dir, zone }) = &self.legacy else {
            return Ok(());
        };
        let nodes = std::slice::from_ref(node);
        match legacy_line(state, nodes, zone) {
            Some(line) => write_legacy(&dir.join(file_name(&state.service, &state.rid)), &line),
            None => Ok(()),
        }
    }
}

/// Both names are checked: neither has a `/` in it.
fn file_name(service: &ServiceName, rid: &Rid) -> String {
    format!("{service}_{rid}_zfs_state")
}

/// The line of what all of `nodes` have: of the oldest of their copies. `None`
/// as long as one of them has none, as the agents write it after all targets
/// succeeded, or for a time that no calendar has.
#[must_use]
pub fn legacy_line(state: &ResourceState, nodes: &[NodeName], zone: &TimeZone) -> Option<String> {
    let mut oldest: Option<&super::Synced> = None;
    for node in nodes {
        let synced = state.target(node)?.synced.as_ref()?;
        if oldest.is_none_or(|oldest| synced.created < oldest.created) {
            oldest = Some(synced);
        }
    }
    let oldest = oldest?;
    let local = |moment: UtcSeconds| {
        let seconds = i64::try_from(moment.0).ok()?;
        let timestamp = Timestamp::from_second(seconds).ok()?;
        Some(timestamp.to_zoned(zone.clone()))
    };
    let run = local(oldest.received)?
        .strftime("%Y-%m-%d %H:%M:%S.000000")
        .to_string();
    let creation = local(oldest.created)?
        .strftime("%a %b %e %k:%M %Y")
        .to_string();
    Some(format!("{run};{creation}\n"))
}

/// Replaces the file by a line, by way of a temporary file beside it: a crash
/// leaves the old line or the new one. Missing folders are created.
///
/// # Errors
/// [`StateError::Io`]; the file is as it was.
pub fn write_legacy(file: &Path, line: &str) -> Result<(), StateError> {
    let mut temporary = file.as_os_str().to_owned();
    temporary.push(".zferry-tmp");
    let temporary = PathBuf::from(temporary);
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir).map_err(failed("create", dir))?;
    }
    let mut open = File::create(&temporary).map_err(failed("create", &temporary))?;
    open.write_all(line.as_bytes())
        .and_then(|()| open.sync_all())
        .map_err(failed("write", &temporary))?;
    fs::rename(&temporary, file).map_err(failed("replace", file))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{of, synced};
    use super::*;

    fn state(ages: &[(&str, u64)]) -> ResourceState {
        let service = ServiceName::parse("web").unwrap();
        let mut state = ResourceState::new(service, Rid::parse("sync#1").unwrap());
        for (node, created) in ages {
            state.record_synced(of(node, "n1"), synced(1, *created));
        }
        state
    }

    fn nodes(names: &[&str]) -> Vec<NodeName> {
        let parse = |name: &&str| NodeName::parse(name).unwrap();
        names.iter().map(parse).collect()
    }

    #[test]
    fn the_line_has_both_times_as_the_agents_write_them() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        // 2023-11-14T22:13:20Z, the run five seconds later.
        let line = legacy_line(&state(&[("n2", 1_700_000_000)]), &nodes(&["n2"]), &zone);
        assert_eq!(
            line.unwrap(),
            "2023-11-15 00:13:25.000000;Wed Nov 15  0:13 2023\n"
        );
    }

    #[test]
    fn it_is_about_the_oldest_copy_and_not_written_before_all_have_one() {
        let both = state(&[("n2", 1_700_000_000), ("n3", 1_600_000_000)]);
        let line = |of: &[&str]| legacy_line(&both, &nodes(of), &TimeZone::UTC);
        assert!(line(&["n2", "n3"]).unwrap().ends_with(" 2020\n"));
        assert!(line(&["n2"]).unwrap().ends_with(" 2023\n"));
        assert_eq!(line(&["n2", "n4"]), None);
        assert_eq!(line(&[]), None);
        let never = state(&[("n2", super::super::NUMBER_MAX - 5)]);
        assert_eq!(legacy_line(&never, &nodes(&["n2"]), &TimeZone::UTC), None);
    }

    #[test]
    fn a_line_replaces_the_one_before_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sync#1/zfs_state");
        write_legacy(&file, "a longer line\n").unwrap();
        write_legacy(&file, "short\n").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "short\n");
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }
}
