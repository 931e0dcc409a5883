//! When a resource is to be sent without being asked: schedule expressions.
//!
//! Text → [`Schedule`] → is it due now, and if not, when? Pure: the caller
//! brings the time, which is what a clock on the wall of this machine says,
//! and what is known of earlier runs. What "random" (`~`) means is decided by
//! a hash of the resource and the window, so that asking again gives the same
//! answer and no dice are needed.
//!
//! `[!]RANGES [DAYS [WEEKS [MONTHS]]]`, or several of them as
//! `["EXPRESSION", "EXPRESSION"]`; those with `!` exclude. A window is served
//! by one successful run, or by one every interval. A window that passed
//! without one was missed: the resource is due at once, in the window or
//! not, but never in an excluded time.

mod expression;
mod parse;
#[cfg(test)]
mod tests;
mod times;

use std::fmt;
use std::time::Duration;

use jiff::civil::DateTime;

pub use times::Times;

use expression::Expression;

/// The schedule of a resource that has none: once, early in the morning.
pub const SCHEDULE_DEFAULT: &str = "04:00-06:00";

/// Most time between a failed run and the next attempt.
pub const RETRY_MAX: Duration = Duration::from_secs(60 * 60);

/// How far windows are searched, in days: after 28 years the days of the week
/// meet the days of the month as before.
const HORIZON_DAYS: i64 = 28 * 366;

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {remedy}")]
pub struct ScheduleError {
    /// What is wrong: a clause.
    pub problem: String,
    /// What would be right: a clause.
    pub remedy: String,
}

/// What is known of earlier runs. All times are civil times of this machine;
/// one that lies in the future counts as now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Past {
    /// When the last successful run began.
    pub last_success: Option<DateTime>,
    /// When the last run began, whatever became of it.
    pub last_attempt: Option<DateTime>,
    /// Runs that failed since the last success.
    pub failures: u32,
}

/// Whether a resource is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// It is.
    Now,
    /// It is not, and will be then; `None` for never.
    NotYet(Option<DateTime>),
}

/// A schedule. Displayed as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    seed: String,
    include: Vec<Expression>,
    exclude: Vec<Expression>,
}

impl Schedule {
    /// Reads `text`. An empty one, and one whose interval is 0, is never due.
    /// `seed` names what is scheduled: two seeds have two random times.
    ///
    /// # Errors
    /// [`ScheduleError`], also for a schedule whose time never comes.
    pub fn parse(text: &str, seed: &str) -> Result<Self, ScheduleError> {
        let (include, exclude) = parse::expressions(text)?;
        let schedule = Self {
            text: text.to_owned(),
            seed: seed.to_owned(),
            include,
            exclude,
        };
        // Any day does: the horizon is a whole cycle of the calendar.
        if !schedule.include.is_empty() && schedule.next(0, None).is_none() {
            return Err(ScheduleError {
                problem: "its time never comes".to_owned(),
                remedy: "leave out one of its conditions, or write an empty value for never"
                    .to_owned(),
            });
        }
        Ok(schedule)
    }

    /// The text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is due at `now`.
    ///
    /// After a failure: 1, 2, 4 … minutes after that attempt, at most
    /// [`RETRY_MAX`]. After a success: as soon as a window has come that the
    /// success does not serve, also if that window has passed meanwhile. What
    /// never ran waits for its window.
    #[must_use]
    pub fn is_due(&self, now: DateTime, past: &Past) -> Due {
        if self.include.is_empty() {
            return Due::NotYet(None);
        }
        let now = seconds(now);
        let not_future = |time: DateTime| seconds(time).min(now);
        let attempt = past.last_attempt.map(not_future);
        let due = match (attempt, past.failures) {
            (Some(attempt), failures @ 1..) => self.not_excluded(attempt + retry_after(failures)),
            _ => match past.last_success.map(not_future) {
                Some(success) => self.next(success, Some(success)),
                None => self.next(now, None),
            },
        };
        // What is due since a while is due now, unless now is excluded.
        match due.and_then(|due| self.not_excluded(due.max(now))) {
            Some(due) if due <= now => Due::Now,
            due => Due::NotYet(due.and_then(civil)),
        }
    }

    /// The first moment from `from` on that lies in a window that `success`
    /// does not serve, and is not excluded.
    fn next(&self, from: i64, success: Option<i64>) -> Option<i64> {
        let mut from = from;
        let horizon = from + HORIZON_DAYS * expression::DAY_SECONDS;
        while from < horizon {
            let moments = self.include.iter();
            let next = moments
                .filter_map(|one| one.next(from, success, &self.seed))
                .min()?;
            from = self.not_excluded(next)?;
            if from == next {
                return Some(next);
            }
        }
        None
    }

    /// `moment`, or the end of the excluded times that it lies in.
    fn not_excluded(&self, moment: i64) -> Option<i64> {
        let mut moment = moment;
        let horizon = moment + HORIZON_DAYS * expression::DAY_SECONDS;
        while moment < horizon {
            let ends = self.exclude.iter().filter_map(|one| one.end_of(moment));
            match ends.max() {
                Some(end) => moment = end,
                None => return Some(moment),
            }
        }
        None
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Seconds from a failed attempt to the next: 1, 2, 4 … minutes.
fn retry_after(failures: u32) -> i64 {
    let minutes = 1_i64 << failures.saturating_sub(1).min(10);
    let max = i64::try_from(RETRY_MAX.as_secs()).unwrap_or(i64::MAX);
    (minutes * 60).min(max)
}

/// A civil time as seconds since the civil 1970-01-01.
fn seconds(time: DateTime) -> i64 {
    let epoch = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    time.duration_since(epoch).as_secs()
}

/// The civil time of [`seconds`]; `None` after the year 9999.
fn civil(seconds: i64) -> Option<DateTime> {
    let epoch = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    epoch
        .checked_add(jiff::SignedDuration::from_secs(seconds))
        .ok()
}
