//! When a resource is to be sent without being asked: schedule expressions.
//!
//! Text → [`Schedule`]. Pure: no clock and no dice are here.

use std::fmt;

/// The schedule of a resource that has none: once, early in the morning.
pub const SCHEDULE_DEFAULT: &str = "04:00-06:00";

/// A schedule, in the words of the configuration. Displayed as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    text: String,
}

impl Schedule {
    /// A schedule from its `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
        }
    }

    /// The text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
