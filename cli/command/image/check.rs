//! `zferry image check`: every block read and verified.

use std::time::{Duration, Instant};

use engine::error::Family;
use engine::image::Image;
use engine::zfs::userland::Checked;
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::{blocking, failure};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Outcome, human};
use crate::zfs::open_image;

/// Runs the command.
pub async fn run(images: Vec<Image>) -> Result<Outcome, Failure> {
    let mut text = String::new();
    let mut values = Vec::new();
    let mut failures = Vec::new();
    for image in images {
        let begun = Instant::now();
        let of = image.clone();
        let found = blocking(move || check(&of)).await?;
        text += &line(&image, found, begun.elapsed());
        values.push(value(&image, found));
        failures.extend(damage(&image, found));
    }
    Ok(Outcome {
        exit: Exit::worst(failures.iter().map(|failure| failure.family)),
        human: text,
        json: json!({ "images": values }),
        failures,
    })
}

fn check(image: &Image) -> Result<Checked, Failure> {
    let pool = open_image(image)?;
    let found = pool.check().map_err(|error| failure(&error))?;
    pool.close().map_err(|error| failure(&error))?;
    Ok(found)
}

fn line(image: &Image, found: Checked, time: Duration) -> String {
    let errors = match found.errors {
        0 => "no errors".to_owned(),
        1 => "1 error".to_owned(),
        errors => format!("{errors} errors"),
    };
    let mut text = format!(
        "{}: {errors}, {} read in {}",
        image.pool(),
        HumanBytes(found.examined_bytes),
        human::seconds(time)
    );
    if found.repaired_bytes > 0 {
        text += &format!(", {} repaired", HumanBytes(found.repaired_bytes));
    }
    text + "\n"
}

fn value(image: &Image, found: Checked) -> Value {
    json!({
        "pool": image.pool().as_str(),
        "file": image.file(),
        "examined_bytes": found.examined_bytes,
        "repaired_bytes": found.repaired_bytes,
        "errors": found.errors,
    })
}

fn damage(image: &Image, found: Checked) -> Option<Failure> {
    (found.errors > 0).then(|| Failure {
        state_left: Some("what is damaged cannot be read; everything else can".to_owned()),
        ..Failure::new(
            Family::Failed,
            format!(
                "the image {} is damaged: {} errors that cannot be repaired",
                image, found.errors
            ),
        )
        .remedy(
            "see that the disk under the file is sound, and replicate from a copy into a new image",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(errors: u64, repaired_bytes: u64) -> Checked {
        Checked {
            examined_bytes: 3 << 20,
            repaired_bytes,
            errors,
        }
    }

    #[test]
    fn damage_fails_the_command_and_what_was_repaired_does_not() {
        let image: Image = "tank=/i".parse().unwrap();
        let time = Duration::from_secs(1);
        assert_eq!(damage(&image, checked(0, 4096)), None);
        assert_eq!(
            line(&image, checked(0, 4096), time),
            "tank: no errors, 3.00 MiB read in 1.0 s, 4.00 KiB repaired\n"
        );
        let failure = damage(&image, checked(2, 0)).unwrap();
        assert_eq!(failure.family, Family::Failed);
        assert!(failure.message.contains("tank=/i"), "{failure:?}");
    }
}
