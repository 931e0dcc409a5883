//! Ending well: on SIGINT and SIGTERM, and in general.
//!
//! A command is a future. When a signal comes it is dropped, and with it every
//! connection; that is what tells the helpers to give up. What they had not
//! committed by then does not exist afterwards, so that nothing has to be
//! undone here.

use std::io;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long connections may take to say goodbye: a matter of politeness, since
/// what is left ends with the process.
const GOODBYE_MAX: Duration = Duration::from_millis(500);

/// How long threads may take to come back from ZFS, which gives up when its
/// pipe is closed.
const THREADS_MAX: Duration = Duration::from_secs(2);

/// How often it is looked whether all tasks are over.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// A command that ended, or was ended.
#[derive(Debug)]
pub enum Ended<T> {
    /// By itself.
    Finished(T),
    /// By this signal.
    Stopped(Stop),
}

/// A signal that ends a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Ctrl-C.
    Interrupt,
    /// What service managers send.
    Terminate,
}

impl Stop {
    /// Its number.
    pub fn number(self) -> u8 {
        match self {
            Self::Interrupt => 2,
            Self::Terminate => 15,
        }
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// Catches the two signals from its creation on.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Runs `work` until it ends or a signal comes.
    pub async fn until_stopped<T>(&mut self, work: impl Future<Output = T>) -> Ended<T> {
        tokio::select! {
            biased;
            stop = self.next() => Ended::Stopped(stop),
            done = work => Ended::Finished(done),
        }
    }

    async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
        }
    }
}

/// Lets the tasks that are left come to their end, for a short while or until
/// the next signal.
pub fn wind_down(runtime: Runtime, mut signals: Signals) {
    runtime.block_on(async {
        let metrics = tokio::runtime::Handle::current().metrics();
        let quiet = async {
            while metrics.num_alive_tasks() > 0 {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        // Whichever it was: nobody waits any longer.
        let quiet = tokio::time::timeout(GOODBYE_MAX, quiet);
        let _ = signals.until_stopped(quiet).await;
    });
    runtime.shutdown_timeout(THREADS_MAX);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_thread_that_hangs_does_not_keep_the_command_from_its_end() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let signals = runtime.block_on(async { Signals::catch() }).unwrap();
        let (release, released) = mpsc::channel::<()>();
        let (entered, inside) = mpsc::channel();
        runtime.block_on(async {
            // As a helper of this process does that waits for such a thread.
            tokio::spawn(tokio::task::spawn_blocking(move || {
                entered.send(()).unwrap();
                let _ = released.recv();
            }));
        });
        inside.recv().unwrap();
        let begun = Instant::now();
        wind_down(runtime, signals);
        assert!(begun.elapsed() < GOODBYE_MAX + THREADS_MAX + Duration::from_secs(2));
        drop(release);
    }
}
