//! One expression: which windows it has.
//!
//! Times are seconds since the civil 1970-01-01, days count from it. A window
//! belongs to the day it begins on, also if it ends on the next.

use jiff::civil::{Date, Weekday};

use super::HORIZON_DAYS;

/// Seconds of a civil day; summer time has no part in civil times.
pub(super) const DAY_SECONDS: i64 = 86_400;

/// How often a window wants a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// One run per window.
    Once,
    /// A run when the last one is this many seconds old. Positive.
    Every(i64),
}

/// A time of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    /// Seconds from the beginning of its day.
    pub begin: i64,
    /// Likewise, after `begin`, and up to a day after it.
    pub end: i64,
    pub repeat: Repeat,
    /// `~`: not at its beginning, but anywhere in it.
    pub random: bool,
}

/// Which days of a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OfMonth {
    /// All that are of the right day of the week.
    Any,
    /// The nth of them, from the end if it is negative. Never 0.
    Nth(i8),
    /// Those whose number and `shift` together `modulo` divides.
    Modulo(Modulo),
}

/// `%MODULO[+SHIFT]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Modulo {
    /// Positive.
    pub modulo: i16,
    pub shift: i16,
}

impl Modulo {
    fn keeps(self, number: i16) -> bool {
        (number + self.shift).rem_euclid(self.modulo) == 0
    }
}

/// One item of the list of days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Days {
    /// From Monday to Sunday.
    pub weekdays: [bool; 7],
    pub of_month: OfMonth,
}

impl Days {
    fn has(&self, date: Date) -> bool {
        let weekday = date.weekday();
        if !self.has_weekday(weekday) {
            return false;
        }
        match self.of_month {
            OfMonth::Any => true,
            OfMonth::Modulo(modulo) => modulo.keeps(i16::from(date.day())),
            OfMonth::Nth(nth) => {
                // How many days of this month, up to this one, are meant.
                let days = if nth > 0 {
                    1..=date.day()
                } else {
                    date.day()..=date.days_in_month()
                };
                let is_meant = |day: &i8| {
                    let that = Weekday::from_monday_zero_offset(
                        (weekday.to_monday_zero_offset() + day - date.day()).rem_euclid(7),
                    );
                    that.is_ok_and(|that| self.has_weekday(that))
                };
                let count = days.filter(is_meant).count();
                count == usize::from(nth.unsigned_abs())
            }
        }
    }

    fn has_weekday(&self, weekday: Weekday) -> bool {
        let at = usize::try_from(weekday.to_monday_zero_offset()).unwrap_or_default();
        self.weekdays.get(at).copied().unwrap_or_default()
    }
}

/// One item of a list of weeks or months.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbers {
    /// First and last; the first may be larger: then it goes round.
    pub first: i16,
    pub last: i16,
    pub modulo: Option<Modulo>,
}

impl Numbers {
    fn has(&self, number: i16) -> bool {
        let in_range = if self.first <= self.last {
            (self.first..=self.last).contains(&number)
        } else {
            number >= self.first || number <= self.last
        };
        in_range && self.modulo.is_none_or(|modulo| modulo.keeps(number))
    }
}

/// One expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expression {
    pub ranges: Vec<Range>,
    pub days: Vec<Days>,
    /// ISO 8601 weeks.
    pub weeks: Vec<Numbers>,
    pub months: Vec<Numbers>,
}

impl Expression {
    fn has_day(&self, day: i64) -> bool {
        let epoch = Date::constant(1970, 1, 1);
        let Some(date) = i32::try_from(day).ok().and_then(|days| {
            epoch
                .checked_add(jiff::Span::new().try_days(days).ok()?)
                .ok()
        }) else {
            return false;
        };
        let (week, month) = (date.iso_week_date().week(), date.month());
        self.months.iter().any(|one| one.has(month.into()))
            && self.weeks.iter().any(|one| one.has(week.into()))
            && self.days.iter().any(|one| one.has(date))
    }

    /// The first moment from `from` on in a window that `success` does not
    /// serve.
    pub(super) fn next(&self, from: i64, success: Option<i64>, seed: &str) -> Option<i64> {
        let soonest = |day: i64| {
            let ranges = self.ranges.iter();
            ranges
                .filter_map(|range| range.moment(day, from, success, seed))
                .min()
        };
        // From the day before, for windows that go on after midnight.
        let first = from.div_euclid(DAY_SECONDS) - 1;
        let mut days = (first..first + HORIZON_DAYS).filter(|day| self.has_day(*day));
        let (day, found) = days.find_map(|day| Some((day, soonest(day)?)))?;
        // A window that began earlier may have its moment later.
        let also = Some(day + 1).filter(|day| self.has_day(*day));
        Some(
            also.and_then(soonest)
                .map_or(found, |other| other.min(found)),
        )
    }

    /// The end of the window that `moment` lies in.
    pub(super) fn end_of(&self, moment: i64) -> Option<i64> {
        let today = moment.div_euclid(DAY_SECONDS);
        let days = [today - 1, today].into_iter();
        days.filter(|day| self.has_day(*day))
            .flat_map(|day| {
                let start = day * DAY_SECONDS;
                let windows = self.ranges.iter();
                windows.map(move |range| (start + range.begin)..(start + range.end))
            })
            .filter(|window| window.contains(&moment))
            .map(|window| window.end)
            .max()
    }
}

impl Range {
    /// The first moment from `from` on in the window of `day`, if `success`
    /// leaves one.
    fn moment(&self, day: i64, from: i64, success: Option<i64>, seed: &str) -> Option<i64> {
        let start = day * DAY_SECONDS;
        let (begin, end) = (start + self.begin, start + self.end);
        let ready = match (self.repeat, success) {
            (_, None) => begin,
            (Repeat::Once, Some(success)) if success >= begin => return None,
            (Repeat::Once, Some(_)) => begin,
            (Repeat::Every(seconds), Some(success)) => begin.max(success + seconds),
        };
        let moment = ready.max(from).max(begin + self.delay(begin, seed));
        (moment < end).then_some(moment)
    }

    /// Where in the window its random moment is, in seconds from its beginning.
    fn delay(&self, begin: i64, seed: &str) -> i64 {
        let length = self.end - self.begin;
        let several = matches!(self.repeat, Repeat::Every(seconds) if seconds < length);
        if !self.random || several {
            return 0;
        }
        let digest = blake3::hash(format!("{seed}\0{begin}").as_bytes());
        let mut number = [0; 8];
        number.copy_from_slice(&digest.as_bytes()[..8]);
        let length = u64::try_from(length).unwrap_or(1).max(1);
        i64::try_from(u64::from_le_bytes(number) % length).unwrap_or_default()
    }
}
