//! Commands on sets.

use super::Command;
use super::digest::Digest;
use crate::structures::set::Set;

/// The commands of this file.
pub const TABLE: &[Command] = &[];

/// Mixes the elements into Redis's digest of a value.
pub(super) fn mix_digest(_set: &Set, _digest: &mut Digest) {}
