//! How a network is to treat packets: the code point that each of them carries.
//!
//! Text → [`Dscp`] → the traffic class of a socket, which is set where sockets
//! are made. What a code point means is for whoever runs the network to say;
//! one that does not look at it treats all packets alike.

use std::fmt;
use std::str::FromStr;

/// A differentiated services code point (RFC 2474, section 3). Displayed by its
/// name, if it has one here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dscp(u8);

/// The code points that have names: class selectors (RFC 2474), assured (RFC
/// 2597) and expedited (RFC 3246) forwarding, and lower effort (RFC 8622).
const NAMES: [(&str, u8); 22] = [
    ("cs0", 0),
    ("le", 1),
    ("cs1", 8),
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("cs2", 16),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("cs3", 24),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("cs4", 32),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("cs5", 40),
    ("ef", 46),
    ("cs6", 48),
    ("cs7", 56),
];

/// The largest code point: it has six bits.
const DSCP_MAX: u8 = 63;

/// A text that is no code point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("le, cs0 to cs7, af11 to af43, ef, or a number from 0 to 63 is due")]
pub struct NoDscp;

impl Dscp {
    /// The byte of the IP header that has it, with nothing said about
    /// congestion, which TCP itself fills in (RFC 3168).
    #[must_use]
    pub fn traffic_class(self) -> u8 {
        self.0 << 2
    }
}

impl FromStr for Dscp {
    type Err = NoDscp;

    fn from_str(text: &str) -> Result<Self, NoDscp> {
        let is_named = |(name, _): &&(&str, u8)| name.eq_ignore_ascii_case(text);
        let named = NAMES.iter().find(is_named);
        if let Some((_, number)) = named {
            return Ok(Self(*number));
        }
        match text.parse() {
            Ok(number @ 0..=DSCP_MAX) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Self(number))
            }
            _ => Err(NoDscp),
        }
    }
}

impl fmt::Display for Dscp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_of_code_points_are_read_and_shown_by_name() {
        for (text, class, shown) in [
            ("le", 0x04, "le"),
            ("1", 0x04, "le"),
            ("CS1", 0x20, "cs1"),
            ("af11", 0x28, "af11"),
            ("ef", 0xb8, "ef"),
            ("0", 0x00, "cs0"),
            ("63", 0xfc, "63"),
        ] {
            let dscp: Dscp = text.parse().unwrap();
            assert_eq!(
                (dscp.traffic_class(), dscp.to_string().as_str()),
                (class, shown)
            );
        }
    }

    #[test]
    fn every_name_is_read_back_as_it_is_shown() {
        for number in 0..=DSCP_MAX {
            let dscp = Dscp(number);
            assert_eq!(dscp.to_string().parse(), Ok(dscp));
        }
    }

    #[test]
    fn what_is_no_code_point_is_refused() {
        for text in [
            "", "64", "256", "-1", "+1", " 1", "0x04", "cs8", "af14", "low",
        ] {
            assert_eq!(text.parse::<Dscp>(), Err(NoDscp), "{text}");
        }
    }
}
