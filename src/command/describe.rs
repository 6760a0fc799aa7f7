//! What a command's row says in the words of COMMAND INFO: names of flags, categories and key flags, and the
//! positions of the keys for clients that know no key specifications.

use super::{Begin, Command, Find, category, flag, key_flag};

/// The command flags in the order in which they are shown. Redis keeps MAY_REPLICATE to itself.
const FLAGS: &[(u32, &str)] = &[
    (flag::WRITE, "write"),
    (flag::READONLY, "readonly"),
    (flag::DENYOOM, "denyoom"),
    (flag::ADMIN, "admin"),
    (flag::PUBSUB, "pubsub"),
    (flag::NOSCRIPT, "noscript"),
    (flag::BLOCKING, "blocking"),
    (flag::LOADING, "loading"),
    (flag::STALE, "stale"),
    (flag::SKIP_MONITOR, "skip_monitor"),
    (flag::SKIP_SLOWLOG, "skip_slowlog"),
    (flag::ASKING, "asking"),
    (flag::FAST, "fast"),
    (flag::NO_AUTH, "no_auth"),
    (flag::NO_MANDATORY_KEYS, "no_mandatory_keys"),
    (flag::NO_ASYNC_LOADING, "no_async_loading"),
    (flag::NO_MULTI, "no_multi"),
    (flag::MOVABLEKEYS, "movablekeys"),
    (flag::ALLOW_BUSY, "allow_busy"),
];

/// Every ACL category, in the order in which they are shown.
pub const CATEGORIES: &[&str] = &[
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// The flags of a key specification, in the order in which they are shown.
const KEY_FLAGS: &[(u32, &str)] = &[
    (key_flag::RO, "RO"),
    (key_flag::RW, "RW"),
    (key_flag::OW, "OW"),
    (key_flag::RM, "RM"),
    (key_flag::ACCESS, "access"),
    (key_flag::UPDATE, "update"),
    (key_flag::INSERT, "insert"),
    (key_flag::DELETE, "delete"),
    (key_flag::NOT_KEY, "not_key"),
    (key_flag::INCOMPLETE, "incomplete"),
    (key_flag::VARIABLE_FLAGS, "variable_flags"),
];

fn named(bits: u32, names: &[(u32, &'static str)]) -> Vec<&'static str> {
    names
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, name)| *name)
        .collect()
}

/// The names of a key's flags.
pub fn key_flag_names(flags: u32) -> Vec<&'static str> {
    named(flags, KEY_FLAGS)
}

/// The positions of a command's keys as a first, a last and a step; all 0 without keys at fixed places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key's argument.
    pub first: i64,
    /// The last key's argument, negative from the end.
    pub last: i64,
    /// From key to key.
    pub step: i64,
}

impl Command {
    /// The names of the flags.
    pub fn flag_names(&self) -> Vec<&'static str> {
        let mut bits = self.flags;
        if self.key_range().1 {
            bits |= flag::MOVABLEKEYS;
        }
        named(bits, FLAGS)
    }

    /// The names of the ACL categories, those that follow from the flags included.
    pub fn category_names(&self) -> Vec<&'static str> {
        let has = |name: &str| {
            let own = |bits: u32| self.categories & bits != 0;
            match name {
                "keyspace" => own(category::KEYSPACE),
                "read" => own(category::READ) || self.has(flag::READONLY),
                "write" => own(category::WRITE) || self.has(flag::WRITE),
                "set" => own(category::SET),
                "sortedset" => own(category::SORTEDSET),
                "list" => own(category::LIST),
                "hash" => own(category::HASH),
                "string" => own(category::STRING),
                "bitmap" => own(category::BITMAP),
                "hyperloglog" => own(category::HYPERLOGLOG),
                "geo" => own(category::GEO),
                "stream" => own(category::STREAM),
                "pubsub" => self.has(flag::PUBSUB),
                "admin" => own(category::ADMIN) || self.has(flag::ADMIN),
                "fast" => self.has(flag::FAST),
                "slow" => !self.has(flag::FAST),
                "blocking" => self.has(flag::BLOCKING),
                "dangerous" => own(category::DANGEROUS) || self.has(flag::ADMIN),
                "connection" => own(category::CONNECTION),
                "transaction" => own(category::TRANSACTION),
                "scripting" => own(category::SCRIPTING),
                _ => false,
            }
        };
        CATEGORIES
            .iter()
            .copied()
            .filter(|name| has(name))
            .collect()
    }

    /// The keys as one range, and whether that misses some.
    pub fn key_range(&self) -> (KeyRange, bool) {
        let mut range = KeyRange::default();
        let mut missed = self.has(flag::MOVABLEKEYS);
        for spec in self.keys {
            missed |= spec.flags & key_flag::INCOMPLETE != 0;
            let (Begin::Index(begin), Find::Range { last, step, .. }) = (spec.begin, spec.find)
            else {
                missed = true;
                continue;
            };
            let begin = begin as i64;
            let end = if last >= 0 {
                begin + i64::from(last)
            } else {
                i64::from(last)
            };
            if range.first == 0 {
                range = KeyRange {
                    first: begin,
                    last: end,
                    step: step as i64,
                };
            } else if range.step == 1 && step == 1 && range.last == begin - 1 {
                range.last = end;
            } else {
                missed = true;
            }
        }
        (range, missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{KeySpec, Run};

    const PLAIN: Command = Command::new("x", 1, 0, Run::Container);

    #[test]
    fn categories_follow_from_flags() {
        let write = Command {
            flags: flag::WRITE | flag::FAST,
            categories: category::STRING,
            ..PLAIN
        };
        assert_eq!(write.category_names(), ["write", "string", "fast"]);
        let admin = Command {
            flags: flag::ADMIN,
            ..PLAIN
        };
        assert_eq!(admin.category_names(), ["admin", "slow", "dangerous"]);
    }

    const fn keyed(keys: &'static [KeySpec]) -> Command {
        Command { keys, ..PLAIN }
    }

    #[test]
    fn neighbouring_keys_are_one_range() {
        const RENAME: Command =
            keyed(&[KeySpec::one(1, key_flag::RW), KeySpec::one(2, key_flag::OW)]);
        const BITOP: Command = keyed(&[
            KeySpec::one(2, key_flag::OW),
            KeySpec::range(3, -1, 1, key_flag::RO),
        ]);
        const MSET: Command = keyed(&[KeySpec::range(1, -1, 2, key_flag::OW)]);
        const COUNTED: Command = keyed(&[KeySpec::counted(1, key_flag::RO)]);
        let range = |first, last, step| KeyRange { first, last, step };
        assert_eq!(RENAME.key_range(), (range(1, 2, 1), false));
        assert_eq!(BITOP.key_range(), (range(2, -1, 1), false));
        assert_eq!(MSET.key_range(), (range(1, -1, 2), false));
        assert_eq!(COUNTED.key_range(), (KeyRange::default(), true));
        assert_eq!(COUNTED.flag_names(), ["movablekeys"]);
        assert_eq!(PLAIN.key_range(), (KeyRange::default(), false));
    }
}
