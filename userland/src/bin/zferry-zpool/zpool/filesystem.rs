//! New file systems, as a kernel makes them.
//!
//! libzpool has no ZPL: it cannot write what a file system begins with, its
//! master node and root directory. A kernel has written it once, and
//! `empty-filesystem.zs` is the stream of that: every new file system is
//! received from it, and a kernel that imports the image mounts it like any.
//!
//! Recorded with the oldest OpenZFS that we know, 2.1.11, so that all know it:
//! `zfs create -o canmount=off tank/empty; zfs snapshot tank/empty@empty; zfs
//! send tank/empty@empty`.

use std::io::{PipeReader, PipeWriter, Write};
use std::thread;

use rustix::io::Errno;
use userland::protocol::{Fault, Property, ReceiveRequest};

use super::arguments::{done, fault, text};
use super::{dataset, snapshot, stream, sys};

/// Its first record is what a receive begins with.
const EMPTY: &[u8] = include_bytes!("empty-filesystem.zs");
/// Length of that record, bytes.
const BEGIN_BYTES: usize = 312;
/// The snapshot that a receive brings with it, and which is destroyed again.
const BROUGHT: &str = "zferry-empty";

/// Creates an empty file system with these local properties. Nothing is left if
/// one is refused.
///
/// A crash midway leaves nothing, or the file system with its properties and
/// the snapshot `@zferry-empty`, which is of no use and does no harm.
pub fn create(name: &str, properties: &[Property]) -> Result<(), Fault> {
    let checked = text(name)?;
    // SAFETY: the name outlives the call.
    done(unsafe { sys::zs_check_dataset(checked.as_ptr()) })?;
    let request = ReceiveRequest {
        snapshot: format!("{name}@{BROUGHT}"),
        begin: EMPTY[..BEGIN_BYTES].to_vec(),
        origin: None,
        resumable: false,
        received: Vec::new(),
        local: properties.to_vec(),
    };
    let refused = receive(&request)?;
    let brought = [request.snapshot];
    snapshot::destroy(&brought)?;
    let Some((_, errno)) = refused.first() else {
        return Ok(());
    };
    let errno = *errno;
    dataset::destroy(name)?;
    Err(Fault {
        errno,
        items: refused,
        detail: String::new(),
    })
}

fn receive(request: &ReceiveRequest) -> Result<Vec<(String, i32)>, Fault> {
    let (reader, writer): (PipeReader, PipeWriter) = std::io::pipe().map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::MFILE);
        fault(errno.raw_os_error(), "no pipe for the empty file system")
    })?;
    thread::scope(|scope| {
        // A pipe may be as small as a page.
        scope.spawn(move || {
            let mut writer = writer;
            // A receive that fails says why itself.
            let _ = writer.write_all(&EMPTY[BEGIN_BYTES..]);
        });
        let from = reader.into();
        let received = stream::receive(request, &from);
        // Ends the writer, if the receive did not read everything.
        drop(from);
        received
    })
}
