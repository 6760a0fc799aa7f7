//! Redis's digests of values, as DEBUG DIGEST prints them, so that data here and there can be compared.
//!
//! Two operations on SHA1 sums: what is mixed in counts in its order, what is added counts in any order.

use super::{hash, list, set, sorted_set, stream};
use crate::base::sha1;
use crate::keyspace::{Entry, Type, ValueView};

/// A SHA1 that digests are added to.
pub type Digest = [u8; 20];

/// Adds the SHA1 of `bytes` to `digest`, without regard to order.
pub fn add(digest: &mut Digest, bytes: &[u8]) {
    for (sum, byte) in digest.iter_mut().zip(sha1(bytes)) {
        *sum ^= byte;
    }
}

/// Adds `bytes` to `digest` so that the order of such additions matters.
pub fn mix(digest: &mut Digest, bytes: &[u8]) {
    add(digest, bytes);
    *digest = sha1(digest);
}

/// The number that Redis gives a type.
fn type_number(type_: Type) -> u32 {
    match type_ {
        Type::String => 0,
        Type::List => 1,
        Type::Set => 2,
        Type::SortedSet => 3,
        Type::Hash => 4,
        Type::Stream => 6,
    }
}

/// Mixes an entry's value and expiry, but not its key, into `digest`.
pub fn mix_value(digest: &mut Digest, entry: &Entry) {
    mix(digest, &type_number(entry.type_()).to_be_bytes());
    match entry.value() {
        ValueView::String(view) => mix(digest, view.with_bytes(&mut itoa::Buffer::new())),
        ValueView::List(list) => list::mix_digest(list, digest),
        ValueView::Hash(hash) => hash::mix_digest(hash, digest),
        ValueView::Set(set) => set::mix_digest(set, digest),
        ValueView::SortedSet(set) => sorted_set::mix_digest(set, digest),
        ValueView::Stream(stream) => stream::mix_digest(stream, digest),
    }
    if entry.expiry().is_some() {
        add(digest, b"!!expire!!");
    }
}
