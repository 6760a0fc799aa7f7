//! Bitmap commands: the table, and the commands on bits of a string.
//!
//! | file | what |
//! |---|---|
//! | `bitmap` | rows; single bits, counts, positions, BITOP |
//! | `bitmap/bits` | the algorithms over byte slices |
//! | `bitmap/bitfield` | integers of any width |
//!
//! Bit 0 is the highest bit of byte 0. Bits past the end of a string, and of a missing key, are 0.

mod bitfield;
mod bits;

use bytes::Bytes;

use super::string::part::{clamped_range, range};
use super::string::{existed, missed, wrote_string};
use super::{
    Command, Cx, Done, Fault, Group, KeySpec, Run, Spread, category, class, flag, key_flag,
};
use crate::base::number::parse_i64;
use crate::config::Config;
use crate::keyspace::{NewExpiry, NewString};
use crate::resp::Line;
use bits::Operation;

const ACCESS: &[KeySpec] = &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)];
const ACCESS_UPDATE: &[KeySpec] = &[KeySpec::one(
    1,
    key_flag::RW | key_flag::ACCESS | key_flag::UPDATE,
)];
const BITFIELD_KEYS: &[KeySpec] = &[KeySpec {
    flags_of: Some(bitfield::key_flags),
    notes: "This command allows both access and modification of the key",
    ..KeySpec::one(
        1,
        key_flag::RW | key_flag::ACCESS | key_flag::UPDATE | key_flag::VARIABLE_FLAGS,
    )
}];

/// The rows of the bitmap commands.
pub const TABLE: &[Command] = &[
    Command {
        keys: ACCESS_UPDATE,
        since: "2.2.0",
        summary: "Sets or clears a bit of a value and returns the old one.",
        syntax: "key offset value:integer",
        ..row(
            "setbit",
            4,
            flag::WRITE | flag::DENYOOM,
            Run::Keys(setbit, Spread::One),
        )
    },
    Command {
        keys: ACCESS,
        since: "2.2.0",
        summary: "Returns a bit of a value.",
        syntax: "key offset",
        ..row(
            "getbit",
            3,
            flag::READONLY | flag::FAST,
            Run::Keys(getbit, Spread::One),
        )
    },
    Command {
        keys: ACCESS,
        since: "2.6.0",
        complexity: "O(N)",
        summary: "Counts the set bits of a value or of a part of it.",
        syntax: "key [start end [BYTE | BIT]]",
        ..row(
            "bitcount",
            -2,
            flag::READONLY,
            Run::Keys(bitcount, Spread::One),
        )
    },
    Command {
        keys: ACCESS,
        since: "2.8.7",
        complexity: "O(N)",
        summary: "Finds the first set or clear bit of a value or of a part of it.",
        syntax: "key bit [start [end [BYTE | BIT]]]",
        ..row("bitpos", -3, flag::READONLY, Run::Keys(bitpos, Spread::One))
    },
    Command {
        keys: &[
            KeySpec::one(2, key_flag::OW | key_flag::UPDATE),
            KeySpec::range(3, -1, 1, key_flag::RO | key_flag::ACCESS),
        ],
        since: "2.6.0",
        complexity: "O(N)",
        summary: "Combines values bit by bit and keeps the result.",
        syntax: "<AND | OR | XOR | NOT> destkey key [key ...]",
        ..row(
            "bitop",
            -4,
            flag::WRITE | flag::DENYOOM,
            Run::Keys(bitop, Spread::Gather),
        )
    },
    Command {
        keys: BITFIELD_KEYS,
        since: "3.2.0",
        complexity: "O(1) for each subcommand specified",
        summary: "Reads and writes integers of any width within a value.",
        syntax: "key [<GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] \
                 <SET encoding offset value:integer | INCRBY encoding offset increment>> [...]]",
        ..row(
            "bitfield",
            -2,
            flag::WRITE | flag::DENYOOM,
            Run::Keys(bitfield::bitfield, Spread::One),
        )
    },
    Command {
        keys: ACCESS,
        since: "6.0.0",
        complexity: "O(1) for each subcommand specified",
        summary: "Reads integers of any width within a value.",
        syntax: "key [GET encoding offset [GET encoding offset ...]]",
        ..row(
            "bitfield_ro",
            -2,
            flag::READONLY | flag::FAST,
            Run::Keys(bitfield::bitfield_ro, Spread::One),
        )
    },
];

const fn row(name: &'static str, arity: i32, flags: u32, run: Run) -> Command {
    Command {
        group: Group::Bitmap,
        categories: category::BITMAP,
        ..Command::new(name, arity, flags, run)
    }
}

/// A bit's offset: the argument times `unit`, within the longest string that may be.
fn bit_offset(text: &[u8], unit: u64, config: &Config) -> Result<u64, Fault> {
    parse_i64(text)
        .and_then(|offset| u64::try_from(offset).ok()?.checked_mul(unit))
        .filter(|offset| offset >> 3 < config.proto_max_bulk_len)
        .ok_or(Fault::text(
            "ERR bit offset is not an integer or out of range",
        ))
}

fn setbit(cx: &mut Cx<'_>) -> Done {
    let offset = bit_offset(cx.line.arg(2), 1, cx.config)?;
    let bit = match cx.line.arg(3) {
        b"0" => false,
        b"1" => true,
        _ => return Err(Fault::text("ERR bit is not an integer or out of range")),
    };
    let (index, mask) = ((offset / 8) as usize, 0x80 >> (offset % 8));
    let key = cx.key(1);
    let existed = existed(cx, key);
    let edited = cx.keyspace.edit_string(cx.db, key, true, |buffer| {
        let grown = buffer.len() <= index;
        buffer.grow_to(index + 1);
        let old = buffer[index] & mask != 0;
        if old != bit {
            buffer[index] ^= mask;
        }
        (old, grown || old != bit)
    })?;
    let (old, changed) = edited.unwrap_or_default();
    if changed {
        wrote_string(cx, key, "setbit", existed);
    }
    cx.reply.int(i64::from(old));
    Ok(())
}

fn getbit(cx: &mut Cx<'_>) -> Done {
    let offset = bit_offset(cx.line.arg(2), 1, cx.config)?;
    let key = cx.key(1);
    let Some(entry) = cx.keyspace.read(cx.db, key) else {
        missed(cx, key);
        cx.reply.int(0);
        return Ok(());
    };
    let mut digits = itoa::Buffer::new();
    let bytes = entry.string()?.with_bytes(&mut digits);
    let byte = bytes.get((offset / 8) as usize).copied().unwrap_or(0);
    cx.reply.int(i64::from(byte >> (7 - offset % 8) & 1));
    Ok(())
}

/// What the positions of a range count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Byte,
    Bit,
}

impl Unit {
    fn parse(line: &Line<'_>, at: usize) -> Result<Unit, Fault> {
        if line.is(at, "bit") {
            Ok(Unit::Bit)
        } else if line.is(at, "byte") {
            Ok(Unit::Byte)
        } else {
            Err(Fault::Syntax)
        }
    }

    /// The units in a string of `len` bytes.
    fn count(self, len: usize) -> u64 {
        match self {
            Unit::Bit => len as u64 * 8,
            Unit::Byte => len as u64,
        }
    }

    /// The first and the last bit of a range of units.
    fn bits(self, (first, last): (u64, u64)) -> (u64, u64) {
        match self {
            Unit::Bit => (first, last),
            Unit::Byte => (first * 8, last * 8 + 7),
        }
    }
}

fn integer(line: &Line<'_>, at: usize) -> Result<i64, Fault> {
    parse_i64(line.arg(at)).ok_or(Fault::NotInteger)
}

fn bitcount(cx: &mut Cx<'_>) -> Done {
    let (start, end, unit) = match cx.line.len() {
        2 => (0, -1, Unit::Byte),
        4 => (integer(&cx.line, 2)?, integer(&cx.line, 3)?, Unit::Byte),
        5 => (
            integer(&cx.line, 2)?,
            integer(&cx.line, 3)?,
            Unit::parse(&cx.line, 4)?,
        ),
        _ => return Err(Fault::Syntax),
    };
    let key = cx.key(1);
    let Some(entry) = cx.keyspace.read(cx.db, key) else {
        missed(cx, key);
        cx.reply.int(0);
        return Ok(());
    };
    let mut digits = itoa::Buffer::new();
    let bytes = entry.string()?.with_bytes(&mut digits);
    let count = range(start, end, unit.count(bytes.len())).map_or(0, |range| {
        let (first, last) = unit.bits(range);
        bits::count_between(bytes, first, last)
    });
    cx.reply.int(count as i64);
    Ok(())
}

fn bitpos(cx: &mut Cx<'_>) -> Done {
    let bit = match integer(&cx.line, 2)? {
        0 => false,
        1 => true,
        _ => return Err(Fault::text("ERR The bit argument must be 1 or 0.")),
    };
    let (mut start, mut end, mut unit) = (0, None, Unit::Byte);
    match cx.line.len() {
        3 => {}
        4..=6 => {
            start = integer(&cx.line, 3)?;
            if cx.line.len() == 6 {
                unit = Unit::parse(&cx.line, 5)?;
            }
            if cx.line.len() >= 5 {
                end = Some(integer(&cx.line, 4)?);
            }
        }
        _ => return Err(Fault::Syntax),
    }
    let key = cx.key(1);
    let Some(entry) = cx.keyspace.read(cx.db, key) else {
        missed(cx, key);
        cx.reply.int(if bit { -1 } else { 0 });
        return Ok(());
    };
    let mut digits = itoa::Buffer::new();
    let bytes = entry.string()?.with_bytes(&mut digits);
    let range = clamped_range(start, end.unwrap_or(-1), unit.count(bytes.len()));
    let position = range.and_then(|range| {
        let (first, last) = unit.bits(range);
        let found = bits::position_between(bytes, bit, first, last);
        // Without an end, the zeros that follow the string count as well.
        found.or((!bit && end.is_none()).then_some(last + 1))
    });
    cx.reply
        .int(position.map_or(-1, |position| position as i64));
    Ok(())
}

fn bitop(cx: &mut Cx<'_>) -> Done {
    let operation = if cx.line.is(1, "and") {
        Operation::And
    } else if cx.line.is(1, "or") {
        Operation::Or
    } else if cx.line.is(1, "xor") {
        Operation::Xor
    } else if cx.line.is(1, "not") {
        Operation::Not
    } else {
        return Err(Fault::Syntax);
    };
    if operation == Operation::Not && cx.line.len() != 4 {
        return Err(Fault::text(
            "ERR BITOP NOT must be called with a single source key.",
        ));
    }
    let mut result = Vec::new();
    for index in 3..cx.line.len() {
        let key = cx.key(index);
        let mut digits = itoa::Buffer::new();
        let source = match cx.keyspace.read(cx.db, key) {
            Some(entry) => entry.string()?.with_bytes(&mut digits),
            None => {
                missed(cx, key);
                &[]
            }
        };
        if index == 3 && operation != Operation::Not {
            result.extend_from_slice(source);
            continue;
        }
        if result.len() < source.len() {
            result.resize(source.len(), 0);
        }
        operation.combine(&mut result, source);
    }
    let key = cx.key(2);
    let len = result.len();
    if len > 0 {
        let value = NewString::Edited(Bytes::from(result));
        let existed = cx.keyspace.set_string(cx.db, key, value, NewExpiry::Clear);
        wrote_string(cx, key, "set", existed);
    } else if cx.keyspace.remove(cx.db, key) {
        cx.wrote(key.bytes, "del", class::GENERIC);
    }
    cx.reply.count(len);
    Ok(())
}
