//! RESP2 and RESP3: bytes in, bytes out, no sockets.

mod line;

pub use line::{Line, Span};
