//! The values of a list as plain Rust.

/// Names and values, in the order of their list.
pub type NvPairs = Vec<(String, NvValue)>;

/// A value in a list, by its C type (`data_type_t`).
#[derive(Debug, Clone, PartialEq)]
pub enum NvValue {
    /// `BOOLEAN`: the name alone, without a value.
    Flag,
    /// `BOOLEAN_VALUE`
    Bool(bool),
    /// `BYTE`
    Byte(u8),
    /// `INT8`
    Int8(i8),
    /// `UINT8`
    Uint8(u8),
    /// `INT16`
    Int16(i16),
    /// `UINT16`
    Uint16(u16),
    /// `INT32`
    Int32(i32),
    /// `UINT32`
    Uint32(u32),
    /// `INT64`
    Int64(i64),
    /// `UINT64`
    Uint64(u64),
    /// `HRTIME`: nanoseconds. Read only.
    HighResolutionTime(i64),
    /// `STRING`
    Text(String),
    /// `STRING` that is not UTF-8 (a user property may be anything), byte for
    /// byte.
    TextBytes(Vec<u8>),
    /// `NVLIST`
    List(NvPairs),
    /// `BYTE_ARRAY`
    Bytes(Vec<u8>),
    /// `UINT64_ARRAY`
    Uint64Array(Vec<u64>),
    /// `STRING_ARRAY`; what is not UTF-8 has replacement characters.
    TextArray(Vec<String>),
    /// `NVLIST_ARRAY`
    ListArray(Vec<NvPairs>),
    /// A type that no call of this crate uses, by its number.
    Unknown(i32),
}

impl NvValue {
    /// The number, if it is an unsigned one of any width.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::Byte(value) | Self::Uint8(value) => Some(value.into()),
            Self::Uint16(value) => Some(value.into()),
            Self::Uint32(value) => Some(value.into()),
            Self::Uint64(value) => Some(value),
            _ => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The pairs, if it is a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[(String, NvValue)]> {
        match self {
            Self::List(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The value of this name, if it is a list that has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&NvValue> {
        self.as_list()?
            .iter()
            .find_map(|(key, value)| (key == name).then_some(value))
    }
}
