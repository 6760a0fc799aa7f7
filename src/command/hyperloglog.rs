//! Commands on HyperLogLogs, which are strings.

use super::Command;

/// The commands of this file.
pub const TABLE: &[Command] = &[];
