//! The far side: carries out requests on the machine where the data is.
//!
//! A helper runs as `zferry helper` at the end of an SSH session, or as a task
//! of the driver's own process for datasets of this machine. It checks every
//! request against its [`Authorization`] and plans nothing. When the
//! connection ends, whatever was running ends with it and leaves a state the
//! next run can start from.

mod activity;
mod authorization;
mod claim;
mod copies;
mod crew;
mod holds;
pub mod join;
mod receiving;
mod requests;
mod sending;
mod serve;
mod sessions;
#[cfg(test)]
mod tests;
mod workforce;

pub use activity::{Activity, Spent};
pub use authorization::Authorization;
pub use claim::{Claim, ClaimError, ClaimFolder};
pub use serve::{Helper, Reach, StateKeeper, serve, serve_watched};
pub use workforce::{WORKERS_MAX, Workers, Workforce};
