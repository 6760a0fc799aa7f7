//! What each record of the format is made of: the one table of opcodes and value types.
//!
//! A record is one byte that says what it is, then its parts. The table is enough to find a record's end, which
//! `scan` does before anything is decoded; what the parts mean the file of each type knows.

use super::error::Problem;

/// Opcodes: records that hold no value.
pub mod opcode {
    /// Slot of a cluster: number, keys, expiries.
    pub const SLOT_INFO: u8 = 244;
    /// Source text of a function library.
    pub const FUNCTION: u8 = 245;
    /// A function library as release candidates of Redis 7.0 wrote it.
    pub const FUNCTION_PRE_GA: u8 = 246;
    /// Data of a module beside the keys.
    pub const MODULE_AUX: u8 = 247;
    /// Seconds since the next key was used.
    pub const IDLE: u8 = 248;
    /// How often the next key was used, as a logarithmic counter.
    pub const FREQUENCY: u8 = 249;
    /// A named fact about the file.
    pub const AUX: u8 = 250;
    /// How many keys and expiries the database has.
    pub const RESIZE_DB: u8 = 251;
    /// When the next key expires, milliseconds.
    pub const EXPIRY_MS: u8 = 252;
    /// When the next key expires, seconds.
    pub const EXPIRY: u8 = 253;
    /// The keys that follow belong to this database.
    pub const SELECT_DB: u8 = 254;
    /// The end; the checksum follows.
    pub const END: u8 = 255;
}

/// Value types.
pub mod kind {
    /// A string.
    pub const STRING: u8 = 0;
    /// A list, element by element.
    pub const LIST: u8 = 1;
    /// A set, member by member.
    pub const SET: u8 = 2;
    /// A sorted set whose scores are text.
    pub const SORTED_SET: u8 = 3;
    /// A hash, field by field.
    pub const HASH: u8 = 4;
    /// A sorted set whose scores are binary.
    pub const SORTED_SET_2: u8 = 5;
    /// A hash as a zipmap.
    pub const HASH_ZIPMAP: u8 = 9;
    /// A list as a ziplist.
    pub const LIST_ZIPLIST: u8 = 10;
    /// A set as a sorted array of integers.
    pub const SET_INTSET: u8 = 11;
    /// A sorted set as a ziplist.
    pub const SORTED_SET_ZIPLIST: u8 = 12;
    /// A hash as a ziplist.
    pub const HASH_ZIPLIST: u8 = 13;
    /// A list as several ziplists.
    pub const LIST_QUICKLIST: u8 = 14;
    /// A stream, since Redis 5.0.
    pub const STREAM: u8 = 15;
    /// A hash as a listpack.
    pub const HASH_LISTPACK: u8 = 16;
    /// A sorted set as a listpack.
    pub const SORTED_SET_LISTPACK: u8 = 17;
    /// A list as several listpacks and large elements.
    pub const LIST_QUICKLIST_2: u8 = 18;
    /// A stream, since Redis 7.0.
    pub const STREAM_2: u8 = 19;
    /// A set as a listpack.
    pub const SET_LISTPACK: u8 = 20;
    /// A stream, since Redis 7.2.
    pub const STREAM_3: u8 = 21;
    /// A hash with expiring fields, field by field.
    pub const HASH_METADATA: u8 = 24;
    /// A hash with expiring fields as a listpack.
    pub const HASH_LISTPACK_EX: u8 = 25;
}

/// A part of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A length.
    Length,
    /// A string in any encoding.
    String,
    /// So many bytes.
    Bytes(u8),
    /// A double as text behind its length.
    Score,
    /// A count, then these parts so many times.
    Times(&'static [Part]),
    /// Parts of a module's value, which say themselves what they are, to their end.
    Module,
}

use Part::{Bytes, Length, Module, Score, String, Times};

const ID: Part = Bytes(16);
const MS: Part = Bytes(8);

/// Listpacks under the id that their entries begin with.
const NODES: Part = Times(&[String, String]);
/// Entries that were delivered: id, time, count.
const PENDING: Part = Times(&[ID, MS, Length]);
/// Those of one consumer.
const PENDING_IDS: Part = Times(&[ID]);

/// The parts of a record that begins with `first`, but for a key before a value.
pub(super) fn parts(first: u8) -> Result<&'static [Part], Problem> {
    Ok(match first {
        kind::STRING => &[String],
        kind::LIST | kind::SET => &[Times(&[String])],
        kind::SORTED_SET => &[Times(&[String, Score])],
        kind::HASH => &[Times(&[String, String])],
        kind::SORTED_SET_2 => &[Times(&[String, Bytes(8)])],
        kind::HASH_ZIPMAP
        | kind::LIST_ZIPLIST
        | kind::SET_INTSET
        | kind::SORTED_SET_ZIPLIST
        | kind::HASH_ZIPLIST
        | kind::HASH_LISTPACK
        | kind::SORTED_SET_LISTPACK
        | kind::SET_LISTPACK => &[String],
        kind::LIST_QUICKLIST => &[Times(&[String])],
        kind::LIST_QUICKLIST_2 => &[Times(&[Length, String])],
        kind::STREAM => &[
            NODES,
            Length,
            Length,
            Length,
            Times(&[
                String,
                Length,
                Length,
                PENDING,
                Times(&[String, MS, PENDING_IDS]),
            ]),
        ],
        kind::STREAM_2 => &[
            NODES,
            Length,
            Length,
            Length,
            Length,
            Length,
            Length,
            Length,
            Length,
            Times(&[
                String,
                Length,
                Length,
                Length,
                PENDING,
                Times(&[String, MS, PENDING_IDS]),
            ]),
        ],
        kind::STREAM_3 => &[
            NODES,
            Length,
            Length,
            Length,
            Length,
            Length,
            Length,
            Length,
            Length,
            Times(&[
                String,
                Length,
                Length,
                Length,
                PENDING,
                Times(&[String, MS, MS, PENDING_IDS]),
            ]),
        ],
        kind::HASH_METADATA => &[MS, Times(&[Length, String, String])],
        kind::HASH_LISTPACK_EX => &[MS, String],
        opcode::SLOT_INFO => &[Length, Length, Length],
        opcode::FUNCTION => &[String],
        opcode::MODULE_AUX => &[Length, Module],
        opcode::IDLE | opcode::SELECT_DB => &[Length],
        opcode::FREQUENCY => &[Bytes(1)],
        opcode::AUX => &[String, String],
        opcode::RESIZE_DB => &[Length, Length],
        opcode::EXPIRY_MS => &[MS],
        opcode::EXPIRY => &[Bytes(4)],
        opcode::END => &[],
        6 => {
            return Err(Problem::Refused(
                first,
                "module value of Redis 4.0 previews",
            ));
        }
        7 => return Err(Problem::Refused(first, "module value")),
        22 | 23 => {
            return Err(Problem::Refused(
                first,
                "expiring hash fields of Redis 7.4 previews",
            ));
        }
        opcode::FUNCTION_PRE_GA => {
            return Err(Problem::Refused(first, "function of Redis 7.0 previews"));
        }
        _ => return Err(Problem::UnknownType(first)),
    })
}

/// A record that begins with `first` is a key with its value.
pub(super) fn is_value(first: u8) -> bool {
    first < opcode::SLOT_INFO
}
