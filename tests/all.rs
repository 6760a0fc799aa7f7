//! The one integration test binary.
mod structures;

mod resp;
