//! RESP2 and RESP3: bytes in, bytes out, no sockets.

mod encode;
mod inline;
mod line;
pub mod merge;
mod output;
mod parser;
mod reply;
mod value;

pub use encode::{encode_args, encode_line};
pub use line::{BIG_ARGUMENT_BYTES_MIN, Line, Span};
pub use merge::Encoded;
pub use output::{Mark, Output, SHARED_BYTES_MIN};
pub use parser::{Arguments, INLINE_BYTES_MAX, Limits, Parsed, Parser, ProtocolError};
pub use reply::{Proto, Reply};
pub use value::{DecodeError, Value, decode, decode_all};
