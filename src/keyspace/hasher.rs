//! The hash of keys and the shard that it chooses.

use std::hash::{BuildHasher, Hasher};

use ahash::RandomState;

/// Hashes keys: 64 bits, keyed at random per process, the same on every core.
#[derive(Clone, Copy)]
pub struct KeyHasher([u64; 4]);

impl KeyHasher {
    /// The hasher with these keys.
    pub const fn from_seeds(seeds: [u64; 4]) -> KeyHasher {
        KeyHasher(seeds)
    }

    /// The hash of a key.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let [a, b, c, d] = self.0;
        let mut hasher = RandomState::with_seeds(a, b, c, d).build_hasher();
        hasher.write(key);
        hasher.finish()
    }
}

impl std::fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The keys are a secret: who knows them can make all keys collide.
        f.write_str("KeyHasher(..)")
    }
}

/// A key and its hash.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The key.
    pub bytes: &'a [u8],
    /// Its [`KeyHasher::hash`].
    pub hash: u64,
}

/// The part of a key that decides its shard: what lies between the first `{` and the next `}`, when that is not empty; else the
/// whole key.
#[inline]
pub fn tag_of(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else {
        return key;
    };
    match memchr::memchr(b'}', &key[open + 1..]) {
        Some(length) if length > 0 => &key[open + 1..open + 1 + length],
        _ => key,
    }
}

/// The shard of `key`, whose hash is `hash`, among `shards`.
#[inline]
pub fn shard_of(hasher: &KeyHasher, key: &[u8], hash: u64, shards: usize) -> usize {
    if shards == 1 {
        return 0;
    }
    let tag = tag_of(key);
    let hash = if tag.len() == key.len() {
        hash
    } else {
        hasher.hash(tag)
    };
    ((u128::from(hash) * shards as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_what_redis_cluster_takes() {
        for (key, tag) in [
            ("key", "key"),
            ("{user1000}.following", "user1000"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("foo{bar", "foo{bar"),
            ("foo}bar{", "foo}bar{"),
            ("", ""),
        ] {
            assert_eq!(tag_of(key.as_bytes()), tag.as_bytes(), "{key}");
        }
    }

    #[test]
    fn shards_get_equal_shares_and_tags_stay_together() {
        let hasher = KeyHasher::from_seeds([1, 2, 3, 4]);
        let shard = |key: &str, shards| {
            shard_of(&hasher, key.as_bytes(), hasher.hash(key.as_bytes()), shards)
        };
        let mut counts = [0; 7];
        for number in 0..70_000 {
            counts[shard(&format!("key:{number}"), 7)] += 1;
            assert_eq!(shard(&format!("{{tag}}{number}"), 7), shard("tag", 7));
        }
        assert!(
            counts.iter().all(|&count| (9_500..10_500).contains(&count)),
            "{counts:?}"
        );
    }
}
