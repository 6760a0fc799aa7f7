//! Commands on sorted sets.

use super::Command;
use super::digest::Digest;
use crate::structures::sorted_set::SortedSet;

/// The commands of this file.
pub const TABLE: &[Command] = &[];

/// Mixes the elements into Redis's digest of a value.
pub(super) fn mix_digest(_sorted_set: &SortedSet, _digest: &mut Digest) {}
