//! Checksums of Redis's formats: CRC-64 of RDB files and DUMP payloads, CRC-16 of cluster slots.
//!
//! CRC-64 is the reflected variant by Jones (polynomial ad93d23594c935a9, start value 0, no final inversion), computed
//! eight bytes at a time from eight tables; CRC-16 is the XMODEM variant (polynomial 1021).

const CRC64_POLYNOMIAL_REFLECTED: u64 = 0x95ac_9329_ac4b_c9b5;
const CRC16_POLYNOMIAL: u16 = 0x1021;

static CRC64: [[u64; 256]; 8] = crc64_tables();
static CRC16: [u16; 256] = crc16_table();

const fn crc64_tables() -> [[u64; 256]; 8] {
    let mut tables = [[0u64; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ CRC64_POLYNOMIAL_REFLECTED
            } else {
                crc >> 1
            };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let previous = tables[table - 1][byte];
            tables[table][byte] = tables[0][(previous & 0xff) as usize] ^ previous >> 8;
            byte += 1;
        }
        table += 1;
    }
    tables
}

const fn crc16_table() -> [u16; 256] {
    let mut table = [0u16; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 {
                crc << 1 ^ CRC16_POLYNOMIAL
            } else {
                crc << 1
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// Continues the CRC-64 `crc` (0 at the start) over `bytes`.
pub fn crc64(crc: u64, bytes: &[u8]) -> u64 {
    let mut crc = crc;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mixed = (crc ^ u64::from_le_bytes(*word)).to_le_bytes();
        crc = 0;
        for (index, byte) in mixed.iter().enumerate() {
            crc ^= CRC64[7 - index][*byte as usize];
        }
    }
    for byte in rest {
        crc = CRC64[0][(crc as u8 ^ byte) as usize] ^ crc >> 8;
    }
    crc
}

/// The CRC-16 of `bytes`.
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        CRC16[((crc >> 8) as u8 ^ byte) as usize] ^ crc << 8
    })
}

/// The cluster slot (0 to 16383) of `key`: of its `{tag}` when it has one that is not empty.
pub fn key_slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) & 16383
}

/// The part of `key` that decides its place: between the first `{` and the next `}`, if that is not empty, or all.
#[inline]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else {
        return key;
    };
    match memchr::memchr(b'}', &key[open + 1..]) {
        None | Some(0) => key,
        Some(len) => &key[open + 1..open + 1 + len],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_the_check_string() {
        assert_eq!(crc64(0, b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn crc64_continues_at_any_split() {
        let bytes: Vec<u8> = (0..100u8).collect();
        let whole = crc64(0, &bytes);
        for split in 0..bytes.len() {
            assert_eq!(crc64(crc64(0, &bytes[..split]), &bytes[split..]), whole);
        }
    }

    #[test]
    fn slots_follow_the_tag() {
        assert_eq!(key_slot(b"foo"), 12182);
        assert_eq!(key_slot(b"{foo}bar"), 12182);
        assert_eq!(key_slot(b"a{foo}{bar}"), 12182);
        assert_eq!(hash_tag(b"{}x"), b"{}x");
        assert_eq!(hash_tag(b"{x"), b"{x");
        assert_eq!(hash_tag(b"x}{y}"), b"y");
    }
}
