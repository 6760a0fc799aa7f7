//! Why a line failed, with Redis's texts.

use std::borrow::Cow;
use std::fmt;

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
    Text(Cow<'static, [u8]>),
}

impl Fault {
    /// A fault with the given text, code word first (`ERR …`).
    pub fn text(text: impl Into<Cow<'static, str>>) -> Fault {
        Fault::Text(match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }

    /// A fault whose text shows what the client sent: each `{}` of `template` stands for one of `shown`, byte by byte up to the
    /// first zero byte, which ends a text in Redis.
    pub fn showing(template: &str, shown: &[&[u8]]) -> Fault {
        let mut text = Vec::with_capacity(template.len() + 32);
        let mut shown = shown.iter();
        for (index, part) in template.split("{}").enumerate() {
            if index > 0 {
                let bytes = shown.next().expect("something to show for each place");
                text.extend(bytes.split(|byte| *byte == 0).next().unwrap_or_default());
            }
            text.extend_from_slice(part.as_bytes());
        }
        Fault::Text(Cow::Owned(text))
    }

    /// The container has no such subcommand, or not with these arguments. Of its name Redis shows up to 128 bytes.
    pub fn subcommand(container: &str, name: &[u8]) -> Fault {
        Fault::showing(
            "ERR unknown subcommand or wrong number of arguments for '{}'. Try {} HELP.",
            &[&name[..name.len().min(128)], container.as_bytes()],
        )
    }

    /// The error reply without the leading `-`.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Fault::WrongType => {
                b"WRONGTYPE Operation against a key holding the wrong kind of value"
            }
            Fault::Syntax => b"ERR syntax error",
            Fault::NotInteger => b"ERR value is not an integer or out of range",
            Fault::NotFloat => b"ERR value is not a valid float",
            Fault::OutOfRange => b"ERR index out of range",
            Fault::NoSuchKey => b"ERR no such key",
            Fault::Text(text) => text,
        }
    }
}

/// For logs and texts that show nothing of the client's.
impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl From<crate::keyspace::WrongType> for Fault {
    fn from(_: crate::keyspace::WrongType) -> Fault {
        Fault::WrongType
    }
}
