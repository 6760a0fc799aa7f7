//! The one integration test binary: models, feature scripts, simulated nodes, the real binary, the sources.

mod resp;
mod structures;
mod tidy;
