//! Commands on hashes.

use super::Command;
use super::digest::Digest;
use crate::structures::hash::Hash;

/// The commands of this file.
pub const TABLE: &[Command] = &[];

/// Mixes the elements into Redis's digest of a value.
pub(super) fn mix_digest(_hash: &Hash, _digest: &mut Digest) {}
