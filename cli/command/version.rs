//! `zferry --version`: this program, the protocol it speaks, and the ZFS it
//! finds. Never fails for want of ZFS.

use engine::protocol::hello::VERSIONS;

use crate::environment::PROGRAM;

/// The text.
pub fn text() -> String {
    format!("{PROGRAM}\nprotocol {VERSIONS}\n{}\n", zfs())
}

fn zfs() -> String {
    engine::zfs::kernel::version().unwrap_or_else(|missing| format!("no usable ZFS: {missing}"))
}
