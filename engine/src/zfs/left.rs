//! What a cut receive left, looked at once more before it is given up.

use super::{Dataset, Scope, Zfs, ZfsError, ZfsErrorKind};
use crate::name::DatasetName;

pub(super) const OPERATION: &str = "give up the receive into";

/// The dataset, if a cut receive left in it what `token` says.
///
/// # Errors
/// As [`Zfs::discard_partial`] has them.
pub(super) fn still_there(
    zfs: &dyn Zfs,
    dataset: &DatasetName,
    token: &str,
) -> Result<Dataset, ZfsError> {
    let refused = |kind, detail: &str| ZfsError {
        detail: detail.to_owned(),
        ..ZfsError::new(OPERATION, dataset, kind)
    };
    let nothing = || refused(ZfsErrorKind::NotFound, "nothing is left there");
    let listed = zfs.tree(dataset, Scope::One)?;
    let found = listed.and_then(|tree| tree.into_iter().next());
    let found = found.ok_or_else(nothing)?;
    match &found.partial {
        None => Err(nothing()),
        Some(left) if left.token != token => Err(refused(
            ZfsErrorKind::Busy,
            "what is left there is not what was looked at",
        )),
        Some(_) => Ok(found),
    }
}
