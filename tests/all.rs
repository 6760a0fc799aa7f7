//! The one integration test binary: models, feature scripts, simulated nodes, the real binary, the sources.

mod commands;
mod resp;
mod server;
mod sim;
mod structures;
mod tidy;
