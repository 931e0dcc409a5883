//! Times as schedules write them, for what is no run: a rate that applies then.

use std::time::Duration;

use jiff::civil::DateTime;

use super::expression::{DAY_SECONDS, Expression};
use super::{ScheduleError, parse, seconds};

/// `RANGES [DAYS [WEEKS [MONTHS]]]`, without `@` and `~`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times(Expression);

impl Times {
    /// Reads `text`.
    ///
    /// # Errors
    /// [`ScheduleError`], also for times that never come.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let times = parse::times(text)?;
        // Any day does: the horizon is a whole cycle of the calendar.
        match times.next(0, None, "") {
            Some(_) => Ok(Self(times)),
            None => Err(ScheduleError {
                problem: format!("`{}` never comes", text.trim().escape_debug()),
                remedy: "leave out one of its conditions".to_owned(),
            }),
        }
    }

    /// Whether `now` is one of them.
    #[must_use]
    pub fn has(&self, now: DateTime) -> bool {
        self.0.end_of(seconds(now)).is_some()
    }

    /// How long after `now` it stays as it is, in or out; a day at most, so
    /// that nobody has to search further. `None` if it is so for ever.
    #[must_use]
    pub fn stays(&self, now: DateTime) -> Option<Duration> {
        let now = seconds(now);
        let change = match self.0.end_of(now) {
            Some(end) => end,
            None => self.0.next(now, None, "")?,
        };
        let stays = (change - now).clamp(0, DAY_SECONDS);
        Some(Duration::from_secs(u64::try_from(stays).unwrap_or(0)))
    }
}
