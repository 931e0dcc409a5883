//! What a machine was asked to do, in the words of zfs(8).
//!
//! Tests compare the order of commits with it. The texts say what happened;
//! where zfs(8) needs several commands for one call of the libraries (holds,
//! or destroys in several datasets), one text names all objects.

use std::fmt::Display;
use std::path::Path;

use super::bookmarks::bookmark_name;
use crate::hold::HoldTag;
use crate::name::{BookmarkName, DatasetName, ShortName, SnapshotName};
use crate::zfs::ZfsErrorKind;
use crate::zfs::{
    Base, DatasetKind, Landing, NewBookmark, OnCut, ReceiveRequest, Scope, SendMode, SendRequest,
};

/// Whether an operation leaves a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It changes something or moves data.
    Act,
    /// It reads.
    Look,
}

/// One operation that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Its number, as the fault schedule counts; `None` for the release of
    /// temporary holds, which is no call and cannot fail.
    pub number: Option<u64>,
    /// The equivalent command.
    pub command: String,
    /// Whether it was one that only reads.
    pub effect: Effect,
    /// How it ended, whether or not a crash kept the caller from hearing it.
    pub outcome: Result<(), ZfsErrorKind>,
}

/// A call of the trait: the words for its errors and its line in the log.
#[derive(Debug)]
pub(super) struct Call {
    /// As in "cannot … tank/a@s".
    pub(super) operation: &'static str,
    pub(super) object: String,
    pub(super) command: String,
    pub(super) effect: Effect,
}

fn list<T: Display>(names: &[T]) -> String {
    let texts: Vec<_> = names.iter().map(T::to_string).collect();
    texts.join(" ")
}

impl Call {
    fn act(operation: &'static str, object: impl Display, command: String) -> Self {
        Self {
            operation,
            object: object.to_string(),
            command,
            effect: Effect::Act,
        }
    }

    fn look(operation: &'static str, object: impl Display, command: String) -> Self {
        Self {
            effect: Effect::Look,
            ..Self::act(operation, object, command)
        }
    }

    /// What an operator does at the machine; not logged, but it fails in words.
    pub(super) fn by_hand(operation: &'static str, object: impl Display) -> Self {
        Self::act(operation, object, String::new())
    }

    pub(super) fn tree(root: &DatasetName, scope: Scope) -> Self {
        let command = match scope {
            Scope::One => format!("zfs list -t all {root}"),
            Scope::Recursive => format!("zfs list -t all -r {root}"),
        };
        Self::look("list", root, command)
    }

    pub(super) fn snapshot_guids(names: &[SnapshotName]) -> Self {
        let names = list(names);
        let command = format!("zfs get guid {names}");
        Self::look("look up", names, command)
    }

    pub(super) fn create_ancestors(dataset: &DatasetName) -> Self {
        // The command would be given the parent; a pool has none.
        let parent = dataset.parent().unwrap_or_else(|| dataset.clone());
        let command = format!("zfs create -p -o canmount=off {parent}");
        Self::act("create the ancestors of", dataset, command)
    }

    pub(super) fn snapshot(names: &[SnapshotName]) -> Self {
        let command = format!("zfs snapshot {}", list(names));
        Self::act("take a snapshot", list(names), command)
    }

    pub(super) fn destroy(names: &[SnapshotName]) -> Self {
        let command = format!("zfs destroy {}", list(names));
        Self::act("destroy", list(names), command)
    }

    pub(super) fn rename(from: &SnapshotName, to: &ShortName, scope: Scope) -> Self {
        let flag = match scope {
            Scope::One => "",
            Scope::Recursive => "-r ",
        };
        Self::act("rename", from, format!("zfs rename {flag}{from} @{to}"))
    }

    pub(super) fn rename_dataset(from: &DatasetName, to: &DatasetName) -> Self {
        Self::act("rename", from, format!("zfs rename {from} {to}"))
    }

    pub(super) fn destroy_dataset(name: &DatasetName) -> Self {
        Self::act("destroy", name, format!("zfs destroy {name}"))
    }

    pub(super) fn discard_partial(dataset: &DatasetName) -> Self {
        let operation = crate::zfs::left::OPERATION;
        Self::act(operation, dataset, format!("zfs receive -A {dataset}"))
    }

    pub(super) fn available(dataset: &DatasetName) -> Self {
        let command = format!("zfs get available {dataset}");
        Self::look("examine", dataset, command)
    }

    pub(super) fn bookmark(marks: &[NewBookmark]) -> Self {
        let texts: Vec<_> = marks
            .iter()
            .map(|mark| format!("{} #{}", mark.of, mark.short))
            .collect();
        let names: Vec<_> = marks.iter().map(bookmark_name).collect();
        let command = format!("zfs bookmark {}", texts.join(" "));
        Self::act("make the bookmark", list(&names), command)
    }

    pub(super) fn destroy_bookmarks(names: &[BookmarkName]) -> Self {
        let command = format!("zfs destroy {}", list(names));
        Self::act("destroy", list(names), command)
    }

    pub(super) fn hold(names: &[SnapshotName]) -> Self {
        let command = format!("zfs hold TEMPORARY {}", list(names));
        Self::act("hold", list(names), command)
    }

    pub(super) fn release(names: &[SnapshotName]) -> Self {
        let command = format!("zfs release TEMPORARY {}", list(names));
        Self::act("release", list(names), command)
    }

    pub(super) fn hold_kept(names: &[SnapshotName], tag: &HoldTag) -> Self {
        let command = format!("zfs hold {tag} {}", list(names));
        Self::act("hold", list(names), command)
    }

    pub(super) fn release_kept(names: &[SnapshotName], tag: &HoldTag) -> Self {
        let command = format!("zfs release {tag} {}", list(names));
        Self::act("release", list(names), command)
    }

    pub(super) fn holds(snapshot: &SnapshotName) -> Self {
        Self::look(
            "list the holds on",
            snapshot,
            format!("zfs holds {snapshot}"),
        )
    }

    pub(super) fn mounted_at(path: &Path) -> Self {
        let command = format!("findmnt -t zfs {}", path.display());
        Self::look("find what is mounted at", path.display(), command)
    }

    pub(super) fn rollback(to: &SnapshotName) -> Self {
        Self::act("roll back to", to, format!("zfs rollback {to}"))
    }

    pub(super) fn send_size(request: &SendRequest) -> Self {
        let command = send_command(request, " -nP");
        Self::look("estimate the size of", &request.snapshot, command)
    }

    pub(super) fn send(request: &SendRequest) -> Self {
        Self::act("send", &request.snapshot, send_command(request, ""))
    }

    pub(super) fn receive(request: &ReceiveRequest) -> Self {
        let landing = match (request.landing, request.kind) {
            (Landing::Create, DatasetKind::Filesystem) => " -o canmount=noauto",
            _ => "",
        };
        let keep = match request.on_cut {
            OnCut::Discard => "",
            OnCut::Keep => " -s",
        };
        Self::act(
            "receive",
            &request.snapshot,
            format!("zfs receive -u{keep}{landing} {}", request.snapshot),
        )
    }
}

fn send_command(request: &SendRequest, flags: &str) -> String {
    let mode = match request.mode {
        SendMode::Plain => "-Lc",
        SendMode::Raw => "-w",
    };
    let resumed = match request.resume {
        None => "",
        Some(_) => " -t",
    };
    let base = match &request.base {
        None => String::new(),
        Some(Base::Snapshot(name)) => format!(" -i {name}"),
        Some(Base::Bookmark(short)) => format!(" -i #{short}"),
    };
    format!("zfs send{flags}{resumed} {mode}{base} {}", request.snapshot)
}
