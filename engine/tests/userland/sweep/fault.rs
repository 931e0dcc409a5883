//! What may go wrong with an operation, which operation it is, and the counter
//! that all machines of a world share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::zfs::ZfsErrorKind;
use tokio::sync::watch;

/// What dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The connection to this machine's helper. The helper lives, hears of it,
    /// and ends its session.
    Link,
    /// The driver, and with it every connection.
    Driver,
    /// The helper of this machine: ZFS goes on and lets go of its holds.
    Helper,
    /// The machine: ZFS is killed as it stands, and the pool is read again from
    /// what is on disk.
    Power,
}

/// When it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// As the operation begins: it is not done.
    Before,
    /// While it runs: of a stream some has passed.
    Midway,
    /// When it is done, and nobody was told: the answer is lost.
    After,
}

/// What happens to one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this reason and does nothing.
    Error(ZfsErrorKind),
    /// It is done, but what comes back is that nobody knows.
    AnswerLost,
    /// Something dies.
    Death(Victim, Moment),
}

/// Every way in which an operation can go wrong here.
pub fn all() -> Vec<Fault> {
    let mut faults = vec![
        Fault::Error(ZfsErrorKind::Io),
        Fault::Error(ZfsErrorKind::Busy),
        Fault::AnswerLost,
    ];
    for victim in [Victim::Link, Victim::Driver, Victim::Helper, Victim::Power] {
        for moment in [Moment::Before, Moment::Midway, Moment::After] {
            faults.push(Fault::Death(victim, moment));
        }
    }
    faults
}

/// Which operation it happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one with this number, counted from 1 since [`Faults::plan`].
    Number(u64),
    /// One of this name; the number says how many come before it.
    Named(&'static str, u64),
}

#[derive(Debug)]
struct Schedule {
    operations: u64,
    planned: Option<(Which, Fault)>,
    struck: Option<(u64, &'static str, Fault)>,
    random: u64,
}

/// Counter, schedule and chance. Clones share all of it.
#[derive(Debug, Clone)]
pub struct Faults {
    schedule: Arc<Mutex<Schedule>>,
    /// Changes when the driver dies.
    pub driver: watch::Sender<u64>,
}

impl Faults {
    pub fn new(seed: u64) -> Self {
        Self {
            schedule: Arc::new(Mutex::new(Schedule {
                operations: 0,
                planned: None,
                struck: None,
                random: seed,
            })),
            driver: watch::Sender::new(0),
        }
    }

    /// Counts from here, and lets `fault` strike once.
    pub fn plan(&self, which: Which, fault: Fault) {
        let mut schedule = self.schedule();
        schedule.operations = 0;
        schedule.struck = None;
        schedule.planned = Some((which, fault));
    }

    /// Nothing strikes any more.
    pub fn clear(&self) {
        self.schedule().planned = None;
    }

    /// Operations since the last plan.
    pub fn operations(&self) -> u64 {
        self.schedule().operations
    }

    /// What has struck since the last plan: number and name of the operation.
    pub fn struck(&self) -> Option<(u64, &'static str, Fault)> {
        self.schedule().struck
    }

    /// Counts an operation; returns what is to happen to it.
    pub fn next(&self, operation: &'static str) -> Option<Fault> {
        let mut schedule = self.schedule();
        schedule.operations += 1;
        let number = schedule.operations;
        let (which, fault) = schedule.planned.as_mut()?;
        let fault = *fault;
        match which {
            Which::Number(meant) if *meant == number => {}
            Which::Named(name, 0) if *name == operation => {}
            Which::Named(name, before) => {
                if *name == operation {
                    *before -= 1;
                }
                return None;
            }
            Which::Number(_) => return None,
        }
        schedule.planned = None;
        schedule.struck = Some((number, operation, fault));
        Some(fault)
    }

    /// A number below `bound` (splitmix64).
    pub fn random(&self, bound: u64) -> u64 {
        let mut schedule = self.schedule();
        schedule.random = schedule.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = schedule.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
