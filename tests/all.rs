//! The one integration test binary.
mod structures;
