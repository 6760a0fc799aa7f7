//! One key with its value, expiry and access clock: one allocation, addressed by one word.
//!
//! Lives on a shard, in a slot of its table; taken out of the table it is an owned value that may move to another
//! core (RENAME and COPY across shards).
//!
//! ```text
//!   word    | mark 16 | address 48 |        the mark belongs to the table, see `table`
//!
//!   block   | header 8 | expiry 8? | key length 8? | value word 0..40 | key bytes | inline value bytes |
//!
//!   header  bits  0..3   kind: inline string, integer, big string, or one of the five collections
//!                 3      an expiry follows (i64, milliseconds since 1970)
//!                 4      raw: the string was modified in place, OBJECT ENCODING says so
//!                 5      the version: which snapshot the entry was written before
//!                 6      the key's length does not fit the header and follows
//!                 8..32  access clock: seconds (LRU), or minutes * 256 + counter (LFU)
//!                 32..48 length of the key
//!                 48..64 length of the inline value
//! ```
//!
//! Invariants:
//! - The block is `allocated(length)` bytes, where `length` follows from the header, so that the layout it
//!   was allocated with is known when it is freed. A change within the same size class stays in place.
//! - The value word is eight-byte aligned: all that precedes it comes in eights.
//! - An address fits 48 bits, which holds for user space on x86-64 and AArch64 and is asserted at allocation, with the alignment.

mod alias;
mod collection;
mod string;

pub(in crate::structures) use alias::Alias;
pub use collection::{Collection, Type, ValueView};
pub use string::{BigString, StringView, WrongType, canonical_integer};

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::{self, NonNull};

use super::hash::Hash;
use super::list::List;
use super::set::Set;
use super::sorted_set::SortedSet;
use super::stream::Stream;
use super::table::Element;
use collection::with_collection;
use string::Value;

/// A string longer than this is kept outside the entry's block as a reference-counted one.
pub const INLINE_VALUE_BYTES_MAX: usize = 1024;

/// A string of up to this many bytes that was never modified in place is called `embstr`.
const EMBSTR_BYTES_MAX: usize = 44;

/// The alignment that blocks are asked for. Every allocator in use aligns blocks of eight bytes and more to eight, which
/// is asserted; asked to, mimalloc 3 goes through its aligned path, which rounds 56 bytes up to 64. Miri takes the request at
/// its word.
const REQUESTED_ALIGN: usize = if cfg!(miri) { 8 } else { 1 };

/// Bits of a word that are an address.
pub(super) const ADDRESS_BITS: u32 = 48;
/// The address of a word.
pub(super) const ADDRESS_MASK: usize = (1 << ADDRESS_BITS) - 1;

const KIND_MASK: u64 = 0b111;
const HAS_EXPIRY: u64 = 1 << 3;
const RAW: u64 = 1 << 4;
const VERSION: u64 = 1 << 5;
const LONG_KEY: u64 = 1 << 6;
const ACCESS_SHIFT: u32 = 8;
const ACCESS_MASK: u64 = 0xFF_FFFF;
const KEY_LENGTH_SHIFT: u32 = 32;
const VALUE_LENGTH_SHIFT: u32 = 48;
const LENGTH_MASK: u64 = 0xFFFF;

const _: () = assert!(INLINE_VALUE_BYTES_MAX <= LENGTH_MASK as usize);
const _: () = assert!(size_of::<Option<Entry>>() == 8);
const _: () = assert!(fits_the_word::<BigString>() && fits_the_word::<List>());
const _: () = assert!(fits_the_word::<Hash>() && fits_the_word::<Set>());
const _: () = assert!(fits_the_word::<SortedSet>() && fits_the_word::<Stream>());

/// A value of this type can lie in the value word of a block.
const fn fits_the_word<T>() -> bool {
    size_of::<T>().is_multiple_of(8) && size_of::<T>() <= 40 && align_of::<T>() <= 8
}

/// What kind of value an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Inline = 0,
    Integer = 1,
    Big = 2,
    List = 3,
    Hash = 4,
    Set = 5,
    SortedSet = 6,
    Stream = 7,
}

impl Kind {
    /// Bytes of the value word in front of the key.
    #[inline]
    fn word_bytes(self) -> usize {
        match self {
            Kind::Inline => 0,
            Kind::Integer => 8,
            Kind::Big => size_of::<BigString>(),
            Kind::List => size_of::<List>(),
            Kind::Hash => size_of::<Hash>(),
            Kind::Set => size_of::<Set>(),
            Kind::SortedSet => size_of::<SortedSet>(),
            Kind::Stream => size_of::<Stream>(),
        }
    }
}

/// The bytes that an allocation of `bytes` really takes: the allocator's size classes, every eight bytes up to 64, then four
/// steps to each doubling. Asking for exactly that much wastes nothing and says when a change can stay in place.
#[inline]
pub fn allocated(bytes: usize) -> usize {
    let words = bytes.div_ceil(8);
    if words <= 8 {
        return words * 8;
    }
    let shift = (words - 1).ilog2() - 2;
    ((((words - 1) >> shift) + 1) << shift) * 8
}

/// A key and its value, owned.
#[repr(transparent)]
pub struct Entry(NonNull<u8>);

// SAFETY: an entry owns its block alone, and all that lies in it (bytes, integers, `Bytes`, collections) is `Send`.
unsafe impl Send for Entry {}

impl Entry {
    /// An entry for `key` with the string `bytes`, kept inline when it is short. It is never made an integer here.
    pub fn from_bytes(key: &[u8], bytes: &[u8], expiry: Option<i64>, access: u32) -> Entry {
        if bytes.len() <= INLINE_VALUE_BYTES_MAX {
            Entry::new(key, Value::Inline(bytes), expiry, access)
        } else {
            Entry::new(key, Value::Big(BigString::copy(bytes)), expiry, access)
        }
    }

    /// An entry for `key` that shares `string`; copies it when it is short enough for the block.
    pub fn from_big(key: &[u8], string: BigString, expiry: Option<i64>, access: u32) -> Entry {
        if string.bytes().len() <= INLINE_VALUE_BYTES_MAX {
            Entry::new(key, Value::Inline(string.bytes()), expiry, access)
        } else {
            Entry::new(key, Value::Big(string), expiry, access)
        }
    }

    /// An entry for `key` with an integer.
    pub fn from_integer(key: &[u8], integer: i64, expiry: Option<i64>, access: u32) -> Entry {
        Entry::new(key, Value::Integer(integer), expiry, access)
    }

    /// The same value, expiry and access clock under another key. A big string is shared, a collection copied.
    pub fn with_key(&self, key: &[u8]) -> Entry {
        let (expiry, access) = (self.expiry(), self.access());
        let mut entry = match self.value() {
            ValueView::String(StringView::Int(integer)) => {
                Entry::from_integer(key, integer, expiry, access)
            }
            ValueView::String(StringView::Bytes(bytes)) => {
                Entry::new(key, Value::Inline(bytes), expiry, access)
            }
            ValueView::String(StringView::Shared(_)) => {
                Entry::new(key, Value::Big(self.big().clone()), expiry, access)
            }
            ValueView::List(list) => Entry::from_collection(key, list.clone(), expiry, access),
            ValueView::Hash(hash) => Entry::from_collection(key, hash.clone(), expiry, access),
            ValueView::Set(set) => Entry::from_collection(key, set.clone(), expiry, access),
            ValueView::SortedSet(set) => Entry::from_collection(key, set.clone(), expiry, access),
            ValueView::Stream(stream) => {
                Entry::from_collection(key, stream.clone(), expiry, access)
            }
        };
        if self.is_raw() {
            entry.update_header(|header| header | RAW);
        }
        entry
    }

    fn new(key: &[u8], value: Value<'_>, expiry: Option<i64>, access: u32) -> Entry {
        let mut header = value.kind() as u64
            | (u64::from(access) & ACCESS_MASK) << ACCESS_SHIFT
            | (value.inline_length() as u64) << VALUE_LENGTH_SHIFT;
        if expiry.is_some() {
            header |= HAS_EXPIRY;
        }
        if key.len() <= LENGTH_MASK as usize {
            header |= (key.len() as u64) << KEY_LENGTH_SHIFT;
        } else {
            header |= LONG_KEY;
        }
        let shape = Shape {
            header,
            key_length: key.len(),
        };
        let block = allocate(shape.length());
        // SAFETY: the block is fresh, eight-byte aligned and `shape.length()` bytes long, and every offset below comes
        // from the same shape, so each write lies inside it; `key` and the value lie elsewhere.
        unsafe {
            block.cast::<u64>().write(header);
            if let Some(at) = expiry {
                block.add(8).cast::<i64>().write(at);
            }
            if header & LONG_KEY != 0 {
                let offset = shape.word_offset() - 8;
                block.add(offset).cast::<u64>().write(key.len() as u64);
            }
            ptr::copy_nonoverlapping(key.as_ptr(), block.add(shape.key_offset()), key.len());
            write_value(block, shape, value);
            Entry(NonNull::new_unchecked(block))
        }
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        let shape = self.shape();
        // SAFETY: the block holds `key_length` initialised bytes at the key's offset (invariant of the layout), and lives as
        // long as the borrow of its owner.
        unsafe {
            std::slice::from_raw_parts(self.block().add(shape.key_offset()), shape.key_length)
        }
    }

    /// The key is `key`. Cheaper than comparing slices of [`Entry::key`]: the length decides first.
    #[inline]
    pub fn has_key(&self, key: &[u8]) -> bool {
        self.key() == key
    }

    /// When the key expires, milliseconds since 1970.
    #[inline]
    pub fn expiry(&self) -> Option<i64> {
        if self.header() & HAS_EXPIRY == 0 {
            return None;
        }
        // SAFETY: with the flag set the word after the header is the expiry.
        Some(unsafe { self.block().add(8).cast::<i64>().read() })
    }

    /// The moment before which nothing of it expires: neither the key nor a field of its hash. May be too early for fields.
    #[inline]
    pub fn deadline(&self) -> Option<i64> {
        let expiry = self.expiry();
        if self.kind() != Kind::Hash {
            return expiry;
        }
        let fields = self.collection::<Hash>().ok().and_then(Hash::deadline);
        match (expiry, fields) {
            (Some(key), Some(field)) => Some(key.min(field)),
            (at, None) | (None, at) => at,
        }
    }

    /// It is a hash with a field that expires.
    #[inline]
    pub fn has_timed_fields(&self) -> bool {
        self.kind() == Kind::Hash
            && self
                .collection::<Hash>()
                .is_ok_and(|hash| hash.deadline().is_some())
    }

    /// Sets or removes the expiry.
    pub fn set_expiry(&mut self, expiry: Option<i64>) {
        let old = self.shape();
        let had = old.header & HAS_EXPIRY != 0;
        if let Some(at) = expiry
            && had
        {
            // SAFETY: with the flag set the word after the header is the expiry.
            unsafe { self.block().add(8).cast::<i64>().write(at) };
            return;
        }
        if expiry.is_some() == had {
            return;
        }
        let new = Shape {
            header: old.header ^ HAS_EXPIRY,
            ..old
        };
        let (from, to) = (8 + 8 * usize::from(had), 8 + 8 * usize::from(!had));
        let tail = old.length() - from;
        let target = self.target(new.length());
        // SAFETY: all after the expiry's place is one stretch of `tail` bytes that keeps its inner layout; it lies inside the
        // old block at `from` and fits the target at `to`, since the lengths differ by the expiry alone. The target is the
        // old block (the copy may overlap) or a fresh one. Moving the bytes of a `BigString` moves it: the old place is freed or
        // overwritten without being dropped.
        unsafe {
            ptr::copy(self.block().add(from), target.add(to), tail);
            if let Some(at) = expiry {
                target.add(8).cast::<i64>().write(at);
            }
            target.cast::<u64>().write(new.header);
            self.adopt(target, old.length());
        }
    }

    /// The access clock, 24 bits.
    #[inline]
    pub fn access(&self) -> u32 {
        (self.header() >> ACCESS_SHIFT & ACCESS_MASK) as u32
    }

    /// Sets the access clock. A clock that stands already is not written, so that a read leaves the cache line clean.
    #[inline]
    pub fn set_access(&mut self, access: u32) {
        if self.access() != access {
            self.update_header(|header| {
                header & !(ACCESS_MASK << ACCESS_SHIFT)
                    | (u64::from(access) & ACCESS_MASK) << ACCESS_SHIFT
            });
        }
    }

    /// The version that was set: one bit, `false` in a new entry.
    #[inline]
    pub fn version(&self) -> bool {
        self.header() & VERSION != 0
    }

    /// Sets the version.
    #[inline]
    pub fn set_version(&mut self, version: bool) {
        if self.version() != version {
            self.update_header(|header| header ^ VERSION);
        }
    }

    /// Memory of the entry in bytes: its block, and the string outside it.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        allocated(self.shape().length()) + self.outside_bytes()
    }

    /// Bytes outside the entry's own block.
    #[inline]
    pub fn outside_bytes(&self) -> usize {
        match self.kind() {
            Kind::Big => self.big().allocated_bytes(),
            Kind::Inline | Kind::Integer => 0,
            _ => with_collection!(self, |collection| collection.memory_bytes()),
        }
    }

    /// The table's bits in the entry's word.
    #[inline]
    pub(super) fn mark(&self) -> u16 {
        (self.0.addr().get() >> ADDRESS_BITS) as u16
    }

    /// Sets the table's bits in the entry's word.
    #[inline]
    pub(super) fn set_mark(&mut self, mark: u16) {
        let word = self
            .block()
            .map_addr(|address| address | usize::from(mark) << ADDRESS_BITS);
        // SAFETY: the address part is that of a live block and so not null.
        self.0 = unsafe { NonNull::new_unchecked(word) };
    }

    /// Where the block lies, for a prefetch.
    #[inline]
    pub(super) fn block(&self) -> *mut u8 {
        self.0.as_ptr().map_addr(|address| address & ADDRESS_MASK)
    }

    #[inline]
    fn header(&self) -> u64 {
        // SAFETY: a live block starts with its header.
        unsafe { self.block().cast::<u64>().read() }
    }

    #[inline]
    fn update_header(&mut self, change: impl FnOnce(u64) -> u64) {
        let header = change(self.header());
        // SAFETY: a live block starts with its header, and `&mut self` is its only user.
        unsafe { self.block().cast::<u64>().write(header) };
    }

    #[inline]
    fn kind(&self) -> Kind {
        kind_of(self.header())
    }

    #[inline]
    fn shape(&self) -> Shape {
        let header = self.header();
        let key_length = if header & LONG_KEY == 0 {
            (header >> KEY_LENGTH_SHIFT & LENGTH_MASK) as usize
        } else {
            let offset = if header & HAS_EXPIRY == 0 { 8 } else { 16 };
            // SAFETY: with the flag set the key's length follows the header and the expiry, if any.
            unsafe { self.block().add(offset).cast::<u64>().read() as usize }
        };
        Shape { header, key_length }
    }

    /// A block for `length` bytes: this one when it is of the same class, else a fresh one.
    fn target(&self, length: usize) -> *mut u8 {
        if allocated(length) == allocated(self.shape().length()) {
            self.block()
        } else {
            allocate(length)
        }
    }

    /// Takes `block` for the entry's block; frees the one before, `old_length` bytes long, if it is another. Keeps the mark.
    ///
    /// # Safety
    /// `block` is a complete block that nobody else owns, and what the old one owned has been moved into it or dropped.
    unsafe fn adopt(&mut self, block: *mut u8, old_length: usize) {
        let old = self.block();
        if old == block {
            return;
        }
        let mark = self.mark();
        // SAFETY: by the contract nothing in the old block is needed, and it was allocated with this layout (invariant of the
        // length); the new one is not null.
        unsafe {
            dealloc(old, layout(old_length));
            self.0 = NonNull::new_unchecked(block);
        }
        self.set_mark(mark);
    }
}

impl Element for Entry {
    #[inline]
    fn key(&self) -> &[u8] {
        Entry::key(self)
    }

    #[inline]
    fn has_key(&self, key: &[u8]) -> bool {
        Entry::has_key(self, key)
    }

    #[inline]
    fn deadline(&self) -> Option<i64> {
        Entry::deadline(self)
    }

    #[inline]
    fn mark(&self) -> u16 {
        Entry::mark(self)
    }

    #[inline]
    fn set_mark(&mut self, mark: u16) {
        Entry::set_mark(self, mark);
    }

    #[inline]
    fn block(&self) -> *const u8 {
        Entry::block(self)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let length = self.shape().length();
        // SAFETY: the entry owns the block, which was allocated with this layout (invariant of the length), and its value,
        // which is dropped once, here.
        unsafe {
            self.drop_outside();
            dealloc(self.block(), layout(length));
        }
    }
}

impl Clone for Entry {
    fn clone(&self) -> Entry {
        self.with_key(self.key())
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key().escape_ascii().to_string())
            .field("kind", &self.kind())
            .field("expiry", &self.expiry())
            .finish_non_exhaustive()
    }
}

/// Where the parts of a block lie: a function of its header and its key's length.
#[derive(Clone, Copy)]
struct Shape {
    header: u64,
    key_length: usize,
}

impl Shape {
    #[inline]
    fn word_offset(self) -> usize {
        8 + ((self.header & HAS_EXPIRY) / HAS_EXPIRY * 8 + (self.header & LONG_KEY) / LONG_KEY * 8)
            as usize
    }

    #[inline]
    fn key_offset(self) -> usize {
        self.word_offset() + kind_of(self.header).word_bytes()
    }

    #[inline]
    fn inline_offset(self) -> usize {
        self.key_offset() + self.key_length
    }

    #[inline]
    fn inline_length(self) -> usize {
        (self.header >> VALUE_LENGTH_SHIFT & LENGTH_MASK) as usize
    }

    #[inline]
    fn length(self) -> usize {
        self.inline_offset() + self.inline_length()
    }
}

#[inline]
fn kind_of(header: u64) -> Kind {
    match header & KIND_MASK {
        0 => Kind::Inline,
        1 => Kind::Integer,
        2 => Kind::Big,
        3 => Kind::List,
        4 => Kind::Hash,
        5 => Kind::Set,
        6 => Kind::SortedSet,
        _ => Kind::Stream,
    }
}

/// The layout of a block of `length` bytes.
#[inline]
pub(super) fn layout(length: usize) -> Layout {
    Layout::from_size_align(allocated(length), REQUESTED_ALIGN)
        .expect("an entry is far smaller than memory")
}

/// A fresh block of `length` bytes, which is not 0; its address fits [`ADDRESS_BITS`].
pub(super) fn allocate(length: usize) -> *mut u8 {
    let layout = layout(length);
    // SAFETY: the layout is at least a header long.
    let block = unsafe { alloc(layout) };
    if block.is_null() {
        handle_alloc_error(layout);
    }
    assert!(
        block.addr() & !ADDRESS_MASK == 0 && block.addr().is_multiple_of(8),
        "an address above 48 bits or in the middle of a word"
    );
    block
}

/// Writes `value` into a block of `shape`.
///
/// # Safety
/// The block is at least `shape.length()` bytes, `shape` describes `value`, the value's bytes lie outside the block,
/// and what lay at the value's place needs no drop any more.
unsafe fn write_value(block: *mut u8, shape: Shape, value: Value<'_>) {
    // SAFETY: by the contract the offsets, taken from the shape, lie inside the block; words are aligned because all that
    // precedes them comes in eights.
    unsafe {
        match value {
            Value::Inline(bytes) => ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                block.add(shape.inline_offset()),
                bytes.len(),
            ),
            Value::Integer(integer) => block.add(shape.word_offset()).cast::<i64>().write(integer),
            Value::Big(string) => block
                .add(shape.word_offset())
                .cast::<BigString>()
                .write(string),
            Value::Collection(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
