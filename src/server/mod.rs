//! The process: from the command line to running cores and back to an exit code.

mod boot;
mod disk;
mod log;
mod node;
mod os;
mod replication_core;
mod saves;

use std::io::Write as _;
use std::process::ExitCode;

use crate::config::{Action, parse_args};

/// Runs the server with the command line's arguments, the program's name not among them.
///
/// Whatever keeps the server from starting is one sentence on standard error and exit code 1.
pub fn main(args: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let args: Vec<_> = args.collect();
    match parse_args(&args) {
        Ok(Action::Help(text) | Action::Version(text)) => {
            // Whoever closed standard output does not want to read it.
            let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Ok(Action::Run(invocation)) => match boot::start(&invocation) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse(&error.to_string()),
        },
        Err(error) => refuse(&error.to_string()),
    }
}

fn refuse(sentence: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "shardine: {}", sentence.trim_end());
    ExitCode::FAILURE
}
