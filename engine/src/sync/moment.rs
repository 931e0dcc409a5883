//! A point in time, as snapshots and state files carry it.
//!
//! The engine has no clock: every "now" comes in from the caller as a
//! [`UtcSeconds`], so that tests and other machines decide what time it is.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01T00:00:00Z, the resolution of a snapshot's
/// `creation`. Displayed as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UtcSeconds(pub u64);

impl UtcSeconds {
    /// The time between the two, whichever is earlier.
    #[must_use]
    pub fn apart(self, other: Self) -> Duration {
        Duration::from_secs(self.0.abs_diff(other.0))
    }

    /// The time from `earlier` to this, or `None` if `earlier` is later: the
    /// clocks of two machines need not agree.
    #[must_use]
    pub fn since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_secs)
    }
}

impl fmt::Display for UtcSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timestamp = i64::try_from(self.0)
            .ok()
            .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        match timestamp {
            Some(timestamp) => timestamp.fmt(f),
            // Beyond the year 9999: a damaged number, shown as it is.
            None => write!(f, "@{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_in_utc_and_an_impossible_one_as_a_number() {
        assert_eq!(UtcSeconds(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(
            UtcSeconds(1_700_000_000).to_string(),
            "2023-11-14T22:13:20Z"
        );
        assert_eq!(UtcSeconds(u64::MAX).to_string(), format!("@{}", u64::MAX));
    }

    #[test]
    fn time_does_not_run_backwards() {
        assert_eq!(
            UtcSeconds(70).since(UtcSeconds(10)),
            Some(Duration::from_secs(60))
        );
        assert_eq!(UtcSeconds(10).since(UtcSeconds(70)), None);
        let minute = Duration::from_secs(60);
        assert_eq!(UtcSeconds(10).apart(UtcSeconds(70)), minute);
        assert_eq!(UtcSeconds(70).apart(UtcSeconds(10)), minute);
    }
}
