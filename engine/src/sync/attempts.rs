//! When a resource was last tried on this node, and how often that failed.
//!
//! What `sync all` needs to know besides the schedule, and what no state file
//! says: a run that was killed, or that failed before it reached anybody, has
//! been tried all the same. An attempt is written down as failed before it
//! begins and as successful when it has ended, so that a crash counts as the
//! failure it is and the retries slow down.
//!
//! One small file per resource, `STATE/attempts/SERVICE/sync.1.json`, replaced
//! as a whole. One that cannot be read counts as missing: then the resource is
//! tried in its next window, which is what a new one does.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::config::{Rid, ServiceName};
use super::moment::UtcSeconds;
use super::schedule::Past;

/// Largest file in bytes; what is written is shorter than 200.
const BYTES_MAX: u64 = 4096;

/// What is known of earlier runs of one resource on this node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// When the last run began that succeeded for every target.
    pub last_success: Option<UtcSeconds>,
    /// When the last run began.
    pub last_attempt: Option<UtcSeconds>,
    /// Runs since the last success, one that is under way among them.
    pub failures: u32,
}

impl Attempts {
    /// The same by the clock on the wall, for a schedule.
    #[must_use]
    pub fn past(&self, zone: &TimeZone) -> Past {
        let civil = |moment: Option<UtcSeconds>| moment.and_then(|moment| civil(moment, zone));
        Past {
            last_success: civil(self.last_success),
            last_attempt: civil(self.last_attempt),
            failures: self.failures,
        }
    }

    /// A run begins.
    #[must_use]
    pub fn begun(self, now: UtcSeconds) -> Self {
        Self {
            last_attempt: Some(now),
            failures: self.failures.saturating_add(1),
            ..self
        }
    }

    /// The run that was [`Self::begun`] has succeeded.
    #[must_use]
    pub fn succeeded(self) -> Self {
        Self {
            last_success: self.last_attempt,
            last_attempt: self.last_attempt,
            failures: 0,
        }
    }
}

/// What the clock on the wall shows in `zone`; `None` after the year 9999.
#[must_use]
pub fn civil(moment: UtcSeconds, zone: &TimeZone) -> Option<DateTime> {
    let seconds = i64::try_from(moment.0).ok()?;
    let timestamp = jiff::Timestamp::from_second(seconds).ok()?;
    Some(zone.to_datetime(timestamp))
}

/// Where they are kept.
#[derive(Debug, Clone)]
pub struct AttemptStore {
    dir: PathBuf,
}

impl AttemptStore {
    /// Below the folder of states.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self {
            dir: state.join("attempts"),
        }
    }

    fn file(&self, service: &ServiceName, rid: &Rid) -> PathBuf {
        self.dir
            .join(service.as_str())
            .join(format!("{}.json", rid.dotted()))
    }

    /// What is known of a resource; nothing if there is no file, or no
    /// readable one.
    #[must_use]
    pub fn read(&self, service: &ServiceName, rid: &Rid) -> Attempts {
        let read = || -> io::Result<Vec<u8>> {
            let mut text = Vec::new();
            File::open(self.file(service, rid))?
                .take(BYTES_MAX)
                .read_to_end(&mut text)?;
            Ok(text)
        };
        let text = read().unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Replaces what is known. After a crash the old text is there or the new.
    ///
    /// # Errors
    /// [`io::Error`].
    pub fn write(&self, service: &ServiceName, rid: &Rid, attempts: &Attempts) -> io::Result<()> {
        let file = self.file(service, rid);
        let temporary = file.with_extension("json.tmp");
        if let Some(dir) = file.parent() {
            fs::create_dir_all(dir)?;
        }
        let text = serde_json::to_vec(attempts).expect("plain data");
        let mut open = File::create(&temporary)?;
        open.write_all(&text)?;
        open.sync_all()?;
        fs::rename(&temporary, &file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (ServiceName, Rid) {
        let service = ServiceName::parse("svc").unwrap();
        (service, Rid::parse("sync#1").unwrap())
    }

    #[test]
    fn an_attempt_counts_as_failed_until_it_has_succeeded() {
        let dir = tempfile::tempdir().unwrap();
        let store = AttemptStore::new(dir.path());
        let (service, rid) = names();
        assert_eq!(store.read(&service, &rid), Attempts::default());
        let begun = Attempts::default().begun(UtcSeconds(100));
        store.write(&service, &rid, &begun).unwrap();
        assert_eq!(store.read(&service, &rid).failures, 1);
        let again = store.read(&service, &rid).begun(UtcSeconds(200));
        assert_eq!((again.failures, again.last_success), (2, None));
        store.write(&service, &rid, &again.succeeded()).unwrap();
        let known = store.read(&service, &rid);
        assert_eq!(known.failures, 0);
        assert_eq!(known.last_success, Some(UtcSeconds(200)));
    }

    #[test]
    fn a_damaged_file_counts_as_missing_and_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let store = AttemptStore::new(dir.path());
        let (service, rid) = names();
        let begun = Attempts::default().begun(UtcSeconds(1));
        store.write(&service, &rid, &begun).unwrap();
        for text in ["", "{", "[1]", &"x".repeat(10_000)] {
            fs::write(store.file(&service, &rid), text).unwrap();
            assert_eq!(store.read(&service, &rid), Attempts::default(), "{text}");
        }
        store.write(&service, &rid, &begun).unwrap();
        assert_eq!(store.read(&service, &rid), begun);
    }
}
