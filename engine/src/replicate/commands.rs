//! Steps as zfs(8) would be told to do them, for the log.

use crate::name::{DatasetName, ShortName};
use crate::plan::{DatasetPlan, Discard, Step};
use crate::zfs::{Base, Scope, SendMode};

/// Taking a snapshot.
pub(crate) fn snapshot_command(root: &DatasetName, short: &ShortName, scope: Scope) -> String {
    let recursive = if scope == Scope::Recursive { "-r " } else { "" };
    format!("zfs snapshot {recursive}{root}@{short}")
}

/// Giving up what a cut receive left.
pub(crate) fn discard_command(discard: &Discard) -> String {
    let of = match (&discard.to_name, discard.to_guid) {
        (Some(name), _) => format!(" of {name}"),
        (None, Some(guid)) => format!(" of a snapshot with guid {guid}"),
        (None, None) => String::new(),
    };
    format!(
        "zfs receive -A {}, which gives up {} bytes{of}",
        discard.dataset, discard.received_bytes
    )
}

/// The base of a stream, without its dataset.
pub(super) fn base_text(step: &DatasetPlan) -> Option<String> {
    step.step.base().map(|(base, _)| match base {
        Base::Snapshot(name) => format!("@{}", name.short),
        Base::Bookmark(short) => format!("#{short}"),
    })
}

/// Sending a stream.
pub(crate) fn send_command(step: &DatasetPlan) -> String {
    let flags = match step.mode {
        SendMode::Plain => "-Lc",
        SendMode::Raw => "-w",
    };
    if let Step::Resume { received_bytes, .. } = step.step {
        return format!(
            "zfs send -t TOKEN, the rest of {} after {received_bytes} bytes",
            step.snapshot
        );
    }
    match base_text(step) {
        Some(base) => format!("zfs send {flags} -i {base} {}", step.snapshot),
        None => format!("zfs send {flags} {}", step.snapshot),
    }
}
