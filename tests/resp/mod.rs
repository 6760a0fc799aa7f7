//! The protocol: lines in, replies out.

mod fuzz;
mod parser;
mod session;
