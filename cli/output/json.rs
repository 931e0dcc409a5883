//! JSON Lines for programs: one event per line, and as the last line the
//! result or the error.
//!
//! Guids use all 64 bits, of which many JSON readers keep 53: they are strings
//! here, wherever they come from.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine::event::{Event, Observer};
use engine::name::SnapshotName;
use serde_json::{Value, json};

use super::progress::book::{Book, Subject, View};
use super::{Outcome, Verbosity, print};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::signals::Stop;

/// At most so often a line tells the progress of a transfer: enough to see it
/// move, and nothing beside the transfer itself.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// The engine's events, one per line.
pub struct Events {
    verbosity: Verbosity,
    begun: Instant,
    progress: Mutex<Progress>,
}

impl Events {
    pub fn new(verbosity: Verbosity) -> Self {
        Self {
            verbosity,
            begun: Instant::now(),
            progress: Mutex::default(),
        }
    }

    /// What is told of an event that happened at this time.
    fn value(&self, event: &Event, now: Duration) -> Option<Value> {
        if self.verbosity == Verbosity::Quiet {
            return None;
        }
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.book.event(event, now);
        if let Event::Progress { peer, target, .. } = event {
            return progress.value(peer, target, now);
        }
        let mut value = serde_json::to_value(event).expect("events are plain data");
        if let Some(guid) = value.get_mut("guid") {
            *guid = Value::String(guid.to_string());
        }
        Some(value)
    }
}

impl Observer for Events {
    fn event(&self, event: &Event) {
        if let Some(value) = self.value(event, self.begun.elapsed()) {
            // If nobody reads, the result finds out.
            let _ = print(&line(&value));
        }
    }
}

/// The transfers of a run, and when something was told of them last.
#[derive(Default)]
struct Progress {
    book: Book,
    /// Of those that run; the others are forgotten when one is told.
    told: BTreeMap<(String, SnapshotName), Duration>,
}

impl Progress {
    /// What is told of this one now, if it is time.
    fn value(&mut self, peer: &str, target: &SnapshotName, now: Duration) -> Option<Value> {
        let one = self.book.one(peer, target, now)?;
        let key = (peer.to_owned(), target.clone());
        let begun = now.saturating_sub(one.age);
        let last = self.told.get(&key).copied().filter(|told| *told >= begun);
        if now < last.unwrap_or(begun) + PROGRESS_INTERVAL {
            return None;
        }
        self.told.retain(|_, told| *told + FORGOTTEN_AFTER > now);
        self.told.insert(key, now);
        let total = self.book.total(now)?;
        let Subject::Transfer { snapshot, .. } = &one.subject else {
            return None;
        };
        let Subject::Run { done, transfers } = &total.subject else {
            return None;
        };
        let mut value = amounts(&one);
        value["event"] = "progress".into();
        value["dataset"] = snapshot.dataset.as_str().into();
        value["snapshot"] = snapshot.to_string().into();
        value["peer"] = peer.into();
        value["target"] = target.dataset.as_str().into();
        value["waiting_for"] = json!(one.waiting_for);
        value["run"] = amounts(&total);
        value["run"]["transfers_done"] = json!(done);
        value["run"]["transfers"] = json!(transfers);
        Some(value)
    }
}

/// How long a transfer is remembered of which nothing was told.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// What one transfer has in common with all of them.
fn amounts(view: &View) -> Value {
    json!({
        "raw_bytes": view.moved.raw,
        "wire_bytes": view.moved.wire,
        "estimated_bytes": view.estimated_bytes,
        "raw_bytes_per_second": view.rate.raw,
        "wire_bytes_per_second": view.rate.wire,
        "average_raw_bytes_per_second": view.average.raw,
        "average_wire_bytes_per_second": view.average.wire,
        "elapsed_seconds": view.age.as_secs(),
        "eta_seconds": view.left.map(|left| left.as_secs()),
    })
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}

/// A remark, as an event.
pub fn notice(text: &str) -> String {
    line(&json!({ "event": "notice", "text": text }))
}

/// The last line of a command that ended by itself.
pub fn result(outcome: &Outcome) -> String {
    line(&json!({ "result": outcome.json, "exit_code": outcome.exit.code() }))
}

/// The last line of a command that failed.
pub fn error(failure: &Failure, exit: Exit) -> String {
    let mut error = failure_value(failure);
    error["exit_code"] = exit.code().into();
    line(&json!({ "error": error }))
}

/// The last line of a command that a signal ended.
pub fn stopped(stop: Stop, exit: Exit) -> String {
    line(&json!({ "error": {
        "family": "stopped",
        "message": format!("stopped by {stop}"),
        "causes": [],
        "state_left": null,
        "remedies": [],
        "exit_code": exit.code(),
    }}))
}

/// A failure inside of a result.
pub fn failure_value(failure: &Failure) -> Value {
    json!({
        "family": failure.family,
        "message": failure.message,
        "causes": failure.causes,
        "state_left": failure.state_left,
        "remedies": failure.remedies,
    })
}

#[cfg(test)]
mod tests {
    use engine::error::Family;
    use engine::event::{Waited, WaitingFor};

    use super::*;

    #[test]
    fn an_error_is_one_line_with_its_exit_code() {
        let failure = Failure::new(Family::BrokenChain, "two\nlines").remedy("do this");
        let text = error(&failure, Exit::BrokenChain);
        assert_eq!(text.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["error"]["family"], "broken_chain");
        assert_eq!(value["error"]["message"], "two\nlines");
        assert_eq!(value["error"]["remedies"][0], "do this");
        assert_eq!(value["error"]["exit_code"], 4);
    }

    fn snapshot(name: &str) -> SnapshotName {
        SnapshotName::parse(name).unwrap()
    }

    fn started(peer: &str) -> Event {
        Event::TransferStarted {
            peer: peer.to_owned(),
            snapshot: snapshot("tank/a@x"),
            target: snapshot("backup/a@x"),
            base: None,
            estimated_bytes: 10_000,
            resumed_bytes: None,
        }
    }

    fn progress(peer: &str, bytes: u64) -> Event {
        let mut waited = Waited::default();
        waited.add(WaitingFor::TargetZfs, Duration::from_millis(bytes));
        Event::Progress {
            peer: peer.to_owned(),
            snapshot: snapshot("tank/a@x"),
            target: snapshot("backup/a@x"),
            raw_bytes: bytes,
            wire_bytes: bytes / 2,
            waited,
        }
    }

    #[test]
    fn progress_is_told_once_a_second_of_each_transfer_and_everything_else_always() {
        let events = Events::new(Verbosity::Normal);
        let at = Duration::from_millis;
        let told = |event: &Event, now| events.value(event, at(now)).is_some();
        assert!(told(&started("n2"), 0) && told(&started("n3"), 500));
        let seconds = (0..30).map(|tenth| tenth * 100);
        let n2: Vec<_> = seconds
            .clone()
            .filter(|now| told(&progress("n2", *now), *now))
            .collect();
        assert_eq!(n2, [1000, 2000]);
        assert!(told(&progress("n3", 2900), 2900));
        assert!(!told(&progress("n3", 2900), 3800));
        let notice = Event::Notice {
            peer: "n1".into(),
            text: "x".into(),
        };
        assert!(told(&notice, 3800) && told(&notice, 3800));
        // The same again, after it was cut.
        assert!(told(&started("n3"), 3850));
        assert!(!told(&progress("n3", 5), 4000));
        assert!(told(&progress("n3", 5), 4850));
        assert!(
            Events::new(Verbosity::Quiet)
                .value(&notice, at(0))
                .is_none()
        );
    }

    #[test]
    fn progress_has_the_fields_that_are_documented() {
        let events = Events::new(Verbosity::Normal);
        let at = Duration::from_secs;
        events.value(&started("n2"), at(0));
        events.value(&progress("n2", 1000), at(1));
        let value = events.value(&progress("n2", 2000), at(2)).unwrap();
        let amounts = json!({
            "raw_bytes": 2000,
            "wire_bytes": 1000,
            "estimated_bytes": 10_000,
            "raw_bytes_per_second": 1000,
            "wire_bytes_per_second": 500,
            "average_raw_bytes_per_second": 1000,
            "average_wire_bytes_per_second": 500,
            "elapsed_seconds": 2,
            "eta_seconds": 8,
        });
        let mut expected = amounts.clone();
        expected["event"] = "progress".into();
        expected["dataset"] = "tank/a".into();
        expected["snapshot"] = "tank/a@x".into();
        expected["peer"] = "n2".into();
        expected["target"] = "backup/a".into();
        expected["waiting_for"] = "target_zfs".into();
        expected["run"] = amounts;
        expected["run"]["transfers_done"] = 0.into();
        expected["run"]["transfers"] = 1.into();
        assert_eq!(value, expected);
        let documented = include_str!("../../docs/cli.md");
        for (field, _) in value.as_object().unwrap() {
            let field = format!("`{field}`");
            assert!(documented.contains(&field), "{field} is not in docs/cli.md");
        }
    }
}
