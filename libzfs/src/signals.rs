//! Keeps signals away from a thread while it sends or receives.
//!
//! The kernel waits on the pipe interruptibly: a signal that is handled in
//! this thread ends the stream with EINTR, `SA_RESTART` or not. And a send
//! whose reader went away raises SIGPIPE, whose default ends the process.

use std::mem::MaybeUninit;
use std::ptr;

/// All signals are blocked in this thread until it is dropped.
///
/// A SIGPIPE that came in between is taken away, so that it does nothing
/// afterwards, whatever the process does with SIGPIPE.
pub(crate) struct SignalsBlocked {
    previous: libc::sigset_t,
    pipe_was_pending: bool,
    /// The mask belongs to this thread.
    _not_send: std::marker::PhantomData<*const ()>,
}

impl SignalsBlocked {
    pub(crate) fn new() -> Self {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigfillset initializes the set it is given.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        let mut previous = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `all` is initialized; the old mask is written to `previous`.
        let rc = unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), previous.as_mut_ptr())
        };
        assert_eq!(rc, 0, "SIG_SETMASK is a valid way to change the mask");
        Self {
            // SAFETY: pthread_sigmask succeeded, so it wrote the old mask.
            previous: unsafe { previous.assume_init() },
            pipe_was_pending: pipe_is_pending(),
            _not_send: std::marker::PhantomData,
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        if !self.pipe_was_pending && pipe_is_pending() {
            let pipe = only_pipe();
            let now = libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            // SAFETY: set and time are initialized; no info is asked for.
            unsafe { libc::sigtimedwait(&pipe, ptr::null_mut(), &now) };
        }
        // SAFETY: `previous` is the mask this thread had.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.previous, ptr::null_mut()) };
    }
}

fn only_pipe() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initializes the set it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialized by sigemptyset.
    let mut set = unsafe { set.assume_init() };
    // SAFETY: the set is initialized and SIGPIPE is a signal.
    unsafe { libc::sigaddset(&mut set, libc::SIGPIPE) };
    set
}

fn pipe_is_pending() -> bool {
    let mut pending = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigpending initializes the set it is given.
    unsafe { libc::sigpending(pending.as_mut_ptr()) };
    // SAFETY: initialized by sigpending.
    let pending = unsafe { pending.assume_init() };
    // SAFETY: the set is initialized and SIGPIPE is a signal.
    unsafe { libc::sigismember(&pending, libc::SIGPIPE) == 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(signal: i32) -> bool {
        let mut mask = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: with no new mask the current one is written.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), mask.as_mut_ptr()) };
        // SAFETY: written by pthread_sigmask.
        let mask = unsafe { mask.assume_init() };
        // SAFETY: the set is initialized.
        unsafe { libc::sigismember(&mask, signal) == 1 }
    }

    #[test]
    fn mask_is_restored_and_signals_are_blocked_in_between() {
        assert!(!blocked(libc::SIGTERM));
        let guard = SignalsBlocked::new();
        assert!(blocked(libc::SIGTERM));
        assert!(blocked(libc::SIGPIPE));
        drop(guard);
        assert!(!blocked(libc::SIGTERM));
    }

    #[test]
    fn broken_pipe_does_not_end_a_process_with_default_signals() {
        // SAFETY: sets a disposition; nothing else in these tests needs it.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let guard = SignalsBlocked::new();
        // SAFETY: raises a signal in this very thread.
        unsafe { libc::raise(libc::SIGPIPE) };
        assert!(pipe_is_pending());
        drop(guard);
        assert!(!pipe_is_pending(), "it would have ended this process");
        // SAFETY: as above; this is what Rust programs start with.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    }
}
