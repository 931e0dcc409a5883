//! `zferry image get`: a volume's content to standard output.
//!
//! Standard output is the content: nothing of this command is ever shown there,
//! with `--json` neither.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::sync::Arc;

use engine::error::Family;
use engine::image::Image;
use engine::zfs::userland::{Contents, ImagePool};
use engine::zfs::{ZfsError, ZfsErrorKind};

use super::{blocking, close, failure, open_for};
use crate::args::image::Get;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Outcome;

/// Runs the command.
pub async fn run(images: &[Image], args: Get) -> Result<Outcome, Failure> {
    let contents = args.contents;
    if std::io::stdout().is_terminal() {
        return Err(Failure::new(
            Family::Usage,
            "the content of a volume is not written to a terminal",
        )
        .remedy(format!(
            "send it to a file: zferry … image get {contents} > FILE"
        )));
    }
    let pool = open_for(images, contents.dataset()).await?;
    let shared = Arc::clone(&pool);
    let got = blocking(move || get(&shared, &contents)).await;
    got.map_err(|error| failure(&error))?;
    close(pool).await?;
    Ok(Outcome {
        exit: Exit::Done,
        human: String::new(),
        json: serde_json::Value::Null,
        failures: Vec::new(),
    })
}

fn get(pool: &ImagePool, contents: &Contents) -> Result<u64, ZfsError> {
    let into = std::io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| ZfsError {
            detail: error.to_string(),
            ..ZfsError::new("write standard output with", contents, ZfsErrorKind::Io)
        })?;
    pool.get(contents, into)
}
