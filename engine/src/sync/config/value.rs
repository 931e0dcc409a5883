//! Typed values: booleans, durations, words.
//!
//! Pure text → value; where the text stood is added by the caller.

use std::time::Duration;

use super::keyword::nearest;

/// Longest duration that is taken, 100 years: beyond it a number is a slip.
const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The units of a duration, in seconds, longest first.
const UNITS: [(char, u64); 5] = [
    ('w', 7 * 86_400),
    ('d', 86_400),
    ('h', 3_600),
    ('m', 60),
    ('s', 1),
];

/// Why a text is no value of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sync) struct Wrong {
    /// What is wrong: a clause.
    pub problem: String,
    /// What would be right: a clause.
    pub remedy: String,
}

impl Wrong {
    pub(super) fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

/// What of a wrong value is shown: printable, and not longer than a line.
pub(super) fn shown(text: &str) -> String {
    /// Characters of a value that fit a message.
    const CHARS_MAX: usize = 60;
    let head: String = text.chars().take(CHARS_MAX).collect();
    let dots = if text.chars().nth(CHARS_MAX).is_some() {
        "…"
    } else {
        ""
    };
    format!("{}{dots}", head.escape_debug())
}

/// true/yes/y/1/t and false/no/n/0/f, in upper or lower case.
pub(super) fn boolean(text: &str) -> Result<bool, Wrong> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "1" | "t" => Ok(true),
        "false" | "no" | "n" | "0" | "f" => Ok(false),
        _ => Err(Wrong::new(
            format!("`{}` is no boolean", shown(text)),
            "write `true` or `false`",
        )),
    }
}

/// What a number without unit means in a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sync) enum BareNumber {
    /// Minutes, as in `sync_max_delay`.
    Minutes,
    /// Seconds, as in `lock_timeout`.
    Seconds,
}

/// A duration as in a configuration file; a bare number is seconds.
///
/// # Errors
/// What is wrong and what would be right, as a sentence.
pub fn duration_of(text: &str) -> Result<Duration, String> {
    duration(text, BareNumber::Seconds)
        .map_err(|wrong| format!("{}; {}", wrong.problem, wrong.remedy))
}

/// `1w2d3h4m5s`: each unit at most once, or a bare number.
pub(in crate::sync) fn duration(text: &str, bare: BareNumber) -> Result<Duration, Wrong> {
    let wrong = |problem: &str| {
        Wrong::new(
            format!("`{}` is no duration: {problem}", shown(text)),
            "write for example `1d3h` or `90m`, with the units w, d, h, m and s",
        )
    };
    let too_long = || wrong("it is longer than 100 years");
    let number = |digits: &str| digits.parse::<u64>().map_err(|_| too_long());
    if text.is_empty() {
        return Err(wrong("it is empty"));
    }
    let mut seconds: u64 = 0;
    let mut rest = text;
    let mut used = String::new();
    while !rest.is_empty() {
        let digits_end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (digits, tail) = rest.split_at(digits_end);
        if digits.is_empty() {
            return Err(wrong("a number is expected before each unit"));
        }
        let unit_seconds = match tail.chars().next() {
            None if used.is_empty() => match bare {
                BareNumber::Minutes => 60,
                BareNumber::Seconds => 1,
            },
            None => return Err(wrong("its last number has no unit")),
            Some(unit) => {
                let known = UNITS.iter().find(|(letter, _)| *letter == unit);
                let Some((_, unit_seconds)) = known else {
                    return Err(wrong(&format!("`{}` is no unit", unit.escape_debug())));
                };
                if used.contains(unit) {
                    return Err(wrong(&format!("it has the unit {unit} twice")));
                }
                used.push(unit);
                *unit_seconds
            }
        };
        rest = tail.get(1..).unwrap_or_default();
        seconds = number(digits)?
            .checked_mul(unit_seconds)
            .and_then(|part| seconds.checked_add(part))
            .ok_or_else(too_long)?;
    }
    let duration = Duration::from_secs(seconds);
    if duration > DURATION_MAX {
        return Err(too_long());
    }
    Ok(duration)
}

/// A duration in the form that configuration files use; `0s` for none.
/// Fractions of a second are dropped.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let mut seconds = duration.as_secs();
    if seconds == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (letter, unit_seconds) in UNITS {
        let count = seconds / unit_seconds;
        seconds %= unit_seconds;
        if count > 0 {
            text.push_str(&format!("{count}{letter}"));
        }
    }
    text
}

/// The one of `choices` that the text is.
pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, Wrong> {
    if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    let remedy = match nearest(text, words.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("write one of {}", words.join(", ")),
    };
    Err(Wrong::new(
        format!("`{}` is not known", shown(text)),
        remedy,
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn minutes(text: &str) -> Result<u64, String> {
        duration(text, BareNumber::Minutes)
            .map(|duration| duration.as_secs())
            .map_err(|wrong| wrong.problem)
    }

    #[test]
    fn durations_add_up_and_a_bare_number_takes_the_unit_of_its_keyword() {
        assert_eq!(minutes("1w2d3h4m5s"), Ok(788_645));
        assert_eq!(minutes("1d3h"), Ok(97_200));
        assert_eq!(minutes("1440"), Ok(86_400));
        assert_eq!(
            duration("60", BareNumber::Seconds),
            Ok(Duration::from_secs(60))
        );
    }

    #[test]
    fn rubbish_in_a_duration_is_an_error_and_not_dropped() {
        for (text, part) in [
            ("", "empty"),
            ("1d3", "last number has no unit"),
            ("d", "number is expected"),
            ("1d ", "number is expected"),
            ("1 d", "no unit"),
            ("1y", "no unit"),
            ("1D", "no unit"),
            ("-1d", "number is expected"),
            ("1d2d", "twice"),
            ("1dé", "number is expected"),
            ("1é", "no unit"),
            ("999999w", "100 years"),
            ("99999999999999999999999s", "100 years"),
            ("18446744073709551615w", "100 years"),
        ] {
            let problem = minutes(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }

    #[test]
    fn booleans_are_the_documented_words_in_any_case() {
        for text in ["true", "True", "YES", "y", "1", "t"] {
            assert_eq!(boolean(text), Ok(true));
        }
        for text in ["false", "No", "n", "0", "F"] {
            assert_eq!(boolean(text), Ok(false));
        }
        assert!(boolean("").is_err() && boolean("on").is_err());
    }

    #[test]
    fn a_misspelled_choice_is_answered_with_the_nearest_word() {
        let wrong = choice("drpnode", &[("nodes", 1), ("drpnodes", 2)]).unwrap_err();
        assert_eq!(wrong.remedy, "did you mean `drpnodes`?");
    }

    proptest! {
        #[test]
        fn a_duration_that_was_written_is_read_back(seconds in 0..=DURATION_MAX.as_secs()) {
            let wanted = Duration::from_secs(seconds);
            prop_assert_eq!(duration(&duration_text(wanted), BareNumber::Minutes), Ok(wanted));
        }

        #[test]
        fn no_text_makes_the_duration_parser_panic(text in "\\PC{0,24}") {
            let _ = duration(&text, BareNumber::Seconds);
        }
    }
}
