//! SORT and SORT_RO.

use super::Command;

/// The commands of this file.
pub const TABLE: &[Command] = &[];
