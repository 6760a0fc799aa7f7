//! Elements of a listpack and their encoding.
//!
//! ```text
//!   0xxxxxxx                      an integer from 0 to 127
//!   10xxxxxx data                 up to 63 bytes
//!   110xxxxx 8 bits               an integer of 13 bits, two's complement, high bits first
//!   1110xxxx 8 bits data          up to 4,095 bytes, the high bits of the length first
//!   11110000 32 bits data         bytes, the length little endian
//!   11110001 .. 11110100          an integer of 16, 24, 32, 64 bits, little endian
//! ```
//!
//! The back length counts encoding and data in groups of seven bits, the highest first; every byte but the first has its
//! high bit set, so that it can be read from its end.

use std::mem::MaybeUninit;
use std::ptr;

use crate::base::number::parse_i64;

/// Data of this length and more has a length of 32 bits.
const LONG_BYTES_MIN: usize = 4096;

/// An element of a listpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element<'a> {
    /// What was put in as a canonical integer.
    Int(i64),
    /// Anything else.
    Bytes(&'a [u8]),
}

impl<'a> Element<'a> {
    /// The element for some bytes: an integer when they are one in canonical form.
    #[inline]
    pub fn of(bytes: &'a [u8]) -> Element<'a> {
        parse_i64(bytes).map_or(Element::Bytes(bytes), Element::Int)
    }

    /// The bytes that were put in; integers are written to `buffer`.
    #[inline]
    pub fn to_bytes<'b>(&self, buffer: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Element::Int(value) => buffer.format(*value).as_bytes(),
            Element::Bytes(bytes) => bytes,
        }
    }

    /// The bytes that were put in, as a value of their own.
    pub fn to_vec(&self) -> Vec<u8> {
        self.to_bytes(&mut itoa::Buffer::new()).to_vec()
    }

    /// The number of bytes that were put in.
    #[inline]
    pub fn byte_len(&self) -> usize {
        match self {
            Element::Int(value) => crate::base::number::i64_len(*value),
            Element::Bytes(bytes) => bytes.len(),
        }
    }

    /// The integer, if the bytes are one in canonical form.
    #[inline]
    pub fn to_int(&self) -> Option<i64> {
        match self {
            Element::Int(value) => Some(*value),
            Element::Bytes(bytes) => parse_i64(bytes),
        }
    }
}

/// Compares with bytes as they were put in.
impl PartialEq<[u8]> for Element<'_> {
    #[inline]
    fn eq(&self, other: &[u8]) -> bool {
        match self {
            Element::Int(value) => parse_i64(other) == Some(*value),
            Element::Bytes(bytes) => *bytes == other,
        }
    }
}

/// Bytes that many elements are compared with.
#[derive(Clone, Copy)]
pub struct Needle<'a> {
    bytes: &'a [u8],
    integer: Option<i64>,
}

impl<'a> Needle<'a> {
    /// Parses once what each comparison with an integer needs.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Needle<'a> {
        Needle {
            bytes,
            integer: parse_i64(bytes),
        }
    }

    /// The element consists of these bytes.
    #[inline]
    pub fn is(&self, element: Element<'_>) -> bool {
        match element {
            Element::Int(value) => self.integer == Some(value),
            Element::Bytes(bytes) => bytes == self.bytes,
        }
    }
}

/// The bytes that an element takes: encoding, data and back length.
#[inline]
pub(super) fn encoded_bytes(element: Element<'_>) -> usize {
    let length = match element {
        Element::Int(value) => match value {
            0..=0x7F => 1,
            -0x1000..=0xFFF => 2,
            -0x8000..=0x7FFF => 3,
            -0x80_0000..=0x7F_FFFF => 4,
            -0x8000_0000..=0x7FFF_FFFF => 5,
            _ => 9,
        },
        Element::Bytes(data) => match data.len() {
            short @ ..64 => 1 + short,
            medium @ ..LONG_BYTES_MIN => 2 + medium,
            long => 5 + long,
        },
    };
    length + back_length_bytes(length)
}

/// Room for elements, filled from its front: what it has given away is initialised.
pub(super) struct Room<'a>(&'a mut [MaybeUninit<u8>]);

impl<'a> Room<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a mut [MaybeUninit<u8>]) -> Room<'a> {
        Room(bytes)
    }

    /// All of it is filled.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes an element as its [`encoded_bytes`]. Panics when there is less room.
    #[inline]
    pub(super) fn put(&mut self, element: Element<'_>) {
        match element {
            Element::Int(value @ 0..=0x7F) => self.bytes(&[value as u8, 1]),
            Element::Int(value) => self.put_integer(value),
            Element::Bytes(data) if data.len() < 64 => {
                let length = data.len() as u8;
                self.bytes(&[0x80 | length]);
                self.bytes(data);
                self.bytes(&[length + 1]);
            }
            Element::Bytes(data) => self.put_data(data),
        }
    }

    fn put_integer(&mut self, value: i64) {
        let low = value.to_le_bytes();
        let (marker, bytes) = match value {
            -0x1000..=0xFFF => return self.bytes(&[0xC0 | low[1] & 0x1F, low[0], 2]),
            -0x8000..=0x7FFF => (0xF1, 2),
            -0x80_0000..=0x7F_FFFF => (0xF2, 3),
            -0x8000_0000..=0x7FFF_FFFF => (0xF3, 4),
            _ => (0xF4, 8),
        };
        self.bytes(&[marker]);
        self.bytes(&low[..bytes]);
        self.bytes(&[bytes as u8 + 1]);
    }

    fn put_data(&mut self, data: &[u8]) {
        let head_length = if data.len() < LONG_BYTES_MIN {
            self.bytes(&[0xE0 | (data.len() >> 8) as u8, data.len() as u8]);
            2
        } else {
            let length = u32::try_from(data.len()).expect("no element is asked to hold 4 GiB");
            self.bytes(&[0xF0]);
            self.bytes(&length.to_le_bytes());
            5
        };
        self.bytes(data);
        let length = head_length + data.len();
        let groups = back_length_bytes(length);
        for index in 0..groups {
            let group = (length >> (7 * (groups - 1 - index))) as u8 & 0x7F;
            self.bytes(&[group | if index > 0 { 0x80 } else { 0 }]);
        }
    }

    /// Writes bytes as they are.
    #[inline]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let (now, rest) = std::mem::take(&mut self.0).split_at_mut(bytes.len());
        // SAFETY: `now` is as long as `bytes`, and borrowed mutably.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), now.as_mut_ptr().cast(), bytes.len());
        }
        self.0 = rest;
    }
}

/// The bytes of a back length. Each step but the first begins one lower than it could: so does Redis, and who reads in
/// either direction has to agree.
#[inline]
pub(super) fn back_length_bytes(length: usize) -> usize {
    match length {
        0..128 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

/// The lengths of encoding and data of the element that `rest` begins with; `None` when there is none or not all of it.
#[inline]
pub(super) fn shape(rest: &[u8]) -> Option<(usize, usize)> {
    let (head, data) = match *rest.first()? {
        0..=0x7F => (1, 0),
        first @ 0x80..=0xBF => (1, usize::from(first & 0x3F)),
        0xC0..=0xDF => (2, 0),
        first @ 0xE0..=0xEF => (
            2,
            usize::from(first & 0x0F) << 8 | usize::from(*rest.get(1)?),
        ),
        0xF0 => (
            5,
            u32::from_le_bytes(*rest.get(1..)?.first_chunk()?) as usize,
        ),
        0xF1 => (3, 0),
        0xF2 => (4, 0),
        0xF3 => (5, 0),
        0xF4 => (9, 0),
        _ => return None,
    };
    (head + data <= rest.len()).then_some((head, data))
}

/// The element at `pos` and the number of bytes to the next one.
#[inline]
pub(super) fn decode(bytes: &[u8], pos: usize) -> (Element<'_>, usize) {
    let rest = &bytes[pos..];
    let (head, data) = shape(rest).expect("an element is at its position");
    let length = head + data;
    let element = match rest[0] {
        small @ 0..=0x7F => Element::Int(i64::from(small)),
        first @ 0xC0..=0xDF => {
            let value = i64::from(first & 0x1F) << 8 | i64::from(rest[1]);
            Element::Int(extend(value, 13))
        }
        0xF1..=0xF4 => {
            let mut low = [0; 8];
            low[..head - 1].copy_from_slice(&rest[1..head]);
            Element::Int(extend(i64::from_le_bytes(low), 8 * (head as u32 - 1)))
        }
        _ => Element::Bytes(&rest[head..length]),
    };
    (element, length + back_length_bytes(length))
}

/// The number of bytes from the element at `pos` to the next one.
#[inline]
pub(super) fn entry_bytes(bytes: &[u8], pos: usize) -> usize {
    let (head, data) = shape(&bytes[pos..]).expect("an element is at its position");
    head + data + back_length_bytes(head + data)
}

/// Where the element begins that ends at `end`; `None` when its back length makes no sense.
#[inline]
pub(super) fn previous(bytes: &[u8], end: usize) -> Option<usize> {
    let mut length = 0usize;
    for (index, byte) in bytes[..end].iter().rev().take(5).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return end.checked_sub(length + index + 1);
        }
    }
    None
}

/// The two's complement number in the low `bits` of `value`.
#[inline]
fn extend(value: i64, bits: u32) -> i64 {
    value << (64 - bits) >> (64 - bits)
}
