//! `zferry image rollback|rename|abort|destroy`: what errors tell an operator
//! to do by hand, for pools that zfs(8) does not see.
//!
//! Each is one transaction of ZFS: a crash leaves the state before or after.

use std::sync::Arc;

use engine::error::Family;
use engine::image::Image;
use engine::name::DatasetName;
use engine::zfs::userland::{Contents, ImagePool};
use engine::zfs::{Scope, Zfs, ZfsError, ZfsErrorKind};
use serde_json::json;

use super::{blocking, close, failure, of};
use crate::args::image::{Abort, Destroy, Rename, Rollback};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Outcome;
use crate::zfs::open_image;

/// Rolls a dataset back to its newest snapshot.
pub async fn rollback(images: &[Image], args: Rollback) -> Result<Outcome, Failure> {
    let to = args.to;
    let said = format!("{}: rolled back to @{}\n", to.dataset, to.short);
    let dataset = to.dataset.clone();
    change(images, &dataset, said, move |pool| pool.rollback(&to)).await
}

/// Renames a dataset or a snapshot.
pub async fn rename(images: &[Image], args: Rename) -> Result<Outcome, Failure> {
    let (from, to) = (args.from, args.to);
    let said = format!("{from}: renamed to {to}\n");
    let dataset = from.dataset().clone();
    match (from, to) {
        (Contents::Volume(from), Contents::Volume(to)) => {
            change(images, &dataset, said, move |pool| pool.rename(&from, &to)).await
        }
        (Contents::Snapshot(from), Contents::Snapshot(to)) if from.dataset == to.dataset => {
            let rename = move |pool: &ImagePool| pool.rename_snapshot(&from, &to.short, Scope::One);
            change(images, &dataset, said, rename).await
        }
        (from, to) => Err(
            Failure::new(Family::Usage, format!("{from} cannot become {to}"))
                .remedy("a dataset becomes a dataset, and a snapshot another of the same dataset"),
        ),
    }
}

/// Gives up a partial receive.
pub async fn abort(images: &[Image], args: Abort) -> Result<Outcome, Failure> {
    let dataset = args.dataset;
    let said = format!("{dataset}: the part that had arrived is given up\n");
    let of = dataset.clone();
    change(images, &of, said, move |pool| pool.abort_receive(&dataset)).await
}

/// Destroys a snapshot. A missing one is a mistake here.
pub async fn destroy(images: &[Image], args: Destroy) -> Result<Outcome, Failure> {
    let snapshot = args.snapshot;
    let said = format!("{snapshot}: destroyed\n");
    let dataset = snapshot.dataset.clone();
    let destroy = move |pool: &ImagePool| {
        let listed = pool.tree(&snapshot.dataset, Scope::One)?;
        let there = listed
            .iter()
            .flatten()
            .any(|dataset| dataset.snapshot_by_name(&snapshot.short).is_some());
        if !there {
            return Err(ZfsError::new("destroy", &snapshot, ZfsErrorKind::NotFound));
        }
        pool.destroy_snapshots(std::slice::from_ref(&snapshot))
    };
    change(images, &dataset, said, destroy).await
}

/// Opens the image of `dataset`, changes something in it and exports it.
async fn change(
    images: &[Image],
    dataset: &DatasetName,
    said: String,
    work: impl FnOnce(&ImagePool) -> Result<(), ZfsError> + Send + 'static,
) -> Result<Outcome, Failure> {
    let image = of(images, dataset)?.clone();
    let pool = Arc::new(blocking(move || open_image(&image)).await?);
    let shared = Arc::clone(&pool);
    let done = blocking(move || work(&shared)).await;
    done.map_err(|error| {
        let failure = failure(&error);
        match error.kind {
            ZfsErrorKind::WorkerLost => failure,
            _ => Failure {
                state_left: Some("nothing was changed".to_owned()),
                ..failure
            }
            .remedy(format!(
                "see what is there: zferry --image … image list {}",
                dataset.pool()
            )),
        }
    })?;
    close(pool).await?;
    Ok(Outcome {
        exit: Exit::Done,
        json: json!({ "dataset": dataset.as_str(), "done": said.trim_end() }),
        human: said,
        failures: Vec::new(),
    })
}
