//! The RDB format: whole files, the bytes of one entry, payloads of DUMP. A codec: no I/O, no clock.
//!
//! ```text
//!   REDIS0010 | fact … | SELECT_DB n | RESIZE_DB keys expiries | entry … | SELECT_DB n | … | END | CRC-64
//!
//!   fact    AUX key value
//!   entry   EXPIRY_MS at? | IDLE seconds or FREQUENCY counter? | type | key | value
//!   dump    type | value | version 2 | CRC-64
//! ```
//!
//! `docs/formats.md` has it byte by byte.
//!
//! - [`Reader`] takes a file in pieces as they arrive and gives out what is in it, versions 1 to 12.
//! - [`Writer`] makes a file; shards make the bytes of their entries ([`Encoder`]), the writer joins them.
//! - [`dump`] and [`restore`] are the payloads of single values.
//!
//! Invariants:
//! - Data from outside is hostile: whatever it is, the result is a value or an [`Error`] with the place, without a
//!   panic, and with no more memory than the bytes that are there can fill.
//! - What is written, Redis 7.0 reads, unless a newer [`Version`] is asked for.
//!
//! | file | what |
//! |---|---|
//! | `grammar` | opcodes, value types, and the parts that each record consists of |
//! | `scan` | where a record ends, found piece by piece |
//! | `cursor` | primitives out of bytes |
//! | `lzf` | compression of strings |
//! | `blob` | ziplists, zipmaps |
//! | `list`, `hash`, `set`, `sorted_set`, `stream` | collections, read and written |
//! | `decode`, `encode` | entries |
//! | `reader`, `writer`, `payload` | files and payloads |

mod blob;
mod cursor;
mod decode;
mod encode;
mod error;
mod grammar;
mod hash;
mod list;
mod lzf;
mod payload;
mod reader;
mod scan;
mod set;
mod sorted_set;
mod stream;
mod writer;

pub use decode::Limits;
pub use encode::{Encoder, Version};
pub use error::{Error, Problem};
pub use payload::{RestoreError, dump, restore};
pub use reader::{Item, Reader};
pub use writer::{Facts, LogPosition, Writer};

/// The highest version that can be read.
pub const VERSION_READ_MAX: u32 = 12;
