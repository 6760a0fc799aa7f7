//! Payloads of DUMP: one value without its key, closed by a version and a checksum.

use super::cursor::Cursor;
use super::decode::{self, Limits};
use super::encode::{Encoder, Version};
use super::error::{Error, Problem};
use super::{VERSION_READ_MAX, grammar};
use crate::base::crc::crc64;
use crate::keyspace::Entry;

/// Version and checksum behind the value.
const FOOTER_BYTES: usize = 10;

/// Why a payload is not restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// It is too short, was written by a later version, or was changed on its way.
    #[error("the payload's version or checksum is wrong")]
    Footer,
    /// The checksum is right and the value is not.
    #[error("{0}")]
    Value(#[from] Error),
}

/// The value of `entry` as a payload, of the lowest version that keeps all of it.
pub fn dump(entry: &Entry, compress: bool) -> Vec<u8> {
    let mut encoder = Encoder::new(Version::needed(entry), compress);
    let mut out = vec![0];
    out[0] = encoder.value(entry, &mut out);
    out.extend(encoder.version().number().to_le_bytes());
    let checksum = crc64(0, &out);
    out.extend(checksum.to_le_bytes());
    out
}

/// An entry for `key` with the value of a payload, without an expiry.
pub fn restore(key: &[u8], payload: &[u8], limits: &Limits) -> Result<Entry, RestoreError> {
    let (checked, checksum) = payload
        .split_last_chunk::<8>()
        .filter(|_| payload.len() >= FOOTER_BYTES)
        .ok_or(RestoreError::Footer)?;
    let (value, version) = checked
        .split_last_chunk::<2>()
        .ok_or(RestoreError::Footer)?;
    if u32::from(u16::from_le_bytes(*version)) > VERSION_READ_MAX
        || crc64(0, checked) != u64::from_le_bytes(*checksum)
    {
        return Err(RestoreError::Footer);
    }
    let mut cursor = Cursor::new(value, 0);
    let start = cursor.clone();
    let type_ = cursor.byte()?;
    if !grammar::is_value(type_) {
        return Err(start.error(Problem::UnknownType(type_)).into());
    }
    grammar::parts(type_).map_err(|problem| start.error(problem))?;
    // Redis takes no notice of what follows the value: nor must a follower of Redis.
    Ok(decode::entry(type_, key, None, &mut cursor, limits)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::keyspace::KeyHasher;

    fn restore(key: &[u8], payload: &[u8]) -> Result<Entry, RestoreError> {
        let limits = Limits::new(&Config::default(), &KeyHasher::from_seeds([1, 2, 3, 4]));
        super::restore(key, payload, &limits)
    }

    fn closed(value: &[u8], version: u16) -> Vec<u8> {
        let mut payload = value.to_vec();
        payload.extend(version.to_le_bytes());
        payload.extend(crc64(0, &payload).to_le_bytes());
        payload
    }

    fn text(entry: &Entry) -> Vec<u8> {
        let view = entry.string().unwrap();
        view.with_bytes(&mut itoa::Buffer::new()).to_vec()
    }

    #[test]
    fn a_payload_is_that_of_redis() {
        let entry = Entry::from_bytes(b"k", b"value", Some(5), 0);
        let payload = dump(&entry, true);
        assert_eq!(payload, b"\x00\x05value\x0a\x00\x81\xf6\xc18\xc1\xaa\x9bn");
        let restored = restore(b"other", &payload).unwrap();
        assert_eq!(restored.key(), b"other");
        assert_eq!(text(&restored), b"value");
        assert_eq!(restored.expiry(), None);
    }

    #[test]
    fn a_changed_short_or_newer_payload_is_refused() {
        let good = closed(b"\x00\x05value", 12);
        assert!(restore(b"k", &good).is_ok());
        for length in 0..good.len() {
            let cut = restore(b"k", &good[..length]);
            assert_eq!(cut.err(), Some(RestoreError::Footer), "{length}");
        }
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 1;
            let changed = restore(b"k", &changed);
            assert_eq!(changed.err(), Some(RestoreError::Footer), "{at}");
        }
        let newer = restore(b"k", &closed(b"\x00\x05value", 13));
        assert_eq!(newer.err(), Some(RestoreError::Footer));
    }

    #[test]
    fn a_value_that_is_none_is_refused_with_its_place() {
        let refused = |value: &[u8]| match restore(b"k", &closed(value, 10)) {
            Err(RestoreError::Value(error)) => error.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            refused(b""),
            "the data ends in the middle of a value at byte 0"
        );
        assert_eq!(
            refused(b"\x00\x05valu"),
            "the data ends in the middle of a value at byte 2"
        );
        assert_eq!(refused(b"\x1e"), "unknown value type 30 at byte 0");
        assert_eq!(refused(b"\xfe\x00"), "unknown value type 254 at byte 0");
        assert_eq!(
            refused(b"\x07\x00"),
            "value type 7 (module value) cannot be read at byte 0"
        );
        // Bytes behind the value are passed over.
        assert!(restore(b"k", &closed(b"\x00\x01v and more", 10)).is_ok());
    }
}
