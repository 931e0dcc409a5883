//! The worker: one process, one pool in one file.
//!
//! It is started by [`userland::Pool`] with the control socket as its standard
//! input, and is of no use by hand. It is the only part of zferry that is
//! linked to libzpool; built without, it says what is missing.

mod descriptors;
#[cfg(have_libzpool)]
mod serve;
#[cfg(have_libzpool)]
mod zpool;

use std::io::{self, Write};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit};

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some() {
        return usage();
    }
    // An assertion in libzpool would write its whole memory, pool data and all.
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = rustix::process::setrlimit(Resource::Core, none) {
        return give_up(
            userland::EXIT_USAGE,
            &format!("cannot forbid core dumps: {error}"),
        );
    }
    match descriptors::take_control() {
        Ok(Some(control)) => run(control),
        Ok(None) => usage(),
        Err(error) => give_up(userland::EXIT_USAGE, &format!("cannot begin: {error}")),
    }
}

#[cfg(have_libzpool)]
fn run(control: std::os::unix::net::UnixStream) -> ExitCode {
    serve::serve(control)
}

#[cfg(not(have_libzpool))]
fn run(_control: std::os::unix::net::UnixStream) -> ExitCode {
    give_up(
        userland::EXIT_UNUSABLE,
        "this zferry was built without libzpool: install its headers and library \
         (Debian: libzfslinux-dev), then build again",
    )
}

fn usage() -> ExitCode {
    give_up(
        userland::EXIT_USAGE,
        "zferry-zpool serves a pool image to zferry, which starts it when it needs it",
    )
}

/// Says why, on standard error: the client keeps the end of it.
fn give_up(code: u8, reason: &str) -> ExitCode {
    // If it cannot be said, the exit code remains.
    let _ = writeln!(io::stderr(), "{reason}");
    ExitCode::from(code)
}
