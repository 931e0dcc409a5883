//! `zferry image put`: standard input into a volume.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::sync::Arc;

use engine::error::Family;
use engine::image::Image;
use engine::name::DatasetName;
use engine::zfs::userland::{ImagePool, Stored};
use engine::zfs::{Scope, Zfs, ZfsError, ZfsErrorKind};
use indicatif::HumanBytes;
use serde_json::json;

use super::{blocking, close, failure, open_for};
use crate::args::image::Put;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Outcome;
use crate::size::Size;

/// Sizes of volumes are multiples of their block size.
const VOLUME_BLOCK_BYTES: u64 = 16 << 10;

/// Runs the command.
pub async fn run(images: &[Image], args: Put) -> Result<Outcome, Failure> {
    let Put { volume, size } = args;
    if std::io::stdin().is_terminal() {
        return Err(
            Failure::new(Family::Usage, "the content of a volume is not typed in").remedy(format!(
                "give it a file: zferry … image put {volume} < FILE"
            )),
        );
    }
    let pool = open_for(images, &volume).await?;
    let shared = Arc::clone(&pool);
    let name = volume.clone();
    let stored = blocking(move || put(&shared, &name, size)).await;
    let stored = stored.map_err(|error| explained(&error, &volume, Input::look()))?;
    close(pool).await?;
    Ok(outcome(&volume, stored))
}

fn put(pool: &ImagePool, volume: &DatasetName, size: Option<Size>) -> Result<Stored, ZfsError> {
    let from = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| ZfsError {
            detail: error.to_string(),
            ..ZfsError::new("read standard input for", volume, ZfsErrorKind::Io)
        })?;
    pool.create_ancestors(volume)?;
    match size {
        Some(Size(bytes)) if pool.tree(volume, Scope::One)?.is_none() => {
            let whole = bytes.checked_next_multiple_of(VOLUME_BLOCK_BYTES);
            pool.create_volume(volume, whole.unwrap_or(bytes))?;
            let stored = pool.put(volume, from)?;
            Ok(Stored {
                created: true,
                ..stored
            })
        }
        _ => pool.put(volume, from),
    }
}

/// What standard input is: a file is as long as it says beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    File,
    Stream,
}

impl Input {
    fn look() -> Self {
        let facts = std::io::stdin().as_fd().try_clone_to_owned();
        let facts = facts.and_then(|fd| std::fs::File::from(fd).metadata());
        if facts.is_ok_and(|facts| facts.is_file()) {
            Self::File
        } else {
            Self::Stream
        }
    }
}

fn explained(error: &ZfsError, volume: &DatasetName, input: Input) -> Failure {
    let pool = volume.pool();
    let mixed = "snapshots are as they were; the volume may hold a part of the new content";
    let failure = failure(error);
    match error.kind {
        // Only a content that is too long has more to say.
        ZfsErrorKind::NoSpace if error.detail.is_empty() => Failure {
            state_left: Some(format!("{mixed}; the pool {pool} is full")),
            ..failure
        }
        .remedy(format!(
            "use a larger image, or fewer snapshots in this one: see zferry image list {pool}"
        )),
        ZfsErrorKind::NoSpace => Failure {
            state_left: Some(match input {
                Input::File => "nothing was written".to_owned(),
                Input::Stream => mixed.to_owned(),
            }),
            ..failure
        }
        .remedy(format!(
            "put it into a new volume: zferry … image put {pool}/NAME < FILE"
        )),
        ZfsErrorKind::Invalid => failure.remedy(format!(
            "say how large a new volume is to be: zferry … image put {volume} --size 1G"
        )),
        _ => failure,
    }
}

fn outcome(volume: &DatasetName, stored: Stored) -> Outcome {
    let created = if stored.created { " (created)" } else { "" };
    Outcome {
        exit: Exit::Done,
        human: format!("{volume}{created}: {} written\n", HumanBytes(stored.bytes)),
        json: json!({
            "volume": volume.as_str(),
            "created": stored.created,
            "bytes": stored.bytes,
            "volume_bytes": stored.volume_bytes,
        }),
        failures: Vec::new(),
    }
}
