//! What both sides have → what to send, or why nothing can be sent.
//!
//! Pure: lists in, a plan out. Snapshots are matched by guid alone. Where data
//! on the target stands in the way the answer is a [`Conflict`] that says what
//! is there; a step that destroys something ([`Clearing`]) is in a plan only if
//! the request allows that very loss ([`Loss`]). Nor does the planner ever answer an obstacle with a full stream onto
//! data that exists.

mod conflict;
mod dataset;
mod encryption;
mod kin;
mod loss;
mod partial;
mod remedy;
mod tree;
mod way;

pub use conflict::{Conflict, Keeper};
pub use dataset::{DatasetRequest, Step, Way, plan_dataset};
pub use kin::{Kin, find_kin, known_guids};
pub use loss::{Clearing, Loss, OnModified, OnNewer};
pub use partial::{Discard, DiscardReason, LeftBehind, OnPartial, Taken, Unusable};
pub use remedy::Hosts;
pub use tree::{
    DatasetPlan, OnRenamed, Skipped, TreePlan, TreeRequest, plan_leftovers, plan_tree, with_arrived,
};
pub use way::{Intermediary, is_of_zferry};
