//! What is mounted where. Claims have no way to mount: they are about datasets
//! that are not.

use std::path::Path;

use super::ground::Ground;
use super::{Claim, Failed, Outcome, claims, ensure};
use crate::zfs::ZfsErrorKind;

pub(super) const CLAIMS: &[Claim] = claims![where_nothing_is_mounted_no_dataset_is_named];

fn where_nothing_is_mounted_no_dataset_is_named(ground: &Ground<'_>) -> Outcome {
    ground.volume("v", 1)?;
    match ground
        .zfs
        .dataset_mounted_at(Path::new("/zferry-conformance/v"))
    {
        Ok(found) => ensure!(found.is_none(), "{found:?} is mounted there"),
        // Pools in files are mounted nowhere, and say that they cannot know.
        Err(error) if error.kind == ZfsErrorKind::NotSupported => {}
        Err(error) => return Err(Failed::from(error)),
    }
    Ok(())
}
