//! `zferry image list`: what is in images.

use engine::image::Image;
use engine::name::Guid;
use engine::zfs::userland::Space;
use engine::zfs::{Dataset, DatasetKind, Scope, Zfs};
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::{blocking, failure};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Outcome;
use crate::zfs::open_image;

/// What is in one image.
struct Listed {
    image: Image,
    space: Space,
    datasets: Vec<Dataset>,
}

/// Runs the command.
pub async fn run(images: Vec<Image>) -> Result<Outcome, Failure> {
    let mut listed = Vec::new();
    for image in images {
        listed.push(blocking(move || look(image)).await?);
    }
    Ok(Outcome {
        exit: Exit::Done,
        human: listed.iter().map(Listed::text).collect(),
        json: json!({ "images": listed.iter().map(Listed::value).collect::<Vec<_>>() }),
        failures: Vec::new(),
    })
}

fn look(image: Image) -> Result<Listed, Failure> {
    let pool = open_image(&image)?;
    let space = pool.space().map_err(|error| failure(&error))?;
    let datasets = pool
        .tree(image.pool(), Scope::Recursive)
        .map_err(|error| failure(&error))?
        .unwrap_or_default();
    pool.close().map_err(|error| failure(&error))?;
    Ok(Listed {
        image,
        space,
        datasets,
    })
}

impl Listed {
    fn text(&self) -> String {
        let mut text = format!(
            "{}: {}, {} of {} used\n",
            self.image.pool(),
            self.image.file().display(),
            HumanBytes(self.space.allocated_bytes),
            HumanBytes(self.space.total_bytes)
        );
        // The root of the pool is no news.
        for dataset in self
            .datasets
            .iter()
            .filter(|one| one.name.parent().is_some())
        {
            text += &dataset_text(dataset);
        }
        text
    }

    fn value(&self) -> Value {
        json!({
            "pool": self.image.pool().as_str(),
            "file": self.image.file(),
            "total_bytes": self.space.total_bytes,
            "allocated_bytes": self.space.allocated_bytes,
            "datasets": self.datasets.iter().map(dataset_value).collect::<Vec<_>>(),
        })
    }
}

fn kind(dataset: &Dataset) -> &'static str {
    match dataset.kind {
        DatasetKind::Filesystem => "filesystem",
        DatasetKind::Volume => "volume",
    }
}

fn dataset_text(dataset: &Dataset) -> String {
    let mut text = format!("  {} ({}", dataset.name, kind(dataset));
    if dataset.written_bytes > 0 {
        text += &format!(
            ", {} since the newest snapshot",
            HumanBytes(dataset.written_bytes)
        );
    }
    if dataset.partial.is_some() {
        text += ", a receive was cut here and can go on";
    }
    text += ")\n";
    for snapshot in &dataset.snapshots {
        text += &point_text(
            &format!("{}@{}", dataset.name, snapshot.short),
            snapshot.guid,
        );
    }
    for bookmark in &dataset.bookmarks {
        text += &point_text(
            &format!("{}#{}", dataset.name, bookmark.short),
            bookmark.guid,
        );
    }
    text
}

fn point_text(name: &str, guid: Guid) -> String {
    format!("    {name}  guid {guid}\n")
}

fn dataset_value(dataset: &Dataset) -> Value {
    let point = |short: &str, guid: Guid, createtxg: u64| json!({ "name": short, "guid": guid.to_string(), "createtxg": createtxg });
    let snapshots = dataset.snapshots.iter();
    let bookmarks = dataset.bookmarks.iter();
    json!({
        "name": dataset.name.as_str(),
        "kind": kind(dataset),
        "written_bytes": dataset.written_bytes,
        "partial": dataset.partial.is_some(),
        "snapshots": snapshots
            .map(|one| point(one.short.as_str(), one.guid, one.createtxg.0))
            .collect::<Vec<_>>(),
        "bookmarks": bookmarks
            .map(|one| point(one.short.as_str(), one.guid, one.createtxg.0))
            .collect::<Vec<_>>(),
    })
}
