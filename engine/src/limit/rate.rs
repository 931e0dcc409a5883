//! `20M`, `1.5MiB/s`, `160Mbit`: rates as people write them.
//!
//! Bytes have the units of zfs(8), powers of 1024, with or without `B`, `iB`
//! and `/s` behind them. Bits have those of networks, powers of 1000, and are
//! written `bit` or `bps`. A small `b` would be either, by a factor of eight,
//! and a number without a unit anything.

use std::fmt;
use std::num::NonZeroU64;

use super::{LimitError, shown};

/// The smallest rate, in bytes per second: at less, one frame of 1 MiB takes
/// longer than connections live.
pub const RATE_MIN: u64 = 1024;

/// The units, with their powers of 1024 and of 1000.
const UNITS: [(char, u32); 4] = [('K', 1), ('M', 2), ('G', 3), ('T', 4)];

/// Digits behind the point that are read.
const DECIMALS_MAX: usize = 6;

const REMEDY: &str = "write for example `20M`, `1.5GiB`, `160Mbit`, or `unlimited`";

/// Bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(NonZeroU64);

impl Rate {
    /// This many, at least [`RATE_MIN`].
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        let bytes = NonZeroU64::new(bytes_per_second.max(RATE_MIN));
        Self(bytes.expect("the least is more than zero"))
    }

    /// How many it is.
    #[must_use]
    pub fn bytes_per_second(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B/s", self.0)
    }
}

/// Whether a word is meant as a rate, right or wrong: it has a number and a
/// unit, which no item of a list of times has.
pub(super) fn begins_like_a_rate(word: &str) -> bool {
    let number = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let is_number = number.len() < word.len();
    let is_unit = number.starts_with(|c: char| c.is_ascii_alphabetic());
    word.eq_ignore_ascii_case("unlimited") || (is_number && is_unit)
}

/// Reads a rate; `None` is `unlimited`.
pub(super) fn rate(text: &str) -> Result<Option<Rate>, LimitError> {
    if text.eq_ignore_ascii_case("unlimited") {
        return Ok(None);
    }
    let wrong = || LimitError::new(format!("`{}` is no rate", shown(text)), REMEDY);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let (thousandths, scale) = decimal(number).ok_or_else(wrong)?;
    if unit.is_empty() {
        return Err(LimitError::new(
            format!("`{}` has no unit", shown(text)),
            REMEDY,
        ));
    }
    let (factor, divisor) = factor(unit).ok_or_else(wrong)?;
    let bytes = thousandths
        .checked_mul(factor)
        .map(|bytes| bytes / scale / divisor)
        .and_then(|bytes| u64::try_from(bytes).ok())
        .ok_or_else(wrong)?;
    if bytes < RATE_MIN {
        return Err(LimitError::new(
            format!("`{}` is less than 1K", shown(text)),
            "write at least 1K, or a time at which there is no limit",
        ));
    }
    Ok(Some(Rate::new(bytes)))
}

/// `1.25` as 125 and 100.
fn decimal(number: &str) -> Option<(u128, u128)> {
    let (whole, rest) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    let fits = !whole.is_empty() && whole.len() <= 18 && rest.len() <= DECIMALS_MAX;
    if !fits || !is_number(whole) || !is_number(rest) || number.ends_with('.') {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(rest.len()).ok()?);
    Some((format!("{whole}{rest}").parse().ok()?, scale))
}

/// By what a number is multiplied and divided to be bytes.
fn factor(unit: &str) -> Option<(u128, u128)> {
    let unit = unit.strip_suffix("/s").unwrap_or(unit);
    let bits = unit
        .strip_suffix("bit")
        .or_else(|| unit.strip_suffix("bps"));
    let prefix = bits.unwrap_or_else(|| {
        let unit = unit.strip_suffix('B').unwrap_or(unit);
        unit.strip_suffix('i').unwrap_or(unit)
    });
    let mut letters = prefix.chars();
    let power = match (letters.next(), letters.next()) {
        (None, _) => 0,
        (Some(letter), None) => {
            let letter = letter.to_ascii_uppercase();
            UNITS.iter().find(|(known, _)| *known == letter)?.1
        }
        _ => return None,
    };
    // `i` has to stand for something, and so has `/s`.
    if unit.starts_with('i') || unit.is_empty() {
        return None;
    }
    Some(match bits {
        Some(_) => (1000_u128.pow(power), 8),
        None => (1024_u128.pow(power), 1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> u64 {
        rate(text).unwrap().unwrap().bytes_per_second()
    }

    #[test]
    fn bytes_are_powers_of_1024_and_bits_of_1000() {
        for text in [
            "20M", "20m", "20MB", "20MiB", "20MB/s", "20MiB/s", "20M/s", "20480K",
        ] {
            assert_eq!(bytes(text), 20 << 20, "{text}");
        }
        for text in ["160Mbit", "160mbit", "160Mbit/s", "160Mbps", "0.16Gbit"] {
            assert_eq!(bytes(text), 20_000_000, "{text}");
        }
        assert_eq!(bytes("1.5M"), 3 << 19);
        assert_eq!(bytes("2048B"), 2048);
        assert_eq!(bytes("10000bit"), 1250);
        assert_eq!(bytes("1T"), 1 << 40);
        assert_eq!(rate("unlimited"), Ok(None));
        assert_eq!(rate("Unlimited"), Ok(None));
    }

    #[test]
    fn what_may_mean_something_else_is_refused() {
        for text in [
            "",
            "M",
            "20",
            "20Mb",
            "20mb",
            "20 M",
            "-1M",
            "1.M",
            ".5M",
            "1.2.3M",
            "20X",
            "20MM",
            "20iB",
            "20Mib",
            "20MBit",
            "0M",
            "1023B",
            "8Kbit",
            "1e3M",
            "99999999999999999999M",
            "999999999999999T",
            "1.1234567M",
            "20M/h",
            "2048/s",
        ] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_item_of_a_list_of_times_is_taken_for_a_rate() {
        for word in ["20M", "1.5G", "160Mbit", "unlimited", "20X"] {
            assert!(begins_like_a_rate(word), "{word}");
        }
        for word in [
            "13:00-18:00",
            "08:00",
            "12",
            "1-26",
            "sun",
            "mon-fri",
            "%2",
            "*",
            "",
            "*:last",
        ] {
            assert!(!begins_like_a_rate(word), "{word}");
        }
    }
}
