//! Texts of a resource's keywords → typed values, with what would be right.
//!
//! Pure; where the text stood is added by the caller. What several keywords
//! share is in `value`, commands are in `command`.

use std::path::PathBuf;
use std::time::Duration;

use super::resource::OnModified;
use super::value::{BareNumber, Wrong, boolean, choice, duration, shown};
use crate::image::{self, Image};
use crate::limit::{BandwidthLimit, LimitError};
use crate::name::DatasetName;
use crate::transport::{Dscp, NoDscp};

pub(super) fn max_delay(text: &str) -> Result<Duration, Wrong> {
    let delay = duration(text, BareNumber::Minutes)?;
    if delay.is_zero() {
        return Err(Wrong::new(
            "with a delay of zero no copy is ever up to date",
            "write how old the data may become, for example `1d`",
        ));
    }
    Ok(delay)
}

pub(super) fn timeout(text: &str) -> Result<Duration, Wrong> {
    let timeout = duration(text, BareNumber::Seconds)?;
    if timeout.is_zero() {
        return Err(Wrong::new(
            "nothing is sent in no time",
            "write how long a run may take, for example `4h`, or remove the line",
        ));
    }
    Ok(timeout)
}

/// How long to try again, or how long nothing may move: zero is not at all, or
/// for ever.
pub(super) fn patience(text: &str) -> Result<Duration, Wrong> {
    duration(text, BareNumber::Seconds)
}

pub(super) fn bandwidth_limit(text: &str) -> Result<BandwidthLimit, Wrong> {
    text.parse()
        .map_err(|error: LimitError| Wrong::new(error.problem, error.remedy))
}

pub(super) fn dscp(text: &str) -> Result<Dscp, Wrong> {
    text.parse().map_err(|error: NoDscp| {
        Wrong::new(
            format!("`{}` is no code point: {error}", shown(text)),
            "write `le` for what is to give way to all other traffic, or remove the line",
        )
    })
}

/// `rollback` is also a keyword of the cluster agent, which is a boolean and
/// says nothing about data.
pub(super) fn on_modified(text: &str) -> Result<OnModified, Wrong> {
    if boolean(text).is_ok() {
        return Ok(OnModified::Never);
    }
    choice(text, &OnModified::WORDS)
}

pub(super) fn dataset(text: &str) -> Result<DatasetName, Wrong> {
    if text.starts_with('/') {
        return Err(Wrong::new(
            format!("`{}` is a path, and a copy is a dataset", shown(text)),
            "write a dataset such as `tank/data`",
        ));
    }
    DatasetName::parse(text)
        .map_err(|error| Wrong::new(error.to_string(), "write a dataset such as `tank/data`"))
}

pub(super) fn address(text: &str) -> Result<String, Wrong> {
    /// Longest host name in DNS, and longer than any IP address.
    const ADDRESS_BYTES_MAX: usize = 253;
    let fits = text.len() <= ADDRESS_BYTES_MAX
        && !text.starts_with('-')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '%'));
    if fits {
        Ok(text.to_owned())
    } else {
        Err(Wrong::new(
            format!("`{}` is no host name and no IP address", shown(text)),
            "write one of them alone; user and port have keywords of their own",
        ))
    }
}

pub(super) fn user(text: &str) -> Result<String, Wrong> {
    /// Longest user name that Linux and FreeBSD take.
    const USER_BYTES_MAX: usize = 32;
    let fits = text.len() <= USER_BYTES_MAX
        && !text.starts_with('-')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if fits {
        Ok(text.to_owned())
    } else {
        Err(Wrong::new(
            format!("`{}` is no user name", shown(text)),
            "write the name of an account on the peer, for example `zferry`",
        ))
    }
}

pub(super) fn port(text: &str) -> Result<u16, Wrong> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(Wrong::new(
            format!("`{}` is no port", shown(text)),
            "write a number from 1 to 65535",
        )),
    }
}

pub(super) fn absolute_path(text: &str) -> Result<PathBuf, Wrong> {
    if text.starts_with('/') && !text.contains('\n') {
        Ok(PathBuf::from(text))
    } else {
        Err(Wrong::new(
            format!("`{}` is no absolute path", shown(text)),
            "write a path that begins with `/`; `~` is not expanded",
        ))
    }
}

pub(super) fn one_word(text: &str) -> Result<String, Wrong> {
    if text.contains(char::is_whitespace) {
        Err(Wrong::new(
            format!("`{}` is more than one word", shown(text)),
            "write the name of one subset",
        ))
    } else {
        Ok(text.to_owned())
    }
}

pub(super) fn one_line(text: &str) -> Result<String, Wrong> {
    if text.contains('\n') {
        Err(Wrong::new(
            "the command has more than one line",
            "write it on one line",
        ))
    } else {
        Ok(text.to_owned())
    }
}

pub(super) fn images(text: &str) -> Result<Vec<Image>, Wrong> {
    const REMEDY: &str = "write `POOL=FILE`, one or more, with absolute paths without blanks: tank=/var/lib/tank.img";
    let wrong = |problem: String| Wrong::new(problem, REMEDY);
    let mut images = Vec::new();
    for word in text.split_whitespace() {
        let image: Image = word
            .parse()
            .map_err(|error: image::ImageError| wrong(error.to_string()))?;
        if !image.file().is_absolute() {
            let file = image.file().display().to_string();
            return Err(wrong(format!("`{}` is no absolute path", shown(&file))));
        }
        image::join(&mut images, [image]).map_err(|error| wrong(error.to_string()))?;
    }
    Ok(images)
}
