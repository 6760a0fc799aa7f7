//! The parameters of the server: one row each, from which everything else is derived.
//!
//! ```text
//!  table.rs  one row per parameter ──► struct Config, Default, PARAMETERS
//!                                         │
//!    file.rs (redis.conf)   cli.rs (arguments)   control.rs (CONFIG GET and SET)
//!    rewrite.rs (CONFIG REWRITE)   manual.rs (docs/config.md)
//! ```
//!
//! The module is pure: text in, text out. Reading files, resolving `include` and writing the rewritten file
//! are the caller's.
//!
//! Invariants:
//! - What is true of a parameter is said nowhere but in its row; whoever reads one reads a plain field of [`Config`].
//! - Whatever CONFIG GET shows, CONFIG SET, the file and the command line take back unchanged.
//! - A directive that protects data and cannot be honoured here (users, renamed commands, modules, TLS)
//!   is an error, never silently skipped.

mod choice;
mod cli;
mod control;
mod cpulist;
mod file;
mod manual;
mod nearest;
mod quote;
mod rewrite;
mod setting;
mod special;
mod table;
mod users;

pub use choice::*;
pub use cli::{Action, CliError, Invocation, parse_args};
pub use control::{Changed, SetError};
pub use cpulist::{CpuListError, parse_cpu_list};
pub use file::{FileError, Included, parse_file};
pub use manual::markdown;
pub use quote::{quote, split_arguments};
pub use setting::{Shape, format_memory, parse_memory};
pub use special::*;
pub use table::{Access, Change, Config, Group, PARAMETERS, Parameter, Status, find};
