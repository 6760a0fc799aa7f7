//! DUMP and RESTORE: one value as bytes.

use super::Command;

/// The commands of this file.
pub const TABLE: &[Command] = &[];
