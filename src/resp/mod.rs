//! RESP2 and RESP3: bytes in, bytes out, no sockets.

mod line;
mod output;
mod reply;

pub use line::{BIG_ARGUMENT_BYTES_MIN, Line, Span};
pub use output::{Mark, Output, SHARED_BYTES_MIN};
pub use reply::{Proto, Reply};
