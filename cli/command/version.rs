//! `zferry --version`: this program, the protocol it speaks, and the ZFS it
//! finds. Never fails for want of ZFS.

use engine::protocol::hello::VERSIONS;

use crate::environment::PROGRAM;

/// The text.
pub fn text() -> String {
    format!("{PROGRAM}\nprotocol {VERSIONS}\n{}\n", zfs())
}

fn zfs() -> String {
    let version = libzfs::with_handle(|handle| Ok::<_, libzfs::Error>(handle.version()));
    match version {
        Ok(Some(version)) => format!("{}, {}", version.userland, version.kernel),
        Ok(None) => "ZFS of this system".to_owned(),
        Err(missing) => format!("no usable ZFS: {missing}"),
    }
}
