//! Whether a target has more than before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use crate::event::{Event, Observer};
use crate::name::{Guid, SnapshotName};

/// Passes events on, and notes those that show that a target has more than
/// before: a snapshot that arrived, or a part of one that has grown since the
/// attempt before.
pub struct Progress<'a> {
    observer: &'a dyn Observer,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Most bytes that had arrived of each snapshot when its transfer began.
    parts: BTreeMap<SnapshotName, u64>,
    arrived: BTreeSet<(SnapshotName, Guid)>,
    progressed: bool,
}

impl<'a> Progress<'a> {
    /// Of the attempts that tell `observer` what they do.
    #[must_use]
    pub fn new(observer: &'a dyn Observer) -> Self {
        Self {
            observer,
            seen: Mutex::default(),
        }
    }

    /// Whether there was progress since this was asked last.
    pub fn take(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut seen.progressed)
    }
}

impl Observer for Progress<'_> {
    fn event(&self, event: &Event) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::TransferDone { target, guid, .. } => {
                seen.parts.remove(target);
                seen.progressed |= seen.arrived.insert((target.clone(), *guid));
            }
            Event::TransferStarted {
                target,
                resumed_bytes,
                ..
            } => {
                let now = resumed_bytes.unwrap_or(0);
                let most = seen.parts.entry(target.clone()).or_default();
                let grown = now > *most;
                *most = now.max(*most);
                seen.progressed |= grown;
            }
            _ => {}
        }
        drop(seen);
        self.observer.event(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Waited;

    struct Silent;

    impl Observer for Silent {
        fn event(&self, _: &Event) {}
    }

    fn started(resumed_bytes: Option<u64>) -> Event {
        Event::TransferStarted {
            peer: "n2".to_owned(),
            snapshot: SnapshotName::parse("tank/a@x").unwrap(),
            target: SnapshotName::parse("backup/a@x").unwrap(),
            base: None,
            estimated_bytes: 100,
            resumed_bytes,
        }
    }

    #[test]
    fn progress_is_what_the_target_has_more_than_before_and_not_what_was_sent() {
        let progress = Progress::new(&Silent);
        let sent = Event::Progress {
            peer: "n2".to_owned(),
            snapshot: SnapshotName::parse("tank/a@x").unwrap(),
            target: SnapshotName::parse("backup/a@x").unwrap(),
            waited: Waited::default(),
            raw_bytes: 1 << 30,
            wire_bytes: 1 << 30,
        };
        for (resumed_bytes, expected) in [
            (None, false),
            (None, false),
            (Some(10), true),
            (Some(10), false),
            (Some(11), true),
            // What is lost and comes again is none.
            (None, false),
            (Some(11), false),
            (Some(12), true),
        ] {
            progress.event(&started(resumed_bytes));
            progress.event(&sent);
            assert_eq!(progress.take(), expected, "{resumed_bytes:?}");
        }
        for expected in [true, false] {
            progress.event(&Event::TransferDone {
                peer: "n2".to_owned(),
                snapshot: SnapshotName::parse("tank/a@x").unwrap(),
                target: SnapshotName::parse("backup/a@x").unwrap(),
                guid: Guid(1),
                raw_bytes: 1,
                wire_bytes: 1,
                came_to: None,
                milliseconds: 1,
            });
            assert_eq!(progress.take(), expected);
        }
    }
}
