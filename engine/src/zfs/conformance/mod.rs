//! What every backend of [`Zfs`] has to have in common, as claims to be run.
//!
//! A facility of development (feature `conformance`), not of the product. The
//! same claims are run on the model (tests of this crate), on user-space pools
//! (`tests/userland.rs`) and on a kernel (`examples/conformance.rs`, which a
//! case of vm-tests runs in a guest). Where they disagree, the kernel is right.
//!
//! A claim gets a [`Ground`]: an empty dataset in each of two pools, which it
//! may fill as it likes. All it does goes through the trait; what the trait
//! cannot do (it moves data and makes none) comes from a [`Fixture`].

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Zfs, ZfsError, ZfsErrorKind};
use crate::name::{DatasetName, SnapshotName};

mod bookmarks;
mod busy;
mod clones;
mod datasets;
mod encryption;
mod ground;
mod holds;
mod listing;
mod mounts;
mod partial;
mod properties;
mod refusals;
mod renames;
mod rollback;
mod snapshots;
mod streams;

pub use ground::{CONTENT_BYTES, Ground, VOLUME_BYTES};

/// What a claim needs besides the trait.
pub trait Fixture: Send + Sync {
    /// The backend under test, with both pools.
    fn zfs(&self) -> Arc<dyn Zfs>;

    /// Creates an empty volume of [`VOLUME_BYTES`] whose parent exists.
    ///
    /// # Errors
    /// If it cannot be done.
    fn create_volume(&self, name: &DatasetName) -> Result<(), Failed>;

    /// Overwrites a volume from its beginning, and returns when the change
    /// shows in a listing. What lies behind `content` may be anything.
    ///
    /// # Errors
    /// If it cannot be done.
    fn write(&self, volume: &DatasetName, content: &[u8]) -> Result<(), Failed>;

    /// The first `bytes` bytes of a snapshot of a volume.
    ///
    /// # Errors
    /// If it cannot be done.
    fn read(&self, snapshot: &SnapshotName, bytes: usize) -> Result<Vec<u8>, Failed>;

    /// Clones a snapshot to a new dataset of the same pool.
    ///
    /// # Errors
    /// If it cannot be done.
    fn clone_snapshot(&self, of: &SnapshotName, to: &DatasetName) -> Result<(), Failed>;

    /// Creates a file system, whose parent exists, with a key of its own that is
    /// loaded. False if this backend creates none; then nothing has happened.
    ///
    /// # Errors
    /// If it cannot be done.
    fn create_encrypted(&self, name: &DatasetName) -> Result<bool, Failed>;

    /// Destroys a dataset with everything below it, with its snapshots, with
    /// clones of them and with what cut receives left. A missing one is no
    /// error.
    ///
    /// # Errors
    /// If it cannot be done.
    fn destroy(&self, name: &DatasetName) -> Result<(), Failed>;
}

/// A claim does not hold, or could not be tried.
pub struct Failed(pub String);

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Whether a claim holds.
pub type Outcome = Result<(), Failed>;

/// Ends a claim that does not hold, with what was seen instead.
macro_rules! ensure {
    ($holds:expr, $($seen:tt)+) => {
        if !$holds {
            return Err($crate::zfs::conformance::Failed(format!($($seen)+)));
        }
    };
}
use ensure;

/// Ends a claim in which two values should be equal.
macro_rules! same {
    ($left:expr, $right:expr, $what:expr) => {
        match (&$left, &$right) {
            (left, right) if *left == *right => {}
            (left, right) => {
                return Err($crate::zfs::conformance::Failed(format!(
                    "{}: {left:?}, and not {right:?}",
                    $what
                )));
            }
        }
    };
}
use same;

/// One claim about the trait.
#[derive(Clone, Copy)]
pub struct Claim {
    /// Its sentence, with underscores for spaces.
    pub name: &'static str,
    check: fn(&Ground<'_>) -> Outcome,
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A list of claims, each named after its function.
macro_rules! claims {
    ($($function:ident),+ $(,)?) => {
        &[$($crate::zfs::conformance::Claim {
            name: stringify!($function),
            check: $function,
        }),+]
    };
}
use claims;

/// Every claim there is.
#[must_use]
pub fn all() -> Vec<Claim> {
    [
        listing::CLAIMS,
        mounts::CLAIMS,
        snapshots::CLAIMS,
        renames::CLAIMS,
        bookmarks::CLAIMS,
        holds::CLAIMS,
        rollback::CLAIMS,
        streams::CLAIMS,
        refusals::CLAIMS,
        busy::CLAIMS,
        partial::CLAIMS,
        clones::CLAIMS,
        encryption::CLAIMS,
        datasets::CLAIMS,
        properties::CLAIMS,
    ]
    .concat()
}

/// Two pools whose datasets the claims may create and destroy. They touch only
/// what is called `zferry-conformance`.
#[derive(Debug, Clone)]
pub struct PoolNames {
    /// Where most of it happens.
    pub here: DatasetName,
    /// Where streams go.
    pub there: DatasetName,
}

impl Claim {
    /// Tries the claim on fresh ground, which is gone afterwards.
    ///
    /// # Errors
    /// [`Failed`], if it does not hold, or leaves something that cannot be
    /// destroyed.
    pub fn check(&self, fixture: &dyn Fixture, pools: &PoolNames) -> Outcome {
        let ground = Ground::prepare(fixture, pools)?;
        let outcome = (self.check)(&ground);
        let cleared = ground.clear();
        outcome.and(cleared)
    }
}

/// The call must have failed for this reason.
fn refused<T>(result: Result<T, ZfsError>, kind: ZfsErrorKind) -> Result<ZfsError, Failed> {
    match result {
        Ok(_) => Err(Failed(format!("it was done, and not refused ({kind:?})"))),
        Err(error) if error.kind == kind => Ok(error),
        Err(error) => Err(Failed(format!(
            "refused otherwise than {kind:?}: {error:?}"
        ))),
    }
}

/// How long ZFS may need for what it does by itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something that ZFS does by itself: a kernel ends holds some time
/// after their descriptor is closed, and tells nobody.
fn eventually(what: &str, mut holds: impl FnMut() -> Result<bool, Failed>) -> Outcome {
    let begun = Instant::now();
    while !holds()? {
        ensure!(
            begun.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
