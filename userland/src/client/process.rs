//! One run of the worker's executable, from its start to its end.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use rustix::time::Timespec;

use super::error::Ended;

/// How much of what a worker wrote to standard error is kept: an assertion
/// with its stack.
const SAID_BYTES_MAX: usize = 8 << 10;
/// How long a worker that closed a call without an answer may need to end: it
/// tears down some gigabytes of cache at most.
const END_WAIT: Duration = Duration::from_secs(5);
/// How long a killed worker may need; more only if a disk does not answer.
const KILL_WAIT: Duration = Duration::from_secs(10);
/// After the end its last words are in the pipe already.
const SAID_WAIT: Duration = Duration::from_secs(1);

/// A worker process. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    child: Mutex<Child>,
    pid: Pid,
    handle: OwnedFd,
    control: Mutex<UnixStream>,
    said: Said,
    killed: AtomicBool,
}

/// How a worker ended, and its last words.
#[derive(Debug)]
pub(super) struct End {
    pub ended: Ended,
    pub said: String,
}

impl Process {
    /// Starts the executable. The control socket is its standard input: of
    /// what this process has open, it inherits nothing else. It is in a process
    /// group of its own, so the keys of a terminal reach only the client.
    pub fn start(path: &Path) -> io::Result<Self> {
        let (control, theirs) = UnixStream::pair()?;
        let mut child = Command::new(path)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .current_dir("/")
            .process_group(0)
            .spawn()?;
        let stderr = child.stderr.take().expect("it was asked for");
        let pid = Pid::from_child(&child);
        let ready = rustix::process::pidfd_open(pid, PidfdFlags::empty())
            .map_err(io::Error::from)
            .and_then(|handle| Ok((handle, Said::listen(stderr)?)));
        let (handle, said) = match ready {
            Ok(ready) => ready,
            Err(error) => {
                // It has not been told of any image yet.
                drop(control);
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        };
        Ok(Self {
            child: Mutex::new(child),
            pid,
            handle,
            control: Mutex::new(control),
            said,
            killed: AtomicBool::new(false),
        })
    }

    /// Its number.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The control socket, for one message at a time.
    pub fn control(&self) -> &Mutex<UnixStream> {
        &self.control
    }

    /// Whether it has ended, or is about to because it was killed.
    pub fn is_over(&self) -> bool {
        self.killed.load(Ordering::Acquire) || self.status(Duration::ZERO).is_some()
    }

    /// Makes sure that it ends, and tells how. `None` if it does not end even
    /// when killed: it is inside the kernel, which waits for a device.
    pub fn end(&self) -> Option<End> {
        if self.status(END_WAIT).is_none() {
            self.kill();
        }
        self.end_after_kill()
    }

    /// Kills it at once and tells how it ended; `None` as for [`Self::end`].
    pub fn kill_and_wait(&self) -> Option<End> {
        self.kill();
        self.end_after_kill()
    }

    /// Waits for an end it was asked for.
    pub fn wait(&self, limit: Duration) -> Option<End> {
        self.status(limit).map(|status| self.tell(status))
    }

    fn end_after_kill(&self) -> Option<End> {
        self.wait(KILL_WAIT)
    }

    fn tell(&self, status: ExitStatus) -> End {
        let ended = match Ended::of(status) {
            Ended::Signal(_) if self.killed.load(Ordering::Acquire) => Ended::Killed,
            ended => ended,
        };
        End {
            ended,
            said: self.said.tail(),
        }
    }

    fn kill(&self) {
        if self.status(Duration::ZERO).is_some() {
            return;
        }
        self.killed.store(true, Ordering::Release);
        // Fails only for a process that has ended.
        let _ = rustix::process::pidfd_send_signal(&self.handle, Signal::KILL);
    }

    /// Its exit status, once it has one.
    fn status(&self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).expect("limits are some seconds");
            let handle = PollFd::new(&self.handle, PollFlags::IN);
            match rustix::event::poll(&mut [handle], Some(&left)) {
                Ok(0) => return None,
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.try_wait().ok().flatten()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Reaps it too.
        let _ = self.kill_and_wait();
    }
}

/// Collects what a worker writes to standard error.
#[derive(Debug)]
struct Said {
    tail: Arc<Mutex<VecDeque<u8>>>,
    ended: Mutex<Receiver<()>>,
}

impl Said {
    fn listen(mut stderr: ChildStderr) -> io::Result<Self> {
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let (sender, ended) = mpsc::channel();
        let collected = Arc::clone(&tail);
        thread::Builder::new()
            .name("zpool-stderr".to_owned())
            .spawn(move || {
                let _until_the_end: mpsc::Sender<()> = sender;
                let mut room = [0; 1024];
                while let Ok(count @ 1..) = stderr.read(&mut room) {
                    let mut tail = collected.lock().unwrap_or_else(PoisonError::into_inner);
                    tail.extend(&room[..count]);
                    let surplus = tail.len().saturating_sub(SAID_BYTES_MAX);
                    tail.drain(..surplus);
                }
            })?;
        Ok(Self {
            tail,
            ended: Mutex::new(ended),
        })
    }

    /// For a worker that has ended.
    fn tail(&self) -> String {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing is ever sent: this returns when the thread has read all.
        let _ = ended.recv_timeout(SAID_WAIT);
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = tail.iter().copied().collect();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

/// Counters of the kernel for a process or thread.
pub(super) mod counters {
    use std::fs;

    use super::{Pid, Process};

    impl Process {
        /// Bytes it has read and written so far, from files and pipes alike.
        /// `None` if the system does not tell.
        pub fn moved_bytes(&self) -> Option<u64> {
            read(&format!("/proc/{}/io", raw(self.pid())))
        }

        /// The same for one of its threads.
        pub fn moved_bytes_of(&self, thread: u32) -> Option<u64> {
            read(&format!("/proc/{}/task/{thread}/io", raw(self.pid())))
        }
    }

    fn raw(pid: Pid) -> i32 {
        pid.as_raw_nonzero().get()
    }

    fn read(path: &str) -> Option<u64> {
        sum(&fs::read_to_string(path).ok()?)
    }

    fn sum(text: &str) -> Option<u64> {
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim().parse::<u64>().ok()
        };
        Some(field("rchar:")?.wrapping_add(field("wchar:")?))
    }

    #[cfg(test)]
    mod tests {
        use super::sum;

        #[test]
        fn bytes_read_and_written_count_and_disk_traffic_does_not() {
            let text = "rchar: 3000\nwchar: 500\nsyscr: 7\nread_bytes: 4096\nwrite_bytes: 0\n";
            assert_eq!(sum(text), Some(3500));
            assert_eq!(sum("rchar: 3000\n"), None);
        }
    }
}

/// Whether `end` of a pipe or file is ready for its owner, without waiting.
pub(super) fn is_ready(end: impl AsFd, events: PollFlags) -> bool {
    let end = end.as_fd();
    let now = Timespec::default();
    let mut ends = [PollFd::from_borrowed_fd(end, events)];
    // If in doubt it is: then the other rules decide.
    !matches!(rustix::event::poll(&mut ends, Some(&now)), Ok(0))
}
