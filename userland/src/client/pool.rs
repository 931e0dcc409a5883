//! [`Pool`]: calls on a pool, and the worker behind them.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::{Ended, Error};
use super::image::{Image, Locked};
use super::process::{End, Process};
use super::slots::Slots;
use super::watch::{Hang, Watch, Work, describe};
use super::worker::{Patience, Worker};
use crate::EXIT_UNUSABLE;
use crate::protocol::{Answer, Call, Opening, Outcome, PROTOCOL, Start, Started, Taken};
use crate::wire::{self, WireError};

/// How often a worker may die in a row while it imports. More attempts would
/// end the same way: the image, or the machine, is not what it should be.
const IMPORTS_MAX: u32 = 3;
/// Exit code of the system's loader when a library is missing.
const EXIT_LOADER: i32 = 127;
/// How long a worker that has exported its pool may take to end.
const EXIT_WAIT: Duration = Duration::from_secs(10);
/// How long dropping a pool may take; then its worker is killed, which the next
/// import makes good.
const DROP_WAIT: Duration = Duration::from_secs(5);

/// A pool in a file, and the worker process that has it imported.
///
/// Calls may come from several threads at once. A worker that died or hung is
/// replaced by the next call; the call during which it happened fails, and is
/// never repeated here, since it may have been carried out.
///
/// While a `Pool` exists its image is locked against other processes and other
/// `Pool`s. Dropping it exports the pool if that is quick; after
/// [`Pool::close`] it is certain.
#[derive(Debug)]
pub struct Pool {
    locked: Locked,
    worker: Worker,
    slots: Slots,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    process: Option<Arc<Process>>,
    version: String,
    pool_guid: u64,
}

/// A worker that has its pool.
struct Running {
    process: Arc<Process>,
    version: String,
    pool_guid: u64,
}

impl Pool {
    /// Makes an image of `bytes` and a pool in it (`spa_create`). The file is
    /// sparse: it takes space as the pool does.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is a file already, which stays as it was;
    /// [`Error::ImageTooSmall`]; everything a start of the worker can meet. The
    /// file is removed again.
    ///
    /// # A crash midway
    /// leaves a file without a pool: [`Pool::open`] says so.
    pub fn create(worker: &Worker, image: &Image, bytes: u64) -> Result<Self, Error> {
        let locked = Locked::create(image, bytes)?;
        match start(worker, &locked, Opening::Create) {
            Ok(running) => Ok(Self::with(locked, worker, running)),
            Err(error) => {
                locked.discard();
                Err(error)
            }
        }
    }

    /// Locks an image and imports its pool (`spa_import`), also if whoever used
    /// it last was killed.
    ///
    /// # Errors
    /// [`Error::ImageMissing`], [`Error::ImageInUse`], [`Error::NotAFile`],
    /// [`Error::ImageTooSmall`]; [`Error::Start`] if there is no pool of this
    /// name in it or it cannot be imported; [`Error::NoWorker`],
    /// [`Error::WorkerUnusable`], [`Error::WorkerDied`], [`Error::WorkerHung`].
    pub fn open(worker: &Worker, image: &Image) -> Result<Self, Error> {
        let locked = Locked::open(image)?;
        let running = import(worker, &locked)?;
        Ok(Self::with(locked, worker, running))
    }

    fn with(locked: Locked, worker: &Worker, running: Running) -> Self {
        Self {
            locked,
            worker: worker.clone(),
            slots: Slots::default(),
            current: Mutex::new(Current {
                process: Some(running.process),
                version: running.version,
                pool_guid: running.pool_guid,
            }),
        }
    }

    /// Has the worker carry out a call, and waits for its answer. `fd` goes
    /// with calls that say so; it is closed when this returns, not before.
    ///
    /// # Errors
    /// [`Error::Fault`] is ZFS' answer. [`Error::WorkerDied`] and
    /// [`Error::WorkerHung`] leave it open whether the call was carried out:
    /// look before repeating it. Temporary holds are gone then.
    pub fn call(&self, call: Call, fd: Option<OwnedFd>) -> Result<Answer, Error> {
        let _slot = self.slots.take();
        let process = self.process()?;
        self.converse(&process, self.worker.patience(), &call, fd)
    }

    /// Exports the pool and waits for the worker's end.
    ///
    /// # Errors
    /// As for [`Pool::call`]. The image can be opened again in any case.
    pub fn close(self) -> Result<(), Error> {
        self.call(Call::Export, None)?;
        if let Some(process) = self.current().process.take() {
            // The pool is exported: whether it ends by itself is its own affair.
            if process.wait(EXIT_WAIT).is_none() {
                process.kill_and_wait();
            }
        }
        Ok(())
    }

    /// Version of the libzpool behind it.
    #[must_use]
    pub fn version(&self) -> String {
        self.current().version.clone()
    }

    /// Guid of the pool.
    #[must_use]
    pub fn pool_guid(&self) -> u64 {
        self.current().pool_guid
    }

    /// Which pool, in which file.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.locked.image
    }

    /// Number of the worker's process, if one runs: for tests that kill it.
    #[must_use]
    pub fn worker_pid(&self) -> Option<u32> {
        let current = self.current();
        let process = current.process.as_ref()?;
        u32::try_from(process.pid().as_raw_nonzero().get()).ok()
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worker; a new one if the last has ended. Callers queue here while a
    /// new one imports.
    fn process(&self) -> Result<Arc<Process>, Error> {
        let mut current = self.current();
        if let Some(process) = &current.process {
            if !process.is_over() {
                return Ok(Arc::clone(process));
            }
            // Two of them on one image would be its end.
            if process.end().is_none() {
                return Err(self.unkillable("end"));
            }
            current.process = None;
        }
        let running = import(&self.worker, &self.locked)?;
        current.process = Some(Arc::clone(&running.process));
        current.version = running.version;
        current.pool_guid = running.pool_guid;
        Ok(running.process)
    }

    fn unkillable(&self, call: &'static str) -> Error {
        Error::WorkerHung {
            image: Box::new(self.locked.image.clone()),
            call,
            after: Duration::ZERO,
            rule: "it does not end although it was killed",
            said: String::new(),
        }
    }

    fn converse(
        &self,
        process: &Process,
        patience: Patience,
        call: &Call,
        fd: Option<OwnedFd>,
    ) -> Result<Answer, Error> {
        let (name, work) = describe(call);
        let mut watch = Watch::new(process, work, fd.as_ref(), patience);
        let outcome = exchange(process, call, fd.as_ref(), &mut watch);
        let hang = watch.hang;
        match outcome {
            Ok(Outcome::Answer(answer)) => Ok(answer),
            Ok(Outcome::Fault(fault)) => Err(Error::Fault {
                image: Box::new(self.locked.image.clone()),
                call: name,
                fault,
            }),
            Err(error) => Err(failure(&self.locked, process, name, error, hang)),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let Some(process) = self.current().process.take() else {
            return;
        };
        if process.is_over() {
            return;
        }
        let patience = Patience {
            look: DROP_WAIT / 50,
            quiet: DROP_WAIT,
            stuck: DROP_WAIT,
            short: DROP_WAIT,
        };
        let mut watch = Watch::new(&process, Work::Short, None, patience);
        if let Ok(Outcome::Answer(_)) = exchange(&process, &Call::Export, None, &mut watch) {
            process.wait(DROP_WAIT);
        }
        // What has not ended is killed with the last reference to it.
    }
}

/// Passes one call on and waits for its outcome.
fn exchange(
    process: &Process,
    call: &Call,
    fd: Option<&OwnedFd>,
    watch: &mut Watch<'_>,
) -> Result<Outcome, WireError> {
    let (ours, theirs) = UnixStream::pair().map_err(system)?;
    {
        let control = process
            .control()
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        wire::send(&*control, &(), Some(theirs.as_fd()), watch)?;
    }
    // So that the end of the worker is the end of this conversation.
    drop(theirs);
    wire::send(&ours, call, fd.map(AsFd::as_fd), watch)?;
    let (taken, _) = wire::receive::<Taken>(&ours, watch)?;
    watch.thread = Some(taken.thread);
    let (outcome, _) = wire::receive(&ours, watch)?;
    Ok(outcome)
}

fn system(error: std::io::Error) -> WireError {
    let errno = rustix::io::Errno::from_io_error(&error);
    WireError::Io(errno.unwrap_or(rustix::io::Errno::IO))
}

/// What a conversation that broke means. The worker has ended afterwards: one
/// that broke its word is not asked again.
fn failure(
    locked: &Locked,
    process: &Process,
    call: &'static str,
    error: WireError,
    hang: Option<Hang>,
) -> Error {
    let image = Box::new(locked.image.clone());
    match (error, hang) {
        // A message that was not sent, or is not read: the worker is well.
        (source @ WireError::TooLong(_), _) => Error::Protocol {
            image,
            call,
            source,
        },
        (_, Some(Hang { rule, after })) => {
            let end = process.kill_and_wait();
            if locked.disk_is_full() {
                return Error::DiskFull { image, call };
            }
            Error::WorkerHung {
                image,
                call,
                after,
                rule,
                said: end.map(|end| end.said).unwrap_or_default(),
            }
        }
        (WireError::Closed | WireError::GivenUp, None) => {
            let End { ended, said } = process.end().unwrap_or(End {
                ended: Ended::Killed,
                said: String::new(),
            });
            // An exit code is a reason of its own.
            if !matches!(ended, Ended::Exit(_)) && locked.disk_is_full() {
                return Error::DiskFull { image, call };
            }
            Error::WorkerDied {
                image,
                call,
                ended,
                times: 1,
                said,
            }
        }
        (source @ (WireError::Garbled(_) | WireError::Io(_)), None) => {
            process.kill_and_wait();
            Error::Protocol {
                image,
                call,
                source,
            }
        }
    }
}

/// Starts workers until one has the pool, or too many died of it.
fn import(worker: &Worker, locked: &Locked) -> Result<Running, Error> {
    let mut tried = 0;
    loop {
        tried += 1;
        let opening = match tried {
            1 => Opening::Import,
            _ => Opening::ImportAndWriteOff,
        };
        match start(worker, locked, opening) {
            Err(Error::WorkerDied { .. }) if tried < IMPORTS_MAX => {}
            Err(Error::WorkerDied {
                image,
                call,
                ended,
                said,
                ..
            }) => {
                return Err(Error::WorkerDied {
                    image,
                    call,
                    ended,
                    times: tried,
                    said,
                });
            }
            other => return other,
        }
    }
}

fn start(worker: &Worker, locked: &Locked, opening: Opening) -> Result<Running, Error> {
    let image = &locked.image;
    let call = match opening {
        Opening::Create => "create",
        Opening::Import | Opening::ImportAndWriteOff => "import",
    };
    let path = worker.path().ok_or_else(|| Error::NoWorker {
        image: Box::new(image.clone()),
        looked_at: worker.candidates().to_owned(),
    })?;
    let unusable = |detail| Error::WorkerUnusable {
        image: Box::new(image.clone()),
        worker: path.to_owned(),
        detail,
    };
    let process = Process::start(path).map_err(|error| unusable(error.to_string()))?;
    let start = Start {
        protocol: PROTOCOL,
        pool: image.pool.clone(),
        image: locked.absolute.clone(),
        opening,
    };
    // An import may replay a long history of an unclean end.
    let mut watch = Watch::new(&process, Work::Long, None, worker.patience());
    match greet(&process, &start, locked, &mut watch) {
        Ok(Started::Ready { version, pool_guid }) => Ok(Running {
            process: Arc::new(process),
            version,
            pool_guid,
        }),
        Ok(Started::Refused(fault)) => {
            // It ends by itself; what it holds of the image ends with it.
            process.end();
            Err(Error::Start {
                image: Box::new(image.clone()),
                fault,
            })
        }
        Err(error) => {
            let hang = watch.hang;
            match failure(locked, &process, call, error, hang) {
                Error::WorkerDied {
                    ended: Ended::Exit(code),
                    said,
                    ..
                } if code == i32::from(EXIT_UNUSABLE) || code == EXIT_LOADER => Err(unusable(said)),
                error => Err(error),
            }
        }
    }
}

fn greet(
    process: &Process,
    start: &Start,
    locked: &Locked,
    watch: &mut Watch<'_>,
) -> Result<Started, WireError> {
    let control = process
        .control()
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    wire::send(&*control, start, Some(locked.file.as_fd()), watch)?;
    Ok(wire::receive(&*control, watch)?.0)
}
