//! What another session of a conversation says first: that it belongs to one.
//!
//! In the place of a hello ([`super::hello`]), and told apart by its first
//! bytes: magic (8), version (2, little-endian), zeros (6), the token (32).
//! Nothing follows until the helper has taken the session over.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Size of the record in bytes.
pub const RECORD_BYTES: usize = 16 + Token::BYTES;

const MAGIC: [u8; 8] = *b"zfj\x89\r\n\x1a\n";
const VERSION: [u8; 8] = [1, 0, 0, 0, 0, 0, 0, 0];

/// What a session has to know in order to join another one: 256 random bits,
/// good for one conversation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token([u8; Token::BYTES]);

impl Token {
    /// Its length.
    pub const BYTES: usize = 32;

    /// Of bytes that nobody can guess.
    #[must_use]
    pub fn new(random: [u8; Self::BYTES]) -> Self {
        Self(random)
    }

    /// The bytes themselves.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether these are its bytes. Takes the same time whatever they are.
    #[must_use]
    pub fn is(&self, bytes: &[u8]) -> bool {
        blake3::hash(&self.0) == blake3::hash(bytes)
    }

    /// A file name that does not betray it.
    #[must_use]
    pub fn name(&self) -> String {
        blake3::hash(&self.0).to_hex()[..32].to_owned()
    }

    /// What a session begins with that has it.
    #[must_use]
    pub fn record(&self) -> Vec<u8> {
        [&MAGIC[..], &VERSION, &self.0].concat()
    }

    /// The token of a whole record.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let token = bytes.strip_prefix(&MAGIC)?.strip_prefix(&VERSION)?;
        token.try_into().ok().map(Self)
    }

    /// Whether these can be the first bytes of a record.
    #[must_use]
    pub fn may_follow(begin: &[u8]) -> bool {
        let fixed = [MAGIC, VERSION].concat();
        let compared = begin.len().min(fixed.len());
        begin.len() < RECORD_BYTES && begin[..compared] == fixed[..compared]
    }
}

/// Not shown anywhere.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        blake3::Hash::from_bytes(token.0).to_hex().to_string()
    }
}

impl TryFrom<String> for Token {
    type Error = blake3::HexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Ok(Self(*blake3::Hash::from_hex(text)?.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_recognized_at_its_last_byte_and_excluded_at_its_first_wrong_one() {
        let token = Token::new([7; 32]);
        let record = token.record();
        assert_eq!(record.len(), RECORD_BYTES);
        for length in 0..record.len() {
            assert!(Token::may_follow(&record[..length]), "{length}");
            assert!(Token::read(&record[..length]).is_none(), "{length}");
        }
        assert_eq!(Token::read(&record), Some(token));
        for at in 0..16 {
            let mut other = record.clone();
            other[at] ^= 1;
            assert!(!Token::may_follow(&other[..=at]), "{at}");
            assert!(Token::read(&other).is_none(), "{at}");
        }
    }

    #[test]
    fn a_token_travels_as_text_and_is_not_in_its_file_name() {
        let token = Token::new([7; 32]);
        let text = serde_json::to_string(&token).unwrap();
        assert_eq!(serde_json::from_str::<Token>(&text).unwrap(), token);
        assert!(!text.contains(&token.name()));
        assert!(serde_json::from_str::<Token>("\"00\"").is_err());
        assert_eq!(format!("{token:?}"), "Token");
    }
}
