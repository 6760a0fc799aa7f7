//! The two forms in which a string holds the registers of a HyperLogLog, byte for byte those of Redis.
//!
//! ```text
//!   header   "HYLL" | form 1 | zero 3 | count 8, little endian; its highest bit: not valid |
//!
//!   dense    form 0: 16,384 registers of 6 bits each, from the lowest bit of the first byte on
//!
//!   sparse   form 1: runs of registers of one value, which add up to 16,384
//!            00llllll            l + 1 registers at zero
//!            01llllll llllllll   l + 1 registers at zero
//!            1vvvvvll            l + 1 registers at v + 1
//! ```
//!
//! Which runs a sparse form has depends on the order of the changes, as Redis splits and joins runs in a certain way. It is
//! kept to here, so that the same lines give the same bytes.
//!
//! Invariant: any bytes may come in, since every string may be set to any bytes. What is no valid form is found out before
//! anything is changed.

use super::estimate::{self, Histogram};

pub use super::estimate::REGISTERS;

use crate::keyspace::StringBuf;

const MAGIC: &[u8] = b"HYLL";
const HEADER_BYTES: usize = 16;
const FORM_AT: usize = 4;
const COUNT_AT: usize = 8;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
/// The bit of the count's last byte that says that the count is not valid.
const NO_COUNT: u8 = 0x80;

const REGISTER_BITS: u32 = 6;
const REGISTER_MASK: u32 = (1 << REGISTER_BITS) - 1;
const DENSE_BYTES: usize = HEADER_BYTES + REGISTERS * REGISTER_BITS as usize / 8;

const SHORT_ZEROS_MAX: usize = 64;
const VALUE_RUN_MAX: usize = 4;
/// The highest value that a run can have.
const RUN_VALUE_MAX: u8 = 32;
/// Runs that are looked at for joining after a change, from the one before it on.
const JOINED_RUNS_MAX: usize = 5;

/// The runs of a sparse form do not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// All registers, a byte each.
pub type Registers = [u8; REGISTERS];

/// A string that looks like a HyperLogLog. Whether the runs of a sparse one add up is found out by walking them.
#[derive(Clone, Copy)]
pub struct View<'a>(&'a [u8]);

/// A run of registers with one value, as the sparse form has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The value.
    pub value: u8,
    /// The number of registers.
    pub registers: usize,
    /// The bytes that the run takes: more than one only for zeros.
    pub bytes: usize,
}

impl Run {
    /// The run at `at`, which is before the end. Of a run that is cut off the missing byte counts as zero.
    #[inline]
    fn at(bytes: &[u8], at: usize) -> Run {
        let first = usize::from(bytes[at]);
        let (value, registers, bytes) = match first >> 6 {
            0 => (0, first, 1),
            1 => {
                let second = bytes.get(at + 1).copied().unwrap_or(0);
                (0, (first & 0x3f) << 8 | usize::from(second), 2)
            }
            _ => ((first >> 2 & 0x1f) as u8 + 1, first & 3, 1),
        };
        Run {
            value,
            registers: registers + 1,
            bytes,
        }
    }
}

/// The byte of a run of up to four registers at `value`.
#[inline]
fn value_run(value: u8, registers: usize) -> u8 {
    debug_assert!((1..=RUN_VALUE_MAX).contains(&value));
    debug_assert!((1..=VALUE_RUN_MAX).contains(&registers));
    0x80 | (value - 1) << 2 | (registers - 1) as u8
}

/// Up to five bytes of runs: what one run becomes when a register within it changes.
#[derive(Default)]
struct Runs {
    bytes: [u8; 5],
    len: usize,
}

impl Runs {
    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn push_run(&mut self, value: u8, registers: usize) {
        if value > 0 && registers > 0 {
            self.push(value_run(value, registers));
        } else if registers > SHORT_ZEROS_MAX {
            self.push(0x40 | ((registers - 1) >> 8) as u8);
            self.push((registers - 1) as u8);
        } else if registers > 0 {
            self.push((registers - 1) as u8);
        }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl<'a> View<'a> {
    /// Looks at a string: the head must be right, and the length of the dense form.
    pub fn new(bytes: &'a [u8]) -> Option<View<'a>> {
        let form_fits = match *bytes.get(FORM_AT)? {
            DENSE => bytes.len() == DENSE_BYTES,
            SPARSE => bytes.len() >= HEADER_BYTES,
            _ => false,
        };
        (form_fits && bytes.starts_with(MAGIC)).then_some(View(bytes))
    }

    /// The form is the dense one.
    #[inline]
    pub fn is_dense(self) -> bool {
        self.0[FORM_AT] == DENSE
    }

    /// The count that was kept when it was last asked for, unless something changed since.
    pub fn kept_count(self) -> Option<u64> {
        let count: [u8; 8] = self.0[COUNT_AT..HEADER_BYTES].try_into().ok()?;
        (count[7] & NO_COUNT == 0).then_some(u64::from_le_bytes(count))
    }

    /// The runs of a sparse form.
    pub fn runs(self) -> impl Iterator<Item = Run> + 'a {
        let mut at = HEADER_BYTES;
        std::iter::from_fn(move || {
            let run = (at < self.0.len()).then(|| Run::at(self.0, at))?;
            at += run.bytes;
            Some(run)
        })
    }

    /// The element would change nothing. Only of a dense form.
    #[inline]
    pub fn has(self, element: &[u8]) -> bool {
        debug_assert!(self.is_dense());
        let (index, rank) = estimate::place(element);
        let (at, shift) = dense_place(index);
        (dense_pair(self.0, at) >> shift & REGISTER_MASK) as u8 >= rank
    }

    /// The estimated number of distinct elements.
    pub fn count(self) -> Result<u64, Corrupt> {
        let histogram = if self.is_dense() {
            dense_histogram(&self.0[HEADER_BYTES..])
        } else {
            self.sparse_histogram()?
        };
        Ok(estimate::count(&histogram))
    }

    fn sparse_histogram(self) -> Result<Histogram, Corrupt> {
        let mut histogram = [0; 64];
        let mut left = REGISTERS;
        for run in self.runs() {
            left = left.checked_sub(run.registers).ok_or(Corrupt)?;
            histogram[usize::from(run.value)] += run.registers as u32;
        }
        if left > 0 {
            return Err(Corrupt);
        }
        Ok(histogram)
    }

    /// Raises each of `registers` to the one here.
    pub fn merge_into(self, registers: &mut Registers) -> Result<(), Corrupt> {
        if self.is_dense() {
            let quads = self.0[HEADER_BYTES..].chunks_exact(3);
            for (into, from) in registers.chunks_exact_mut(4).zip(quads) {
                for (into, from) in into.iter_mut().zip(quad(from)) {
                    *into = (*into).max(from);
                }
            }
            return Ok(());
        }
        let mut rest = &mut registers[..];
        for run in self.runs() {
            let (these, after) = rest.split_at_mut_checked(run.registers).ok_or(Corrupt)?;
            rest = after;
            if run.value > 0 {
                for register in these {
                    *register = (*register).max(run.value);
                }
            }
        }
        if rest.is_empty() {
            Ok(())
        } else {
            Err(Corrupt)
        }
    }
}

/// The estimated number of distinct elements of unpacked registers.
pub fn count_of(registers: &Registers) -> u64 {
    let mut histogram = [0; 64];
    for &register in registers {
        histogram[usize::from(register & REGISTER_MASK as u8)] += 1;
    }
    estimate::count(&histogram)
}

/// The byte that a dense register begins in, and at which bit.
#[inline]
fn dense_place(index: usize) -> (usize, u32) {
    let bit = index * REGISTER_BITS as usize;
    (HEADER_BYTES + bit / 8, (bit % 8) as u32)
}

/// Two bytes as one number; behind the end there is zero.
#[inline]
fn dense_pair(bytes: &[u8], at: usize) -> u32 {
    let second = bytes.get(at + 1).copied().unwrap_or(0);
    u32::from(bytes[at]) | u32::from(second) << 8
}

/// The four registers in three bytes.
#[inline]
fn quad(bytes: &[u8]) -> [u8; 4] {
    let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
    std::array::from_fn(|index| (word >> (index as u32 * REGISTER_BITS) & REGISTER_MASK) as u8)
}

/// Counts in four tables, as equal neighbours would wait for each other in one.
fn dense_histogram(bytes: &[u8]) -> Histogram {
    let mut tables = [[0u32; 64]; 4];
    for bytes in bytes.chunks_exact(3) {
        for (table, value) in tables.iter_mut().zip(quad(bytes)) {
            table[usize::from(value)] += 1;
        }
    }
    std::array::from_fn(|value| tables.iter().map(|table| table[value]).sum())
}

/// Makes an empty buffer a HyperLogLog without elements, in the sparse form.
pub fn init(buffer: &mut StringBuf<'_>) {
    debug_assert!(buffer.is_empty());
    buffer.extend_from_slice(MAGIC);
    buffer.grow_to(HEADER_BYTES);
    buffer[FORM_AT] = SPARSE;
    let mut zeros = Runs::default();
    zeros.push_run(0, REGISTERS);
    buffer.extend_from_slice(zeros.as_slice());
}

/// Says in the head that the kept count holds no more.
pub fn forget_count(buffer: &mut StringBuf<'_>) {
    buffer[HEADER_BYTES - 1] |= NO_COUNT;
}

/// Keeps a count in the head.
pub fn keep_count(buffer: &mut StringBuf<'_>, count: u64) {
    buffer[COUNT_AT..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
}

/// Adds elements to what [`View::new`] took; returns how many of them changed something. A sparse form that grows beyond
/// `sparse_bytes_max` becomes dense. A corrupt one is left as it was.
pub fn add<'e>(
    buffer: &mut StringBuf<'_>,
    elements: impl ExactSizeIterator<Item = &'e [u8]>,
    sparse_bytes_max: u64,
) -> Result<u64, Corrupt> {
    // Only an element behind the first can fail when something is changed already.
    let before = (elements.len() > 1 && buffer[FORM_AT] == SPARSE).then(|| buffer.to_vec());
    let mut changed = 0;
    for element in elements {
        let (index, rank) = estimate::place(element);
        match raise(buffer, &mut Cursor::start(), index, rank, sparse_bytes_max) {
            Ok(raised) => changed += u64::from(raised),
            Err(Corrupt) => {
                if let Some(before) = before {
                    buffer.truncate(0);
                    buffer.extend_from_slice(&before);
                }
                return Err(Corrupt);
            }
        }
    }
    Ok(changed)
}

/// Raises the registers to those of `registers`, which are nowhere lower.
pub fn raise_all(
    buffer: &mut StringBuf<'_>,
    registers: &Registers,
    sparse_bytes_max: u64,
) -> Result<(), Corrupt> {
    let mut cursor = Cursor::start();
    for (index, &rank) in registers.iter().enumerate() {
        if buffer[FORM_AT] == DENSE {
            set_dense(buffer, registers);
            return Ok(());
        }
        if rank > 0 {
            raise(buffer, &mut cursor, index, rank, sparse_bytes_max)?;
        }
    }
    Ok(())
}

/// Raises one register as [`raise_all`] should.
#[cfg(test)]
pub fn raise_from_start(
    buffer: &mut StringBuf<'_>,
    index: usize,
    rank: u8,
    sparse_bytes_max: u64,
) -> Result<bool, Corrupt> {
    raise(buffer, &mut Cursor::start(), index, rank, sparse_bytes_max)
}

/// Makes a sparse form dense.
pub fn make_dense(buffer: &mut StringBuf<'_>) -> Result<(), Corrupt> {
    let mut registers = [0; REGISTERS];
    View(buffer).merge_into(&mut registers)?;
    set_dense(buffer, &registers);
    Ok(())
}

/// Makes it dense with these registers.
pub fn set_dense(buffer: &mut StringBuf<'_>, registers: &Registers) {
    buffer[FORM_AT] = DENSE;
    buffer.truncate(DENSE_BYTES);
    buffer.grow_to(DENSE_BYTES);
    let packed = buffer[HEADER_BYTES..].chunks_exact_mut(3);
    for (into, from) in packed.zip(registers.chunks_exact(4)) {
        let word = from.iter().rev().fold(0u32, |word, register| {
            word << REGISTER_BITS | u32::from(*register)
        });
        into.copy_from_slice(&word.to_le_bytes()[..3]);
    }
}

/// A place in a sparse form from which a search may begin.
#[derive(Clone, Copy)]
struct Cursor {
    /// Offset of a run.
    at: usize,
    /// The run's first register.
    first: usize,
}

impl Cursor {
    fn start() -> Cursor {
        Cursor {
            at: HEADER_BYTES,
            first: 0,
        }
    }
}

/// Raises one register; says whether it was lower. `from` is moved to where the search for a higher register may begin.
fn raise(
    buffer: &mut StringBuf<'_>,
    from: &mut Cursor,
    index: usize,
    rank: u8,
    sparse_bytes_max: u64,
) -> Result<bool, Corrupt> {
    if buffer[FORM_AT] == SPARSE {
        match raise_sparse(buffer, from, index, rank, sparse_bytes_max)? {
            Raised::Was => return Ok(false),
            Raised::Now => return Ok(true),
            Raised::DoesNotFit => make_dense(buffer)?,
        }
    }
    Ok(raise_dense(buffer, index, rank))
}

fn raise_dense(buffer: &mut StringBuf<'_>, index: usize, rank: u8) -> bool {
    let (at, shift) = dense_place(index);
    let pair = dense_pair(buffer, at);
    if (pair >> shift & REGISTER_MASK) as u8 >= rank {
        return false;
    }
    let pair = pair & !(REGISTER_MASK << shift) | u32::from(rank) << shift;
    buffer[at] = pair as u8;
    if let Some(second) = buffer.get_mut(at + 1) {
        *second = (pair >> 8) as u8;
    }
    true
}

/// What became of a register of a sparse form.
enum Raised {
    /// It was as high before.
    Was,
    /// It is raised.
    Now,
    /// It takes the dense form.
    DoesNotFit,
}

fn raise_sparse(
    buffer: &mut StringBuf<'_>,
    from: &mut Cursor,
    index: usize,
    rank: u8,
    sparse_bytes_max: u64,
) -> Result<Raised, Corrupt> {
    if rank > RUN_VALUE_MAX {
        return Ok(Raised::DoesNotFit);
    }
    let (mut place, mut before) = (*from, None);
    let run = loop {
        if place.at >= buffer.len() {
            return Err(Corrupt);
        }
        let run = Run::at(buffer, place.at);
        if index < place.first + run.registers {
            break run;
        }
        // A run of a value may be joined with those behind it, and then reaches up to four registers from its
        // first. From a run that will not reach a register above `index` the next search may begin.
        if place.first + VALUE_RUN_MAX <= index {
            *from = place;
        }
        before = Some(place.at);
        place.at += run.bytes;
        place.first += run.registers;
    };
    if run.value >= rank {
        return Ok(Raised::Was);
    }
    if run.registers == 1 && run.bytes == 1 {
        buffer[place.at] = value_run(rank, 1);
    } else {
        let mut runs = Runs::default();
        runs.push_run(run.value, index - place.first);
        runs.push(value_run(rank, 1));
        runs.push_run(run.value, place.first + run.registers - index - 1);
        let run_end = (place.at + run.bytes).min(buffer.len());
        let len = buffer.len() - (run_end - place.at) + runs.len;
        if len > buffer.len() && len as u64 > sparse_bytes_max {
            return Ok(Raised::DoesNotFit);
        }
        replace(buffer, place.at..run_end, runs.as_slice());
    }
    join_runs(buffer, before.unwrap_or(HEADER_BYTES));
    Ok(Raised::Now)
}

/// Replaces a range of the buffer.
fn replace(buffer: &mut StringBuf<'_>, range: std::ops::Range<usize>, bytes: &[u8]) {
    let len = buffer.len();
    let end = range.start + bytes.len();
    buffer.grow_to(len + end.saturating_sub(range.end));
    buffer.copy_within(range.end..len, end);
    buffer.truncate(len + end - range.end);
    buffer[range.start..end].copy_from_slice(bytes);
}

/// Joins neighbours of one value among the first runs from `at` on.
fn join_runs(buffer: &mut StringBuf<'_>, mut at: usize) {
    for _ in 0..JOINED_RUNS_MAX {
        if at >= buffer.len() {
            return;
        }
        let run = Run::at(buffer, at);
        if run.value > 0 && at + 1 < buffer.len() {
            let next = Run::at(buffer, at + 1);
            let registers = run.registers + next.registers;
            if next.value == run.value && registers <= VALUE_RUN_MAX {
                replace(buffer, at..at + 2, &[value_run(run.value, registers)]);
                // The joined run may be joined with the one behind it.
                continue;
            }
        }
        at += run.bytes;
    }
}
