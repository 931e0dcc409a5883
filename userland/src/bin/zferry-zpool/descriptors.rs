//! What the worker has open: the control socket, standard error, and nothing
//! that its client happened to leave open.
//!
//! An inherited write end of a pipe would keep somebody else's stream from ever
//! ending.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};

/// The first descriptor after the standard ones.
const FIRST: RawFd = 3;

/// Takes the control socket from standard input, which becomes `/dev/null` as
/// standard output does, and closes everything else above standard error.
/// `None` if standard input is no such socket.
pub fn take_control() -> io::Result<Option<UnixStream>> {
    // First: later there would be descriptors of this process among them.
    close_inherited()?;
    let stdin = io::stdin();
    let is_control = rustix::net::sockopt::socket_domain(&stdin) == Ok(AddressFamily::UNIX)
        && rustix::net::sockopt::socket_type(&stdin) == Ok(SocketType::STREAM);
    if !is_control {
        return Ok(None);
    }
    let control: OwnedFd = rustix::io::fcntl_dupfd_cloexec(stdin.as_fd(), FIRST)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(Some(control.into()))
}

fn close_inherited() -> io::Result<()> {
    let mut inherited: Vec<RawFd> = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let number: Option<RawFd> = name.to_str().and_then(|name| name.parse().ok());
        inherited.extend(number.filter(|number| *number >= FIRST));
    }
    // The listing itself was one of them, and is closed by now.
    for number in inherited {
        if is_open(number)? {
            // SAFETY: this runs first in `main`, on the only thread: whatever is
            // open above standard error was inherited and has no owner here.
            unsafe { rustix::io::close(number) };
        }
    }
    Ok(())
}

fn is_open(number: RawFd) -> io::Result<bool> {
    debug_assert!(number >= io::stderr().as_raw_fd());
    match rustix::fs::readlink(format!("/proc/self/fd/{number}"), Vec::new()) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
