//! What is wrong with RDB data, and where.

/// RDB data that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {offset}")]
pub struct Error {
    /// Bytes from the start of the file, or of the payload, to what is wrong. In a blob (ziplist, listpack …), which
    /// may have been compressed, to the place of the whole blob.
    pub offset: u64,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The signature is another.
    #[error("this is no RDB data: it does not begin with REDIS and four digits")]
    NotRdb,
    /// A version that this reader does not know.
    #[error("RDB version {0}, where 1 to {max} can be read,", max = super::VERSION_READ_MAX)]
    Version(u32),
    /// The data ends too early.
    #[error("the data ends in the middle of a value")]
    CutShort,
    /// A byte that begins no value and is no opcode.
    #[error("unknown value type {0}")]
    UnknownType(u8),
    /// A value type or opcode that is known and not read.
    #[error("value type {0} ({1}) cannot be read")]
    Refused(u8, &'static str),
    /// A length that no data can have, or that the bytes which follow cannot fill.
    #[error("a length or count of {0} that the data cannot have")]
    Length(u64),
    /// A length was expected and an encoded string found, or the other way round.
    #[error("an unknown encoding of a length or string")]
    Encoding,
    /// A compressed string does not decompress to its length.
    #[error("a compressed string that is corrupt")]
    Compressed,
    /// A part of a value breaks the rules of its format.
    #[error("a corrupt {0}")]
    Corrupt(&'static str),
    /// A collection without elements.
    #[error("an empty {0}")]
    Empty(&'static str),
    /// The checksum at the end is not that of the data.
    #[error("checksum {found:016x} where the data has {expected:016x}")]
    Checksum {
        /// Of the data as read.
        expected: u64,
        /// As it stands in the data.
        found: u64,
    },
}
