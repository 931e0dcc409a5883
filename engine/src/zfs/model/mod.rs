//! ZFS in memory, for tests: [`Model`] carries out the trait [`Zfs`].
//!
//! A facility of development (feature `model`), not of the product. It is
//! narrow on purpose: names, guids, transaction groups, blocks and errors as
//! planning, commit order and recovery meet them, after the observed behaviour
//! of OpenZFS 2.3. It mounts nothing by itself, knows no quotas and no send stream but
//! its own; whether ZFS itself takes our calls is tested with
//! real ZFS, beside this.
//!
//! One `Model` is one machine with one process of ours on it:
//! - the trait is what that process does; [`Faults`] strike there,
//! - [`Model::by_hand`] is the operator: never counted, never struck, and at
//!   work even while the process is dead,
//! - [`Model::crash`] kills the process, [`Model::revive`] starts the next.
//!
//! `machine` is the state; `datasets`, `snapshots`, `bookmarks`, `send` and
//! `receive` are the operations on it; `record` and `pipe` the stream; `faults` and `log`
//! what the tests steer and look at.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{
    Dataset, Hold, NewBookmark, PropertyRefusal, ReceiveRequest, Scope, SendRequest, Zfs, ZfsError,
    ZfsErrorKind,
};
use crate::hold::HoldTag;
use crate::name::{BookmarkName, DatasetName, Guid, ShortName, SnapshotName};
use crate::stream::record::BeginRecord;

mod bookmarks;
mod content;
mod datasets;
mod faults;
mod hands;
mod log;
mod machine;
mod pipe;
mod properties;
mod random;
mod receive;
mod record;
mod send;
mod snapshots;
mod transfer;

#[cfg(test)]
mod tests;

pub use content::METADATA_BYTES;
pub use faults::{Fault, Faults};
pub use hands::Hands;
pub use log::{Effect, Logged};
pub use random::Random;
pub use record::BLOCK_BYTES_MAX;

use log::Call;
use machine::{Machine, Refusal, Transfer};
use pipe::{Inlet, Outlet};

#[derive(Debug)]
struct Inner {
    machine: Mutex<Machine>,
    /// Told whenever a thread leaves a transfer.
    left: Condvar,
    faults: Faults,
}

/// A machine with ZFS in memory. Clones are the same machine.
#[derive(Debug, Clone)]
pub struct Model(Arc<Inner>);

/// A call that has begun: its number is taken and it goes ahead.
#[derive(Debug)]
struct Entered {
    number: u64,
    fault: Option<Fault>,
    call: Call,
}

impl Entered {
    fn refused(&self, refusal: Refusal) -> ZfsError {
        refused(&self.call, refusal)
    }
}

fn refused(call: &Call, refusal: Refusal) -> ZfsError {
    ZfsError {
        items: refusal.items,
        ..ZfsError::new(call.operation, &call.object, refusal.kind)
    }
}

fn dead(call: &Call) -> ZfsError {
    ZfsError {
        detail: "the process has crashed".to_owned(),
        ..ZfsError::new(call.operation, &call.object, ZfsErrorKind::Unavailable)
    }
}

impl Model {
    /// A machine without pools. `seed` determines its guids; machines with
    /// different seeds have different ones.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_faults(seed, Faults::default())
    }

    /// A machine whose operations are counted together with those of others.
    #[must_use]
    pub fn with_faults(seed: u64, faults: Faults) -> Self {
        Self(Arc::new(Inner {
            machine: Mutex::new(Machine::new(seed)),
            left: Condvar::new(),
            faults,
        }))
    }

    /// The counter and schedule of this machine.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// The operator at this machine.
    #[must_use]
    pub fn by_hand(&self) -> Hands<'_> {
        Hands::new(self)
    }

    /// Kills the process: temporary holds are gone, sends and receives under
    /// way end without a result, and every call fails with `Unavailable`.
    pub fn crash(&self) {
        self.lock().crash();
    }

    /// Starts a new process, after the last thread of the old one has left
    /// its send or receive. Does nothing if the process is alive.
    pub fn revive(&self) {
        let machine = self.lock();
        if !machine.crashed {
            return;
        }
        let inside = |machine: &mut Machine| machine.threads_inside > 0;
        let mut machine = self
            .0
            .left
            .wait_while(machine, inside)
            .unwrap_or_else(PoisonError::into_inner);
        machine.crashed = false;
    }

    /// True from a crash to the revival.
    #[must_use]
    pub fn is_crashed(&self) -> bool {
        self.lock().crashed
    }

    /// All operations that have ended, in that order.
    #[must_use]
    pub fn log(&self) -> Vec<Logged> {
        self.lock().log.clone()
    }

    /// The commands of those that succeeded and did more than look.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        let log = self.log().into_iter();
        log.filter(|logged| logged.effect == Effect::Act && logged.outcome.is_ok())
            .map(|logged| logged.command)
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        // A test that failed with the lock held has failed already.
        self.0
            .machine
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the call and lets a fault strike that comes before it.
    fn enter(&self, call: Call) -> Result<(Entered, MutexGuard<'_, Machine>), ZfsError> {
        let mut machine = self.lock();
        if machine.crashed {
            return Err(dead(&call));
        }
        let (number, fault) = self.0.faults.next();
        let entered = Entered {
            number,
            fault,
            call,
        };
        match fault {
            Some(Fault::Error(kind)) => {
                let failed = self.leave(&entered, &mut machine, Err::<(), _>(kind.into()));
                failed.map(|()| (entered, machine))
            }
            Some(Fault::CrashBefore) => {
                machine.crash();
                Err(dead(&entered.call))
            }
            _ => Ok((entered, machine)),
        }
    }

    /// Logs the call and lets a fault strike that comes after it.
    fn leave<T>(
        &self,
        entered: &Entered,
        machine: &mut Machine,
        result: Result<T, Refusal>,
    ) -> Result<T, ZfsError> {
        machine.log.push(Logged {
            number: Some(entered.number),
            command: entered.call.command.clone(),
            effect: entered.call.effect,
            outcome: result.as_ref().map(drop).map_err(|refusal| refusal.kind),
        });
        if matches!(entered.fault, Some(Fault::CrashMidway | Fault::CrashAfter)) {
            machine.crash();
        }
        if machine.crashed {
            return Err(dead(&entered.call));
        }
        result.map_err(|refusal| entered.refused(refusal))
    }

    /// Carries out an atomic operation.
    fn call<T>(
        &self,
        call: Call,
        run: impl FnOnce(&mut Machine) -> Result<T, Refusal>,
    ) -> Result<T, ZfsError> {
        let (entered, mut machine) = self.enter(call)?;
        if entered.fault == Some(Fault::CrashMidway) {
            // Before its transaction group is written nothing has happened.
            machine.crash();
            return Err(dead(&entered.call));
        }
        if entered.fault == Some(Fault::Hang) {
            drop(machine);
            self.0.faults.hang();
            machine = self.lock();
        }
        let result = run(&mut machine);
        self.leave(&entered, &mut machine, result)
    }
}

/// Snapshots held until this is dropped or the process dies.
struct TemporaryHold {
    model: Model,
    tag: String,
}

impl Hold for TemporaryHold {}

impl Drop for TemporaryHold {
    fn drop(&mut self) {
        let mut machine = self.model.lock();
        let released = machine.end_hold(&self.tag);
        if !released.is_empty() {
            let call = Call::release(&released);
            machine.log.push(Logged {
                number: None,
                command: call.command,
                effect: call.effect,
                outcome: Ok(()),
            });
        }
    }
}

impl Zfs for Model {
    fn tree(&self, root: &DatasetName, scope: Scope) -> Result<Option<Vec<Dataset>>, ZfsError> {
        self.call(Call::tree(root, scope), |machine| {
            Ok(machine.tree(root, scope))
        })
    }

    fn snapshot_guids(&self, names: &[SnapshotName]) -> Result<Vec<Option<Guid>>, ZfsError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        self.call(Call::snapshot_guids(names), |machine| {
            let guids = names.iter().map(|name| {
                let listed = machine.tree(&name.dataset, Scope::One)?;
                Some(listed.first()?.snapshot_by_name(&name.short)?.guid)
            });
            Ok(guids.collect())
        })
    }

    fn create_ancestors(&self, dataset: &DatasetName) -> Result<Vec<DatasetName>, ZfsError> {
        // Not atomic: one transaction each, so a crash can lie between two.
        let (entered, mut machine) = self.enter(Call::create_ancestors(dataset))?;
        let created = machine.missing_ancestors(dataset).and_then(|missing| {
            for name in &missing {
                machine.create_ancestor(name)?;
                if entered.fault == Some(Fault::CrashMidway) {
                    machine.crash();
                    break;
                }
            }
            Ok(missing)
        });
        self.leave(&entered, &mut machine, created.map_err(Refusal::from))
    }

    fn snapshot(&self, names: &[SnapshotName]) -> Result<(), ZfsError> {
        self.call(Call::snapshot(names), |machine| {
            machine.take_snapshots(names)
        })
    }

    fn destroy_snapshots(&self, names: &[SnapshotName]) -> Result<(), ZfsError> {
        self.call(Call::destroy(names), |machine| {
            machine.destroy_snapshots(names)
        })
    }

    fn rename_snapshot(
        &self,
        from: &SnapshotName,
        to: &ShortName,
        scope: Scope,
    ) -> Result<(), ZfsError> {
        self.call(Call::rename(from, to, scope), |machine| {
            machine.rename_snapshot(from, to, scope)
        })
    }

    fn rename_dataset(&self, from: &DatasetName, to: &DatasetName) -> Result<(), ZfsError> {
        self.call(Call::rename_dataset(from, to), |machine| {
            Ok(machine.rename_dataset(from, to)?)
        })
    }

    fn destroy_dataset(&self, name: &DatasetName) -> Result<(), ZfsError> {
        self.call(Call::destroy_dataset(name), |machine| {
            Ok(machine.destroy_dataset(name)?)
        })
    }

    fn discard_partial(&self, dataset: &DatasetName, token: &str) -> Result<(), ZfsError> {
        self.call(Call::discard_partial(dataset), |machine| {
            Ok(machine.discard_partial(dataset, token)?)
        })
    }

    fn available_bytes(&self, dataset: &DatasetName) -> Result<u64, ZfsError> {
        self.call(Call::available(dataset), |machine| {
            machine.dataset(dataset)?;
            Ok(machine.pool(dataset.pool())?.space.left_bytes())
        })
    }

    fn bookmark(&self, marks: &[NewBookmark]) -> Result<(), ZfsError> {
        self.call(Call::bookmark(marks), |machine| {
            machine.make_bookmarks(marks)
        })
    }

    fn destroy_bookmarks(&self, names: &[BookmarkName]) -> Result<(), ZfsError> {
        self.call(Call::destroy_bookmarks(names), |machine| {
            machine.destroy_bookmarks(names)
        })
    }

    fn hold(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<Box<dyn Hold>, ZfsError> {
        self.call(Call::hold(names), |machine| machine.hold(names, tag))?;
        Ok(Box::new(TemporaryHold {
            model: self.clone(),
            tag: tag.to_string(),
        }))
    }

    fn hold_kept(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<(), ZfsError> {
        self.call(Call::hold_kept(names, tag), |machine| {
            machine.hold_kept(names, tag)
        })
    }

    fn release(&self, names: &[SnapshotName], tag: &HoldTag) -> Result<(), ZfsError> {
        self.call(Call::release_kept(names, tag), |machine| {
            machine.release(names, tag)
        })
    }

    fn holds(&self, snapshot: &SnapshotName) -> Result<Vec<(String, u64)>, ZfsError> {
        self.call(
            Call::holds(snapshot),
            |machine| Ok(machine.holds(snapshot)?),
        )
    }

    fn dataset_mounted_at(&self, path: &Path) -> Result<Option<DatasetName>, ZfsError> {
        self.call(Call::mounted_at(path), |machine| {
            let mounted = machine.mounted.get(path);
            Ok(mounted
                .filter(|name| machine.datasets.contains_key(name))
                .cloned())
        })
    }

    fn rollback(&self, to: &SnapshotName) -> Result<(), ZfsError> {
        self.call(Call::rollback(to), |machine| Ok(machine.rollback(to)?))
    }

    fn send_size(&self, request: &SendRequest) -> Result<u64, ZfsError> {
        self.call(Call::send_size(request), |machine| {
            Ok(machine.outgoing(request)?.size_bytes())
        })
    }

    fn send(&self, request: &SendRequest, into: OwnedFd) -> Result<(), ZfsError> {
        self.transfer(
            Call::send(request),
            |machine| {
                let outgoing = machine.outgoing(request)?;
                Ok((Transfer::Sending(outgoing.snapshot), outgoing))
            },
            |outgoing, wake, midway| outgoing.write(&mut Outlet::new(into, wake)?, midway),
            |_, ()| Ok(()),
        )
    }

    fn receive(
        &self,
        request: &ReceiveRequest,
        begin: &BeginRecord,
        from: OwnedFd,
    ) -> Result<Vec<PropertyRefusal>, ZfsError> {
        self.transfer(
            Call::receive(request),
            |machine| {
                let incoming = machine.begin_receive(request, begin)?;
                Ok((Transfer::Receiving(incoming.receiving()), incoming))
            },
            |incoming, wake, midway| {
                incoming.read(begin, Inlet::new(from, wake)?, midway)?;
                Ok(incoming)
            },
            |machine, incoming| machine.end_receive(&incoming, request, begin),
        )
    }
}

/// A pipe whose reader wakes when the writer is dropped.
fn wake_pipe() -> Result<(io::PipeReader, io::PipeWriter), ZfsErrorKind> {
    io::pipe().map_err(|error| {
        error
            .raw_os_error()
            .map_or(ZfsErrorKind::Io, ZfsErrorKind::Other)
    })
}
