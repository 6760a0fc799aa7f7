//! Commands on streams.

use super::Command;
use super::digest::Digest;
use crate::structures::stream::Stream;

/// The commands of this file.
pub const TABLE: &[Command] = &[];

/// Mixes the elements into Redis's digest of a value.
pub(super) fn mix_digest(_stream: &Stream, _digest: &mut Digest) {}
