//! `zferry image`: pools in files.
//!
//! Unlike the other commands these talk to a backend of the engine, and not to
//! a helper: what they do happens on this machine alone.

mod check;
mod create;
mod get;
mod list;
mod put;
mod repair;

use std::sync::Arc;

use engine::error::Family;
use engine::image::{self, Image};
use engine::name::DatasetName;
use engine::zfs::userland::ImagePool;
use engine::zfs::{ZfsError, ZfsErrorKind};

use super::{Context, blocking};
use crate::args::image::{Action, Images, Which};
use crate::failure::Failure;
use crate::output::Outcome;
use crate::zfs::open_image;

/// Runs the command.
pub async fn run(context: &Context, args: Images) -> Result<Outcome, Failure> {
    let images = context.images()?;
    match args.action {
        Action::Create(args) => create::run(args).await,
        Action::List(args) => list::run(chosen(images, args.which)?).await,
        Action::Put(args) => put::run(&images, args).await,
        Action::Get(args) => get::run(&images, args).await,
        Action::Check(args) => check::run(chosen(images, args.which)?).await,
        Action::Rollback(args) => repair::rollback(&images, args).await,
        Action::Rename(args) => repair::rename(&images, args).await,
        Action::Abort(args) => repair::abort(&images, args).await,
        Action::Destroy(args) => repair::destroy(&images, args).await,
    }
}

/// The images that a command is about: those it names, or all of `--image`.
fn chosen(images: Vec<Image>, which: Vec<Which>) -> Result<Vec<Image>, Failure> {
    if which.is_empty() && images.is_empty() {
        return Err(Failure::new(Family::Usage, "no image was named")
            .remedy("write POOL=FILE behind the command, or --image POOL=FILE before it"));
    }
    if which.is_empty() {
        return Ok(images);
    }
    let mut chosen = Vec::new();
    for which in which {
        let image = match which {
            Which::At(image) => absolute(&image)?,
            Which::Named(pool) => of(&images, &pool)?.clone(),
        };
        image::join(&mut chosen, [image]).map_err(|error| Failure::of(Family::Usage, &error))?;
    }
    Ok(chosen)
}

fn absolute(image: &Image) -> Result<Image, Failure> {
    let file =
        std::path::absolute(image.file()).map_err(|error| Failure::of(Family::Failed, &error))?;
    Image::new(image.pool().clone(), file).map_err(|error| Failure::of(Family::Usage, &error))
}

/// The image that a dataset is in.
fn of<'a>(images: &'a [Image], dataset: &DatasetName) -> Result<&'a Image, Failure> {
    let pool = dataset.pool();
    let found = images.iter().find(|image| image.pool().as_str() == pool);
    found.ok_or_else(|| {
        let message = format!("it is not said which file holds the pool {pool}");
        Failure::new(Family::Usage, message).remedy(format!("write --image {pool}=FILE"))
    })
}

/// The image of a volume, opened, for one of the commands that move content.
async fn open_for(images: &[Image], volume: &DatasetName) -> Result<Arc<ImagePool>, Failure> {
    let image = of(images, volume)?.clone();
    if volume.parent().is_none() {
        let message = format!("{volume} is a pool; its content is in volumes");
        return Err(Failure::new(Family::Usage, message)
            .remedy(format!("name a volume in it, for instance {volume}/vol")));
    }
    let pool = blocking(move || open_image(&image)).await?;
    Ok(Arc::new(pool))
}

/// Exports the pool. After work that went well a failure here is told; after
/// work that failed its own reason is enough.
async fn close(pool: Arc<ImagePool>) -> Result<(), Failure> {
    blocking(move || match Arc::into_inner(pool) {
        Some(pool) => pool.close().map_err(|error| failure(&error)),
        None => Ok(()),
    })
    .await
}

/// An error of ZFS about something in an image.
fn failure(error: &ZfsError) -> Failure {
    let failure = Failure::of(error.family(), error);
    match error.kind {
        ZfsErrorKind::WorkerLost => Failure {
            state_left: Some("the pool is as its last transaction group left it".to_owned()),
            ..failure
        }
        .remedy("run the same command again"),
        _ => failure,
    }
}
