//! BITFIELD and BITFIELD_RO: integers of any width at any bit of a string.
//!
//! A line is walked twice by [`Steps`]: once to check all of it and to find how long the string must be, once to run it.
//! Nothing is collected, and a line that fails has changed nothing. Fields are computed in 128 bits, so that each
//! overflow shows.

use super::bit_offset;
use crate::base::number::parse_i64;
use crate::command::string::{existed, missed, wrote_string};
use crate::command::{Cx, Done, Fault, key_flag};
use crate::config::Config;
use crate::resp::Line;

/// What BITFIELD does with its key: nothing but reading it when all steps are GET. A line that is malformed counts as writing.
pub(super) fn key_flags(line: &Line<'_>) -> u32 {
    let mut at = 2;
    while at < line.len() {
        let more = line.len() - 1 - at;
        at += if line.is(at, "GET") && more >= 2 {
            3
        } else if line.is(at, "OVERFLOW") && more >= 1 {
            2
        } else {
            return key_flag::RW | key_flag::ACCESS | key_flag::UPDATE;
        };
    }
    key_flag::RO | key_flag::ACCESS
}

/// Width and sign of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    signed: bool,
    /// 1 to 64, unsigned to 63.
    bits: u32,
}

impl Field {
    fn parse(text: &[u8]) -> Result<Field, Fault> {
        let invalid = || {
            Fault::text(
                "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
            )
        };
        let (signed, bits) = match text {
            [b'i', bits @ ..] => (true, bits),
            [b'u', bits @ ..] => (false, bits),
            _ => return Err(invalid()),
        };
        match parse_i64(bits) {
            Some(bits) if bits >= 1 && bits <= if signed { 64 } else { 63 } => Ok(Field {
                signed,
                bits: bits as u32,
            }),
            _ => Err(invalid()),
        }
    }

    fn max(self) -> i128 {
        (1 << (self.bits - u32::from(self.signed))) - 1
    }

    fn min(self) -> i128 {
        if self.signed {
            -1 << (self.bits - 1)
        } else {
            0
        }
    }

    /// The field's bits as its integer.
    fn of_bits(self, bits: u64) -> i64 {
        let unused = 64 - self.bits;
        if self.signed {
            (bits << unused) as i64 >> unused
        } else {
            (bits << unused >> unused) as i64
        }
    }

    /// The value that SET means by its argument. An unsigned field takes a negative one for the large number of the same bits.
    /// Of a signed field Redis computes the room above the value in 64 bits, and saturates upwards where that
    /// overflows; so does this, since a follower is sent the line as it came.
    fn argument(self, value: i64, overflow: Overflow) -> i128 {
        if !self.signed {
            return i128::from(value as u64);
        }
        let room = (self.max() as i64).wrapping_sub(value);
        if overflow == Overflow::Saturate && self.bits < 64 && room < 0 {
            return self.max();
        }
        i128::from(value)
    }

    /// The value that is kept for `value`: itself where it fits, else what `overflow` makes of it.
    fn fit(self, value: i128, overflow: Overflow) -> Option<i64> {
        if (self.min()..=self.max()).contains(&value) {
            return Some(value as i64);
        }
        match overflow {
            Overflow::Wrap => Some(self.of_bits(value as u64)),
            Overflow::Saturate => Some(value.clamp(self.min(), self.max()) as i64),
            Overflow::Fail => None,
        }
    }

    /// The field at bit `offset`; bits past the end of the string are 0.
    fn read(self, bytes: &[u8], offset: u64) -> i64 {
        let first = (offset / 8) as usize;
        let mut window = [0u8; 16];
        if let Some(bytes) = bytes.get(first..) {
            let len = bytes.len().min(window.len());
            window[..len].copy_from_slice(&bytes[..len]);
        }
        let above = u128::from_be_bytes(window) << (offset % 8);
        self.of_bits((above >> (128 - self.bits)) as u64)
    }

    /// Writes `value` at bit `offset`; the string is long enough.
    fn write(self, bytes: &mut [u8], offset: u64, value: i64) {
        let first = (offset / 8) as usize;
        let last = ((offset + u64::from(self.bits) - 1) / 8) as usize;
        let bytes = &mut bytes[first..=last];
        let mut window = [0u8; 16];
        window[..bytes.len()].copy_from_slice(bytes);
        let shift = 128 - (offset % 8) as u32 - self.bits;
        let mask = (u128::MAX >> (128 - self.bits)) << shift;
        let new = u128::from_be_bytes(window) & !mask | ((value as u64 as u128) << shift & mask);
        bytes.copy_from_slice(&new.to_be_bytes()[..bytes.len()]);
    }
}

/// What happens to a value that does not fit its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    /// Its low bits are kept.
    Wrap,
    /// The nearest value is kept.
    Saturate,
    /// Nothing is changed, and the reply is null.
    Fail,
}

/// What a step does with its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Get,
    Set(i64),
    Increment(i64),
}

/// One GET, SET or INCRBY of a line.
#[derive(Clone, Copy, Debug)]
struct Step {
    action: Action,
    field: Field,
    offset: u64,
    overflow: Overflow,
}

impl Step {
    /// The step's reply and, unless it changes nothing, the field's new value.
    fn outcome(&self, bytes: &[u8]) -> (Option<i64>, Option<i64>) {
        let old = self.field.read(bytes, self.offset);
        match self.action {
            Action::Get => (Some(old), None),
            Action::Set(value) => {
                let value = self.field.argument(value, self.overflow);
                let new = self.field.fit(value, self.overflow);
                (new.map(|_| old), new)
            }
            Action::Increment(by) => {
                let new = self
                    .field
                    .fit(i128::from(old) + i128::from(by), self.overflow);
                (new, new)
            }
        }
    }
}

/// Walks the steps of a line.
struct Steps<'a> {
    line: Line<'a>,
    at: usize,
    overflow: Overflow,
}

impl<'a> Steps<'a> {
    fn new(line: Line<'a>) -> Steps<'a> {
        Steps {
            line,
            at: 2,
            overflow: Overflow::Wrap,
        }
    }

    /// The next step, or `None` at the end of the line.
    fn next(&mut self, config: &Config) -> Result<Option<Step>, Fault> {
        let line = self.line;
        while self.at < line.len() {
            let at = self.at;
            let left = line.len() - at - 1;
            if line.is(at, "overflow") && left >= 1 {
                self.overflow = if line.is(at + 1, "wrap") {
                    Overflow::Wrap
                } else if line.is(at + 1, "sat") {
                    Overflow::Saturate
                } else if line.is(at + 1, "fail") {
                    Overflow::Fail
                } else {
                    return Err(Fault::text("ERR Invalid OVERFLOW type specified"));
                };
                self.at += 2;
                continue;
            }
            let action: Option<fn(i64) -> Action> = if line.is(at, "get") && left >= 2 {
                None
            } else if line.is(at, "set") && left >= 3 {
                Some(Action::Set)
            } else if line.is(at, "incrby") && left >= 3 {
                Some(Action::Increment)
            } else {
                return Err(Fault::Syntax);
            };
            let field = Field::parse(line.arg(at + 1))?;
            let offset = match line.arg(at + 2) {
                [b'#', index @ ..] => bit_offset(index, u64::from(field.bits), config)?,
                offset => bit_offset(offset, 1, config)?,
            };
            self.at += 3;
            let action = match action {
                None => Action::Get,
                Some(action) => {
                    self.at += 1;
                    action(parse_i64(line.arg(at + 3)).ok_or(Fault::NotInteger)?)
                }
            };
            return Ok(Some(Step {
                action,
                field,
                offset,
                overflow: self.overflow,
            }));
        }
        Ok(None)
    }
}

pub(super) fn bitfield(cx: &mut Cx<'_>) -> Done {
    run(cx, true)
}

pub(super) fn bitfield_ro(cx: &mut Cx<'_>) -> Done {
    run(cx, false)
}

fn run(cx: &mut Cx<'_>, may_write: bool) -> Done {
    let (mut count, mut bytes_needed) = (0, 0);
    let mut steps = Steps::new(cx.line);
    while let Some(step) = steps.next(cx.config)? {
        count += 1;
        if step.action != Action::Get {
            bytes_needed = bytes_needed.max((step.offset + u64::from(step.field.bits)).div_ceil(8));
        }
    }
    if bytes_needed == 0 {
        return read(cx, count);
    }
    if !may_write {
        return Err(Fault::text(
            "ERR BITFIELD_RO only supports the GET subcommand",
        ));
    }
    write(cx, count, bytes_needed as usize)
}

/// Runs a line of GETs only.
fn read(cx: &mut Cx<'_>, count: usize) -> Done {
    let key = cx.key(1);
    let mut digits = itoa::Buffer::new();
    let bytes = match cx.keyspace.read(cx.db, key) {
        Some(entry) => entry.string()?.with_bytes(&mut digits),
        None => {
            missed(cx, key);
            &[]
        }
    };
    cx.reply.array(count);
    let mut steps = Steps::new(cx.line);
    while let Some(step) = steps.next(cx.config)? {
        cx.reply.int(step.field.read(bytes, step.offset));
    }
    Ok(())
}

/// Runs a line that writes within the first `bytes_needed` bytes, of which all exist afterwards.
fn write(cx: &mut Cx<'_>, count: usize, bytes_needed: usize) -> Done {
    let key = cx.key(1);
    let existed = existed(cx, key);
    let (reply, config) = (&mut cx.reply, cx.config);
    let mut steps = Steps::new(cx.line);
    let changes = cx.keyspace.edit_string(cx.db, key, true, |buffer| {
        let grown = buffer.len() < bytes_needed;
        buffer.grow_to(bytes_needed);
        reply.array(count);
        let mut changes = 0;
        while let Ok(Some(step)) = steps.next(config) {
            let (answer, new) = step.outcome(buffer);
            match answer {
                Some(value) => reply.int(value),
                None => reply.null(),
            }
            if let Some(new) = new {
                changes += u64::from(grown || step.field.read(buffer, step.offset) != new);
                step.field.write(buffer, step.offset, new);
            }
        }
        // A string that only grew has changed as well.
        changes.max(u64::from(grown))
    })?;
    if let Some(changes @ 1..) = changes {
        wrote_string(cx, key, "setbit", existed);
        cx.effects.dirty += changes - 1;
    }
    Ok(())
}
