//! Faults at chosen operations, for sweeps: fail operation 1, 2, 3 … of a run,
//! recover each time, and look whether anything was lost.
//!
//! Every call of the trait is one operation, whether it changes something or
//! not. Machines can share one [`Faults`]; then their operations are counted
//! together, in the order in which they began.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::zfs::ZfsErrorKind;

/// What happens to one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this reason and does nothing.
    Error(ZfsErrorKind),
    /// The process dies as the operation begins: nothing is done.
    CrashBefore,
    /// The process dies while the operation runs: a send or receive has moved
    /// a part of its data, of several ancestors one is created. Operations
    /// that are atomic have not happened.
    CrashMidway,
    /// The operation is done, and the process dies before it hears of it.
    CrashAfter,
    /// It does not come back before [`Faults::thaw`], as from a pool that is
    /// suspended: a send or receive has moved a part of its data.
    Hang,
}

#[derive(Debug, Default)]
struct Schedule {
    operations: u64,
    planned: BTreeMap<u64, Fault>,
    struck: Vec<(u64, Fault)>,
    /// What hangs goes on.
    thawed: bool,
}

/// Counter of operations and schedule of faults. Clones share both.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<(Mutex<Schedule>, Condvar)>);

impl Faults {
    /// Lets `fault` strike operation number `operation`, counted from 1 since
    /// this value was made. Each fault strikes once.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.schedule().planned.insert(operation, fault);
    }

    /// How many operations have begun. A machine that has crashed begins none.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.schedule().operations
    }

    /// The faults that have struck, and at which operation.
    #[must_use]
    pub fn struck(&self) -> Vec<(u64, Fault)> {
        self.schedule().struck.clone()
    }

    /// Lets everything go on that hangs, and hang no more.
    pub fn thaw(&self) {
        self.schedule().thawed = true;
        self.0.1.notify_all();
    }

    /// Comes back when somebody thaws.
    pub(super) fn hang(&self) {
        let hangs = |schedule: &mut Schedule| !schedule.thawed;
        let thawed = self.0.1.wait_while(self.schedule(), hangs);
        drop(thawed.unwrap_or_else(PoisonError::into_inner));
    }

    /// Counts an operation; returns its number and what is to happen to it.
    pub(super) fn next(&self) -> (u64, Option<Fault>) {
        let mut schedule = self.schedule();
        schedule.operations += 1;
        let number = schedule.operations;
        let fault = schedule.planned.remove(&number);
        schedule.struck.extend(fault.map(|fault| (number, fault)));
        (number, fault)
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
