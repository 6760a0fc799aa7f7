//! The one integration test binary: models, feature scripts, simulated nodes, the real binary, the sources.

mod resp;
mod server;
mod structures;
mod tidy;
