//! `256M`, `1G`, `67108864`: sizes as people write them.
//!
//! Units are those of zfs(8): K, M, G and T are powers of 1024, with or without
//! `B` or `iB` behind them.

use std::fmt;
use std::str::FromStr;

/// The units and their powers of two.
const UNITS: [(char, u32); 5] = [('K', 10), ('M', 20), ('G', 30), ('T', 40), ('P', 50)];

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Why a text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no size; write bytes, or a number with K, M, G or T, for example 256M")]
pub struct SizeError(String);

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let wrong = || {
            let shown: String = text.chars().take(40).collect();
            SizeError(shown.escape_debug().to_string())
        };
        let digits_end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (digits, unit) = text.split_at(digits_end);
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let unit = unit.to_ascii_uppercase();
        let power = match unit.as_str() {
            "" | "B" => 0,
            _ => UNITS
                .iter()
                .find(|(letter, _)| {
                    let rest = unit.strip_prefix(*letter);
                    rest.is_some_and(|rest| matches!(rest, "" | "B" | "IB"))
                })
                .map(|(_, power)| *power)
                .ok_or_else(wrong)?,
        };
        match number.checked_mul(1 << power) {
            Some(bytes) if bytes > 0 => Ok(Self(bytes)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_powers_of_1024_in_any_case_and_spelling() {
        for text in ["256M", "256m", "256MB", "256MiB", "262144K", "268435456"] {
            assert_eq!(text.parse(), Ok(Size(256 << 20)), "{text}");
        }
        assert_eq!("1T".parse(), Ok(Size(1 << 40)));
    }

    #[test]
    fn what_is_no_size_or_none_at_all_is_refused() {
        for text in [
            "",
            "M",
            "0",
            "0M",
            "-1",
            "1.5G",
            "1 G",
            "256X",
            "256MM",
            "99999999999999P",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
