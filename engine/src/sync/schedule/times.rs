//! Times as schedules write them, for what is no run: a rate that applies then.

use jiff::civil::DateTime;

use super::expression::Expression;
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
}
