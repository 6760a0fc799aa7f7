//! Where a command's keys are among its arguments, in the terms of Redis 7's key specifications.

use super::Command;
use crate::resp::Line;

/// What a command does with a key.
pub mod key_flag {
    /// Reads the value.
    pub const RO: u32 = 1;
    /// Reads and writes the value.
    pub const RW: u32 = 1 << 1;
    /// Overwrites the value.
    pub const OW: u32 = 1 << 2;
    /// Removes the key.
    pub const RM: u32 = 1 << 3;
    /// Returns, copies or otherwise uses the value.
    pub const ACCESS: u32 = 1 << 4;
    /// Updates the value.
    pub const UPDATE: u32 = 1 << 5;
    /// Inserts into the value without using what is there.
    pub const INSERT: u32 = 1 << 6;
    /// Deletes from the value, or the key.
    pub const DELETE: u32 = 1 << 7;
    /// Not a key, but routed like one.
    pub const NOT_KEY: u32 = 1 << 8;
    /// May miss keys.
    pub const INCOMPLETE: u32 = 1 << 9;
    /// The flags depend on the arguments.
    pub const VARIABLE_FLAGS: u32 = 1 << 10;
}

/// Where the first key is.
#[derive(Clone, Copy, Debug)]
pub enum Begin {
    /// At this argument.
    Index(usize),
    /// Behind this word, searched from an argument on (negative: from the end).
    Keyword(&'static str, i32),
    /// Where this function finds it. COMMAND INFO calls such a place unknown.
    Unknown(fn(&Line<'_>) -> Option<usize>),
}

/// Which arguments from the first key on are keys.
#[derive(Clone, Copy, Debug)]
pub enum Find {
    /// Every `step`th up to `last`, counted from the first key (negative: from the end of the line); a
    /// `limit` of n ≥ 2 means the first 1/n of what is left.
    Range {
        /// The last key, relative to the first; negative from the end of the line.
        last: i32,
        /// Arguments from key to key.
        step: usize,
        /// Part of the remaining arguments that is keys; 0 and 1 mean all.
        limit: usize,
    },
    /// An argument gives the number of keys.
    Keynum {
        /// The argument with the number, relative to the beginning.
        count_at: usize,
        /// The first key, relative to the beginning.
        first: usize,
        /// Arguments from key to key.
        step: usize,
    },
}

/// One group of keys of a command.
#[derive(Clone, Copy)]
pub struct KeySpec {
    /// Bits of [`key_flag`].
    pub flags: u32,
    /// Where the group begins.
    pub begin: Begin,
    /// Which arguments it has.
    pub find: Find,
    /// The database of these keys where it is not the client's: COPY's `DB` option.
    pub db: Option<fn(&Line<'_>) -> Option<usize>>,
    /// The flags of these keys in a line whose arguments say less than `flags`: those of SET depend on `GET`.
    pub flags_of: Option<fn(&Line<'_>) -> u32>,
    /// What COMMAND INFO remarks on the flags; empty without a remark.
    pub notes: &'static str,
}

impl KeySpec {
    /// One key at an argument.
    pub const fn one(index: usize, flags: u32) -> KeySpec {
        KeySpec::range(index, 0, 1, flags)
    }

    /// Keys from the argument `first` to `last` (relative to it, or negative from the end of the line).
    pub const fn range(first: usize, last: i32, step: usize, flags: u32) -> KeySpec {
        KeySpec {
            flags,
            begin: Begin::Index(first),
            find: Find::Range {
                last,
                step,
                limit: 0,
            },
            db: None,
            flags_of: None,
            notes: "",
        }
    }

    /// Keys counted by the argument at `count_at`, right behind it.
    pub const fn counted(count_at: usize, flags: u32) -> KeySpec {
        KeySpec {
            flags,
            begin: Begin::Index(count_at),
            find: Find::Keynum {
                count_at: 0,
                first: 1,
                step: 1,
            },
            db: None,
            flags_of: None,
            notes: "",
        }
    }
}

/// One key of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRef {
    /// The argument that holds it.
    pub arg: usize,
    /// Bits of [`key_flag`], as far as the line tells.
    pub flags: u32,
    /// The database where it is not the client's.
    pub db: Option<usize>,
}

impl Command {
    /// Appends the keys of `line` to `keys`. False when the line is malformed (a key count that does not fit): then the
    /// handler is run on any shard and answers with its own error.
    pub fn find_keys(&self, line: &Line<'_>, keys: &mut Vec<KeyRef>) -> bool {
        self.find_by(line, keys, false)
    }

    /// As [`find_keys`](Self::find_keys), but as COMMAND GETKEYS sees it, which looks at nothing but places: MSET's last key
    /// may lack its value, and no group at a fixed place may be empty.
    pub fn find_keys_by_place(&self, line: &Line<'_>, keys: &mut Vec<KeyRef>) -> bool {
        self.find_by(line, keys, true)
    }

    fn find_by(&self, line: &Line<'_>, keys: &mut Vec<KeyRef>, by_place: bool) -> bool {
        let len = line.len();
        let before = keys.len();
        for spec in self.keys {
            let begin = match spec.begin {
                Begin::Index(index) => index,
                // A keyword that ends the line has no keys; those before it say where the line belongs.
                Begin::Keyword(word, from) => match find_word(line, word, from) {
                    Some(at) if at + 1 < len => at + 1,
                    _ => continue,
                },
                Begin::Unknown(find) => match find(line) {
                    Some(at) => at,
                    None => continue,
                },
            };
            let db = spec.db.and_then(|db| db(line));
            let (first, end, step) = match spec.find {
                Find::Range { last, step, limit } => {
                    let end = if last >= 0 {
                        begin + last as usize + 1
                    } else if limit >= 2 {
                        begin + (len.saturating_sub(begin)) / limit
                    } else {
                        (len + 1).saturating_sub(last.unsigned_abs() as usize)
                    };
                    (begin, end, step)
                }
                Find::Keynum {
                    count_at,
                    first,
                    step,
                } => {
                    if begin + count_at >= len {
                        return false;
                    }
                    let count =
                        crate::base::number::parse_i64(line.arg(begin + count_at)).unwrap_or(-1);
                    if count < 0 || count as usize > len {
                        return false;
                    }
                    (begin + first, begin + first + (count as usize) * step, step)
                }
            };
            // A last key without what belongs to it: MSET's value.
            let uneven = end.saturating_sub(first) % step != 0 && end == len;
            let empty = end <= first && matches!(spec.begin, Begin::Index(_));
            if end > len || (if by_place { empty } else { uneven }) {
                return false;
            }
            let flags = spec.flags_of.map_or(spec.flags, |flags| flags(line));
            let mut arg = first;
            while arg < end {
                keys.push(KeyRef { arg, flags, db });
                arg += step;
            }
        }
        if let (Some(other_db), Some(&key)) = (self.other_db, keys.get(before))
            && let Some(db) = other_db(line)
        {
            keys.push(KeyRef {
                flags: key_flag::NOT_KEY,
                db: Some(db),
                ..key
            });
        }
        true
    }
}

/// The argument that equals `word`, searched from `from` on, backwards when that is negative.
fn find_word(line: &Line<'_>, word: &str, from: i32) -> Option<usize> {
    if from >= 0 {
        (from as usize..line.len()).find(|&index| line.is(index, word))
    } else {
        let start = line.len().checked_sub(from.unsigned_abs() as usize)?;
        (1..=start).rev().find(|&index| line.is(index, word))
    }
}
