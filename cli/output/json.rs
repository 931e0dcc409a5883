//! JSON Lines for programs: one event per line, and as the last line the
//! result or the error.
//!
//! Guids use all 64 bits, of which many JSON readers keep 53: they are strings
//! here, wherever they come from.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine::event::{Event, Observer};
use serde_json::{Value, json};

use super::{Outcome, Verbosity, print};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::signals::Stop;

/// At most so often a line tells the progress of a transfer: enough to see it
/// move, and nothing beside the transfer itself.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// The engine's events, one per line.
pub struct Events {
    verbosity: Verbosity,
    progress_told: Mutex<Option<Instant>>,
}

impl Events {
    pub fn new(verbosity: Verbosity) -> Self {
        Self {
            verbosity,
            progress_told: Mutex::default(),
        }
    }

    fn is_due(&self, event: &Event) -> bool {
        if self.verbosity == Verbosity::Quiet {
            return false;
        }
        if !matches!(event, Event::Progress { .. }) {
            return true;
        }
        let mut told = self
            .progress_told
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let due = told.is_none_or(|told| told.elapsed() >= PROGRESS_INTERVAL);
        if due {
            *told = Some(Instant::now());
        }
        due
    }
}

impl Observer for Events {
    fn event(&self, event: &Event) {
        if !self.is_due(event) {
            return;
        }
        let mut value = serde_json::to_value(event).expect("events are plain data");
        if let Some(guid) = value.get_mut("guid") {
            *guid = Value::String(guid.to_string());
        }
        // If nobody reads, the result finds out.
        let _ = print(&line(&value));
    }
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

    #[test]
    fn progress_is_told_now_and_then_and_everything_else_always() {
        let events = Events::new(Verbosity::Normal);
        let progress = Event::Progress {
            raw_bytes: 1,
            wire_bytes: 1,
        };
        assert!(events.is_due(&progress));
        assert!(!events.is_due(&progress));
        let notice = Event::Notice {
            peer: "n1".into(),
            text: "x".into(),
        };
        assert!(events.is_due(&notice) && events.is_due(&notice));
        assert!(!Events::new(Verbosity::Quiet).is_due(&notice));
    }
}
