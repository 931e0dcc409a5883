//! The worker's side of the conversation: a thread per call, and an end.
//!
//! The worker lives as long as its control socket. When the client closes it,
//! or is killed, a thread that does nothing else kills this process at once:
//! whatever libzpool's threads are doing, whatever lock they wait for. The
//! parent-death signal of Linux would not do: it is bound to the thread that
//! started the worker. What was not synced is as after a power cut.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::Signal;
use userland::EXIT_PROTOCOL;
use userland::protocol::{
    Answer, Call, Fault, Outcome, PROTOCOL, Start, StartFault, Started, Taken,
};
use userland::wire::{self, Forever, WireError};

use super::give_up;
use super::zpool::Zpool;

/// Opens the pool and serves calls until the client has gone.
pub fn serve(control: UnixStream) -> ExitCode {
    // A bug of ours must not leave a call without an end.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    match conversation(&control) {
        Ok(never) => never,
        Err(WireError::Closed) => die(),
        Err(error) => give_up(EXIT_PROTOCOL, &format!("the client broke off: {error}")),
    }
}

fn conversation(control: &UnixStream) -> Result<ExitCode, WireError> {
    let (start, image) = wire::receive::<Start>(control, &mut Forever)?;
    let tether = control
        .try_clone()
        .map_err(|_| WireError::Io(Errno::MFILE))?;
    spawn("tether", move || hold_on_to(&tether));

    let opened = check(&start, image.as_ref()).and_then(|()| Zpool::start(&start));
    let (zpool, pool_guid) = match opened {
        Ok(opened) => opened,
        Err(fault) => {
            wire::send(control, &Started::Refused(fault), None, &mut Forever)?;
            std::process::exit(0);
        }
    };
    let ready = Started::Ready {
        version: zpool.version(),
        pool_guid,
    };
    wire::send(control, &ready, None, &mut Forever)?;

    let zpool = Arc::new(zpool);
    loop {
        let ((), call) = wire::receive(control, &mut Forever)?;
        let call = UnixStream::from(call.ok_or(WireError::Closed)?);
        let zpool = Arc::clone(&zpool);
        // How many there are at once is bounded by the client.
        spawn("call", move || {
            // A client that gave a call up does not want to hear of it.
            let _ = answer(&zpool, &call);
        });
    }
}

/// The image that is locked has to be the one that will be opened.
fn check(start: &Start, image: Option<&OwnedFd>) -> Result<(), StartFault> {
    if start.protocol != PROTOCOL {
        return Err(StartFault::Protocol(PROTOCOL));
    }
    let fault = |errno: Errno| StartFault::Errno {
        step: "compare the locked image with the one at its path".to_owned(),
        errno: errno.raw_os_error(),
    };
    let image = image.ok_or(fault(Errno::BADF))?;
    let locked = rustix::fs::fstat(image).map_err(fault)?;
    let found = fs::metadata(&start.image)
        .map_err(|error| fault(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    if (locked.st_dev, locked.st_ino) == (found.dev(), found.ino()) {
        Ok(())
    } else {
        Err(fault(Errno::STALE))
    }
}

fn answer(zpool: &Zpool, socket: &UnixStream) -> Result<(), WireError> {
    let (call, descriptor) = wire::receive::<Call>(socket, &mut Forever)?;
    let thread = rustix::thread::gettid().as_raw_nonzero().get();
    let taken = Taken {
        thread: u32::try_from(thread).expect("thread numbers are positive"),
    };
    wire::send(socket, &taken, None, &mut Forever)?;
    let ends = call == Call::Export;
    let outcome = zpool.carry_out(call, descriptor);
    let ends = ends && outcome == Outcome::Answer(Answer::Done);
    match wire::send(socket, &outcome, None, &mut Forever) {
        Err(WireError::TooLong(_)) => {
            let fault = Outcome::Fault(Fault {
                errno: Errno::MSGSIZE.raw_os_error(),
                items: Vec::new(),
                detail: "the answer is longer than a message may be".to_owned(),
            });
            wire::send(socket, &fault, None, &mut Forever)?;
        }
        sent => sent?,
    }
    if ends {
        std::process::exit(0);
    }
    Ok(())
}

/// Waits for the client's end, and makes it this process' end.
fn hold_on_to(control: &UnixStream) {
    loop {
        // Data is read elsewhere; an end is reported without being asked for.
        let mut ends = [PollFd::from_borrowed_fd(
            control.as_fd(),
            PollFlags::empty(),
        )];
        match rustix::event::poll(&mut ends, None) {
            Ok(_)
                if ends[0]
                    .revents()
                    .intersects(PollFlags::HUP | PollFlags::ERR) =>
            {
                die()
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => die(),
        }
    }
}

/// Ends the process without any of the library's last acts, which could wait
/// for the very thread that hangs.
fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    std::process::abort()
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    let spawned: io::Result<_> = thread::Builder::new().name(name.to_owned()).spawn(work);
    if let Err(error) = spawned {
        // The client learns from the exit code and these words.
        let _ = give_up(EXIT_PROTOCOL, &format!("cannot start a thread: {error}"));
        std::process::exit(i32::from(EXIT_PROTOCOL));
    }
}
