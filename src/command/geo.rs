//! Places on the earth, kept in sorted sets.

use super::Command;

/// The commands of this file.
pub const TABLE: &[Command] = &[];
