//! A replication as a whole: with more said about its obstacles, and the target
//! put aside, if that is allowed.
//!
//! Putting aside is one rename, to `TARGET.zferry-archive-GUID`, of the target
//! with all below it: snapshots, holds, clones and what is mounted go along.
//! Nothing of zferry destroys it afterwards.

use super::error::ReplicateError;
use super::explain::explained;
use super::job::{Job, OnConflict};
use super::run::{AsIf, Report, attempt};
use crate::copies;
use crate::event::{Event, Observer};
use crate::name::{DatasetName, Guid};
use crate::peer::Peer;
use crate::plan::Conflict;
use crate::zfs::{Dataset, Scope};

/// A target that was put aside, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// The target.
    pub from: DatasetName,
    /// Its guid.
    pub guid: Guid,
    /// What it is called now.
    pub to: DatasetName,
    /// How many datasets that are, with all below.
    pub datasets: usize,
    /// How many snapshots they have.
    pub snapshots: usize,
    /// Bytes that were written in them, which stay in use.
    pub held_bytes: u64,
    /// Why.
    pub conflict: Conflict,
}

/// Replicates as `job` says.
///
/// # Errors
/// [`ReplicateError`]; the module's table says what is left behind.
pub async fn replicate(
    job: &Job,
    source: &mut Peer,
    target: &mut Peer,
    observer: &dyn Observer,
) -> Result<Report, ReplicateError> {
    let error = match attempt((job, AsIf::ItIs), source, target, observer).await {
        Ok(report) => return Ok(report),
        Err(error) => error,
    };
    let error = explained(error, &job.source, &job.target, source, target).await;
    let Some(conflict) = mended(job, &error) else {
        return Err(error);
    };
    // What came in the way late did so after the snapshot had been taken.
    let again = Job {
        snapshot: job.snapshot.clone().again(),
        ..job.clone()
    };
    let rehearsal = Job {
        rehearsal: true,
        ..again.clone()
    };
    let listed = target.tree(&job.target, Scope::Recursive).await?;
    let archived = archived(&listed.unwrap_or_default(), job, conflict)?;
    // What cannot be sent is found before anything is renamed.
    let way = (&rehearsal, AsIf::MovedAway);
    let rehearsed = attempt(way, source, target, observer).await?;
    check_room(job, &rehearsed, target).await?;
    let report = if job.rehearsal {
        rehearsed
    } else {
        move_away(&archived, target, observer).await?;
        attempt((&again, AsIf::ItIs), source, target, observer).await?
    };
    Ok(Report {
        archived: Some(archived),
        ..report
    })
}

/// The first obstacle, if putting the target aside is allowed and mends all.
fn mended(job: &Job, error: &ReplicateError) -> Option<Conflict> {
    let ReplicateError::Conflicts { conflicts, .. } = error else {
        return None;
    };
    let all = conflicts.iter().all(Conflict::is_mended_by_archiving);
    let first = conflicts.first().filter(|_| all)?;
    (job.on_conflict == OnConflict::Archive).then(|| first.clone())
}

fn archived(tree: &[Dataset], job: &Job, conflict: Conflict) -> Result<Archived, ReplicateError> {
    let Some(root) = tree.first() else {
        // It went meanwhile.
        return Err(ReplicateError::conflicts(vec![conflict]));
    };
    if job.target.parent().is_none() {
        return Err(ReplicateError::ArchivingRoot {
            target: job.target.clone(),
            conflict: Box::new(conflict),
        });
    }
    let written = |dataset: &Dataset| {
        let snapshots = dataset.snapshots.iter().map(|one| one.written_bytes);
        snapshots.fold(dataset.written_bytes, u64::saturating_add)
    };
    Ok(Archived {
        from: job.target.clone(),
        guid: root.guid,
        to: copies::archive(&job.target, root.guid)?,
        datasets: tree.len(),
        snapshots: tree.iter().map(|dataset| dataset.snapshots.len()).sum(),
        held_bytes: tree.iter().map(written).fold(0, u64::saturating_add),
        conflict,
    })
}

async fn check_room(
    job: &Job,
    rehearsed: &Report,
    target: &mut Peer,
) -> Result<(), ReplicateError> {
    let needed = rehearsed.datasets.iter().map(|one| one.estimated_bytes);
    let needed = needed.fold(0, u64::saturating_add);
    let available = target.available_bytes(job.target.clone()).await?;
    if needed <= available {
        return Ok(());
    }
    Err(ReplicateError::NoRoom {
        target: job.target.clone(),
        needed,
        available,
    })
}

/// One rename, if the target is still what was looked at.
async fn move_away(
    archived: &Archived,
    target: &mut Peer,
    observer: &dyn Observer,
) -> Result<(), ReplicateError> {
    let Archived { from, guid, to, .. } = archived;
    observer.event(&Event::Step {
        peer: target.name.clone(),
        command: format!("zfs rename {from} {to}"),
    });
    let moved = target.rename_dataset(from.clone(), *guid, to.clone());
    moved.await.map_err(|cause| ReplicateError::NotArchived {
        target: from.clone(),
        to: to.clone(),
        cause: Box::new(cause),
    })?;
    // A later attempt of the same run does not know of it any more.
    observer.event(&Event::Notice {
        peer: target.name.clone(),
        text: format!("{from} was put aside as {to}: {}", archived.conflict),
    });
    Ok(())
}
