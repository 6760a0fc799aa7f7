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

/// An element ready to be put in: the encoding (an integer is part of it), the data, the back length.
pub(super) struct Encoded<'a> {
    head: [u8; 9],
    head_length: u8,
    back: [u8; 5],
    back_length: u8,
    data: &'a [u8],
}

impl<'a> Encoded<'a> {
    /// Encodes bytes, as an integer if they are one.
    #[inline]
    pub(super) fn bytes(bytes: &'a [u8]) -> Encoded<'a> {
        Encoded::element(Element::of(bytes))
    }

    /// Encodes an element as it is.
    #[inline]
    pub(super) fn element(element: Element<'a>) -> Encoded<'a> {
        match element {
            Element::Int(value) => Encoded::integer(value),
            Element::Bytes(bytes) => Encoded::data(bytes),
        }
    }

    #[inline]
    pub(super) fn integer(value: i64) -> Encoded<'a> {
        let low = value.to_le_bytes();
        let wide = |marker, bytes: usize| {
            let mut head = [0; 9];
            head[0] = marker;
            head[1..=bytes].copy_from_slice(&low[..bytes]);
            Encoded::new(head, 1 + bytes, &[])
        };
        match value {
            0..=0x7F => Encoded::new([low[0], 0, 0, 0, 0, 0, 0, 0, 0], 1, &[]),
            -0x1000..=0xFFF => {
                let head = [0xC0 | low[1] & 0x1F, low[0], 0, 0, 0, 0, 0, 0, 0];
                Encoded::new(head, 2, &[])
            }
            -0x8000..=0x7FFF => wide(0xF1, 2),
            -0x80_0000..=0x7F_FFFF => wide(0xF2, 3),
            -0x8000_0000..=0x7FFF_FFFF => wide(0xF3, 4),
            _ => wide(0xF4, 8),
        }
    }

    #[inline]
    fn data(data: &'a [u8]) -> Encoded<'a> {
        let mut head = [0; 9];
        let length = data.len();
        let head_length = if length < 64 {
            head[0] = 0x80 | length as u8;
            1
        } else if length < LONG_BYTES_MIN {
            head[0] = 0xE0 | (length >> 8) as u8;
            head[1] = length as u8;
            2
        } else {
            let length = u32::try_from(length).expect("no element is asked to hold 4 GiB");
            head[0] = 0xF0;
            head[1..5].copy_from_slice(&length.to_le_bytes());
            5
        };
        Encoded::new(head, head_length, data)
    }

    #[inline]
    fn new(head: [u8; 9], head_length: usize, data: &'a [u8]) -> Encoded<'a> {
        let length = head_length + data.len();
        let back_length = back_length_bytes(length);
        let mut back = [0; 5];
        for (index, byte) in back[..back_length].iter_mut().enumerate() {
            let group = (length >> (7 * (back_length - 1 - index))) as u8 & 0x7F;
            *byte = group | if index > 0 { 0x80 } else { 0 };
        }
        Encoded {
            head,
            head_length: head_length as u8,
            back,
            back_length: back_length as u8,
            data,
        }
    }

    #[inline]
    pub(super) fn parts(&self) -> [&[u8]; 3] {
        [
            &self.head[..usize::from(self.head_length)],
            self.data,
            &self.back[..usize::from(self.back_length)],
        ]
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
