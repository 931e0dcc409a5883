//! `replicate`: one dataset or tree from one peer to another.
//!
//! list both → plan → complete what a cut run left → snapshot → plan again →
//! hold → transfer, dataset by dataset → prune what earlier runs made.
//!
//! Nothing is changed before the first plan is free of conflicts. A part of a
//! stream that was cut stays on the target, and the next run goes on from there
//! if the resume token says that it is of a snapshot that the source still has,
//! in the same block form and from a base that both have. If not, the part is
//! given up where it is provably ours and of no use; otherwise it is reported as
//! a conflict and left alone: it may be of another program, and only an operator
//! can tell ([`plan`](crate::plan) has the rule). The truth is
//! always read from the pools; there is no file that could be wrong. What a run
//! that is cut leaves behind, and why the next one goes on from there:
//!
//! | cut after | left behind | the next run |
//! |---|---|---|
//! | the snapshot | an unsent snapshot of ours | takes a newer one, destroys this one |
//! | giving up the part of a cut stream that cannot be used | a dataset as if that stream had never begun; a new one is gone | sends it from the same base, or in full |
//! | destroying what is newer than the base, where that is allowed | the target has its base as the newest snapshot, and its changes | rolls back, if that is allowed still |
//! | rolling some datasets back | these are at their base | rolls the others back |
//! | renaming the target aside, where that is allowed | no target, the old one with all it had as TARGET.zferry-archive-GUID | sends everything; the old one is never touched again |
//! | creating ancestors | empty datasets | uses them |
//! | holding both sides' bases and what is sent | nothing: these holds end with the helpers | the same |
//! | some of the snapshots in between | these are on both sides | goes on from the newest of them |
//! | some datasets of a tree | these have the new snapshot | has it as their base |
//! | a stream, in the middle | the part that came, with a resume token; a new dataset has no snapshot yet | sends the rest, then from there to its own snapshot |
//! | a stream, at its beginning | nothing of it: ZFS keeps no part without data | sends from the same base |
//! | a stream, before the answer | the target has the snapshot | finds it by guid |
//! | an attempt that failed, in the wait before the next | as above | goes on as above; the next attempt of the same run also uses the snapshot that was taken |
//! | holding the new base on the target, where that is asked for | the new and the former base are held | the last transfer's row; holds the newest, releases the others |
//! | the last transfer | two of our snapshots on both sides | destroys the older pair |

mod archive;
mod base;
mod clear;
mod commands;
mod error;
mod estimate;
mod explain;
mod job;
mod lanes;
mod meter;
mod pace;
mod persist;
mod prune;
mod run;
mod telling;
#[cfg(test)]
mod tests;
mod transfer;
mod transfers;

pub use archive::{Archived, replicate};
pub use error::{Begun, ReplicateError};
pub use job::{Job, OnConflict, Placement, SnapshotChoice};
pub use persist::{Allowance, PersistError, Unreachable, replicate_persistently};
pub use run::{DatasetReport, Report};
pub use transfer::Moved;

pub(crate) use base::{BaseChange, Place};
pub(crate) use commands::{discard_command, send_command, snapshot_command};
pub(crate) use explain::{explained, find_renamed};
pub(crate) use transfers::{Transfers, vanished};

/// So many snapshots are held by one call, or destroyed because they are old. ZFS
/// does that in one transaction group, and whatever else of the pool waits for one
/// (a snapshot, the end of a receive) waits for it. What is given up on a target
/// goes by one call all the same: all of it or nothing.
const TOGETHER_MAX: usize = 500;
