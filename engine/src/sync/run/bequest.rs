//! What a target keeps for the other targets.
//!
//! Any target may be the next sender. Once it commits, the base that it shared
//! with all others is gone there, and a target that was away would have nothing
//! in common with it: after a change of roles it could only be sent everything
//! again. So a target that is about to commit marks, as the source does, what
//! each of the others may have.

use super::marks::{Marks, destroy};
use super::round::Round;
use crate::name::{BookmarkName, ShortName};
use crate::peer::{Peer, PeerError};
use crate::sync::config::{Target, TargetKind};
use crate::zfs::{ByName, Dataset, NewBookmark};

impl Round<'_> {
    /// What the other targets may have is marked on this one before it commits:
    /// it may be their sender one day.
    pub(super) async fn keep_for_others(
        &self,
        source_tree: &[Dataset],
        peer: &mut Peer,
        target: &Target,
    ) -> Result<(), PeerError> {
        let is_node = |target: &Target| target.kind != TargetKind::Local;
        let others = self.sends.targets.iter().filter(|other| is_node(other));
        let heirs: Vec<Marks> = others
            .filter(|other| is_node(target) && other.node != target.node)
            .map(|other| Marks::new(&self.resource.rid, other))
            .collect();
        if heirs.is_empty() {
            return Ok(());
        }
        let tree = self.side(&target.dst).tree(peer).await?;
        let mut bequest = Bequest::default();
        let tree = ByName::of(&tree);
        for here in source_tree {
            let there = tree.counterpart(&here.name, &self.sends.src, &target.dst);
            let Some(there) = there else { continue };
            for heir in &heirs {
                bequest.add(heir, here, there, &self.resource.names.sent);
            }
        }
        bequest.carry_out(peer).await
    }
}

/// The marks to make and to destroy on a target, for all others.
#[derive(Default)]
pub(super) struct Bequest {
    new: Vec<NewBookmark>,
    obsolete: Vec<BookmarkName>,
}

impl Bequest {
    /// Adds what `heir` needs from one dataset. `here` is the dataset on the
    /// source, `there` on the target that commits; `sent` is the base's name.
    ///
    /// Only if the source is sure that the heir has the base, and nothing
    /// besides, do older marks go. Otherwise they may be of what the heir got
    /// from another sender.
    pub(super) fn add(&mut self, heir: &Marks, here: &Dataset, there: &Dataset, sent: &ShortName) {
        let base = here.snapshot_by_name(sent).map(|snapshot| snapshot.guid);
        let marked = heir.guids(here);
        let needed = if marked.is_empty() {
            base.into_iter().collect()
        } else {
            marked
        };
        for guid in &needed {
            if let Some(snapshot) = there.snapshot_by_guid(*guid) {
                self.new.extend(heir.missing(there, snapshot));
            }
        }
        let settled = base.is_some_and(|base| needed == [base]);
        if let (true, Some(base)) = (settled, base.and_then(|base| there.snapshot_by_guid(base))) {
            self.obsolete.extend(heir.older_than(there, base.createtxg));
        }
    }

    /// Makes the new marks, in one transaction, before the obsolete ones go.
    ///
    /// Cut in between it leaves marks that nobody needs; the next commit
    /// destroys them.
    pub(super) async fn carry_out(self, peer: &mut Peer) -> Result<(), PeerError> {
        if !self.new.is_empty() {
            peer.bookmark(self.new).await?;
        }
        destroy(peer, self.obsolete).await
    }
}
