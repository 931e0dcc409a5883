//! A full sync onto a dataset that exists.
//!
//! Nothing of the old copy is touched while the new one arrives beside it, as
//! `DST.zferry-new`. Once the new one is whole and committed, two renames put
//! the old one aside and the new one into its place. What is there says how far
//! an earlier run came:
//!
//! | DST | DST.zferry-new | the next run |
//! |---|---|---|
//! | old | a part | a full goes on with it; any other leaves it and uses DST |
//! | old | whole, committed | swaps them; a full brings it up to date before |
//! | absent | with a snapshot that the source knows | moves it into its place, completes it there |
//! | absent | anything else | leaves it, says so, and receives at DST |
//! | new | absent | as always; the old one stands aside until it may go |

use super::error::TargetError;
use super::round::{Extent, Manner, Phase, Round};
use super::stale::knows;
use crate::copies;
use crate::event::{Event, Observer};
use crate::name::{DatasetName, NameError, ShortName};
use crate::peer::{Peer, PeerError};
use crate::sync::config::{KeepOld, Target};
use crate::sync::state::{DatasetSnapshot, Mode, Synced};
use crate::zfs::{ByName, Dataset, Scope};

/// Where what is sent arrives.
pub(super) enum Place {
    /// At `dst`; whether this run has just moved a copy there.
    Itself { swapped: bool },
    /// Beside it, where this much of it has arrived.
    Beside {
        new: DatasetName,
        copy: Vec<Dataset>,
    },
    /// This round has nothing to do there.
    Nowhere,
}

impl Round<'_> {
    /// Decides where to receive, after completing what a run had begun that
    /// was cut between its last transfer and its end.
    pub(super) async fn place(
        &self,
        source_tree: &[Dataset],
        peer: &mut Peer,
        target: &Target,
        (phase, manner): (Phase, Manner),
    ) -> Result<Place, TargetError> {
        let is_full = manner == Manner::Full;
        let there = peer.tree(&target.dst, Scope::One).await?.is_some();
        let new = match self.name_beside(target, is_full && there) {
            Err(error) => return Err(error),
            Ok(None) => return Ok(Place::Itself { swapped: false }),
            Ok(Some(new)) => new,
        };
        let copy = self.side(&new).tree(peer).await?;
        match (there, copy.is_empty(), is_full) {
            (_, true, false) | (false, true, true) => Ok(Place::Itself { swapped: false }),
            (false, false, _) => {
                let known = copy.first().filter(|root| is_known(source_tree, root));
                match known {
                    Some(root) => self.move_in(peer, target, root).await?,
                    None => self.notice(peer, left_over(&new)),
                }
                Ok(Place::Itself {
                    swapped: known.is_some(),
                })
            }
            (true, false, false) if is_whole(self, source_tree, &copy, &new) => {
                self.swap(peer, target, &new).await?;
                Ok(Place::Itself { swapped: true })
            }
            (true, false, false) => {
                self.notice(peer, left_over(&new));
                Ok(Place::Itself { swapped: false })
            }
            (true, true, true) if phase == Phase::Leftover => Ok(Place::Nowhere),
            (true, _, true) => Ok(Place::Beside { new, copy }),
        }
    }

    /// The name beside `dst`; `None` if there is none and none is needed.
    pub(super) fn name_beside(
        &self,
        target: &Target,
        needed: bool,
    ) -> Result<Option<DatasetName>, TargetError> {
        if target.dst.parent().is_none() {
            return match needed {
                true => Err(TargetError::RootOfPool {
                    dst: target.dst.clone(),
                }),
                false => Ok(None),
            };
        }
        match copies::new(&target.dst) {
            Ok(new) => Ok(Some(new)),
            Err(error) if needed => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    /// Brings everything beside `dst`, then swaps.
    pub(super) async fn bring_beside(
        &self,
        source: &mut Peer,
        source_tree: &[Dataset],
        peer: &mut Peer,
        target: &Target,
        (new, copy): (DatasetName, Vec<Dataset>),
        phase: Phase,
    ) -> Result<Synced, TargetError> {
        let beside = Target {
            dst: new.clone(),
            ..target.clone()
        };
        let mut begun = !copy.is_empty();
        if begun && phase == Phase::Fresh && self.plan(source_tree, &copy, &beside).is_err() {
            // It is the part of a copy of which the source has nothing more.
            self.discard(peer, target, &new).await?;
            begun = false;
        }
        let extent = Extent {
            spare: self.side(&target.dst).tree(peer).await?,
            spare_root: Some(&target.dst),
            needs_room: !begun,
        };
        let synced = self
            .bring_onto(source, source_tree, peer, &beside, extent)
            .await?;
        self.swap(peer, target, &new).await?;
        Ok(moved(synced, &new, &target.dst)?)
    }

    async fn discard(
        &self,
        peer: &mut Peer,
        target: &Target,
        new: &DatasetName,
    ) -> Result<(), TargetError> {
        self.side(new).let_bases_go(peer).await?;
        self.step(peer, format!("zfs destroy -r {new}"));
        let names = &self.resource.names;
        let ours = [&names.sent, &names.tosend, &names.aside].map(ShortName::clone);
        let discarded = peer.destroy_copy(target.dst.clone(), new.clone(), ours.to_vec());
        Ok(discarded.await?)
    }

    /// Refuses what cannot fit, and says what is needed.
    pub(super) async fn check_room(
        &self,
        peer: &mut Peer,
        target: &Target,
        needed: u64,
    ) -> Result<(), TargetError> {
        let available = peer.available_bytes(target.dst.clone()).await?;
        let dst = copies::original(&target.dst);
        if needed > available {
            return Err(TargetError::NoRoom {
                dst,
                needed,
                available,
            });
        }
        let text = format!(
            "a full copy beside {dst} needs about {needed} bytes; {available} are available"
        );
        self.notice(peer, text);
        Ok(())
    }

    /// The old copy is renamed aside, the new one takes its place.
    async fn swap(
        &self,
        peer: &mut Peer,
        target: &Target,
        new: &DatasetName,
    ) -> Result<(), TargetError> {
        let dst = &target.dst;
        let stays = |source: PeerError| TargetError::NotSwapped {
            dst: dst.clone(),
            new: new.clone(),
            source,
        };
        let tree = |found: Option<Vec<Dataset>>| found.and_then(|mut tree| tree.pop());
        let fresh = tree(peer.tree(new, Scope::One).await?);
        let present = tree(peer.tree(dst, Scope::One).await?);
        let Some(fresh) = fresh else { return Ok(()) };
        let Some(present) = present else {
            return self.move_in(peer, target, &fresh).await;
        };
        // It is no base any more: the new copy is whole, and held by itself.
        self.side(dst).let_bases_go(peer).await?;
        let old = copies::old(dst, present.guid)?;
        self.step(peer, format!("zfs rename {dst} {old}"));
        peer.rename_dataset(dst.clone(), present.guid, old.clone())
            .await
            .map_err(stays)?;
        self.move_in(peer, target, &fresh).await?;
        match self.resource.keep_old {
            KeepOld::No => self.drop_old(peer, target).await?,
            KeepOld::Next => self.notice(
                peer,
                format!("the copy that was there is kept as {old} until the next run succeeds"),
            ),
            KeepOld::Confirm => self.notice(
                peer,
                format!("the copy that was there is kept as {old} until zferry sync confirm"),
            ),
        }
        Ok(())
    }

    async fn move_in(
        &self,
        peer: &mut Peer,
        target: &Target,
        fresh: &Dataset,
    ) -> Result<(), TargetError> {
        let (new, dst) = (&fresh.name, &target.dst);
        self.step(peer, format!("zfs rename {new} {dst}"));
        let moved = peer.rename_dataset(new.clone(), fresh.guid, dst.clone());
        moved.await.map_err(|source| TargetError::NotSwapped {
            dst: dst.clone(),
            new: new.clone(),
            source,
        })
    }

    /// Destroys the old copies of a target. One that is held or cloned stays,
    /// and that is told: it has no say in whether the data arrived.
    pub(super) async fn drop_old(
        &self,
        peer: &mut Peer,
        target: &Target,
    ) -> Result<(), TargetError> {
        let copies = peer.old_copies(&target.dst).await?;
        for copy in destroy_old(self.observer, peer, &target.dst, copies).await? {
            if let Some(why) = copy.stays {
                self.notice(peer, format!("{} stays: {why}", copy.name));
            }
        }
        Ok(())
    }

    fn step(&self, peer: &Peer, command: String) {
        step(self.observer, peer, command);
    }

    fn notice(&self, peer: &Peer, text: String) {
        self.observer.event(&Event::Notice {
            peer: peer.name.clone(),
            text,
        });
    }
}

/// An old copy that was to be destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldCopy {
    /// Its name.
    pub name: DatasetName,
    /// Why it was not destroyed.
    pub stays: Option<String>,
}

/// Destroys these old copies of `dst`. What the other side refuses stays, with
/// its reason.
pub(super) async fn destroy_old(
    observer: &dyn Observer,
    peer: &mut Peer,
    dst: &DatasetName,
    copies: Vec<DatasetName>,
) -> Result<Vec<OldCopy>, PeerError> {
    let mut old = Vec::new();
    for name in copies {
        step(observer, peer, format!("zfs destroy -r {name}"));
        let destroyed = peer.destroy_copy(dst.clone(), name.clone(), Vec::new());
        let stays = match destroyed.await {
            Err(error) if error.failure().is_some() => Some(error.cause.to_string()),
            destroyed => {
                destroyed?;
                None
            }
        };
        old.push(OldCopy { name, stays });
    }
    Ok(old)
}

fn step(observer: &dyn Observer, peer: &Peer, command: String) {
    observer.event(&Event::Step {
        peer: peer.name.clone(),
        command,
    });
}

fn left_over(new: &DatasetName) -> String {
    format!("{new} is what a full sync left that was cut; the next onto a copy goes on with it")
}

/// True if the source has a snapshot of the copy's root, or a bookmark of one.
fn is_known(source_tree: &[Dataset], root: &Dataset) -> bool {
    let source = source_tree.first();
    let mut snapshots = root.snapshots.iter();
    source.is_some_and(|source| snapshots.any(|snapshot| knows(source, snapshot.guid)))
}

/// True if the copy was committed as a whole: every dataset of the source has
/// there, as `sent`, what the source calls by the same name everywhere.
fn is_whole(
    round: &Round<'_>,
    source_tree: &[Dataset],
    copy: &[Dataset],
    new: &DatasetName,
) -> bool {
    let sent = &round.resource.names.sent;
    let mut first = None;
    let copy = ByName::of(copy);
    source_tree.iter().all(|here| {
        let there = copy.counterpart(&here.name, &round.sends.src, new);
        let committed = there.and_then(|there| there.snapshot_by_name(sent));
        let known = committed.and_then(|committed| here.snapshot_by_guid(committed.guid));
        known.is_some_and(|known| *first.get_or_insert(&known.short) == &known.short)
    })
}

/// The same with the names it has after the swap. Whatever was sent last, the
/// copy was made from nothing.
fn moved(synced: Synced, new: &DatasetName, dst: &DatasetName) -> Result<Synced, NameError> {
    let datasets = synced.datasets.into_iter().map(|snapshot| {
        Ok(DatasetSnapshot {
            dataset: snapshot.dataset.rebase(new, dst)?,
            ..snapshot
        })
    });
    Ok(Synced {
        dst: dst.clone(),
        datasets: datasets.collect::<Result<_, NameError>>()?,
        mode: Mode::Full,
        ..synced
    })
}
