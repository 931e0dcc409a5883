//! The way of a send or receive through the machine: begun under the lock,
//! run without it, ended under it again.
//!
//! Between the two the process may die. Then the machine has forgotten the
//! transfer, and what its thread brings back is thrown away.

use std::io::PipeReader;

use super::log::Call;
use super::machine::{Machine, Transfer};
use super::{Fault, Model, Refusal, wake_pipe};
use crate::zfs::{ZfsError, ZfsErrorKind};

impl Model {
    /// `prepare` decides whether it may begin, `run` moves the data (it calls
    /// its last argument midway), `finish` puts the result in place.
    pub(super) fn transfer<J, M, T>(
        &self,
        call: Call,
        prepare: impl FnOnce(&mut Machine) -> Result<(Transfer, J), ZfsErrorKind>,
        run: impl FnOnce(J, PipeReader, &dyn Fn()) -> Result<M, ZfsErrorKind>,
        finish: impl FnOnce(&mut Machine, M) -> Result<T, ZfsErrorKind>,
    ) -> Result<T, ZfsError> {
        let (entered, mut machine) = self.enter(call)?;
        let begun = wake_pipe().and_then(|wake| Ok((wake, prepare(&mut machine)?)));
        let ((asleep, waker), (transfer, job)) = match begun {
            Ok(begun) => begun,
            Err(kind) => return self.leave(&entered, &mut machine, Err(kind.into())),
        };
        let id = machine.new_object();
        machine.transfers.insert(id, (transfer, waker));
        machine.threads_inside += 1;
        drop(machine);

        let midway = || match entered.fault {
            Some(Fault::CrashMidway) => self.crash(),
            Some(Fault::Hang) => self.0.faults.hang(),
            _ => {}
        };
        let outcome = run(job, asleep, &midway);

        let mut machine = self.lock();
        let result = match (machine.transfers.remove(&id), outcome) {
            (None, outcome) => {
                // Whoever waits for this thread may count on its memory, too.
                drop(outcome);
                Err(ZfsErrorKind::Unavailable)
            }
            (Some((transfer, _)), outcome) => {
                let result = outcome.and_then(|moved| finish(&mut machine, moved));
                if let (Err(_), Transfer::Receiving(receiving)) = (&result, transfer) {
                    machine.give_up(receiving);
                }
                result
            }
        };
        machine.threads_inside -= 1;
        self.0.left.notify_all();
        self.leave(&entered, &mut machine, result.map_err(Refusal::from))
    }
}
