//! The short requests: listings, snapshots, renames, holds, state.
//!
//! Each blocks for a transaction group at most and runs on a thread that may.

use std::path::Path;
use std::sync::Arc;

use crate::hold::HoldTag;
use crate::name::{DatasetName, Guid, SnapshotName};
use crate::protocol::failure::Failure;
use crate::protocol::message::{
    LISTING_PART_ENTRIES, NAMES_MAX, PATH_BYTES_MAX, Reply, Request, TOKEN_BYTES_MAX,
};
use crate::zfs::{Dataset, Hold, Scope, Zfs, ZfsError, ZfsErrorKind};

use super::authorization::Authorization;
use super::claim::{Claim, ClaimError, ClaimFolder};
use super::copies;
use super::holds::{self, Newest};
use super::serve::{Reach, StateKeeper};

/// What a request may use.
pub(super) struct Context<'a> {
    pub zfs: &'a dyn Zfs,
    pub authorization: &'a Authorization,
    pub states: Option<&'a dyn StateKeeper>,
    /// What this machine calls itself.
    pub node: &'a str,
    /// Where destinations are claimed.
    pub folder: Option<&'a ClaimFolder>,
    /// What the driver's machine calls itself.
    pub driver: &'a str,
    /// The claims of this session.
    pub claims: &'a mut Vec<Arc<Claim>>,
    /// The holds of this session.
    pub holds: &'a mut Vec<Box<dyn Hold>>,
    /// Where bases are looked for first.
    pub newest: &'a mut Newest,
}

/// Carries out a request that is neither send nor receive, and gives the
/// replies in order.
pub(super) fn carry_out(request: Request, context: Context<'_>) -> Vec<Reply> {
    if let Request::Tree { root, scope } = request {
        return match context.zfs.tree(&root, scope) {
            Ok(None) => vec![Reply::Datasets {
                part: Vec::new(),
                more: false,
                exists: false,
            }],
            Ok(Some(datasets)) => {
                context.newest.remember(&datasets);
                parts(datasets)
            }
            Err(error) => vec![Reply::Failed(error.into())],
        };
    }
    if let Request::Holds { root, scope } = request {
        let listed = holds::list(context.zfs, &root, scope);
        return listed.unwrap_or_else(|failure| vec![Reply::Failed(failure)]);
    }
    vec![single(request, context).unwrap_or_else(Reply::Failed)]
}

fn single(request: Request, context: Context<'_>) -> Result<Reply, Failure> {
    let zfs = context.zfs;
    let reach = Reach {
        authorization: context.authorization,
        node: context.node,
    };
    match request {
        Request::CreateAncestors { dataset } => {
            check_ancestors(zfs, context.authorization, &dataset)?;
            Ok(Reply::Created {
                datasets: zfs.create_ancestors(&dataset)?,
            })
        }
        Request::Snapshot { names } => {
            check_count(names.len())?;
            zfs.snapshot(&names)?;
            Ok(Reply::Done)
        }
        Request::DestroySnapshots { snapshots } => {
            check_count(snapshots.len())?;
            let names = still_the_same(zfs, snapshots)?;
            zfs.destroy_snapshots(&names)?;
            Ok(Reply::Done)
        }
        Request::RenameSnapshot { from, to, scope } => {
            zfs.rename_snapshot(&from, &to, scope)?;
            Ok(Reply::Done)
        }
        Request::Rollback { to, guid } => {
            match still_the_same(zfs, vec![(to.clone(), guid)])?.as_slice() {
                [] => Err(ZfsError::new("roll back to", &to, ZfsErrorKind::NotFound).into()),
                _ => {
                    zfs.rollback(&to)?;
                    Ok(Reply::Done)
                }
            }
        }
        Request::RenameDataset { from, guid, to } => {
            copies::rename(zfs, &from, guid, &to)?;
            Ok(Reply::Done)
        }
        Request::OldCopies { of } => Ok(Reply::Created {
            datasets: copies::old(zfs, &of)?,
        }),
        Request::DestroyCopy { of, copy, ours } => {
            check_count(ours.len().max(1))?;
            copies::destroy(zfs, &of, &copy, &ours)?;
            Ok(Reply::Done)
        }
        Request::DiscardPartial { dataset, token } => {
            if token.len() > TOKEN_BYTES_MAX {
                return Err(Failure::BadRequest("no resume token is that long".into()));
            }
            zfs.discard_partial(&dataset, &token)?;
            Ok(Reply::Done)
        }
        Request::Available { dataset } => Ok(Reply::Size {
            bytes: copies::available(zfs, &dataset)?,
        }),
        Request::Bookmark { marks } => {
            check_count(marks.len())?;
            zfs.bookmark(&marks)?;
            Ok(Reply::Done)
        }
        Request::DestroyBookmarks { names } => {
            check_count(names.len())?;
            zfs.destroy_bookmarks(&names)?;
            Ok(Reply::Done)
        }
        Request::Hold { names } => {
            check_count(names.len())?;
            let tag = HoldTag::for_run(context.driver);
            context.holds.push(zfs.hold(&names, &tag)?);
            Ok(Reply::Done)
        }
        Request::HoldBases { bases } => {
            check_count(bases.len())?;
            let names = holds::by_guid(zfs, bases, context.newest)?;
            let tag = HoldTag::for_run(context.driver);
            context.holds.push(zfs.hold(&names, &tag)?);
            Ok(Reply::Done)
        }
        Request::HoldKept { snapshots, tag } => {
            check_count(snapshots.len())?;
            holds::keep(zfs, snapshots, &tag)?;
            Ok(Reply::Done)
        }
        Request::ReleaseKept { snapshots, tag } => {
            check_count(snapshots.len())?;
            let names = still_the_same(zfs, snapshots)?;
            zfs.release(&names, &tag)?;
            Ok(Reply::Done)
        }
        Request::Release => {
            context.holds.clear();
            Ok(Reply::Done)
        }
        Request::MountedAt { path } => {
            if path.len() > PATH_BYTES_MAX || !path.starts_with('/') {
                return Err(Failure::BadRequest("an absolute path was due".to_owned()));
            }
            match zfs.dataset_mounted_at(Path::new(&path))? {
                Some(outside) if !context.authorization.permits(&outside) => {
                    Err(context.authorization.refusal(&outside))
                }
                dataset => Ok(Reply::Mounted { dataset }),
            }
        }
        Request::SendSize { request } => Ok(Reply::Size {
            bytes: zfs.send_size(&request)?,
        }),
        Request::Claim {
            dataset,
            scope,
            purpose,
        } => {
            claim(context, &dataset, scope, &purpose)?;
            Ok(Reply::Done)
        }
        Request::PutState {
            service,
            rid,
            dataset: _,
            state,
        } => {
            let keeper = keeper(context.states, &service, &rid)?;
            keeper
                .put(&service, &rid, &state, reach)
                .map_err(|reason| state_failure(&service, &rid, reason))?;
            Ok(Reply::Done)
        }
        Request::GetState { service, rid } => {
            let keeper = keeper(context.states, &service, &rid)?;
            let state = keeper
                .get(&service, &rid, reach)
                .map_err(|reason| state_failure(&service, &rid, reason))?;
            Ok(Reply::State { state })
        }
        Request::Tree { .. }
        | Request::Holds { .. }
        | Request::Send { .. }
        | Request::Receive { .. }
        | Request::OfferSessions
        | Request::Widen { .. }
        | Request::Widened
        | Request::Cancel => Err(Failure::BadRequest("out of turn".to_owned())),
    }
}

/// Claims a destination for the rest of the session, once.
fn claim(
    context: Context<'_>,
    dataset: &DatasetName,
    scope: Scope,
    purpose: &str,
) -> Result<(), Failure> {
    let Some(folder) = context.folder else {
        return Ok(());
    };
    let covered = |claim: &Arc<Claim>| claim.covers(dataset, scope);
    if context.claims.iter().any(covered) {
        return Ok(());
    }
    let holder = format!("{purpose}, started on {}", context.driver);
    match folder.claim(dataset, scope, &holder) {
        Ok(claim) => {
            context.claims.push(Arc::new(claim));
            Ok(())
        }
        Err(ClaimError::Held(holder)) => Err(Failure::Claimed {
            dataset: dataset.clone(),
            holder,
        }),
        Err(error) => Err(Failure::NoClaim {
            dataset: dataset.clone(),
            reason: error.to_string(),
        }),
    }
}

fn keeper<'a>(
    states: Option<&'a dyn StateKeeper>,
    service: &str,
    rid: &str,
) -> Result<&'a dyn StateKeeper, Failure> {
    states.ok_or_else(|| state_failure(service, rid, "this helper keeps no state".to_owned()))
}

/// The names come from the other side and are not checked yet.
fn state_failure(service: &str, rid: &str, reason: String) -> Failure {
    let shown = |text: &str| text.escape_debug().take(100).collect();
    Failure::State {
        service: shown(service),
        rid: shown(rid),
        reason,
    }
}

fn check_count(count: usize) -> Result<(), Failure> {
    match count {
        0 => Err(Failure::BadRequest("an empty list of snapshots".to_owned())),
        1..=NAMES_MAX => Ok(()),
        _ => Err(Failure::BadRequest(format!(
            "more than {NAMES_MAX} snapshots at once"
        ))),
    }
}

/// Refuses if an ancestor that lies outside would have to be created. The
/// deepest ancestor outside decides: if it exists, so do those above it.
fn check_ancestors(
    zfs: &dyn Zfs,
    authorization: &Authorization,
    dataset: &DatasetName,
) -> Result<(), Failure> {
    let outside = dataset
        .ancestors()
        .filter(|ancestor| !authorization.permits(ancestor))
        .last();
    match outside {
        Some(ancestor) if zfs.tree(&ancestor, Scope::One)?.is_none() => {
            Err(authorization.refusal(&ancestor))
        }
        _ => Ok(()),
    }
}

/// The names of those snapshots that exist, if they all have the expected
/// guids. A name may have been given to another snapshot since it was listed.
pub(super) fn still_the_same(
    zfs: &dyn Zfs,
    snapshots: Vec<(SnapshotName, Guid)>,
) -> Result<Vec<SnapshotName>, Failure> {
    let names: Vec<SnapshotName> = snapshots.iter().map(|(name, _)| name.clone()).collect();
    let guids = zfs.snapshot_guids(&names)?;
    let mut same = Vec::with_capacity(names.len());
    for ((snapshot, expected), found) in snapshots.into_iter().zip(guids) {
        match found {
            None => {}
            Some(found) if found == expected => same.push(snapshot),
            Some(found) => {
                return Err(Failure::OtherGuid {
                    snapshot,
                    expected,
                    found,
                });
            }
        }
    }
    Ok(same)
}

/// Cuts a listing into messages of bounded size.
fn parts(datasets: Vec<Dataset>) -> Vec<Reply> {
    let mut parts: Vec<Vec<Dataset>> = vec![Vec::new()];
    let mut room = LISTING_PART_ENTRIES;
    for mut dataset in datasets {
        loop {
            // A dataset itself counts for ten: properties, names, a token.
            if room <= 10 {
                parts.push(Vec::new());
                room = LISTING_PART_ENTRIES;
            }
            room -= 10;
            let later_snapshots = dataset
                .snapshots
                .split_off(room.min(dataset.snapshots.len()));
            room -= dataset.snapshots.len();
            let later_bookmarks = dataset
                .bookmarks
                .split_off(room.min(dataset.bookmarks.len()));
            room -= dataset.bookmarks.len();
            let rest = Dataset {
                snapshots: later_snapshots,
                bookmarks: later_bookmarks,
                ..dataset.clone()
            };
            let done = rest.snapshots.is_empty() && rest.bookmarks.is_empty();
            parts
                .last_mut()
                .expect("there is always a part")
                .push(dataset);
            if done {
                break;
            }
            dataset = rest;
            room = 0;
        }
    }
    let count = parts.len();
    parts
        .into_iter()
        .enumerate()
        .map(|(n, part)| Reply::Datasets {
            part,
            more: n + 1 < count,
            exists: true,
        })
        .collect()
}
