//! The way out of a conflict: what to type, and on which machine.

use std::fmt;

use super::conflict::Conflict;
use crate::name::DatasetName;

/// The machines of a run, as messages name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hosts<'a> {
    /// That of the source.
    pub source: &'a str,
    /// That of the target.
    pub target: &'a str,
}

/// A name as a shell takes it.
pub(super) fn word(name: &impl fmt::Display) -> String {
    let name = name.to_string();
    shell_words::quote(&name).into_owned()
}

impl Conflict {
    /// What to do about it, with the command to type and the machine where.
    #[must_use]
    pub fn remedy(&self, on: Hosts<'_>) -> String {
        let Hosts {
            source: here,
            target: there,
        } = on;
        match self {
            Self::NoCommonBase { target, .. }
            | Self::UnknownToSource { target, .. }
            | Self::OtherKind { target, .. } => format!(
                "to keep what is there and send everything, run the same command again with \
                 --archive-target ({FULL_OF_A_SERVICE}); or by hand on {there}: {}",
                moved_away(target)
            ),
            Self::Renamed {
                target,
                at,
                is_in_the_way: false,
                ..
            } => format!(
                "to leave it there and send everything, run the same command again with \
                 --archive-target ({FULL_OF_A_SERVICE}); or give it its name back on {there}: \
                 zfs rename {} {}",
                word(at),
                word(target)
            ),
            Self::Renamed { target, at, .. } => format!(
                "move what has its name away and give it that back, on {there}: {} && \
                 zfs rename {} {}",
                moved_away(target),
                word(at),
                word(target)
            ),
            Self::CloneOfCopy { target, of, .. } => format!(
                "to make {of} and all before it snapshots of {target}, on {there}: zfs promote {0} \
                 (see first what else depends on them: zfs list -r -t all -o name,origin,clones \
                 {1}); to keep all as it is and send everything, run the same command again with \
                 --archive-target ({FULL_OF_A_SERVICE})",
                word(target),
                word(&of.dataset)
            ),
            Self::SourceRenamed { origin, at, .. } => format!(
                "send {at} instead, or give it its name back on {here}: {} && zfs rename {} {}",
                moved_away(origin),
                word(at),
                word(origin)
            ),
            Self::Modified { target, base, .. } => format!(
                "if these changes may be lost, run the same command again with --rollback, or on \
                 {there}: zfs rollback {}; then keep it unchanged: zfs set readonly=on {}",
                word(base),
                word(target)
            ),
            Self::Diverged { target, base, .. } => format!(
                "see what is there, on {there}: zfs list -t snapshot,bookmark \
                 -o name,guid,written {0}; if all after {base} may be lost, run the same command \
                 again with --destroy-newer-snapshots; to keep it, with --archive-target \
                 ({FULL_OF_A_SERVICE})",
                word(target)
            ),
            Self::Kept {
                snapshot,
                clones: 0,
                ..
            } => format!(
                "see who holds it, and ask, on {there}: zfs holds {}",
                word(snapshot)
            ),
            Self::Kept { snapshot, .. } => format!(
                "see what depends on it, on {there}: zfs get clones {}",
                word(snapshot)
            ),
            Self::Ahead { newer, .. } => {
                format!("send a snapshot that is newer than {newer}")
            }
            Self::NameTaken { snapshot, .. } => format!(
                "rename it on {there}: zfs rename {} {}",
                word(snapshot),
                word(&format!("{snapshot}.other"))
            ),
            Self::PartialReceive { left } => left.remedy(there),
            Self::SameDataset { .. } => "name another dataset as target".to_owned(),
            Self::MixedModes { there: "raw", .. } => "use --raw, as before".to_owned(),
            Self::MixedModes { .. } => "leave --raw out, as before".to_owned(),
            Self::IvsetMismatch {
                target,
                raw_until: Some(last),
                ..
            } => format!(
                "leave --raw out; or, if what came after {last} may be sent again, on {there}: \
                 zfs rollback -r {}; or keep what is there and send everything: \
                 --archive-target ({FULL_OF_A_SERVICE}); see the guids there: \
                 zfs get -t snapshot -d 1 guid,ivsetguid {}",
                word(last),
                word(target)
            ),
            Self::IvsetMismatch { target, .. } => format!(
                "to keep what is there and send everything, run the same command again with \
                 --archive-target ({FULL_OF_A_SERVICE}); see the guids, on {there}: \
                 zfs get -t snapshot -d 1 guid,ivsetguid {}",
                word(target)
            ),
            Self::EncryptionRoot { target, root, .. } => format!(
                "give it a key of its own, in place of which the stream puts that of the source, \
                 on {there}: zfs change-key -o keyformat=passphrase -o keylocation=prompt {} (the \
                 key that it has by now must be loaded: zfs load-key {}); or, if {root} is the \
                 copy of the source's encryption root, send that with all below it (-r)",
                word(target),
                word(root)
            ),
            Self::TargetKeyNotLoaded { root, .. } => {
                format!("load the key, on {there}: zfs load-key {}", word(root))
            }
            Self::KeyNotLoaded { origin } => format!(
                "use --raw, or load the key on {here}: zfs load-key {}",
                word(origin)
            ),
            Self::NoSuchSnapshot { origin, .. } => format!(
                "see what there is on {here}: zfs list -t snapshot {}",
                word(origin)
            ),
        }
    }
}

/// What archiving is for a configured service.
const FULL_OF_A_SERVICE: &str = "for a service: zferry sync full SERVICE";

fn moved_away(dataset: &DatasetName) -> String {
    format!(
        "zfs rename {} {}",
        word(dataset),
        word(&format!("{dataset}.old"))
    )
}
