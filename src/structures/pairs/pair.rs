//! A key and its value in one allocation, addressed by one word: what a field of a hash or a member of a set takes.
//!
//! ```text
//!   word    | mark 16 | address 48 |        the mark belongs to the table, see `table`
//!
//!   block   | shape 1 | expiry 8? | key length 1, 2 or 4 | value length 0, 1, 2 or 4 | key bytes | value bytes |
//!
//!   shape   bits  0..2  how the key's length is written: 1, 2 or 4 bytes
//!                 2..4  how the value's length is written: not at all when it is empty, 1, 2 or 4 bytes
//!                 4     an expiry follows (i64, milliseconds since 1970)
//! ```
//!
//! Invariants:
//! - The block is `allocated(length)` bytes, where `length` follows from the shape and the lengths, so that the layout it was
//!   allocated with is known when it is freed.
//! - Nothing in the block is aligned: words are read and written as bytes.
//! - Lengths are below 4 GiB, as arguments are.

use std::alloc::dealloc;
use std::ptr::{self, NonNull};

use crate::structures::entry::{ADDRESS_BITS, ADDRESS_MASK, allocate, allocated, layout};
use crate::structures::table::Element;

const EXPIRY_BIT: u8 = 1 << 4;
const VALUE_SHIFT: u8 = 2;

/// Bytes that a length takes, by its code in the shape.
const WIDTHS: [usize; 4] = [0, 1, 2, 4];

/// The code of the width that `length` needs.
#[inline]
fn width_code(length: usize) -> u8 {
    match length {
        0..=0xFF => 1,
        0x100..=0xFFFF => 2,
        _ => 3,
    }
}

/// Where the parts of a block lie.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    code: u8,
    key_length: usize,
    value_length: usize,
}

impl Shape {
    fn new(key: &[u8], value: &[u8], expires: bool) -> Shape {
        assert!(
            key.len() <= u32::MAX as usize && value.len() <= u32::MAX as usize,
            "a pair beyond 4 GiB"
        );
        let value_code = if value.is_empty() {
            0
        } else {
            width_code(value.len())
        };
        Shape {
            code: width_code(key.len())
                | value_code << VALUE_SHIFT
                | if expires { EXPIRY_BIT } else { 0 },
            key_length: key.len(),
            value_length: value.len(),
        }
    }

    #[inline]
    fn expires(self) -> bool {
        self.code & EXPIRY_BIT != 0
    }

    #[inline]
    fn lengths_offset(self) -> usize {
        1 + usize::from(self.expires()) * 8
    }

    #[inline]
    fn key_width(self) -> usize {
        WIDTHS[usize::from(self.code & 3)]
    }

    #[inline]
    fn value_width(self) -> usize {
        WIDTHS[usize::from(self.code >> VALUE_SHIFT & 3)]
    }

    #[inline]
    fn key_offset(self) -> usize {
        self.lengths_offset() + self.key_width() + self.value_width()
    }

    #[inline]
    fn value_offset(self) -> usize {
        self.key_offset() + self.key_length
    }

    #[inline]
    fn length(self) -> usize {
        self.value_offset() + self.value_length
    }
}

/// A key and its value, owned.
#[repr(transparent)]
pub struct Pair(NonNull<u8>);

const _: () = assert!(size_of::<Option<Pair>>() == 8);

// SAFETY: a pair owns its block alone, and only bytes lie in it.
unsafe impl Send for Pair {}

impl Pair {
    /// A pair. Lengths must be below 4 GiB.
    pub fn new(key: &[u8], value: &[u8], expiry: Option<i64>) -> Pair {
        let shape = Shape::new(key, value, expiry.is_some());
        let block = allocate(shape.length());
        // SAFETY: the block is fresh and `shape.length()` bytes long; every offset comes from the shape, which was made for
        // these slices, so each write lies inside it, and the slices lie elsewhere.
        unsafe {
            block.write(shape.code);
            if let Some(at) = expiry {
                block.add(1).cast::<[u8; 8]>().write(at.to_le_bytes());
            }
            let lengths = block.add(shape.lengths_offset());
            write_length(lengths, shape.key_width(), key.len());
            write_length(
                lengths.add(shape.key_width()),
                shape.value_width(),
                value.len(),
            );
            ptr::copy_nonoverlapping(key.as_ptr(), block.add(shape.key_offset()), key.len());
            ptr::copy_nonoverlapping(value.as_ptr(), block.add(shape.value_offset()), value.len());
            Pair(NonNull::new_unchecked(block))
        }
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        let shape = self.shape();
        self.part(shape.key_offset(), shape.key_length)
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> &[u8] {
        let shape = self.shape();
        self.part(shape.value_offset(), shape.value_length)
    }

    /// When it expires, milliseconds since 1970.
    #[inline]
    pub fn expiry(&self) -> Option<i64> {
        if self.code() & EXPIRY_BIT == 0 {
            return None;
        }
        // SAFETY: with the bit set eight bytes of expiry follow the shape.
        let bytes = unsafe { self.start().add(1).cast::<[u8; 8]>().read() };
        Some(i64::from_le_bytes(bytes))
    }

    /// Memory of the pair.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        allocated(self.shape().length())
    }

    /// Replaces the value, in place where it fits.
    pub fn set_value(&mut self, value: &[u8]) {
        let old = self.shape();
        let new = Shape::new(self.key(), value, old.expires());
        if new.code != old.code || allocated(new.length()) != allocated(old.length()) {
            self.replace(Pair::new(self.key(), value, self.expiry()));
            return;
        }
        let block = self.start();
        // SAFETY: the new shape has its parts at the same offsets, since the code and the key are the same, and fits the block,
        // since the size class is the same. The value lies outside the block, which is borrowed mutably.
        unsafe {
            let length = block.add(old.lengths_offset() + old.key_width());
            write_length(length, new.value_width(), value.len());
            ptr::copy_nonoverlapping(value.as_ptr(), block.add(new.value_offset()), value.len());
        }
    }

    /// Sets or removes the expiry.
    pub fn set_expiry(&mut self, expiry: Option<i64>) {
        match (self.expiry(), expiry) {
            (None, None) => {}
            (Some(_), Some(at)) => {
                // SAFETY: a pair with an expiry has eight bytes of it behind the shape, and `&mut self` is their only user.
                unsafe {
                    let place = self.start().add(1).cast::<[u8; 8]>();
                    place.write(at.to_le_bytes());
                }
            }
            _ => self.replace(Pair::new(self.key(), self.value(), expiry)),
        }
    }

    /// Becomes `pair`, but keeps the table's bits.
    fn replace(&mut self, pair: Pair) {
        let mark = self.mark();
        *self = pair;
        self.set_mark(mark);
    }

    #[inline]
    fn part(&self, offset: usize, length: usize) -> &[u8] {
        // SAFETY: callers take offset and length from the block's own shape, whose parts are initialised; they live
        // as long as the borrow of their owner.
        unsafe { std::slice::from_raw_parts(self.start().add(offset), length) }
    }

    #[inline]
    fn code(&self) -> u8 {
        // SAFETY: a live block starts with its shape.
        unsafe { self.start().read() }
    }

    #[inline]
    fn shape(&self) -> Shape {
        let mut shape = Shape {
            code: self.code(),
            key_length: 0,
            value_length: 0,
        };
        // SAFETY: the shape says how wide the lengths behind it are.
        unsafe {
            let lengths = self.start().add(shape.lengths_offset());
            shape.key_length = read_length(lengths, shape.key_width());
            shape.value_length = read_length(lengths.add(shape.key_width()), shape.value_width());
        }
        shape
    }

    #[inline]
    fn start(&self) -> *mut u8 {
        self.0.as_ptr().map_addr(|address| address & ADDRESS_MASK)
    }
}

/// Reads a length of `width` bytes.
///
/// # Safety
/// There are as many initialised bytes at `place`.
#[inline]
unsafe fn read_length(place: *const u8, width: usize) -> usize {
    // SAFETY: by the contract.
    unsafe {
        match width {
            0 => 0,
            1 => usize::from(place.read()),
            2 => usize::from(u16::from_le_bytes(place.cast::<[u8; 2]>().read())),
            _ => u32::from_le_bytes(place.cast::<[u8; 4]>().read()) as usize,
        }
    }
}

/// Writes a length that fits `width` bytes.
///
/// # Safety
/// There is room for as many bytes at `place`.
#[inline]
unsafe fn write_length(place: *mut u8, width: usize, length: usize) {
    // SAFETY: by the contract.
    unsafe {
        match width {
            0 => {}
            1 => place.write(length as u8),
            2 => place.cast::<[u8; 2]>().write((length as u16).to_le_bytes()),
            _ => place.cast::<[u8; 4]>().write((length as u32).to_le_bytes()),
        }
    }
}

impl Element for Pair {
    #[inline]
    fn key(&self) -> &[u8] {
        Pair::key(self)
    }

    #[inline]
    fn has_key(&self, key: &[u8]) -> bool {
        Pair::key(self) == key
    }

    #[inline]
    fn deadline(&self) -> Option<i64> {
        self.expiry()
    }

    #[inline]
    fn mark(&self) -> u16 {
        (self.0.addr().get() >> ADDRESS_BITS) as u16
    }

    #[inline]
    fn set_mark(&mut self, mark: u16) {
        let word = self
            .start()
            .map_addr(|address| address | usize::from(mark) << ADDRESS_BITS);
        // SAFETY: the address part is that of a live block and so not null.
        self.0 = unsafe { NonNull::new_unchecked(word) };
    }

    #[inline]
    fn block(&self) -> *const u8 {
        self.start()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let length = self.shape().length();
        // SAFETY: the pair owns the block, which was allocated with this layout (invariant of the length).
        unsafe { dealloc(self.start(), layout(length)) };
    }
}

impl Clone for Pair {
    fn clone(&self) -> Pair {
        Pair::new(self.key(), self.value(), self.expiry())
    }
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair")
            .field("key", &self.key().escape_ascii().to_string())
            .field("value", &self.value().escape_ascii().to_string())
            .field("expiry", &self.expiry())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_any_length_replace_each_other() {
        let lengths = [
            0, 1, 7, 44, 45, 100, 255, 256, 300, 1_000, 65_535, 65_536, 70_000,
        ];
        for key_length in lengths {
            let key = vec![b'k'; key_length];
            for from in lengths {
                for to in lengths {
                    let mut pair = Pair::new(&key, &vec![b'a'; from], None);
                    pair.set_mark(0xFEDC);
                    pair.set_expiry(Some(-5));
                    pair.set_expiry(Some(77));
                    pair.set_value(&vec![b'b'; to]);
                    assert_eq!((pair.key(), pair.value().len()), (&key[..], to));
                    assert!(pair.value().iter().all(|&byte| byte == b'b'));
                    assert_eq!((pair.expiry(), pair.mark()), (Some(77), 0xFEDC));
                    pair.set_expiry(None);
                    assert_eq!((pair.expiry(), pair.mark()), (None, 0xFEDC));
                    assert_eq!(pair.clone().value(), pair.value());
                    assert!(pair.has_key(&key));
                }
            }
        }
    }

    #[test]
    fn a_small_pair_has_three_bytes_beside_its_own() {
        assert_eq!(
            Pair::new(b"0123456789", b"01234567890", None).memory_bytes(),
            24
        );
        assert_eq!(Pair::new(b"01234567890123", b"", None).memory_bytes(), 16);
    }
}
