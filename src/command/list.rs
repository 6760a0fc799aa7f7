//! Commands on lists.

use super::Command;
use super::digest::Digest;
use crate::structures::list::List;

/// The commands of this file.
pub const TABLE: &[Command] = &[];

/// Mixes the elements into Redis's digest of a value.
pub(super) fn mix_digest(_list: &List, _digest: &mut Digest) {}
