//! Why a line failed, with Redis's texts.

use std::borrow::Cow;

/// What a handler returns: its reply is written, or the line failed.
pub type Done = Result<(), Fault>;

/// Why a line failed. Its text, code word first, is the error reply without the leading `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The key holds a value of another type.
    WrongType,
    /// The arguments do not fit together.
    Syntax,
    /// An argument is no 64-bit integer.
    NotInteger,
    /// An argument is no valid float.
    NotFloat,
    /// An index is out of range.
    OutOfRange,
    /// The key does not exist where it must.
    NoSuchKey,
    /// Any other text, code word first.
    Text(Cow<'static, str>),
}

impl Fault {
    /// A fault with the given text, code word first (`ERR …`).
    pub fn text(text: impl Into<Cow<'static, str>>) -> Fault {
        Fault::Text(text.into())
    }

    /// The error reply without the leading `-`.
    pub fn as_str(&self) -> &str {
        match self {
            Fault::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            Fault::Syntax => "ERR syntax error",
            Fault::NotInteger => "ERR value is not an integer or out of range",
            Fault::NotFloat => "ERR value is not a valid float",
            Fault::OutOfRange => "ERR index out of range",
            Fault::NoSuchKey => "ERR no such key",
            Fault::Text(text) => text,
        }
    }
}

impl From<crate::keyspace::WrongType> for Fault {
    fn from(_: crate::keyspace::WrongType) -> Fault {
        Fault::WrongType
    }
}
