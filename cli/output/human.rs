//! Lines for people.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use engine::event::{Event, Observer};
use engine::stream::compress::Compression;
use indicatif::HumanBytes;

use super::progress::Progress;
use super::{Verbosity, complain};
use crate::failure::Failure;

/// The engine's events as lines on standard error, and progress.
pub struct Events {
    verbosity: Verbosity,
    steps_from: Verbosity,
    progress: Mutex<Progress>,
}

impl Events {
    /// `steps_from` is the verbosity from which on steps are shown.
    pub fn new(verbosity: Verbosity, steps_from: Verbosity) -> Self {
        Self {
            verbosity,
            steps_from,
            progress: Mutex::new(Progress::new()),
        }
    }
}

impl Observer for Events {
    fn event(&self, event: &Event) {
        if self.verbosity == Verbosity::Quiet {
            return;
        }
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        for line in progress.event(event) {
            complain(&format!("progress: {line}\n"));
        }
        let (from, text) = line(event, self.steps_from);
        if self.verbosity >= from && !text.is_empty() {
            progress.aside(|| complain(&format!("{text}\n")));
        }
    }
}

/// From which verbosity on the event is shown, and how; an empty text if it is
/// not.
fn line(event: &Event, steps_from: Verbosity) -> (Verbosity, String) {
    match event {
        Event::Connected {
            peer,
            program,
            node,
        } => (
            Verbosity::Steps,
            format!("{peer}: connected to {program} on {node}"),
        ),
        Event::Widened {
            peer,
            connections,
            round_trip_milliseconds,
        } => (
            Verbosity::Steps,
            format!("{peer}: {connections} connections, {round_trip_milliseconds} ms apart"),
        ),
        Event::ConnectionsInUse { peer, connections } => (
            Verbosity::Steps,
            format!("{peer}: connections in use: {connections}"),
        ),
        Event::Workers { peer, workers } => (
            Verbosity::Steps,
            format!("{peer}: up to {workers} workers for a large transfer"),
        ),
        Event::AtOnce { peer, at_once } => (
            Verbosity::Steps,
            format!("{peer}: up to {at_once} transfers at the same time"),
        ),
        Event::Step { peer, command } => (steps_from, format!("{peer}: {command}")),
        Event::StateWritten {
            peer,
            resource,
            file,
            guid,
        } => {
            let place = file.as_ref().map(|file| format!(" in {}", file.display()));
            let guid = guid.map(|guid| format!(": guid {guid}"));
            let (place, guid) = (place.unwrap_or_default(), guid.unwrap_or_default());
            let text = format!("{peer}: state of {resource} written{place}{guid}");
            (steps_from, text)
        }
        Event::TransferStarted {
            snapshot,
            target,
            estimated_bytes,
            resumed_bytes,
            ..
        } => {
            let about = HumanBytes(*estimated_bytes);
            match resumed_bytes {
                None => (
                    Verbosity::Everything,
                    format!("{snapshot} -> {target}: about {about}"),
                ),
                // Somebody may wonder why so little is sent.
                Some(bytes) => (
                    Verbosity::Steps,
                    format!(
                        "{snapshot} -> {target}: goes on after {}, about {about} left",
                        HumanBytes(*bytes)
                    ),
                ),
            }
        }
        Event::TransferDone {
            snapshot,
            target,
            guid,
            raw_bytes,
            wire_bytes,
            came_to,
            milliseconds,
            ..
        } => {
            let time = Duration::from_millis(*milliseconds);
            let amount = amount(*raw_bytes, *wire_bytes, time);
            let came_to = match came_to {
                Some(Compression::Level(level)) => format!(", zstd {level} at last"),
                Some(Compression::Off) => ", stored at last".to_owned(),
                Some(Compression::Adaptive) | None => String::new(),
            };
            (
                Verbosity::Steps,
                format!("{snapshot} -> {target}: guid {guid}, {amount}{came_to}"),
            )
        }
        Event::UpToDate { snapshot, target } => (
            Verbosity::Steps,
            format!("{target} is up to date with {snapshot}"),
        ),
        Event::SkippedWithoutSnapshot { dataset } => (
            Verbosity::Normal,
            format!("note: {dataset} has no such snapshot and is left out"),
        ),
        Event::OnlyOnTarget { dataset } => (
            Verbosity::Normal,
            format!("note: {dataset} exists on the target alone and is left as it is"),
        ),
        Event::NameTaken { snapshot } => (
            Verbosity::Normal,
            format!(
                "note: {snapshot} is not carried: the target has another snapshot of that name"
            ),
        ),
        Event::CloneSentWhole { dataset, origin } => (
            Verbosity::Normal,
            format!("note: {dataset} is a clone of {origin} and becomes a dataset of its own"),
        ),
        Event::PropertiesRefused { dataset, refused } => {
            let list: Vec<String> = refused
                .iter()
                .map(|refusal| format!("{} ({})", refusal.name, refusal.kind))
                .collect();
            let list = list.join(", ");
            let text = format!("note: {dataset} did not take these properties: {list}");
            (Verbosity::Normal, text)
        }
        Event::PartialDiscarded {
            peer,
            dataset,
            received_bytes,
            reason,
            ..
        } => {
            let text = format!(
                "note: {peer}: {} that a cut receive had left in {dataset} were given up: {}",
                HumanBytes(*received_bytes),
                reason.text()
            );
            (Verbosity::Normal, text)
        }
        Event::RolledBack {
            peer,
            to,
            lost_bytes,
            snapshots,
        } => {
            let names: Vec<String> = snapshots.iter().map(|s| format!("@{}", s.short)).collect();
            let destroyed = match names.as_slice() {
                [] => String::new(),
                names => format!(", and {} destroyed", names.join(", ")),
            };
            let text = format!(
                "note: {peer}: {} was rolled back to @{}: {} written since were given up{destroyed}",
                to.dataset,
                to.short,
                HumanBytes(*lost_bytes)
            );
            (Verbosity::Normal, text)
        }
        Event::Retrying {
            peer,
            error,
            attempt,
            wait_ms,
        } => (
            Verbosity::Normal,
            format!(
                "note: {peer}: attempt {attempt} failed, trying again in {:.1} s: {error}",
                Duration::from_millis(*wait_ms).as_secs_f64()
            ),
        ),
        Event::Notice { peer, text } => (Verbosity::Normal, format!("note: {peer}: {text}")),
        // Progress shows it; an event of a later engine shows nothing.
        _ => (Verbosity::Everything, String::new()),
    }
}

/// `error: …`, the causes, `state: …`, `next: …`, one line each.
pub fn failure(failure: &Failure) -> String {
    let mut text = format!("error: {}\n", failure.message);
    for cause in &failure.causes {
        text += &format!("  because: {cause}\n");
    }
    if let Some(state) = &failure.state_left {
        text += &format!("state: {state}\n");
    }
    for remedy in &failure.remedies {
        text += &format!("next: {remedy}\n");
    }
    text
}

/// Bytes, time and rate of a transfer.
pub fn amount(raw_bytes: u64, wire_bytes: u64, time: Duration) -> String {
    let mut text = HumanBytes(raw_bytes).to_string();
    // The difference is worth a word if compression did something.
    if wire_bytes < raw_bytes {
        text += &format!(" ({} on the wire)", HumanBytes(wire_bytes));
    }
    text += &format!(" in {}", seconds(time));
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if let Some(rate) = raw_bytes.saturating_mul(1000).checked_div(milliseconds) {
        text += &format!(", {}/s", HumanBytes(rate));
    }
    text
}

/// `0.3 s`, `42 s`, `3m7s`.
pub fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(10) {
        format!("{:.1} s", time.as_secs_f64())
    } else if time < Duration::from_secs(60) {
        format!("{} s", time.as_secs())
    } else {
        engine::sync::config::duration_text(time)
    }
}

#[cfg(test)]
mod tests {
    use engine::error::Family;
    use engine::name::{Guid, SnapshotName};

    use super::*;

    #[test]
    fn an_error_shows_causes_state_and_ways_out_in_this_order() {
        let error = Failure {
            causes: vec!["the pool is full".into()],
            state_left: Some("nothing was changed".into()),
            ..Failure::new(Family::Failed, "tank/a was not received").remedy("free some space")
        };
        assert_eq!(
            failure(&error),
            "error: tank/a was not received\n  because: the pool is full\n\
             state: nothing was changed\nnext: free some space\n"
        );
    }

    #[test]
    fn a_transfer_shows_bytes_time_and_rate() {
        let text = amount(4 << 20, 1 << 20, Duration::from_secs(2));
        assert_eq!(text, "4.00 MiB (1.00 MiB on the wire) in 2.0 s, 2.00 MiB/s");
        assert_eq!(amount(0, 64, Duration::ZERO), "0 B in 0.0 s");
        assert_eq!(seconds(Duration::from_secs(59)), "59 s");
        assert_eq!(seconds(Duration::from_secs(187)), "3m7s");
    }

    #[test]
    fn what_compression_came_to_is_said_with_the_transfer() {
        let done = |came_to| Event::TransferDone {
            peer: "beta".to_owned(),
            snapshot: SnapshotName::parse("tank/a@x").unwrap(),
            target: SnapshotName::parse("backup/a@x").unwrap(),
            guid: Guid(1),
            raw_bytes: 1 << 20,
            wire_bytes: 1 << 20,
            came_to,
            milliseconds: 1000,
        };
        let said = |came_to| line(&done(came_to), Verbosity::Steps).1;
        let unsaid = said(None);
        for (came_to, words) in [
            (Compression::Level(-3), ", zstd -3 at last"),
            (Compression::Off, ", stored at last"),
        ] {
            assert_eq!(said(Some(came_to)), format!("{unsaid}{words}"));
        }
    }

    #[test]
    fn connections_are_told_with_the_steps() {
        let peer = || "beta".to_owned();
        let opened = Event::Widened {
            peer: peer(),
            connections: 8,
            round_trip_milliseconds: 50,
        };
        let used = Event::ConnectionsInUse {
            peer: peer(),
            connections: 1,
        };
        for (event, text) in [
            (opened, "beta: 8 connections, 50 ms apart"),
            (used, "beta: connections in use: 1"),
        ] {
            assert_eq!(
                line(&event, Verbosity::Normal),
                (Verbosity::Steps, text.to_owned())
            );
        }
    }

    #[test]
    fn a_step_reads_like_a_prompt_and_is_shown_from_where_it_is_wanted() {
        let step = Event::Step {
            peer: "n1".into(),
            command: "zfs snapshot tank/a@tosend".into(),
        };
        let (from, text) = line(&step, Verbosity::Normal);
        assert_eq!(
            (from, text.as_str()),
            (Verbosity::Normal, "n1: zfs snapshot tank/a@tosend")
        );
        assert_eq!(line(&step, Verbosity::Steps).0, Verbosity::Steps);
    }
}
