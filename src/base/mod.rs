//! Bytes, numbers, patterns and checksums: what every layer uses and what depends on none.

pub mod crc;
pub mod double;
pub mod extended;
pub mod geohash;
pub mod glob;
pub mod number;
pub mod random;
mod sha1;

pub use sha1::sha1;
