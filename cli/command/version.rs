//! `zferry --version`: this program, the protocol it speaks, and the ZFS it
//! finds, in the kernel and in user space. Never fails for want of ZFS.

use engine::protocol::hello::VERSIONS;

use crate::environment::PROGRAM;
use crate::zfs;

/// The text.
pub fn text() -> String {
    format!(
        "{PROGRAM}\nprotocol {VERSIONS}\n{}\n{}\n",
        kernel(),
        user_space()
    )
}

fn kernel() -> String {
    engine::zfs::kernel::version().unwrap_or_else(|missing| format!("no usable ZFS: {missing}"))
}

fn user_space() -> String {
    match engine::zfs::userland::version(&zfs::worker()) {
        Ok(version) => format!("pools in files: {version} in user space"),
        Err(missing) => format!("no ZFS in user space: {}", missing.detail),
    }
}
