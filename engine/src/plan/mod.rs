//! What both sides have → what to send, or why nothing can be sent.
//!
//! Pure: lists in, a plan out. Snapshots are matched by guid alone. A plan
//! never contains a step that destroys or overwrites something; where data on
//! the target stands in the way the answer is a [`Conflict`] that says what is
//! there. Nor does the planner ever answer an obstacle with a full stream onto
//! data that exists.

mod conflict;
mod dataset;
mod tree;

pub use conflict::Conflict;
pub use dataset::{Step, plan_dataset};
pub use tree::{
    DatasetPlan, Skipped, TreePlan, TreeRequest, plan_leftovers, plan_tree, with_arrived,
};
