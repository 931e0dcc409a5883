//! How many bytes a second may pass, by the time of day.
//!
//! Text → [`BandwidthLimit`] → the [`Rate`] of a moment → a [`Bucket`], which
//! says when the next frame may go. All of that is pure: times come in. A
//! [`Limiter`] brings clock, bucket and limit together for the transfers of a
//! run; the driver asks it before it passes a frame on.
//!
//! `RATE[@TIMES],…`, the first that applies: `10M@08:00-18:00 mon-fri,100M`.
//! Times are those of schedules. Bytes count as they are on the wire.

mod bucket;
mod limiter;
mod rate;

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;

pub use bucket::{Bucket, Place};
pub use limiter::{Booking, Limiter, WallClock};
pub use rate::{RATE_MIN, Rate};

use crate::sync::schedule::Times;

/// Most entries of a limit.
const ENTRIES_MAX: usize = 64;

/// Why a text is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {remedy}")]
pub struct LimitError {
    /// What is wrong: a clause.
    pub problem: String,
    /// What would be right: a clause.
    pub remedy: String,
}

impl LimitError {
    fn new(problem: String, remedy: &str) -> Self {
        Self {
            problem,
            remedy: remedy.to_owned(),
        }
    }
}

/// A limit, by the time of day. Displayed as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BandwidthLimit {
    text: String,
    entries: Vec<Entry>,
}

/// A rate, and when it applies.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// `None`: as much as there is.
    rate: Option<Rate>,
    /// `None`: always.
    times: Option<Times>,
}

impl BandwidthLimit {
    /// The rate at this time on the wall; `None` if there is no limit then.
    #[must_use]
    pub fn at(&self, now: DateTime) -> Option<Rate> {
        let applies = |entry: &&Entry| match &entry.times {
            None => true,
            Some(times) => times.has(now),
        };
        self.entries.iter().find(applies)?.rate
    }

    /// The text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for BandwidthLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for BandwidthLimit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let text = text.trim();
        let mut entries: Vec<Entry> = Vec::new();
        for part in parts(text) {
            let last = entries.last();
            if last.is_some_and(|entry: &Entry| entry.times.is_none()) {
                return Err(LimitError::new(
                    format!(
                        "`{}` never applies: what stands before it always does",
                        shown(part)
                    ),
                    "write the rate without times last, as in `10M@08:00-18:00,100M`",
                ));
            }
            if entries.len() == ENTRIES_MAX {
                return Err(LimitError::new(
                    format!("it has more than {ENTRIES_MAX} rates"),
                    "write fewer, with lists of times: `10M@08:00-12:00,13:00-18:00`",
                ));
            }
            entries.push(entry(part)?);
        }
        Ok(Self {
            text: text.to_owned(),
            entries,
        })
    }
}

/// The entries of `text`. A comma begins another one if a rate follows: lists
/// of times and days have commas too.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut begin = 0;
    for (comma, _) in text.match_indices(',') {
        let next = &text[comma + 1..];
        let word = next.split([',', '@']).next().unwrap_or_default();
        if rate::begins_like_a_rate(word.trim()) {
            parts.push(&text[begin..comma]);
            begin = comma + 1;
        }
    }
    parts.push(&text[begin..]);
    parts
}

fn entry(text: &str) -> Result<Entry, LimitError> {
    let (rate, times) = match text.split_once('@') {
        Some((rate, times)) => (rate, Some(times)),
        None => (text, None),
    };
    let times = times.map(Times::parse).transpose();
    Ok(Entry {
        rate: rate::rate(rate.trim())?,
        times: times.map_err(|error| LimitError {
            problem: error.problem,
            remedy: error.remedy,
        })?,
    })
}

/// A part of the text as messages show it.
fn shown(text: &str) -> String {
    let head: String = text.chars().take(40).collect();
    head.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str) -> BandwidthLimit {
        text.parse().unwrap()
    }

    /// MiB per second at this time of Wednesday, the 25th of November 2026.
    fn at(limit: &BandwidthLimit, time: &str) -> Option<u64> {
        on(limit, &format!("2026-11-25T{time}"))
    }

    fn on(limit: &BandwidthLimit, moment: &str) -> Option<u64> {
        let rate = limit.at(moment.parse().unwrap());
        rate.map(|rate| rate.bytes_per_second() >> 20)
    }

    #[test]
    fn one_rate_applies_always() {
        let limit = limit("20M");
        assert_eq!(at(&limit, "12:00:00"), Some(20));
        assert_eq!(limit.to_string(), "20M");
    }

    #[test]
    fn the_first_rate_whose_time_it_is_applies() {
        let limit = limit(" 10M@08:00-18:00 mon-fri, 50M@22:00-06:00,unlimited ");
        for (time, expected) in [
            ("07:59:59", None),
            ("08:00:00", Some(10)),
            ("17:59:59", Some(10)),
            ("18:00:00", None),
            ("22:00:00", Some(50)),
            ("05:59:59", Some(50)),
            ("06:00:00", None),
        ] {
            assert_eq!(at(&limit, time), expected, "{time}");
        }
        // A Saturday.
        assert_eq!(on(&limit, "2026-11-28T12:00"), None);
        assert_eq!(on(&limit, "2026-11-28T23:00"), Some(50));
    }

    #[test]
    fn without_a_rate_for_the_rest_there_is_no_limit_then() {
        let limit = limit("10M@08:00-18:00");
        assert_eq!(at(&limit, "12:00:00"), Some(10));
        assert_eq!(at(&limit, "20:00:00"), None);
    }

    #[test]
    fn lists_of_times_and_days_have_commas_of_their_own() {
        let limit = limit("10M@08:00-12:00,13:00-18:00 mon,wed,fri * jan-nov,20M@00:00-06:00,1G");
        assert_eq!(at(&limit, "09:00:00"), Some(10));
        assert_eq!(at(&limit, "12:30:00"), Some(1024));
        assert_eq!(at(&limit, "13:00:00"), Some(10));
        assert_eq!(at(&limit, "05:00:00"), Some(20));
        assert_eq!(on(&limit, "2026-11-26T09:00"), Some(1024));
        assert_eq!(on(&limit, "2026-12-02T09:00"), Some(1024));
    }

    #[test]
    fn what_is_no_limit_is_refused_with_what_would_be_right() {
        for (text, problem) in [
            ("", "no rate"),
            ("20", "no unit"),
            ("0M", "less than"),
            ("10M@", "no times are written"),
            ("10M@8-18", "no range of times"),
            ("10M@08:00", "no range of times"),
            ("10M@08:00-18:00@30", "no range of times"),
            ("10M@08:00-18:00 someday", "no day"),
            ("10M,100M", "never applies"),
            ("10M@08:00-18:00,100", "no range of times"),
            ("10M@08:00-18:00 *:31 * feb", "never comes"),
            ("M@08:00-18:00", "no rate"),
            (",10M", "no rate"),
        ] {
            let error = text.parse::<BandwidthLimit>().unwrap_err();
            assert!(error.problem.contains(problem), "{text}: {error}");
            assert!(!error.remedy.is_empty(), "{text}");
        }
    }
}
