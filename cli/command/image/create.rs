//! `zferry image create`: a new file with an empty pool.

use engine::error::Family;
use engine::image::Image;
use engine::zfs::ZfsErrorKind;
use engine::zfs::userland::ImagePool;
use indicatif::HumanBytes;
use serde_json::json;

use super::{absolute, blocking, failure};
use crate::args::image::Create;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Outcome;
use crate::zfs::{image_there, worker};

/// Smallest image, as `zpool create` has it for a device.
const IMAGE_BYTES_MIN: u64 = 64 << 20;

/// Runs the command.
pub async fn run(args: Create) -> Result<Outcome, Failure> {
    let image = absolute(&args.image)?;
    let bytes = args.size.0;
    if bytes < IMAGE_BYTES_MIN {
        let message = format!("an image of {bytes} bytes is too small for a pool: {image}");
        return Err(Failure::new(Family::Usage, message).remedy("write --size 64M or more"));
    }
    let made = image.clone();
    blocking(move || create(&made, bytes)).await?;
    Ok(Outcome {
        exit: Exit::Done,
        human: format!(
            "{}: created in {}, {}\n",
            image.pool(),
            image.file().display(),
            HumanBytes(bytes)
        ),
        json: json!({
            "pool": image.pool().as_str(),
            "file": image.file(),
            "file_bytes": bytes,
        }),
        failures: Vec::new(),
    })
}

fn create(image: &Image, bytes: u64) -> Result<(), Failure> {
    let created = ImagePool::create(&worker(), &image_there(image), bytes);
    created
        .and_then(ImagePool::close)
        .map_err(|error| match error.kind {
            ZfsErrorKind::Exists => Failure {
                state_left: Some("the file is as it was".to_owned()),
                ..failure(&error)
            }
            .remedy(format!(
                "see what it holds: zferry image list {image}; or choose another file"
            )),
            ZfsErrorKind::Unavailable => failure(&error).remedy(
                "build zferry-zpool on a machine with libzfslinux-dev, and put it beside zferry \
                 or into ../libexec/zferry/",
            ),
            _ => Failure {
                state_left: Some("nothing was created".to_owned()),
                ..failure(&error)
            }
            .remedy(format!(
                "see that {} can be written and its disk has space",
                image.file().display()
            )),
        })
}
